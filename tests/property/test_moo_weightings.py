"""Laws of the weightings, over random, conflicting, badly scaled, dependent, duplicated and zero rows."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError
from mmtheory.moo import (
    EPO,
    FAMO,
    IMTLG,
    MGDA,
    PCD,
    STCH,
    WEIGHTINGS,
    AlignedMTL,
    CAGrad,
    CappedMGDA,
    ConFIG,
    DualProj,
    FairGrad,
    GradVac,
    Linear,
    MMPareto,
    NashMTL,
    NGDiff,
    PCGrad,
    SDMGrad,
    SmoothLexicographic,
    UPGrad,
    certify,
    certify_nnqp,
    certify_simplex,
    checked,
    gen_optimum,
    graddrop,
    nnqp,
    nnqp_by_enumeration,
    project,
)  # fmt: skip
from mmtheory.moo._active_set import active_set
from mmtheory.moo._cagrad import by_shift, by_support, of_two
from mmtheory.moo._cagrad_path import Inner, path_of_many, path_of_one
from mmtheory.moo._eigen import jacobi
from mmtheory.moo._equal_angle import by_eigenvalues, solved
from mmtheory.moo._nnqp import scaled
from mmtheory.rng import Stream

KINDS = ("plain", "conflict", "scaled", "duplicated", "dependent", "zero")
BATCH = 24


def jacobians(m: int, kind: str, seed: int, batch: int = BATCH) -> torch.Tensor:
    draws = Stream(seed, ("moo", kind, m)).draws(range(batch))
    rank = max(1, m // 2) if kind == "dependent" else 3 * m
    J = draws.normal("J", m, rank)
    if kind == "conflict":
        J = J - 1.1 * J.mean(1, keepdim=True)
    if kind == "scaled":
        J = J / J.norm(dim=-1, keepdim=True) * 10 ** (6 * draws.uniform("scale", m, 1) - 3)
    if kind == "duplicated":
        J[:, -1] = J[:, 0]
    if kind == "zero":
        J[:, m // 2] = 0
    return J


@functools.lru_cache(maxsize=64)
def gramians(m: int, kind: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    J = jacobians(m, kind, seed)
    return J, J @ J.mT


cases = st.tuples(st.integers(2, 8), st.sampled_from(KINDS), st.integers(0, 30))
regular = st.tuples(st.integers(2, 8), st.sampled_from(("plain", "conflict")), st.integers(0, 30))
few = settings(max_examples=25, deadline=None)


def direction(J: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return (w[:, None] @ J)[:, 0]


def close(a: torch.Tensor, b: torch.Tensor, tol: float, scale: torch.Tensor | float = 1.0) -> bool:
    return bool(((a - b).abs() <= tol * torch.as_tensor(scale)).all())


@few
@given(cases)
def test_min_norm_has_no_duality_gap_over_six_decades(case):
    _, G = gramians(*case)
    for w in (MGDA().weights(G), torch.stack([MGDA().weights(g) for g in G])):
        c = certify("mgda", G, w)
        least = G.diagonal(dim1=-2, dim2=-1).amin(-1)
        assert (c.gap <= 1e-10 * c.squared_norm + 1e-13 * least).all()
        assert (c.primal <= 1e-14).all()
        assert (
            (G @ w[..., None])[..., 0] >= (c.squared_norm - c.gap)[:, None] * (1 - 1e-9) - 1e-9 * least[:, None]
        ).all()


@few
@given(cases)
def test_pivoting_active_set_and_enumeration_agree(case):
    _, G = gramians(*case)
    q = (G @ Stream(case[2]).draws(range(len(G))).normal("p", case[0], 1))[..., 0]
    scale = (G.abs() @ q.abs()[..., None])[..., 0].amax(-1) + q.abs().amax(-1)
    reference = nnqp_by_enumeration(G, q)
    problem = scaled(G, q)
    for z in (
        nnqp(G, q),
        torch.stack([nnqp(a, b) for a, b in zip(G, q, strict=True)]),
        active_set(problem.cosines, problem.linear) * problem.inverse,
    ):
        c = certify_nnqp(G, q, z)
        assert (c.primal == 0).all()
        assert (c.dual <= 1e-12 * scale).all()
        value = 0.5 * (z * (G @ z[..., None])[..., 0]).sum(-1) + (q * z).sum(-1)
        best = 0.5 * (reference * (G @ reference[..., None])[..., 0]).sum(-1) + (q * reference).sum(-1)
        assert (value <= best + 1e-10 * best.abs() + 1e-13 * scale).all()


@few
@given(cases, st.integers(0, 99))
def test_permuting_the_objectives_permutes_the_direction(case, seed):
    J, G = gramians(*case)
    order = torch.from_numpy(Stream(seed).numpy().permutation(case[0]))
    for name in ("mean", "mgda", "upgrad", "dualproj", "cagrad", "sdmgrad", "nash", "config", "capped-mgda"):
        if name == "nash" and case[1] != "plain":
            continue
        w = WEIGHTINGS[name]()
        a, b = direction(J, w.weights(G)), direction(J[:, order], w.weights(G[:, order][:, :, order]))
        scale = (
            G.diagonal(dim1=-2, dim2=-1).amax(-1).sqrt()
            if name != "mgda"
            else G.diagonal(dim1=-2, dim2=-1).amin(-1).sqrt()
        )
        scale = torch.maximum(scale, a.norm(dim=-1))
        assert close(a, b, 2e-7, scale[:, None]), name


@few
@given(cases, st.sampled_from((1e-6, 1e-3, 1e4)))
def test_weights_do_not_notice_a_common_scale(case, c):
    J, G = gramians(*case)
    for name in (
        "mean",
        "mgda",
        "upgrad",
        "dualproj",
        "cagrad",
        "sdmgrad",
        "pcgrad",
        "imtl-g",
        "config",
        "aligned",
        "gradvac",
        "capped-mgda",
    ):
        w = WEIGHTINGS[name]()
        a, b = direction(J, w.weights(G)), direction(J, w.weights(G * c**2))
        size = torch.maximum(a.norm(dim=-1, keepdim=True), G.diagonal(dim1=-2, dim2=-1).amax(-1, keepdim=True).sqrt())
        if name in {"imtl-g", "config", "aligned"} and case[1] in {"dependent", "duplicated"}:
            continue  # their pseudo-inverse cuts at the rounding of the eigenvalues
        assert close(a, b, 1e-6, size), name


@few
@given(st.tuples(st.integers(2, 7), st.sampled_from(KINDS), st.integers(0, 30)))
def test_min_norm_ignores_convex_combinations_and_only_shrinks(case):
    J, G = gramians(*case)
    mixed = torch.cat((J, J.mean(1, keepdim=True)), 1)
    other = Stream(case[2]).draws(range(len(J))).normal("row", 1, J.shape[-1])
    more = torch.cat((J, other), 1)
    d = direction(J, MGDA().weights(G))
    least = G.diagonal(dim1=-2, dim2=-1).amin(-1)
    same = direction(mixed, MGDA().weights(mixed @ mixed.mT))
    assert close((same**2).sum(-1), (d**2).sum(-1), 1e-9, least)
    shorter = direction(more, MGDA().weights(more @ more.mT))
    assert ((shorter**2).sum(-1) <= (d**2).sum(-1) + 1e-9 * least).all()


@few
@given(cases)
def test_upgrad_and_dualproj_conflict_with_nothing(case):
    _, G = gramians(*case)
    norms = G.diagonal(dim1=-2, dim2=-1).sqrt()
    for w in (UPGrad().weights(G), DualProj().weights(G)):
        slack = 1e-11 * norms * (norms * w).sum(-1, keepdim=True)
        assert ((G @ w[..., None])[..., 0] >= -slack).all()
    assert (certify("upgrad", G, UPGrad().weights(G)).gap <= 1e-9).all()


@few
@given(cases)
def test_upgrad_is_linear_under_positive_row_scaling(case):
    J, _ = gramians(*case)
    draws = Stream(case[2]).draws(range(len(J)))
    a, b = (10 ** (4 * draws.uniform(n, case[0], 1) - 2) for n in "ab")
    sum_of, of_sum = [direction(c * J, UPGrad().weights((c * J) @ (c * J).mT)) for c in (a, b)], (a + b) * J
    size = (of_sum.norm(dim=-1)).amax(-1)[:, None]
    assert close(sum_of[0] + sum_of[1], direction(of_sum, UPGrad().weights(of_sum @ of_sum.mT)), 1e-8, size)


@few
@given(cases)
def test_upgrad_is_the_mean_without_conflict_and_half_pcgrad_for_two(case):
    _, G = gramians(*case)
    assert close(UPGrad().weights(G.abs() @ G.abs()), torch.full_like(G[..., 0], 1 / case[0]), 1e-12)
    two = G[:, :2, :2]
    assert close(2 * UPGrad().weights(two), PCGrad().weights(two), 1e-9, PCGrad().weights(two).abs() + 1)


@few
@given(cases, st.floats(0.05, 3.0))
def test_cagrad_stays_on_its_ball_without_a_gap(case, c):
    J, G = gramians(*case)
    w = CAGrad(c=c).weights(G)
    mean = J.mean(1)
    radius = c * mean.norm(dim=-1)
    size = G.diagonal(dim1=-2, dim2=-1).amax(-1)
    certificate = certify(CAGrad(c=c), G, w)
    assert (certificate.gap <= 1e-8 * size).all()
    moved = (direction(J, w) - mean).norm(dim=-1)
    assert (moved <= radius + 1e-6 * size.sqrt())[(w != 0).any(-1)].all()
    active = (G @ w[..., None])[..., 0].amin(
        -1
    ).abs() > 1e-9 * size  # only a worst slope of zero leaves the ball's edge
    assert close(moved[active], radius[active], 1e-6, size.sqrt()[active])
    assert close(CAGrad(c=0.0).weights(G), torch.full_like(w, 1 / case[0]), 0)


@few
@given(cases, st.floats(0.05, 3.0))
def test_cagrad_by_path_by_supports_and_by_bisection(case, c):
    """Three routes to the inner programme attain one value."""
    _, G = gramians(*case)
    G = G / G.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    p = torch.full_like(G[..., 0], 1 / case[0])
    size = (p * (G @ p[..., None])[..., 0]).sum(-1)
    inner = Inner(G, (G @ p[..., None])[..., 0], c**2 * size, size)

    def value(u):
        return (u * inner.h).sum(-1) + (inner.phi * (u * (G @ u[..., None])[..., 0]).sum(-1).clamp(min=0)).sqrt()

    points, certain = path_of_many(inner)
    reference = value(by_support(inner))
    assert close(value(points)[certain], reference[certain], 1e-8)
    assert close(value(by_shift(inner)), reference, 1e-8)
    if case[0] == 2:
        assert close(value(of_two(inner)), reference, 1e-8)
    for i in range(4):
        one = path_of_one(Inner(*(part[i] for part in inner)))
        assert one is None or close(value(one.expand_as(p))[i], reference[i], 1e-8)


@few
@given(cases)
def test_cagrad_moves_on_where_one_gradient_vanishes(case):
    """With c < 1 it heads for the mean's own stationary points: a zero row, whose slope is zero along every direction, is no reason to stop."""
    J, G = gramians(*case)
    J = J.clone()
    J[:, 0] = 0
    G = J @ J.mT
    w = CAGrad(c=0.5).weights(G)
    mean, size = J.mean(1), G.diagonal(dim1=-2, dim2=-1).amax(-1)
    d = direction(J, w)
    progress, length = (d * mean).sum(-1), (mean**2).sum(-1)
    assert (progress >= 0.5 * 0.75 * length - 1e-9 * size).all()
    assert (certify("cagrad", G, w).gap <= 1e-8 * size).all()


