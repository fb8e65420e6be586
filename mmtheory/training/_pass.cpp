// One pass of joint training of stacked MLP encoders under a linear head: forward, loss and every gradient of one replicate after
// another, so that what a replicate works on stays in the nearest caches. A replicate's numbers do not depend on its neighbours.

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#define BYTES 64
#define ROWS 8
#elif defined(__AVX__)
#define BYTES 32
#define ROWS 6
#elif defined(__aarch64__)
#define BYTES 16
#define ROWS 8
#else
#define BYTES 16
#define ROWS 4
#endif

namespace {

typedef int64_t I;

template <class T> struct Simd;
template <> struct Simd<float> { typedef float V __attribute__((vector_size(BYTES), aligned(4), may_alias)); };
template <> struct Simd<double> { typedef double V __attribute__((vector_size(BYTES), aligned(8), may_alias)); };

template <class T> struct Kernel {
    typedef typename Simd<T>::V V;
    static constexpr I W = BYTES / sizeof(T);  // numbers in a vector

    static I padded(I width) { return (width + W - 1) / W * W; }
    static V load(const T* p) { return *(const V*)p; }
    static void store(T* p, V v) { *(V*)p = v; }

    enum Start { ZERO, BIAS, HELD };

    // R rows and N vectors of columns of c = start + a b, where a[i, k] lies at i * ai + k * ak.
    template <int R, int N, bool AK> static inline void tile(const T* a, I ai, I ak, const T* b, I bs, const T* bias, T* c, I cs, I depth, Start start, bool relu) {
        V sum[R][N];
        for (int i = 0; i < R; i++)
            for (int j = 0; j < N; j++)
                sum[i][j] = start == ZERO ? V{} : start == BIAS ? load(bias + j * W) : load(c + i * cs + j * W);
        const T* line[R];
        for (int i = 0; i < R; i++) line[i] = a + i * ai;
        for (I k = 0; k < depth; k++, b += bs) {
            V row[N];
            for (int j = 0; j < N; j++) row[j] = load(b + j * W);
            for (int i = 0; i < R; i++) {
                const T s = AK ? line[0][k * ak + i] : line[i][k];
                for (int j = 0; j < N; j++) sum[i][j] += s * row[j];
            }
        }
        for (int i = 0; i < R; i++)
            for (int j = 0; j < N; j++) {
                V v = sum[i][j];
                if (relu) v = v < 0 ? V{} : v;  // NaN stays NaN
                store(c + i * cs + j * W, v);
            }
    }

    template <int N, bool AK> static void rows(const T* a, I ai, I ak, const T* b, I bs, const T* bias, T* c, I cs, I height, I depth, Start start, bool relu) {
        I i = 0;
        for (; i + ROWS <= height; i += ROWS) tile<ROWS, N, AK>(a + i * ai, ai, ak, b, bs, bias, c + i * cs, cs, depth, start, relu);
        for (; i + 2 <= height; i += 2) tile<2, N, AK>(a + i * ai, ai, ak, b, bs, bias, c + i * cs, cs, depth, start, relu);
        for (; i < height; i++) tile<1, N, AK>(a + i * ai, ai, ak, b, bs, bias, c + i * cs, cs, depth, start, relu);
    }

    // c [height, width] = start + a [height, depth] b [depth, width]; width is a multiple of W.
    template <bool AK> static void product_(const T* a, I ai, I ak, const T* b, I bs, const T* bias, T* c, I cs, I height, I depth, I width, Start start, bool relu = false) {
        I j = 0;
        for (; j + 2 * W <= width; j += 2 * W) rows<2, AK>(a, ai, ak, b + j, bs, bias ? bias + j : bias, c + j, cs, height, depth, start, relu);
        if (j < width) rows<1, AK>(a, ai, ak, b + j, bs, bias ? bias + j : bias, c + j, cs, height, depth, start, relu);
    }

    static void product(const T* a, I ai, I ak, const T* b, I bs, const T* bias, T* c, I cs, I height, I depth, I width, Start start, bool relu = false) {
        if (ak == 1) product_<false>(a, ai, ak, b, bs, bias, c, cs, height, depth, width, start, relu);
        else product_<true>(a, ai, ak, b, bs, bias, c, cs, height, depth, width, start, relu);
    }
    // A matrix whose rows are filled up with zeros to whole vectors; itself where they are.
    static const T* filled(const T* from, I height, I width, T* place) {
        const I wide = padded(width);
        if (wide == width) return from;
        for (I i = 0; i < height; i++) {
            for (I j = 0; j < width; j++) place[i * wide + j] = from[i * width + j];
            for (I j = width; j < wide; j++) place[i * wide + j] = 0;
        }
        return place;
    }

    static void transposed(const T* from, I height, I width, T* place) {  // to [width, padded height]
        const I wide = padded(height);
        for (I j = 0; j < width; j++) {
            for (I i = 0; i < height; i++) place[j * wide + i] = from[i * width + j];
            for (I i = height; i < wide; i++) place[j * wide + i] = 0;
        }
    }

    static void cut(const T* from, I height, I width, T* to) {
        const I wide = padded(width);
        for (I i = 0; i < height; i++) memcpy(to + i * width, from + i * wide, width * sizeof(T));
    }

    // xT g into its place among the gradients.
    static void weigh(const T* x, I xs, const T* g, I samples, I in, I out, T* to, T* place) {
        const I wide = padded(out);
        product(x, 1, xs, g, wide, nullptr, wide == out ? to : place, wide, in, samples, wide, ZERO);
        if (wide != out) cut(place, in, out, to);
    }

    template <int N> static void columns(T* g, const T* h, bool relu, I samples, I wide, I left, T* to) {
        V sum[2][N] = {};
        for (I n = 0; n < samples; n++)
            for (int j = 0; j < N; j++) {
                V v = load(g + n * wide + j * W);
                if (relu) {
                    v = load(h + n * wide + j * W) <= 0 ? V{} : v;
                    store(g + n * wide + j * W, v);
                }
                sum[n & 1][j] += v;
            }
        for (int j = 0; j < N; j++)
            for (I k = 0; k < W && j * W + k < left; k++) to[j * W + k] = sum[0][j][k] + sum[1][j][k];
    }

    // The cotangent below a ReLU, in place, if there is one; its sum over the samples is the bias's gradient.
    static void gather(T* g, const T* h, bool relu, I samples, I out, T* to) {
        const I wide = padded(out);
        I j = 0;
        for (; j + 2 * W <= wide; j += 2 * W) columns<2>(g + j, h + j, relu, samples, wide, out - j, to + j);
        if (j < wide) columns<1>(g + j, h + j, relu, samples, wide, out - j, to + j);
    }

    // Mean loss; its gradient to the logits in their place, zeros in what fills their rows up.
    static T entropy(T* logits, const I* y, I samples, I classes) {
        const I wide = padded(classes);
        double total = 0;
        for (I n = 0; n < samples; n++) {
            T* z = logits + n * wide;
            T most = z[0], sum = 0;
            for (I c = 1; c < classes; c++) most = z[c] > most ? z[c] : most;
            const T own = z[y[n]] - most;
            for (I c = 0; c < classes; c++) {
                const T e = std::exp(z[c] - most);
                z[c] = e;
                sum += e;
            }
            total += std::log(sum) - own;
            const T share = 1 / (sum * samples);
            for (I c = 0; c < classes; c++) z[c] *= share;
            z[y[n]] -= T(1) / samples;
            for (I c = classes; c < wide; c++) z[c] = 0;
        }
        return T(total / samples);
    }

    static T half_square(T* logits, const T* y, I samples) {
        double total = 0;
        for (I n = 0; n < samples; n++) {
            const T residual = logits[n * W] - y[n];
            total += 0.5 * residual * residual;
            logits[n * W] = residual / samples;
            for (I c = 1; c < W; c++) logits[n * W + c] = 0;
        }
        return T(total / samples);
    }
};

// Five numbers a layer: inputs, outputs, columns of weight and bias, whether a ReLU follows.
struct Layer { I in, out, weight, bias, relu; };

template <class T> struct Pass {
    typedef Kernel<T> K;
    I modalities, samples, classes, biases, squared, row;
    const I *depth, *heads, *bias_columns;  // layers a modality; columns of the head's weights and of its biases
    const Layer* layers;
    T** kept;  // what every layer puts out, in the order of the layers
    T *weight, *back, *g[2], *logits, *bias;

    void operator()(const T* const* x, const void* y, const T* p, T* d, T* const* features, T* said, T* loss) {
        const Layer* layer = layers;
        const I wide = K::padded(classes);
        T** h = kept;
        for (I c = 0; c < wide; c++) {
            bias[c] = 0;
            for (I b = 0; c < classes && b < biases; b++) bias[c] += p[bias_columns[b] + c];
        }
        for (I m = 0; m < modalities; m++) {
            const T* below = x[m];
            I stride = layer->in;
            for (I l = 0; l < depth[m]; l++, layer++, h++) {
                const I out = K::padded(layer->out);
                const T* w = K::filled(p + layer->weight, layer->in, layer->out, weight);
                const T* b = K::filled(p + layer->bias, 1, layer->out, back);
                K::product(below, stride, 1, w, out, b, *h, out, samples, layer->in, out, K::BIAS, layer->relu);
                below = *h;
                stride = out;
            }
            const I width = layer[-1].out;
            K::cut(below, samples, width, features[m]);
            const T* w = K::filled(p + heads[m], width, classes, weight);
            K::product(below, stride, 1, w, wide, bias, logits, wide, samples, width, wide, m ? K::HELD : K::BIAS);
        }
        K::cut(logits, samples, classes, said);
        *loss = squared ? K::half_square(logits, (const T*)y, samples) : K::entropy(logits, (const I*)y, samples, classes);
        K::gather(logits, nullptr, false, samples, classes, d + bias_columns[0]);
        for (I b = 1; b < biases; b++) memcpy(d + bias_columns[b], d + bias_columns[0], classes * sizeof(T));
        for (I m = modalities - 1; m >= 0; m--) {
            const I width = layer[-1].out, above = K::padded(width);
            K::weigh(h[-1], above, logits, samples, width, classes, d + heads[m], back);
            K::transposed(p + heads[m], width, classes, weight);
            K::product(logits, wide, 1, weight, above, nullptr, g[0], above, samples, classes, above, K::ZERO);
            int now = 0;
            for (I l = depth[m] - 1; l >= 0; l--) {
                layer--, h--;
                K::gather(g[now], *h, layer->relu, samples, layer->out, d + layer->bias);
                const I out = K::padded(layer->out);
                K::weigh(l ? h[-1] : x[m], l ? K::padded(layer->in) : layer->in, g[now], samples, layer->in, layer->out, d + layer->weight, back);
                if (!l) continue;
                const I in = K::padded(layer->in);
                K::transposed(p + layer->weight, layer->in, layer->out, weight);
                K::product(g[now], out, 1, weight, in, nullptr, g[!now], in, samples, layer->out, in, K::ZERO);
                now = !now;
            }
        }
    }
};

// Numbers that a replicate's scratch holds: what every layer puts out, two cotangents, a weight and another one, logits, bias.
template <class T> I places(const I* plan, T* scratch, Pass<T>* pass, T** kept) {
    const I modalities = plan[0], classes = plan[1], biases = plan[2], samples = plan[3];
    const I* depth = plan + 6;
    const I *heads = depth + modalities, *columns = heads + modalities;
    const Layer* layers = (const Layer*)(columns + biases);
    const I wide = Kernel<T>::padded(classes);
    I widest = wide, largest = wide * Kernel<T>::W, at = 0, every = 0;
    const Layer* layer = layers;
    for (I m = 0; m < modalities; m++) {
        for (I l = 0; l < depth[m]; l++, layer++, every++) {
            const I in = Kernel<T>::padded(layer->in), out = Kernel<T>::padded(layer->out);
            if (kept) kept[every] = scratch + at;
            at += samples * out;
            widest = out > widest ? out : widest;
            widest = in > widest ? in : widest;
            largest = in * out > largest ? in * out : largest;
        }
        const I last = Kernel<T>::padded(layer[-1].out) * wide;
        largest = last > largest ? last : largest;
    }
    if (pass) {
        T* next = scratch + at;
        *pass = Pass<T>{modalities, samples, classes, biases, plan[4], plan[5], depth, heads, columns, layers, kept,
                        next, next + largest, {next + 2 * largest, next + 2 * largest + samples * widest},
                        next + 2 * largest + 2 * samples * widest, next + 2 * largest + 2 * samples * widest + samples * wide};
    }
    return at + 2 * largest + 2 * samples * widest + samples * wide + wide;
}

template <class T> void run(const I* plan, I replicates, T* scratch, T** pointers, const T* const* x, const I* steps, const void* y, I step,
                            const T* parameters, T* gradient, T* const* features, T* said, T* loss) {
    const I modalities = plan[0];
    const T** input = (const T**)pointers;  // room for one a modality, for another one, and for one a layer
    T** output = pointers + modalities;
    Pass<T> pass;
    places<T>(plan, scratch, &pass, pointers + 2 * modalities);
    for (I r = 0; r < replicates; r++) {
        const Layer* layer = pass.layers;
        for (I m = 0; m < modalities; m++) {
            layer += pass.depth[m];
            input[m] = x[m] + r * steps[m];
            output[m] = features[m] + r * pass.samples * layer[-1].out;
        }
        const char* label = (const char*)y + r * step * (pass.squared ? sizeof(T) : sizeof(I));
        pass(input, label, parameters + r * pass.row, gradient + r * pass.row, output, said + r * pass.samples * pass.classes, loss + r);
    }
}

}  // namespace

extern "C" {
int64_t numbers_float(const I* plan) { return places<float>(plan, nullptr, nullptr, nullptr); }
int64_t numbers_double(const I* plan) { return places<double>(plan, nullptr, nullptr, nullptr); }
void run_float(const I* plan, I n, float* s, float** k, const float* const* x, const I* xs, const void* y, I ys, const float* p, float* d, float* const* f, float* z, float* l) {
    run(plan, n, s, k, x, xs, y, ys, p, d, f, z, l);
}
void run_double(const I* plan, I n, double* s, double** k, const double* const* x, const I* xs, const void* y, I ys, const double* p, double* d, double* const* f, double* z, double* l) {
    run(plan, n, s, k, x, xs, y, ys, p, d, f, z, l);
}
}
