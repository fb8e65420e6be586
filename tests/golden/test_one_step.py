"""One step of training by the formulas as the papers write them, in plain autograd on plain tensors, beside the loop's: two and three modalities.

Nothing of the library computes a reference but its initial parameters; agreement is to rounding in float64.
"""

from itertools import combinations

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from mmtheory.batch import Batch
from mmtheory.methods import METHODS
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

WIDTH, CLASSES, N, RATE = 5, 3, 24, 0.1
SPEEDS = {"a": 3.0, "b": 1.0, "c": 0.3}
"""Scales of the inputs, so that nobody is in balance."""


class Plain:
    """The same network as the loop's, its parameters as leaves by name."""

    def __init__(self, trainer, x, y):
        named = [*trainer.model.named_parameters(), *trainer.auxiliary.named_parameters()]
        self.p = {k: v.detach().clone().requires_grad_() for k, v in named}
        self.x, self.y, self.names = x, y, sorted(x)

    def z(self, m):
        h = self.x[m]
        for k in (0, 2):
            h = (h @ self.p[f"encoders.{m}.layers.{k}"] + self.p[f"encoders.{m}.layers.{k + 1}"]).relu()
        return h

    def share(self, m, z=None):
        """W_m z_m + b/M."""
        k = self.names.index(m)
        w = self.p["fusion.head.weight"][k * WIDTH : (k + 1) * WIDTH]
        return (self.z(m) if z is None else z) @ w + self.p["fusion.head.bias"] / len(self.names)

    def fused(self):
        return sum(self.share(m) for m in self.names)

    def own(self, m, z=None):
        """Cross-entropy of m's own head."""
        return cross_entropy(
            (self.z(m) if z is None else z) @ self.p[f"head:{m}.weight"] + self.p[f"head:{m}.bias"], self.y
        )

    def encoder(self, m):
        return [k for k in self.p if k.startswith(f"encoders.{m}.")]

    def gradient(self, loss):
        found = torch.autograd.grad(loss, list(self.p.values()), retain_graph=True, allow_unused=True)
        return {k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(self.p.items(), found, strict=True)}

    def after(self, gradient):
        return {k: v.detach() - RATE * gradient[k] for k, v in self.p.items()}


def joint(net):
    return net.gradient(cross_entropy(net.fused(), net.y))


def uniform(net):
    return net.gradient(cross_entropy(net.fused(), net.y) + sum(net.own(m) for m in net.names))


def unimodal(net):
    return net.gradient(sum(net.own(m) for m in net.names))


def mimo(net, lam=1.0, mu=0.1):
    worst = mu * sum(torch.exp(net.own(m) / mu) for m in net.names).log()
    return net.gradient(cross_entropy(net.fused(), net.y) + lam * worst)


def cml(net, lam=1.0):
    """Absent modalities are zeros; every pair of coalitions that differ by one modality."""

    def sure(heard):
        logits = sum(net.share(m, None if m in heard else torch.zeros(N, WIDTH).double()) for m in net.names)
        return logits.softmax(-1).max(-1).values

    sets = [frozenset(s) for k in range(1, len(net.names) + 1) for s in combinations(net.names, k)]
    pairs = [(s, t) for s in sets for t in sets if s < t and len(t) == len(s) + 1]
    hinge = sum((sure(s) - sure(t)).clamp(min=0).mean() for s, t in pairs)
    return net.gradient(cross_entropy(net.fused(), net.y) + lam * hinge)


def mmcosine(net, scale=10.0):
    logits = scale * sum(normalize(net.z(m), dim=-1) @ normalize(net.p[f"head:{m}.weight"], dim=0) for m in net.names)
    return net.gradient(cross_entropy(logits, net.y))


def pmr(net, alpha=1.0, mu=0.01):
    """All samples make the prototypes; distances are Euclidean; the entropy is subtracted from who leads."""
    near, right = {}, {}
    for m in net.names:
        z = net.z(m)
        c = torch.stack([z[net.y == k].mean(0) for k in range(CLASSES)]).detach()
        near[m] = -(z[:, None] - c).square().sum(-1).sqrt()
        right[m] = near[m].softmax(-1)[torch.arange(N), net.y].sum().detach()
    loss = cross_entropy(net.fused(), net.y)
    for m in net.names:
        lag = float((max(right.values()) / right[m] - 1).clamp(0, 1))
        lead = float((right[m] / min(right.values()) - 1).clamp(0, 1))
        p = near[m].softmax(-1)
        loss = loss + alpha * lag * cross_entropy(near[m], net.y) - mu * lead * (-(p * p.log()).sum(-1).mean())
    return net.gradient(loss)


def lfm(net, a=0.5):
    """In the first epoch half label loss, half Jensen–Shannon divergence of the modalities' own predictions."""
    p = [net.share(m).softmax(-1) for m in net.names]
    mixture = sum(p) / len(p)

    def entropy(q):
        return -(q * q.log()).sum(-1)

    apart = (entropy(mixture) - sum(entropy(q) for q in p) / len(p)).mean()
    return net.gradient(a * cross_entropy(net.fused(), net.y) + (1 - a) * apart)


def mbsd(net, lam=1.0, t=2.0):
    """The teacher and its confidence in the label are constants."""
    taught = net.fused().detach()
    sure, q = taught.softmax(-1)[torch.arange(N), net.y], (taught / t).softmax(-1)
    apart = sum((q * (q.log() - (net.share(m) / t).log_softmax(-1))).sum(-1) for m in net.names)
    return net.gradient(cross_entropy(net.fused(), net.y) + lam * t**2 * (sure * apart).mean())