@few
@given(regular)
def test_cagrad_turns_to_min_norm_as_the_ball_grows(case):
    J, G = gramians(*case)
    a, b = direction(J, CAGrad(c=1e6).weights(G)), direction(J, MGDA().weights(G))
    assert (torch.nn.functional.cosine_similarity(a, b) >= 1 - 1e-6).all()


@few
@given(st.tuples(st.integers(2, 8), st.just("plain"), st.integers(0, 30)))
def test_nash_and_fairgrad_solve_their_equations(case):
    J, G = gramians(*case)
    for g, rows in (
        (G, J),
        (G * (s := 10 ** torch.linspace(-2, 2, case[0], dtype=G.dtype))[:, None] * s, J * s[:, None]),
    ):
        w = NashMTL().weights(g)
        assert (certify("nash", g, w).gap <= 1e-10).all()
        assert close(direction(rows, w), direction(J, NashMTL().weights(G)), 1e-9)
        assert close(direction(rows, w).norm(dim=-1), torch.tensor(float(case[0])).sqrt().double(), 1e-6)
        for alpha in (0.3, 1.0, 2.0, 10.0) if g is G else (1.0, 2.0, 10.0):
            f = FairGrad(alpha=alpha)
            assert (certify(f, g, f.weights(g)).gap <= 1e-9).all(), alpha
    assert close(FairGrad(alpha=1.0).weights(G), NashMTL().weights(G), 0)


