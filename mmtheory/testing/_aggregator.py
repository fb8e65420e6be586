"""The contract of an aggregator: a weighting that is a function of the Gramian and of nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.moo import Certificate, Stateful, Weighting, certify
from mmtheory.rng import Stream

BATCH = 6
CLOSE = 1e-7
SETTLED = 1e-6
SCALES = (1e-6, 1e-3, 1e3)
FIELDS = ("gap", "primal", "dual", "complementarity", "squared_norm")


def check_aggregator(weighting: Weighting, *, objectives: int = 3, stream: Stream | None = None) -> None:
    """Fail with a sentence unless this is a weighting: a pure function of each Gramian by itself.

    - weights ``[*batch, m]`` in the Gramian's type, finite also for duplicated, dependent, opposite, zero and tiny gradients and for rows
      that differ by six decades; the given Gramian is left as it was, and no Gramian at all is refused;
    - the batch law: a stack is its parts, whatever its shape;
    - permuting the objectives (and a ``preference`` with them) permutes the weights, where ``symmetric``;
    - gradients of 1e-6 or 1e3 times the length have weights c^k times as large, where a ``degree`` k is declared;
    - the certificate has one number a Gramian and, where the weighting ``settles``, finds next to no gap in its own answer and a larger one
      in a spoilt answer;
    - a ``Stateful`` weighting keeps its memory in the state it returns and leaves the one it is given alone.

    :param objectives: m, at least 2; a weighting made for a fixed number is checked with that.
    :param stream: where the Gramians come from; a fixed one by default.
    :raises AssertionError: naming the weighting and the broken clause.

    >>> from mmtheory.moo import WEIGHTINGS
    >>> check_aggregator(WEIGHTINGS["mgda"]())
    """
    start = stream or Stream(0, ("check_aggregator",))
    regular = rows_of("regular", objectives, start)
    G = regular @ regular.mT
    _check_values(weighting, objectives, start)
    _check_batch(weighting, G)
    if weighting.symmetric:
        _check_permutation(weighting, G, start)
    if weighting.degree is not None:
        _check_scale(weighting, G, weighting.degree)
    _check_certificate(weighting, G, start)
    if isinstance(weighting, Stateful):
        _check_state(cast("Stateful[Any]", weighting), G)


DEGENERATE: dict[str, Callable[[Tensor], Tensor]] = {
    "regular": lambda J: J,
    "conflicting": lambda J: J - 1.1 * J.mean(1, keepdim=True),
    "tiny": lambda J: 1e-6 * J,
    "spread": lambda J: J * 10 ** torch.linspace(-3, 3, J.shape[1], dtype=J.dtype)[:, None],
    "duplicated": lambda J: torch.cat((J[:, :1], J[:, :-1]), 1),
    "opposite": lambda J: torch.cat((-J[:, 1:2], J[:, 1:]), 1),
    "parallel": lambda J: J[:, :1] * torch.arange(1, J.shape[1] + 1, dtype=J.dtype)[:, None],
    "dependent": lambda J: torch.cat((J[:, :-1].sum(1, keepdim=True), J[:, :-1]), 1),
    "one zero": lambda J: torch.cat((0 * J[:, :1], J[:, 1:]), 1),
    "all zero": lambda J: 0 * J,
}
"""Sets of gradients that occur in training and that formulas forget."""


def rows_of(kind: str, m: int, stream: Stream) -> Tensor:
    """Gradients ``[6, m, 3m]`` of one of the kinds."""
    return DEGENERATE[kind](stream.child(kind).draws(range(BATCH)).normal("J", m, 3 * m))


def _check_values(weighting: Weighting, m: int, stream: Stream) -> None:
    for kind in DEGENERATE:
        J = rows_of(kind, m, stream)
        G = J @ J.mT
        before = G.clone()
        many, one = weighting.weights(G), weighting.weights(G[0])
        assert many.shape == G.shape[:-1], f"{weighting}: weights of shape {list(many.shape)} for {list(G.shape)}"
        assert one.shape == (m,), f"{weighting}: weights of shape {list(one.shape)} for one Gramian of {m}"
        assert bool(many.isfinite().all() & one.isfinite().all()), f"{weighting}: weights not finite, {kind} gradients"
        assert torch.equal(G, before), f"{weighting}: the given Gramian was changed"
    single = weighting.weights(torch.eye(m, dtype=torch.float32))
    assert single.dtype == torch.float32, f"{weighting}: {single.dtype} weights for a float32 Gramian"
    bad = torch.eye(m, dtype=torch.float64)
    bad[0, 1] = 0.5
    for name, wrong in (("a lopsided matrix", bad), ("NaN", torch.full((m, m), torch.nan)), ("m = 1", torch.eye(1))):
        try:
            weighting.weights(wrong)
        except ArgumentError:
            continue
        raise AssertionError(f"{weighting}: {name} was taken for a Gramian")


def _apart(a: Tensor, b: Tensor) -> float:
    """Largest difference relative to the largest weight of each item."""
    scale = torch.maximum(a.abs(), b.abs()).amax(-1, keepdim=True)
    return float(((a - b).abs() / scale.clamp(min=1e-300)).max())


def _check_batch(weighting: Weighting, G: Tensor) -> None:
    m = G.shape[-1]
    stacked = weighting.weights(G)
    separate = torch.stack([weighting.weights(g) for g in G])
    assert _apart(stacked, separate) <= CLOSE, f"{weighting}: the weights of a stack are not those of its parts"
    folded = weighting.weights(G.reshape(2, 3, m, m)).reshape(BATCH, m)
    assert _apart(stacked, folded) <= CLOSE, f"{weighting}: weights depend on the batch's shape"
    fewer = weighting.weights(G[:2])
    assert _apart(stacked[:2], fewer) <= CLOSE, f"{weighting}: a replicate's weights depend on those beside it"


def _check_permutation(weighting: Weighting, G: Tensor, stream: Stream) -> None:
    m = G.shape[-1]
    order = torch.from_numpy(stream.child("order").numpy().permutation(m)).roll(1)
    for turn in (order, torch.arange(m).flip(0)):
        permuted = _preferring(weighting, turn).weights(G[:, turn][:, :, turn])
        assert _apart(weighting.weights(G)[:, turn], permuted) <= CLOSE, (
            f"{weighting}: permuting the objectives by {turn.tolist()} does not permute the weights"
        )


def _preferring(weighting: Weighting, order: Tensor) -> Weighting:
    """The weighting with its preference, if it has one, in another order."""
    preference: tuple[float, ...] | None = getattr(weighting, "preference", None)
    if preference is None:
        return weighting
    return dataclasses.replace(cast("Any", weighting), preference=tuple(preference[i] for i in order.tolist()))


def _check_scale(weighting: Weighting, G: Tensor, degree: float) -> None:
    here = weighting.weights(G)
    for c in SCALES:
        there = weighting.weights(G * c**2) / c**degree
        assert _apart(here, there) <= CLOSE, f"{weighting}: {c:g} times the gradients have other weights"


def _check_certificate(weighting: Weighting, G: Tensor, stream: Stream) -> None:
    w = weighting.weights(G)
    own = certify(weighting, G, w)
    for field in FIELDS:
        value: Tensor = getattr(own, field)
        assert value.shape == G.shape[:-2], f"{weighting}: {field} of the certificate has shape {list(value.shape)}"
        assert bool(value.isfinite().all()), f"{weighting}: {field} of the certificate is not finite"
    assert bool((own.gap >= 0).all()), f"{weighting}: a negative gap"
    if not weighting.settles:
        return
    assert float((own.gap / _unit(own)).max()) <= SETTLED, f"{weighting}: its own weights have a gap of {own.gap}"
    noise = stream.child("noise").draws(range(BATCH)).normal("w", G.shape[-1])
    spoilt = certify(weighting, G, w + w.abs().amax(-1, keepdim=True) * noise / 2)
    seen = spoilt.gap + spoilt.primal + spoilt.dual > own.gap + own.primal + own.dual + SETTLED * _unit(own)
    assert bool(seen.all()), f"{weighting}: the certificate does not notice spoilt weights"


def _unit(certificate: Certificate) -> Tensor:
    """What a gap is small against: the squared length of the direction, or one for gaps that are relative already."""
    return certificate.squared_norm.clamp(min=1.0)


def _check_state(weighting: Stateful[Any], G: Tensor) -> None:
    first, kept = weighting.initial(G), weighting.initial(G)
    w, second = weighting.step(G, first)
    assert _same(first, kept), f"{weighting}: a step changed the state it was given"
    assert _apart(w, weighting.weights(G)) <= CLOSE, f"{weighting}: weights are not those of the first step"
    again, other = weighting.step(G, first)
    assert torch.equal(w, again), f"{weighting}: two steps from one state differ"
    assert _same(second, other), f"{weighting}: two steps from one state end in different states"


def _same(a: object, b: object) -> bool:
    """Whether two states are equal, tensors bit for bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        pairs = zip(cast("tuple[object, ...]", a), cast("tuple[object, ...]", b), strict=True)
        return all(_same(x, y) for x, y in pairs)
    return a == b
