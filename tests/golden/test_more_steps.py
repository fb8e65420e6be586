"""Steps of the methods that bring a network of their own or look at other data, by the papers' formulas in plain autograd."""

import math
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2
from torch.nn.functional import cross_entropy, gelu, layer_norm, normalize, scaled_dot_product_attention, softplus


def dense(net, name, x):
    return x @ net.p[f"{name}.weight"] + net.p[f"{name}.bias"]


def mlp(net, x, parts):
    """Two dense layers with ReLU, from a mapping of names to tensors."""
    for k in (0, 2):
        x = (x @ parts[f"layers.{k}"] + parts[f"layers.{k + 1}"]).relu()
    return x


def agm(alpha=1.0):
    """κ = exp(α min(r̄ − r, 10)) multiplies the gradient through each modality's share of the logits; then the whole is cut at norm one."""
    past = {}

    def step(net, epoch):
        shares = {m: net.share(m) for m in net.names}
        score = {m: cross_entropy(f, net.y).item() for m, f in shares.items()}
        several, mean = len(score) / (len(score) - 1), sum(score.values()) / len(score)
        logits = sum(shares.values())
        cotangent = torch.autograd.grad(cross_entropy(logits, net.y), logits)[0]
        g = {k: torch.zeros_like(v) for k, v in net.p.items()}
        for m, share in shares.items():
            r = math.exp(several * (mean - score[m]))
            past.setdefault(m, []).append(r)
            kappa = math.exp(alpha * min(sum(past[m]) / len(past[m]) - r, 10.0))
            own = net.gradient((share * cotangent).sum())
            g = {k: v + kappa * own[k] for k, v in g.items()}
        norm = math.sqrt(sum(float(v.square().sum()) for v in g.values()))
        return {k: v / max(norm, 1.0) for k, v in g.items()}

    return step


def unimodal(net, encoders, heads, epochs):
    """Encoders and heads after so many steps, each modality alone."""
    names = {m: (encoders[m], {k: heads[f"head:{m}.{k}"] for k in ("weight", "bias")}) for m in net.names}
    trained = {}
    for m, (inner, head) in names.items():
        p = {**{k: v.detach().clone() for k, v in inner.items()}, **{k: v.detach().clone() for k, v in head.items()}}
        for _ in range(epochs):
            p = {k: v.requires_grad_() for k, v in p.items()}
            loss = cross_entropy(mlp(net, net.x[m], p) @ p["weight"] + p["bias"], net.y)
            g = torch.autograd.grad(loss, list(p.values()))
            p = {k: (v - net.rate * d).detach() for (k, v), d in zip(p.items(), g, strict=True)}
        trained[m] = p
    return trained


def umt(lam=10.0, epochs=3):
    """Teachers are the same encoders after three steps alone."""
    teachers = {}

    def step(net, epoch):
        if not teachers:
            start = {m: {k.removeprefix(f"encoders.{m}."): net.p[k] for k in net.encoder(m)} for m in net.names}
            found = unimodal(net, start, net.heads, epochs)
            teachers.update({m: mlp(net, net.x[m], p) for m, p in found.items()})
        far = sum((net.z(m) - teachers[m]).square().mean() for m in net.names)
        return net.gradient(cross_entropy(net.fused(), net.y) + lam * far)

    return step


def mmlora(epochs=2):
    """W* + A B of rank two in every layer of encoders after two steps alone; the heads, from the same training, learn on."""
    frozen = {}

    def step(net, epoch):
        if not frozen:
            inner = {
                m: {k.split("inner.")[1]: v for k, v in net.frozen.items() if k.startswith(f"encoders.{m}.inner.")}
                for m in net.names
            }
            for m, p in unimodal(net, inner, net.heads, epochs).items():
                frozen[m] = p
                net.move({**net.p, f"head:{m}.weight": p["weight"], f"head:{m}.bias": p["bias"]})
        logits = 0.0
        for m in net.names:
            own = dict(frozen[m])
            for k in (0, 2):
                low = f"encoders.{m}.updates.layers/{k}"
                own[f"layers.{k}"] = own[f"layers.{k}"] + net.p[f"{low}.down"] @ net.p[f"{low}.up"]
            logits = logits + dense(net, f"head:{m}", mlp(net, net.x[m], own)) / len(net.names)
        return net.gradient(cross_entropy(logits, net.y))

    return step


def attention_block(p, name, x, heads):
    """x + Att(LN x), then + W₂ gelu(W₁ LN x), with torch's own attention. Shape: [n, tokens, d]."""

    def layer(part, v):
        return v @ p[f"{name}.{part}.weight"] + p[f"{name}.{part}.bias"]

    def norm(part, v):
        return layer_norm(v, v.shape[-1:], p[f"{name}.{part}.gain"], p[f"{name}.{part}.offset"])

    def split(v):
        return v.unflatten(-1, (heads, -1)).transpose(1, 2)

    own = norm("before", x)
    q, k, v = (split(layer(f"attention.{part}", own)) for part in ("query", "key", "value"))
    x = x + layer("attention.out", scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))
    return x + layer("narrow", gelu(layer("wide", norm("between", x))))