@few
@given(regular)
def test_equal_angles(case):
    J, G = gramians(*case)
    for name in ("imtl-g", "config"):
        assert (certify(name, G, WEIGHTINGS[name]().weights(G)).gap <= 1e-9).all()
    a, b = direction(J, IMTLG().weights(G)), direction(J, ConFIG().weights(G))
    assert close(torch.nn.functional.cosine_similarity(a, b).abs(), torch.ones(len(G), dtype=G.dtype), 1e-9)
    up = ((G @ IMTLG().weights(G)[..., None])[..., 0] < 0).all(-1)
    assert bool(
        ((certify("imtl-g", G, IMTLG().weights(G)).dual > 0) == up).all()
    )  # a negative sum of weights is flagged


@few
@given(regular)
def test_two_bisectors_are_one_direction(case):
    J, G = gramians(*case)
    G, J = G[:, :2, :2], J[:, :2]
    directions = [direction(J, w.weights(G)) for w in (NGDiff(signs=(1, 1)), ConFIG(), NashMTL())]
    for d in directions[1:]:
        assert close(torch.nn.functional.cosine_similarity(d, directions[0]), torch.ones(len(G), dtype=G.dtype), 1e-9)


@few
@given(regular)
def test_aligned_brings_singular_values_together(case):
    J, G = gramians(*case)
    m = case[0]
    B = torch.stack([AlignedMTL(preference=tuple(float(i == j) for i in range(m))).weights(G) for j in range(m)], -1)
    values = torch.linalg.svdvals(J.mT @ B)
    full = torch.linalg.eigvalsh(G)[:, 0] > 1e-9 * G.diagonal(dim1=-2, dim2=-1).amax(-1)
    assert close(values[full], torch.linalg.eigvalsh(G)[full][:, :1].sqrt(), 1e-5, values[full][:, :1])
    assert (certify("aligned", G, AlignedMTL().weights(G)).gap[full] <= 1e-6).all()


