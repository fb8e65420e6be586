"""One step of training by the formulas as the papers write them, in plain autograd on plain tensors, beside the loop's: two and three modalities.

Nothing of the library computes a reference but its initial parameters; agreement is to rounding in float64.
"""

from itertools import combinations

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize


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
        logits = sum(net.share(m, None if m in heard else torch.zeros(net.n, net.width).double()) for m in net.names)
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
        c = torch.stack([z[net.y == k].mean(0) for k in range(net.classes)]).detach()
        near[m] = -(z[:, None] - c).square().sum(-1).sqrt()
        right[m] = near[m].softmax(-1)[torch.arange(net.n), net.y].sum().detach()
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
    sure, q = taught.softmax(-1)[torch.arange(net.n), net.y], (taught / t).softmax(-1)
    apart = sum((q * (q.log() - (net.share(m) / t).log_softmax(-1))).sum(-1) for m in net.names)
    return net.gradient(cross_entropy(net.fused(), net.y) + lam * t**2 * (sure * apart).mean())


def cggm(net, lam=0.1):
    """In the first step all factors are one; the guides learn on features held constant and turn the fused residuals."""
    fused, label = net.fused(), torch.nn.functional.one_hot(net.y, net.classes)
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
    s = {m: net.share(m).detach().softmax(-1)[torch.arange(net.n), net.y].sum() for m in net.names}
    for m in net.names:
        others = [j for j in net.names if j != m]
        rho = sum(s[m] / s[j] for j in others) / len(others)
        k = 1 - torch.tanh(alpha * rho) if rho > 1 else 1.0
        for name in net.encoder(m):
            g[name] = k * g[name]
    return g


def ogm_ge(net, alpha=0.5):
    """Every encoder's tensor is given noise of its own gradient's standard deviation, k = 1 or not."""
    plain, g = joint(net), ogm(net, alpha)
    for m in net.names:
        at, noise = 0, net.drawn[f"ge {m}"].double()
        for name in net.encoder(m):
            size = net.p[name].numel()
            g[name] = g[name] + plain[name].std(correction=0) * noise[at : at + size].view(net.p[name].shape)
            at += size
    return g


def shares(net, t=0.2):
    """κ = 1 − softmax(r/T), r = (H(Y) − CE + ½)/H(softmax z), cut to [.1, .9]; (M − 1)/M at a bound of zero or less."""
    often = torch.bincount(net.y, minlength=net.classes).double() / net.n
    label, r = -(often * often.log()).sum(), []
    for m in net.names:
        p = net.z(m).detach().softmax(-1)
        r.append((label - cross_entropy(net.share(m).detach(), net.y) + 0.5) / -(p * p.log()).sum(-1).mean())
    kappa = 1 - (torch.stack(r) / t).softmax(0) if min(r) > 0 else torch.full((len(r),), 1 - 1 / len(r))
    return dict(zip(net.names, kappa.clamp(0.1, 0.9), strict=True))


def units(net, draw):
    """Every layer's columns and biases are multiplied by what a draw makes of their shares of the squared gradient."""
    g, kappa = joint(net), shares(net)
    for m in net.names:
        weights = net.encoder(m)
        for number, (w, b) in enumerate(zip(weights[::2], weights[1::2], strict=True)):
            size = g[w].square().sum(0) + g[b].square()
            kept = int(torch.ceil(len(size) * kappa[m] - 1e-9).clamp(min=1))
            factor = draw(f"{m} {number}", size / size.sum(), kept)
            g[w], g[b] = g[w] * factor, g[b] * factor
    return g


def amss(net):
    """A race of exponential clocks, which is a draw without replacement."""

    def race(name, p, kept):
        clocks = -net.drawn[f"unit {name}"].log() / p
        return (clocks <= clocks.sort().values[kept - 1]).double()

    return units(net, race)


def amss_plus(net, floor=0.1):
    """π by bisection; a comb of teeth one apart over the units in random order; kept units count 1/π."""

    def comb(name, p, kept):
        w, low, high = (1 - floor) * p + floor / len(p), 0.0, 1e6
        for _ in range(200):
            c = (low + high) / 2
            low, high = (c, high) if float((c * w).clamp(max=1).sum()) < kept else (low, c)
        pi, at, factor = (high * w).clamp(max=1), 0.0, torch.zeros(len(p)).double()
        tooth = float(net.drawn[f"start {name}"])
        for i in net.drawn[f"order {name}"].argsort().tolist():
            at += float(pi[i])
            if at > tooth:
                factor[i], tooth = 1 / pi[i], tooth + 1
        return factor

    return units(net, comb)


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


def mgda(net):
    """The point of least norm between two gradients."""

    def rule(a, b):
        c = (((b - a) @ b) / (a - b).square().sum()).clamp(0, 1)
        return c * a + (1 - c) * b

    return joined(net, rule)


def graddrop(net):
    """P = ½(1 + (a + b)/(|a| + |b|)); the positive parts where U < P, else the negative ones."""
    turns = iter(net.names)

    def rule(a, b):
        u = net.drawn[next(turns)].double()
        up = u < (1 + (a + b) / (a.abs() + b.abs()).clamp(min=1e-300)) / 2
        return torch.where(up, a.clamp(min=0) + b.clamp(min=0), a.clamp(max=0) + b.clamp(max=0))

    return joined(net, rule)


def ngdiff(net):
    """d = |J|⁺ signs: the sum of the unit gradients, as the weighting has it for two equally signed rows."""
    return joined(net, lambda a, b: a / a.norm() + b / b.norm())


def mla(net, alpha=0.1):
    """One modality after the other through the shared head, whose gradient is projected off the means seen before."""
    p = torch.eye(net.width).double()
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
    "cml": (cml, {}), "mmcosine": (mmcosine, {}), "pmr": (pmr, {"subset": 1.0}), "ogm": (ogm, {}), "ogm-ge": (ogm_ge, {}), "amss": (amss, {}), "amss-plus": (amss_plus, {}), "graddrop": (graddrop, {}), "moo": (mgda, {"weighting": "mgda"}), "agm": (agm, {}),
    "lfm": (lfm, {}), "mbsd": (mbsd, {}), "cggm": (cggm, {}), "mmpareto": (mmpareto, {}), "ngdiff": (ngdiff, {}), "mla": (mla, {}),
}  # fmt: skip


@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("name", REFERENCES)
def test_a_step_is_what_the_formulas_say(name, names, beside):
    reference, settings = REFERENCES[name]
    beside(name, settings, names, 1, lambda net, epoch: reference(net))