def m2pt(heads=2):
    """Features of the frozen encoders are one token each; prompts before them, and before every layer of the frozen reader."""

    def step(net, epoch):
        p, language = {**net.p, **net.frozen}, max(net.names)
        tokens = []
        for m in net.names:
            inner = {k.split("inner.")[1]: v for k, v in p.items() if k.startswith(f"encoders.{m}.inner.")}
            z = mlp(net, net.x[m], inner).unsqueeze(1)
            if m != language:
                prompts = p[f"encoders.{m}.prompts.values"][0]
                z = torch.cat([prompts.expand(net.n, -1, -1), z], 1)
            name = "fusion.own.embedding" if m == language else f"fusion.interaction.{m}"
            tokens.append(z @ p[f"{name}.weight"] + p[f"{name}.bias"])
        h = torch.cat(tokens, 1)
        count = h.shape[1]
        for i, prompts in enumerate(p["fusion.prompts.values"]):
            h = torch.cat([prompts.expand(net.n, -1, -1), h[:, -count:]], 1)
            h = attention_block(p, f"fusion.own.blocks.{i}", h, heads)
        content = layer_norm(h[:, -count:], h.shape[-1:], p["fusion.own.norm.gain"], p["fusion.own.norm.offset"])
        return net.gradient(cross_entropy(content.mean(1) @ p["fusion.head.weight"] + p["fusion.head.bias"], net.y))

    return step


def mrhp(margin=0.25, sharpness=8.0, tokens=2):
    """Features after one block over everybody's tokens, a residual; circle losses of the codes of every ordered pair of modalities."""

    def circle(s):
        found = []
        for i in range(len(s)):
            others = [j for j in range(len(s)) if j != i]
            far = (s[i, others] + margin).clamp(min=0).detach()
            near = (1 + margin - s[i, i]).clamp(min=0).detach()
            pushed = torch.logsumexp(sharpness * far * (s[i, others] - margin), 0)
            found.append(softplus(pushed - sharpness * near * (s[i, i] - 1 + margin)))
        return sum(found) / len(found) / sharpness

    def step(net, epoch):
        z = {m: net.z(m) for m in net.names}
        room = "interaction:shared"
        lifted = [dense(net, f"{room}.lifts.{m}", z[m]).unflatten(-1, (tokens, -1)) for m in net.names]
        h = attention_block(net.p, f"{room}.blocks.0", torch.cat(lifted, 1), 2)
        for k, m in enumerate(net.names):
            z[m] = z[m] + dense(net, f"{room}.outs.{m}", h[:, k * tokens : (k + 1) * tokens].amax(1))
        codes = {m: normalize(dense(net, f"common:{m}", v).tanh(), dim=-1) for m, v in z.items()}
        pairs = [codes[a] @ codes[b].T for a, b in combinations(net.names, 2)]
        contrast = sum(circle(s) + circle(s.T) for s in pairs) / (2 * len(pairs))
        logits = sum(net.share(m, v) for m, v in z.items())
        return net.gradient(cross_entropy(logits, net.y) + contrast)

    return step


def minvi(sweeps=2):
    """Each modality from all the others by unrolled sweeps, half a squared error; the classifier reads the shared layer of all."""

    def step(net, epoch):
        count = len(net.names)
        weight, bias = ({m: net.p[f"top:{m}.{part}"] for m in net.names} for part in ("weight", "bias"))
        hidden = net.p["top:shared.bias"]
        path = {m: torch.sigmoid(dense(net, f"path:{m}", net.z(m))) for m in net.names}
        loss = cross_entropy(
            dense(net, "head:shared", torch.sigmoid(hidden + sum(path[m] @ weight[m] for m in net.names))), net.y
        )
        for target in net.names:
            heard = sum(path[m] @ weight[m] for m in net.names if m != target)
            h = torch.sigmoid(hidden + heard * count / (count - 1))
            for _ in range(sweeps):
                guess = torch.sigmoid(h @ weight[target].T + bias[target])
                h = torch.sigmoid(hidden + heard + guess @ weight[target])
            guess = dense(net, f"data:{target}", torch.sigmoid(h @ weight[target].T + bias[target]))
            x = net.x[target]
            data = ((x - x.mean(0)) / (x.std(0, correction=0) + 1e-6)).clamp(-10, 10)
            loss = loss + ((guess - data) ** 2).mean() / 2
        return net.gradient(loss)

    return step