@few
@given(regular)
def test_ngdiff_identities(case):
    J, G = gramians(*case)
    G, J = G[:, :2, :2], J[:, :2]
    cosine = G[:, 0, 1] / (G[:, 0, 0] * G[:, 1, 1]).sqrt()
    w = NGDiff().weights(G)
    d = direction(J, w)
    assert close((d**2).sum(-1), 2 * (1 - cosine), 1e-12)
    slopes = (J @ d[..., None])[..., 0]
    assert close(slopes[:, 0], J[:, 0].norm(dim=-1) * (1 - cosine), 1e-11)
    assert close(slopes[:, 1], -J[:, 1].norm(dim=-1) * (1 - cosine), 1e-11)
    flipped = NGDiff().weights(G.flip(-1, -2))
    assert close(flipped.flip(-1), -w, 1e-12)
    scaled_rows = torch.tensor([7.0, 0.01], dtype=G.dtype)
    assert close(NGDiff().weights(G * scaled_rows[:, None] * scaled_rows) * scaled_rows, w, 1e-10, w.abs())


@given(st.floats(0.1, 10), st.floats(-3, 3), st.floats(0.01, 1))
def test_gen_is_the_exact_line_search_of_a_quadratic(bend, shift, rate):
    best = abs(shift) + 0.5
    losses = [0.5 * bend * (t * rate - best) ** 2 for t in (-1, 0, 1)]
    assert (
        abs(float(gen_optimum(*(torch.tensor(v, dtype=torch.float64) for v in (*losses, rate)))) - best)
        <= 1e-6 * best / rate**2
    )


