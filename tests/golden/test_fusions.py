"""Every fusion and every provider of contributions, sample by sample in numpy, by the formulas of its source."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.special import erf

from mmtheory.methods import LinearSplit, MeanBaseline, ShapleyShares, ZeroOut
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream

N, CLASSES, REPLICATES = 5, 3, 2
WIDTHS = {"ab": {"a": 4, "b": 3}, "abc": {"a": 4, "b": 3, "c": 2}}


class Parameters:
    """One replicate's parameters as numpy arrays by name."""

    def __init__(self, module, r):
        self.p = {k: v[r].detach().numpy() for k, v in module.named_parameters()}

    def __getitem__(self, name):
        return self.p[name]

    def dense(self, name, x):
        return x @ self.p[f"{name}.weight"] + self.p[f"{name}.bias"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def together(z):
    return np.concatenate([z[m] for m in sorted(z)])


def summed(p, z):
    return sum(p.dense(f"heads.{m}", z[m]) for m in z)


def concat(p, z):
    return p.dense("head", together(z))


def shared(p, z):
    return np.mean([p.dense("head", v) for v in z.values()], axis=0)


def film(p, z, one=1.0):
    base = max(z)
    d = len(z[base])
    scale, shift = np.ones(d), np.zeros(d)
    for m in z:
        if m != base:
            made = p.dense(f"generators.{m}", z[m])
            scale, shift = scale * (one + made[:d]), shift + made[d:]
    return p.dense("head", z[base] * scale + shift)


def gated(p, z):
    base = max(z)
    h = p.dense(f"maps.{base}", z[base])
    for m in z:
        if m != base:
            h = h * sigmoid(p.dense(f"maps.{m}", z[m]))
    return p.dense("head", h)


def gmu(p, z, *, tied=True):
    hidden = np.array([np.tanh(p.dense(f"maps.{m}", z[m])) for m in sorted(z)])
    logits = [
        np.zeros(hidden.shape[1]) if tied and m == max(z) else p.dense(f"gates.{m}", together(z)) for m in sorted(z)
    ]
    gates = softmax(np.array(logits), 0) if tied else sigmoid(np.array(logits))
    return p.dense("head", (gates * hidden).sum(0))


def low_rank(p, z, rank=4):
    total = p["bias"].copy()
    for r in range(rank):
        term = np.ones(CLASSES)
        for m in z:
            cut = slice(r * CLASSES, (r + 1) * CLASSES)
            term = term * (z[m] @ p[f"factors.{m}.weight"][:, cut] + p[f"factors.{m}.bias"][cut])
        total += p["mix"][r] * term
    return total


def experts(p, z, *, joint=True):
    logits = sum(p.dense(f"experts.{m}", z[m]) for m in z)
    return logits + p.dense("joint.2", np.maximum(p.dense("joint.0", together(z)), 0)) if joint else logits


def norm(p, name, x):
    plain = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return plain * p[f"{name}.gain"] + p[f"{name}.offset"]


def block(p, name, x, context, heads=2):
    """Tokens [t, d] that look at a context [s, d], head by head and query by query."""
    own, other = norm(p, f"{name}.before", x), context
    q, k, v = (p.dense(f"{name}.attention.{part}", z) for part, z in (("query", own), ("key", other), ("value", other)))
    d = x.shape[-1] // heads
    looked = np.zeros_like(x)
    for h in range(heads):
        cut = slice(h * d, (h + 1) * d)
        for t in range(len(x)):
            share = softmax(k[:, cut] @ q[t, cut] / math.sqrt(d))
            looked[t, cut] = share @ v[:, cut]
    x = x + p.dense(f"{name}.attention.out", looked)
    wide = p.dense(f"{name}.wide", norm(p, f"{name}.between", x))
    return x + p.dense(f"{name}.narrow", wide * 0.5 * (1 + erf(wide / math.sqrt(2))))


def lifted(p, z, tokens=4):
    return {m: p.dense(f"lifts.{m}", z[m]).reshape(tokens, -1) for m in z}


def read(p, t):
    return np.mean([p.dense(f"heads.{m}", v.mean(0)) for m, v in t.items()], axis=0)


def cross_attention(p, z, layers=1):
    t = lifted(p, z)
    for i in range(layers):
        old = dict(t)
        for m in z:
            others = np.concatenate([old[j] for j in sorted(z) if j != m])
            t[m] = block(p, f"blocks.{m} {i}", old[m], norm(p, f"blocks.{m} {i}.beside", others))
    return read(p, t)


def bottleneck(p, z, layers=2):
    t, meet = lifted(p, z), p["shared"]
    for i in range(layers):
        mixed = {}
        for m in z:
            x = np.concatenate([t[m], meet])
            mixed[m] = block(p, f"blocks.{m} {i}", x, norm(p, f"blocks.{m} {i}.before", x))
        t = {m: v[:4] for m, v in mixed.items()}
        meet = np.mean([v[4:] for v in mixed.values()], axis=0)
    return read(p, t)


REFERENCES = {
    "sum": (summed, {}), "concat": (concat, {}), "shared": (shared, {}), "film": (film, {}), "gated": (gated, {}),
    "gmu": (gmu, {}), "lmf": (low_rank, {}), "poe": (experts, {}), "cross-attention": (cross_attention, {}),
    "mbt": (bottleneck, {}),
    "film as released": (lambda p, z: film(p, z, 0.0), {"form": "released"}),
    "gmu untied": (lambda p, z: gmu(p, z, tied=False), {"tied": False}),
    "lmf of rank 2": (lambda p, z: low_rank(p, z, 2), {"rank": 2}),
    "poe without joint": (lambda p, z: experts(p, z, joint=False), {"joint": 0}),
    "cross-attention twice": (lambda p, z: cross_attention(p, z, 2), {"layers": 2}),
    "mbt thrice": (lambda p, z: bottleneck(p, z, 3), {"layers": 3}),
}  # fmt: skip


def fused(name, names, settings, replicates=range(REPLICATES)):
    key = next(k for k in sorted(FUSIONS, key=len, reverse=True) if name.startswith(k))
    widths = dict.fromkeys(names, 3) if key == "shared" else WIDTHS[names]
    draws = Stream(7, (name,)).draws(replicates)
    fusion = FUSIONS[key](widths, CLASSES, draws=draws, dtype=torch.float64, **settings)
    with torch.no_grad():  # gains and offsets too are numbers that matter
        for k, v in fusion.named_parameters():
            v.add_(0.3 * draws.normal(f"moved {k}", *v.shape[len(draws.batch_shape) :]))
    return fusion, {m: draws.normal(f"z {m}", N, w) for m, w in widths.items()}


def test_every_fusion_has_a_reference():
    assert REFERENCES.keys() >= FUSIONS.keys()


@pytest.mark.parametrize("names", WIDTHS)
@pytest.mark.parametrize("name", REFERENCES)
def test_a_fusion_is_its_formula(name, names):
    reference, settings = REFERENCES[name]
    fusion, z = fused(name, names, settings)
    logits = fusion(z).detach().numpy()
    for r in range(REPLICATES):
        p = Parameters(fusion, r)
        for i in range(N):
            expected = reference(p, {m: v[r, i].numpy() for m, v in z.items()})
            assert np.abs(logits[r, i] - expected).max() < 1e-12 * (1 + np.abs(expected).max())


def coalition(reference, p, z, blank, heard):
    return reference(p, {m: z[m] if m in heard else blank[m] for m in z})


def shapley(worth, names):
    """The mean over all orders in which modalities come in."""
    orders = list(permutations(names))
    return {
        m: sum(worth(o[: o.index(m) + 1]) - worth(o[: o.index(m)]) for o in orders) / len(orders) for m in names
    }  # fmt: skip


@pytest.mark.parametrize("names", WIDTHS)
@pytest.mark.parametrize("name", ["concat", "film", "gmu", "lmf", "mbt"])
def test_providers_are_their_formulas(name, names):
    """Zero-out, mean baseline, Shapley's shares from either baseline, against coalitions built by hand."""
    fusion, z = fused(name, names, {}, replicates=None)
    encoders = {
        m: MLPEncoder((2, w.shape[-1]), draws=Stream(1).child(m).draws(), name=m, dtype=torch.float64)
        for m, w in z.items()
    }
    model = MultimodalModel(encoders, fusion)
    reference, p = REFERENCES[name][0], Parameters(fusion, ...)
    zero = {m: np.zeros(v.shape[-1]) for m, v in z.items()}
    mean = {m: v.mean(0).numpy() for m, v in z.items()}
    said = {
        ("zero out", "alone"): ZeroOut().logits(model, z), ("mean", "alone"): MeanBaseline().logits(model, z),
        ("zero out", "shapley"): ShapleyShares("zero").logits(model, z), ("mean", "shapley"): ShapleyShares("mean").logits(model, z),
    }  # fmt: skip
    for i in range(N):
        sample = {m: v[i].numpy() for m, v in z.items()}
        for (baseline, kind), logits in said.items():
            blank = zero if baseline == "zero out" else mean

            def worth(heard, blank=blank, sample=sample):
                return coalition(reference, p, sample, blank, heard)

            expected = shapley(worth, names) if kind == "shapley" else {m: worth(m) for m in names}
            for m in names:
                assert np.abs(logits[m][i].detach().numpy() - expected[m]).max() < 1e-12 * (
                    1 + np.abs(expected[m]).max()
                )


@pytest.mark.parametrize("names", WIDTHS)
@pytest.mark.parametrize("name", ["sum", "concat", "shared", "poe without joint"])
def test_additive_shares_are_their_formulas(name, names):
    fusion, z = fused(name, names, REFERENCES[name][1], replicates=None)
    encoders = {
        m: MLPEncoder((2, w.shape[-1]), draws=Stream(1).child(m).draws(), name=m, dtype=torch.float64)
        for m, w in z.items()
    }
    shares = LinearSplit().logits(MultimodalModel(encoders, fusion), z)
    p, at = Parameters(fusion, ...), 0
    for m in names:
        x, width = z[m].numpy(), z[m].shape[-1]
        expected = {
            "sum": lambda x=x, m=m: p.dense(f"heads.{m}", x),
            "concat": lambda x=x, at=at, w=width: x @ p["head.weight"][at : at + w] + p["head.bias"] / len(names),
            "shared": lambda x=x: p.dense("head", x) / len(names),
            "poe without joint": lambda x=x, m=m: p.dense(f"experts.{m}", x),
        }[name]()
        assert np.abs(shares[m].detach().numpy() - expected).max() < 1e-12
        at += width