def relearning(lam=3.0, rounds=20):
    """Before the second step encoders go back by tanh(3 |gap of purity|); scipy's k-means from the same drawn centres."""
    start = {}

    def purity(z, y, chances):
        far, centres = np.ones(len(z)), []
        for u in chances:
            reach = far.cumsum()
            centres.append(z[np.searchsorted(reach, u * reach[-1], side="right")])
            far = np.min([((z - c) ** 2).sum(1) for c in centres], axis=0)
        _, member = kmeans2(z, np.array(centres), iter=rounds, minit="matrix", missing="raise")
        return sum(np.bincount(y[member == k], minlength=1).max() for k in set(member)) / len(y)

    def step(net, epoch):
        if epoch == 0:
            start.update({k: v.detach().clone() for k, v in net.p.items()})
        if epoch == 1:
            moved = {}
            for m in net.names:
                parts = {k.removeprefix(f"encoders.{m}."): net.p[k] for k in net.encoder(m)}
                chances = net.drawn[f"centres {m}"].numpy()
                pure = [
                    purity(mlp(net, x, parts).detach().numpy(), y.numpy(), chances)
                    for x, y in ((net.x[m], net.y), (net.held.x[m], net.held.y))
                ]
                back = math.tanh(lam * abs(pure[0] - pure[1]))
                moved[m] = back
                net.move({k: back * start[k] + (1 - back) * v if k in net.encoder(m) else v for k, v in net.p.items()})
            assert max(moved.values()) > 0
        return net.gradient(cross_entropy(net.fused(), net.y))

    return step


def valuation(cut=0.4):
    """Shapley's values over all orders of arrival, copies by their size, places by a comb; who is not heard is zero."""

    def step(net, epoch):
        with torch.no_grad():
            share = {m: net.share(m) for m in net.names}
            bias = net.p["fusion.head.bias"] / len(net.names)

            def paid(coalition):
                said = sum(share[m] if m in coalition else bias.expand_as(share[m]) for m in net.names)
                return len(coalition) * (said.argmax(-1) == net.y).double()

            value = {m: torch.zeros(net.n).double() for m in net.names}
            orders = list(permutations(net.names))
            for order in orders:
                for i, m in enumerate(order):
                    value[m] += (paid(order[: i + 1]) - (paid(order[:i]) if i else 0.0)) / len(orders)
        wanted, kinds = [], [None, *net.names]
        for i in range(net.n):
            for m in kinds:
                v = 1.0 if m is None else float(value[m][i])
                copies = 1 if m is None else 0 if v > 1 - 1e-9 else 1 if v > cut else 2 if v > -0.1 else 3
                wanted += [(i, m)] * copies
        assert len(wanted) > net.n
        gap, u = len(wanted) / net.n, float(net.drawn["places"])
        heard = [wanted[int((j + u) * gap)] for j in range(net.n)]
        zero = torch.zeros(net.n, net.width).double()
        whole, blank = {m: net.share(m) for m in net.names}, {m: net.share(m, zero) for m in net.names}
        logits = [sum((whole if k in {None, m} else blank)[m][i] for m in net.names) for i, k in heard]
        return net.gradient(cross_entropy(torch.stack(logits), net.y[[i for i, _ in heard]]))

    return step


REFERENCES = {
    "agm": (agm, {}, 3, {}),
    "umt": (umt, {"teacher_epochs": 3}, 2, {}),
    "mmlora": (mmlora, {"rank": 2, "pretrain": 2}, 3, {}),
    "m2pt": (m2pt, {"visual": 2, "textual": 3, "width": 8, "pretrain": 0}, 2, {}),
    "mrhp": (mrhp, {"sharpness": 8.0}, 2, {}),
    "minvi": (minvi, {"pretrain": 0, "sweeps": 2, "units": 6, "hidden": 7}, 2, {}),
    "relearning": (relearning, {"every": 1}, 2, {"drawn_in": 2, "apart": True}),
    "valuation": (valuation, {"warmup": 0}, 1, {}),
}


@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("name", REFERENCES)
def test_steps_are_what_the_formulas_say(name, names, beside):
    reference, settings, epochs, how = REFERENCES[name]
    beside(name, settings, names, epochs, reference(), **how)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("agm", {"alpha": 0.9}), ("umt", {"epochs": 2}), ("mmlora", {"epochs": 1}), ("m2pt", {"heads": 4}),
        ("mrhp", {"margin": 0.2}), ("minvi", {"sweeps": 1}), ("relearning", {"lam": 2.0}), ("valuation", {"cut": 1.0}),
    ],
)  # fmt: skip
def test_another_formula_is_noticed(name, wrong, beside):
    reference, settings, epochs, how = REFERENCES[name]
    with pytest.raises(AssertionError):
        beside(name, settings, "ab", epochs, reference(**wrong), **how)