@few
@given(cases, st.floats(0.0, 5.0))
def test_sdmgrad_is_min_norm_of_shifted_rows(case, lam):
    J, G = gramians(*case)
    w = SDMGrad(lam=lam).weights(G)
    moved = J + lam * J.mean(1, keepdim=True)
    d = direction(moved, MGDA().weights(moved @ moved.mT)) / (1 + lam)
    assert close(direction(J, w), d, 2e-7, G.diagonal(dim1=-2, dim2=-1).amax(-1, keepdim=True).sqrt())
    start = torch.full_like(w, 1 / case[0])
    inside, u = SDMGrad(lam=lam).descend(G, start)
    assert close(u.sum(-1), torch.ones(len(G), dtype=G.dtype), 1e-12)
    assert inside.isfinite().all()


@few
@given(cases)
def test_capped_weights_lie_between_the_mean_and_min_norm(case):
    _, G = gramians(*case)
    m = case[0]
    least = G.diagonal(dim1=-2, dim2=-1).amax(-1)
    assert close(CappedMGDA(cap=1 / m).weights(G), torch.full_like(G[..., 0], 1 / m), 1e-12)
    for cap in (1.5 / m, 1.0):
        c = certify(CappedMGDA(cap=cap), G, CappedMGDA(cap=cap).weights(G))
        assert (c.gap <= 1e-9 * least).all()
        assert (c.primal <= 1e-12).all()


@few
@given(regular)
def test_mmpareto_sums_without_conflict_and_never_shortens(case):
    J, G = gramians(*case)
    G, J = G[:, :2, :2], J[:, :2]
    w = MMPareto(gamma=1.5).weights(G)
    agree = G[:, 0, 1] > 0
    assert close(w[agree], torch.full_like(w[agree], 1.5), 1e-12)
    d, total = direction(J, w), 1.5 * J.sum(1)
    assert (d.norm(dim=-1) >= total.norm(dim=-1) * (1 - 1e-12)).all()
    assert ((J @ d[..., None])[..., 0] >= -1e-9).all()
    parts = torch.stack((J[..., :3] @ J[..., :3].mT, J[..., 3:] @ J[..., 3:].mT), 1)
    same = MMPareto(gamma=1.5).tensor_weights(parts)
    assert close(same, w[:, None].expand_as(same), 1e-9, w.abs().amax())
    own = MMPareto(gamma=1.5, rescale="tensor").tensor_weights(parts)
    assert own.shape == same.shape
    for k in range(2):
        piece = own[:, k, None] @ parts[:, k] @ own[:, k, :, None]
        assert (piece[:, 0, 0] >= 1.5**2 * parts[:, k].sum((-1, -2)) * (1 - 1e-9)).all()


@few
@given(cases)
def test_gradvac_without_memory_is_pcgrad(case):
    _, G = gramians(*case)
    stream = Stream(5)
    vaccine, surgery = GradVac(beta=0.0, stream=stream), PCGrad(stream=stream)
    state, count = vaccine.initial(G), surgery.initial(G)
    for _ in range(3):
        (a, state), (b, count) = vaccine.step(G, state), surgery.step(G, count)
        assert close(a, b, 1e-9, b.abs().amax(-1, keepdim=True))
    nothing = PCGrad().weights(G.abs() @ G.abs())
    assert close(nothing, torch.ones_like(nothing), 0)