def cggm(net, lam=0.1):
    """In the first step all factors are one; the guides learn on features held constant and turn the fused residuals."""
    fused, label = net.fused(), torch.nn.functional.one_hot(net.y, CLASSES)
    r, turn, guides = (fused.softmax(-1) - label).flatten(), 0.0, 0.0
    for m in net.names:
        z = net.z(m).detach()
        own = (z @ net.p[f"head:{m}.weight"] + net.p[f"head:{m}.bias"]).detach().softmax(-1)
        guides = guides + net.own(m, z)
        turn = turn + 1 - torch.cosine_similarity((own - label).flatten(), r, dim=0)
    return net.gradient(cross_entropy(fused, net.y) + guides + lam * turn / len(net.names))


def ogm(net, alpha=0.5):
    """k = 1 − tanh(α ρ) where ρ > 1; ρ is the mean over the others of S/S'."""
    g = joint(net)
    s = {m: net.share(m).detach().softmax(-1)[torch.arange(N), net.y].sum() for m in net.names}
    for m in net.names:
        others = [j for j in net.names if j != m]
        rho = sum(s[m] / s[j] for j in others) / len(others)
        k = 1 - torch.tanh(alpha * rho) if rho > 1 else 1.0
        for name in net.encoder(m):
            g[name] = k * g[name]
    return g


def agm(net):
    """In the first step the running mean is the ratio itself, so that κ = 1 and what is left is the gradient cut at norm one."""
    g = joint(net)
    norm = torch.sqrt(sum(v.square().sum() for v in g.values()))
    return {k: v / norm.clamp(min=1) for k, v in g.items()}


def rows(net, m):
    """Fused and own gradient of an encoder, as vectors."""
    fused, own = joint(net), net.gradient(sum(net.own(j) for j in net.names))
    return (torch.cat([g[k].flatten() for k in net.encoder(m)]) for g in (fused, own)), fused, own


def joined(net, rule):
    """Everybody else is given the sum of the rows, an encoder what the rule makes of its two."""
    total = {}
    for m in net.names:
        (a, b), fused, own = rows(net, m)
        total = total or {k: fused[k] + own[k] for k in net.p}
        d, at = rule(a, b), 0
        for k in net.encoder(m):
            total[k] = d[at : at + net.p[k].numel()].view(net.p[k].shape)
            at += net.p[k].numel()
    return total


def mmpareto(net, gamma=1.5):
    """½, ½ where the gradients agree, else the min-norm weights; times 2 γ, and never shorter than γ times the sum."""

    def rule(a, b):
        c = 0.5 if a @ b > 0 else (((b - a) @ b) / (a - b).square().sum()).clamp(0, 1)
        h = 2 * (c * a + (1 - c) * b)
        return gamma * torch.clamp((a + b).norm() / h.norm(), min=1) * h

    return joined(net, rule)


def ngdiff(net):
    """d = |J|⁺ signs: the sum of the unit gradients, as the weighting has it for two equally signed rows."""
    return joined(net, lambda a, b: a / a.norm() + b / b.norm())


def mla(net, alpha=0.1):
    """One modality after the other through the shared head, whose gradient is projected off the means seen before."""
    p = torch.eye(WIDTH).double()
    for m in net.names:
        z = net.z(m)
        loss = cross_entropy(z @ net.p["head:shared.weight"] + net.p["head:shared.bias"], net.y)
        g = net.gradient(loss)
        g["head:shared.weight"] = p @ g["head:shared.weight"]
        mean = z.detach().mean(0)
        p = torch.linalg.inv(torch.linalg.inv(p) + torch.outer(mean, mean) / alpha)
        net.p = {k: v.requires_grad_() for k, v in net.after(g).items()}


REFERENCES = {
    "joint": (joint, {}), "uniform": (uniform, {}), "unimodal": (unimodal, {}), "ume": (unimodal, {}), "mimo": (mimo, {}),
    "cml": (cml, {}), "mmcosine": (mmcosine, {}), "pmr": (pmr, {"subset": 1.0}), "ogm": (ogm, {}), "agm": (agm, {}),
    "lfm": (lfm, {}), "mbsd": (mbsd, {}), "cggm": (cggm, {}), "mmpareto": (mmpareto, {}), "ngdiff": (ngdiff, {}), "mla": (mla, {}),
}  # fmt: skip


@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("name", REFERENCES)
def test_a_step_is_what_the_formulas_say(name, names):
    reference, settings = REFERENCES[name]
    draws = Stream(3).draws()
    y = draws.integers("y", CLASSES, N)
    x = {m: SPEEDS[m] * (draws.normal(m, N, 4) + y[:, None] * draws.normal(f"mean {m}", 4)) for m in names}

    def build(draws):
        encoders = {m: MLPEncoder((4, 7, WIDTH), draws=draws, name=m, dtype=torch.float64) for m in names}
        head = FUSIONS["concat"](dict.fromkeys(names, WIDTH), CLASSES, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head)

    how = Settings(batch_size=N, lr=RATE, momentum=0.0, weight_decay=0.0)
    data = Batch(x, y)
    trainer = Trainer(build, METHODS[name](**settings), data, settings=how, stream=Stream(1), validation=data)
    net = Plain(trainer, x, y)
    gradient = reference(net)
    wanted = net.p if gradient is None else net.after(gradient)
    start = {k: v.detach().clone() for k, v in (*trainer.model.named_parameters(), *trainer.auxiliary.named_parameters())}  # fmt: skip
    trainer.run(1)
    found = dict((*trainer.model.named_parameters(), *trainer.auxiliary.named_parameters()))
    for k, v in wanted.items():
        assert float((found[k] - v).detach().abs().max()) < 1e-10, k
    assert max(float((found[k].detach() - start[k]).abs().max()) for k in wanted) > 1e-3