@few
@given(st.integers(2, 8), st.integers(0, 99))
def test_graddrop_leaks_to_the_sum_and_keeps_pure_columns(m, seed):
    draws = Stream(seed).draws(range(4))
    J, u = draws.normal("J", m, 9), draws.uniform("U", 9)
    assert close(graddrop(J, u, leak=1.0), J.sum(1), 1e-12)
    assert close(graddrop(J.abs(), u), J.abs().sum(1), 0)


@few
@given(cases)
def test_pcd_promises_every_secondary_objective_its_share(case):
    J, G = gramians(*case)
    w = PCD(tau=0.02).weights(G)
    d = direction(J, w)
    moving = (w[:, 1:] > 0).any(-1) & (certify("pcd", G, w).dual <= 1e-9)
    norms = J.norm(dim=-1)
    assert close(d.norm(dim=-1)[moving], norms[moving][:, 0], 1e-6, norms[moving][:, 0])
    assert ((J @ d[..., None])[..., 0][moving][:, 1:] >= -1e-7 * (norms[moving][:, 1:] * norms[moving][:, :1])).all()


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_float32_in_float32_out_and_batches_do_not_mix(name):
    _, G = gramians(2, "conflict", 0)
    w = WEIGHTINGS[name]()
    many = w.weights(G)
    assert close(many, torch.stack([w.weights(g) for g in G]), 1e-9, many.abs().amax(-1, keepdim=True))
    assert close(many, w.weights(G.reshape(4, 6, 2, 2)).reshape(24, 2), 1e-12)
    assert w.weights(G.float()).dtype == torch.float32
    assert hash(w) is not None
    assert w == WEIGHTINGS[name]()
    assert w.certificate(G, many).gap.shape == (24,)


@pytest.mark.parametrize(
    "name", ["mean", "mgda", "upgrad", "dualproj", "cagrad", "config", "nash", "pcgrad", "capped-mgda"]
)
def test_vmap_is_the_batch(name):
    _, G = gramians(4, "plain", 3)
    w = WEIGHTINGS[name]()
    assert close(torch.vmap(lambda g: w.weights(g, validate=False))(G), w.weights(G), 1e-9)


def test_jacobi_agrees_with_lapack():
    for m in range(2, 9):
        _, G = gramians(m, "plain", 1)
        values, vectors = jacobi(G)
        assert close(
            values.sort(-1).values, torch.linalg.eigvalsh(G), 1e-12, G.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
        )
        assert close(vectors @ torch.diag_embed(values) @ vectors.mT, G, 1e-12 * float(G.abs().amax()))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8))
def test_projection_is_on_the_simplex_and_optimal(point):
    v = torch.tensor(point, dtype=torch.float64)
    x = project(v)
    assert abs(float(x.sum()) - 1) <= 1e-12
    assert (x >= 0).all()
    assert float(((v - x) @ (torch.eye(len(v), dtype=v.dtype) - x).T).max()) <= 1e-9  # the normal cone


@few
@given(st.lists(st.floats(0.01, 5), min_size=2, max_size=6), st.floats(0.05, 2))
def test_smooth_maxima(values, mu):
    f = torch.tensor([1.0, *values], dtype=torch.float64, requires_grad=True)
    worst, count = float(f.detach()[1:].max()), len(values)
    lex = SmoothLexicographic(lam=2.0, mu=mu)
    part = (float(lex.objective(f.detach())) - 1.0) / 2
    assert worst - 1e-9 <= part <= worst + mu * float(torch.tensor(float(count)).log()) + 1e-9
    (g,) = torch.autograd.grad(lex.objective(f), f)
    assert close(g, lex.weights(f), 1e-12)
    (g,) = torch.autograd.grad(STCH(mu=mu).objective(f), f)
    assert close(g, STCH(mu=mu).weights(f), 1e-12)
    even = SmoothLexicographic(lam=1.0, mu=1e9).weights(f)[1:]
    assert close(even, torch.full_like(even, 1 / count), 1e-6)


def test_smoothness_constant_of_the_mimo_style_objective_holds_and_is_not_idle():
    generator = Stream(3).numpy()
    lex = SmoothLexicographic(lam=2.0, mu=0.1)
    a = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)  # f_k = a_k x: L = 0, D = 2

    def gradient(x: torch.Tensor) -> torch.Tensor:
        x = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(lex.objective(torch.cat((torch.zeros(1, dtype=x.dtype), (a @ x)))), x)
        return g

    ratios = [
        float((gradient(x + 1e-6) - gradient(x)).abs() / 1e-6)
        for x in torch.from_numpy(generator.uniform(-1, 1, (200, 1)))
    ]
    bound = lex.smoothness(0.0, 0.0, 2.0)
    assert (
        0.5 * bound
        <= max(*ratios, float((gradient(torch.tensor([1e-6]).double()) - gradient(torch.zeros(1).double())) / 1e-6))
        <= bound * (1 + 1e-6)
    )


def test_famo_evens_out_the_log_decrease():
    famo = FAMO(rate=0.5, decay=0.0)
    losses = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    state = famo.initial(losses)
    for _ in range(50):
        w = famo.weights(losses, state)
        assert abs(float(w.sum()) - 1) <= 1e-12
        state = famo.updated(state, losses, losses * torch.tensor([0.5, 0.9, 0.9], dtype=torch.float64))
    z = torch.softmax(state.logits, -1)
    assert z[0] < 0.01 < z[1]


def test_epo_reaches_the_ray():
    """Two spheres: on the preference ray r₁f₁ = r₂f₂ at the end, and never past a Pareto point on the way."""
    centres = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    epo = EPO(preference=(3.0, 1.0), eps=1e-6)
    x = torch.tensor([0.5, 1.5], dtype=torch.float64)
    for _ in range(4000):
        J = x - centres
        f = 0.5 * (J**2).sum(-1)
        x = x - 0.02 * (epo.weights(J @ J.T, f) @ J)
    f = 0.5 * ((x - centres) ** 2).sum(-1)
    assert abs(float(3 * f[0] / f[1]) - 1) <= 0.02
    assert abs(float(x[1])) <= 0.02


@few
@given(st.integers(2, 5), st.sampled_from(("plain", "conflict")), st.integers(0, 30))
def test_epo_is_optimal_by_its_dual(m, kind, seed):
    """The dual point comes from the vertices of the other programme; even weights are seen to be wrong."""
    _, G = gramians(m, kind, seed)
    losses = 0.1 + Stream(seed, ("losses",)).draws(range(len(G))).uniform("f", m)
    epo = EPO(preference=tuple(float(i + 1) for i in range(m)))
    c = epo.certificate(G, losses, epo.weights(G, losses))
    assert (c.gap <= 1e-8).all()
    assert (c.primal <= 1e-8).all()
    even = epo.certificate(G, losses, torch.full_like(losses, 1 / m))
    assert ((even.gap + even.primal) > 1e-6).any()


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (torch.tensor([[1.0, 0.5], [0.2, 1.0]]), "symmetric"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "semi-definite"),
        (torch.tensor([[1.0, 0.1], [0.1, 0.0]]), "semi-definite"),
        (torch.tensor([[-1.0, 0.0], [0.0, 1.0]]), "semi-definite"),
        (torch.tensor([[1.0, -0.9, -0.9], [-0.9, 1.0, -0.9], [-0.9, -0.9, 1.0]]), "semi-definite"),
        (torch.tensor([[1.0, float("nan")], [float("nan"), 1.0]]), "finite"),
        (torch.tensor([[float("inf"), 0.0], [0.0, 1.0]]), "finite"),
        (torch.eye(1), "at least 2"),
        (torch.zeros(0, 0), "at least 2"),
        (torch.zeros(3), "shape"),
        (torch.zeros(2, 3), "shape"),
        (torch.eye(2, dtype=torch.int64), "floating"),
    ],
)
def test_what_is_no_gramian_is_refused_by_name(bad, word):
    for g in (
        bad,
        torch.stack((torch.eye(bad.shape[-1], dtype=bad.dtype), bad))
        if bad.ndim == 2 and bad.shape[0] == bad.shape[1]
        else bad,
    ):
        for call in (checked, MGDA().weights, UPGrad().weights, lambda x: certify("mgda", x, torch.ones(x.shape[:-1]))):
            with pytest.raises(ArgumentError, match=f"(?s)gramian.*{word}"):
                call(g)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Linear(preference=(0.5, 0.6)), "preference"),
        (lambda: UPGrad(preference=(1.5, -0.5)), "preference"),
        (lambda: DualProj(preference=(1.0, float("nan"))), "preference"),
        (lambda: UPGrad(preference=(0.5, 0.5)).weights(torch.eye(3)), "preference"),
        (lambda: CAGrad(c=-1.0), "c:"),
        (lambda: SDMGrad(lam=-0.1), "lam"),
        (lambda: FairGrad(alpha=0.0), "alpha"),
        (lambda: PCD(tau=2.0), "tau"),
        (lambda: CappedMGDA(cap=0.2).weights(torch.eye(3)), "cap"),
        (lambda: NGDiff(signs=(1, 0)), "signs"),
        (lambda: MMPareto().weights(torch.eye(3)), "gramian"),
        (lambda: WEIGHTINGS["modo"](rate=-1.0), "rate"),
        (lambda: SmoothLexicographic(mu=0.0), "mu"),
        (lambda: certify("mgd", torch.eye(2), torch.ones(2)), "weighting"),
        (lambda: certify("mgda", torch.eye(2), torch.ones(3)), "weights"),
        (lambda: AlignedMTL(scale="max"), "scale"),
    ],
)
def test_bad_hyper_parameters_are_refused_by_name(make, name):
    with pytest.raises(ArgumentError, match=name):
        make()


def test_registry_names_the_required_methods():
    required = [
        "mean",
        "mgda",
        "upgrad",
        "dualproj",
        "pcgrad",
        "cagrad",
        "imtl-g",
        "config",
        "nash",
        "fairgrad",
        "aligned",
        "sdmgrad",
        "modo",
        "moco",
        "ngdiff",
        "pcd",
        "gradvac",
    ]
    assert set(required) <= set(WEIGHTINGS)


def test_a_wrong_answer_has_a_gap():
    _, G = gramians(4, "conflict", 0)
    uniform = torch.full_like(G[..., 0], 0.25)
    assert (certify_simplex(G, uniform).relative > 1e-3).all()
    assert (certify("upgrad", G, MGDA().weights(G)).gap > 1e-3).any()
    assert (certify("nash", G, uniform).gap > 1e-3).all()
    assert (certify("cagrad", G, uniform).gap > 0).all()


@given(st.integers(3, 8), st.integers(0, 2**31))
def test_equal_angles_by_factors_are_those_by_eigenvalues_item_by_item(m, seed):
    """In one batch: independent rows, rows of norms over six decades, a dependent row, a duplicate, a zero row."""
    draws = Stream(seed).draws()
    J = draws.normal("J", 5, m, m + 3)
    J[1] *= 10 ** (6 * draws.uniform("norms", m, 1) - 3)
    J[2, 0] = J[2, 1:].sum(0)
    J[3, 0] = J[3, 1]
    J[4, 0] = 0
    J = J / J.norm(dim=-1, keepdim=True).clamp(min=1e-300)
    C, live = J @ J.mT, (J.norm(dim=-1) > 0).double()
    found, wanted = solved(C, live), by_eigenvalues(C, live)
    assert torch.allclose(C @ found[..., None], C @ wanted[..., None], rtol=0, atol=1e-9)
    condition = torch.linalg.cond(C[:2]).max()
    assert float((found - wanted)[:2].abs().max()) <= 1e-14 * float(condition) * float(wanted[:2].abs().max() + 1)
    assert torch.equal(found[2:4], wanted[2:4])
    for k in range(5):
        assert torch.allclose(C[k] @ solved(C[k], live[k]), C[k] @ found[k], rtol=0, atol=1e-9)
