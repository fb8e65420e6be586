"""Steps of the methods that remember, or take turns, by the papers' formulas in plain autograd: two and three modalities, a step an epoch."""

import pytest
import torch
from torch.nn.functional import cross_entropy


def right(net, logits):
    """Mean probability of the labels."""
    return logits.detach().softmax(-1)[torch.arange(net.n), net.y].mean()


def head(net, m, z=None):
    return (net.z(m) if z is None else z) @ net.p[f"head:{m}.weight"] + net.p[f"head:{m}.bias"]


def kept(net, g, names):
    """The gradient of these parameters alone."""
    return {k: v if k in names else torch.zeros_like(v) for k, v in g.items()}


def reconboost():
    """Turns in alphabetical order; what the others know of a sample takes away from its weight."""

    def step(net, epoch):
        m = net.names[epoch % len(net.names)]
        others = sum(head(net, j) for j in net.names if j != m).detach()
        known = others.softmax(-1)[torch.arange(net.n), net.y]
        loss = ((5 - known) * cross_entropy(head(net, m), net.y, reduction="none")).mean()
        g = net.gradient(loss)
        return kept(net, g, [*net.encoder(m), f"head:{m}.weight", f"head:{m}.bias"])

    return step


def aug(lam=0.33, tau=0.01, hidden=16):
    """Who lags gets a second classifier at the second epoch; its labels are what the first left of them."""

    def classifier(net, m, j):
        cut = slice(j * hidden, (j + 1) * hidden)
        inner = (net.z(m) @ net.p[f"head:{m}.weight"][:, cut] + net.p[f"head:{m}.bias"][cut]).relu()
        return inner @ net.p["last layer.weight"] + net.p["last layer.bias"]

    def step(net, epoch):
        first = {m: classifier(net, m, 0) for m in net.names}
        score = {m: right(net, f) for m, f in first.items()}
        loss = 0.0
        for m, f in first.items():
            lags = epoch == 1 and max(s for j, s in score.items() if j != m) - score[m] > tau
            if not lags:
                loss = loss + 2 * cross_entropy(f, net.y)
                continue
            newest = classifier(net, m, 1)
            left = 1 - lam * f.detach().softmax(-1)[torch.arange(net.n), net.y]
            loss = loss + (left * cross_entropy(newest, net.y, reduction="none")).mean()
            loss = loss + cross_entropy(f + newest, net.y) + cross_entropy(f, net.y)
        return net.gradient(loss)

    return step


def umt(lam=10.0):
    """Teachers that were trained for no epoch are the first encoders."""
    teachers = {}

    def step(net, epoch):
        if not teachers:
            teachers.update({m: net.z(m).detach() for m in net.names})
        far = sum((net.z(m) - teachers[m]).square().mean() for m in net.names)
        return net.gradient(cross_entropy(net.fused(), net.y) + lam * far)

    return step


def famo(floor=-1e-8):
    """z = softmax(ξ); the step's weights are z/f, made to sum to one; ξ descends along Jac(z)ᵀ of the fall of log f, by torch's Adam."""
    memory = {}

    def losses(net):
        return torch.stack([cross_entropy(net.fused(), net.y), *(net.own(m) for m in net.names)]) - floor

    def step(net, epoch):
        if not memory:
            memory["xi"] = torch.zeros(1 + len(net.names)).double().requires_grad_()
            memory["adam"] = torch.optim.Adam([memory["xi"]], lr=0.025, weight_decay=1e-3)
        xi, f = memory["xi"], losses(net)
        w = (xi.softmax(0) / f).detach()
        net.move(net.after(net.gradient((w / w.sum() * f).sum())))
        fell = (f.log() - losses(net).log()).detach()
        (xi.grad,) = torch.autograd.grad(xi.softmax(0) @ fell, [xi])
        memory["adam"].step()

    return step


def i2m2():
    """A product of the joint expert and each modality's, over the labels' smoothed frequencies."""

    def step(net, epoch):
        prior = (1 + torch.bincount(net.y, minlength=net.classes)).double()
        prior = (prior / prior.sum()).log()
        logits = net.fused().log_softmax(-1) + sum(head(net, m).log_softmax(-1) - prior for m in net.names)
        return net.gradient(cross_entropy(logits, net.y))

    return step


def mie(rho=0.05, gamma=0.3, temperature=0.4):
    """One batch's mean inputs span a line: the damper is I − (1 − e^{−T}) u uᵀ, u that of the modality before."""

    def inputs(net, m):
        h = [net.x[m]]
        for k in (0, 2):
            h.append((h[-1] @ net.p[f"encoders.{m}.layers.{k}"] + net.p[f"encoders.{m}.layers.{k + 1}"]).relu())
        return [v.detach().mean(0) for v in h]

    def step(net, epoch):
        m = net.names[epoch % len(net.names)]
        mine = [*net.encoder(m), *(k for k in net.p if k.startswith(f"head:{m}."))]
        weight, bias = (k for k in mine if k.startswith("head:"))

        def loss():
            return cross_entropy(net.z(m) @ net.p[weight] + net.p[bias], net.y)

        here, g = net.p, kept(net, net.gradient(loss()), mine)
        norm = torch.sqrt(sum(v.square().sum() for v in g.values()))
        net.move({k: v + rho * g[k] / norm for k, v in here.items()})
        there = kept(net, net.gradient(loss()), mine)
        net.move(here)
        g = {k: (1 - gamma) * g[k] + gamma * there[k] for k in g}
        if epoch:
            last = net.names[(epoch - 1) % len(net.names)]
            for k, mean in zip([*net.encoder(m)[::2], weight], inputs(net, last), strict=True):
                u = mean / mean.norm()
                g[k] = g[k] - (1 - torch.exp(torch.tensor(-temperature).double())) * torch.outer(u, u @ g[k])
        return g

    return step


def mslr(low=0.7, high=1.3):
    """The mean label probability of W_m z + b/M now over its mean before; half of the factor's distance from one."""
    past = {}

    def step(net, epoch):
        g = net.gradient(cross_entropy(net.fused(), net.y))
        for m in net.names:
            now, seen = right(net, net.share(m)), past.setdefault(m, [])
            if seen:
                c = 1 + 0.5 * (float(now / (sum(seen) / len(seen))) - 1)
                assert low < c < high
                for k in net.encoder(m):
                    g[k] = c * g[k]
            seen.append(now)
        return g

    return step


def mses():
    """With patience for one loss that does not fall by ten nat, every encoder rests from the second epoch on."""

    def step(net, epoch):
        g = net.gradient(cross_entropy(net.fused(), net.y))
        return g if epoch == 0 else kept(net, g, ["fusion.head.weight", "fusion.head.bias"])

    return step


def greedy(momentum=0.1):
    """Who has the largest Σ‖g‖²/‖θ‖² gives the running mean of its features in the second step."""
    mean, speed = {}, {}

    def step(net, epoch):
        z = {m: net.z(m) for m in net.names}
        for m, v in z.items():
            mean[m] = v.detach().mean(0) if epoch == 0 else (1 - momentum) * mean[m] + momentum * v.detach().mean(0)
        quiet = max(speed, key=lambda m: speed[m]) if speed else None
        logits = sum(net.share(m, mean[m].expand_as(v) if m == quiet else v) for m, v in z.items())
        g = net.gradient(cross_entropy(logits, net.y))
        for m in net.names:
            force, size = (sum(float(t[k].detach().square().sum()) for k in net.encoder(m)) for t in (g, net.p))
            speed[m] = speed.get(m, 0.0) + force / size
        return g

    return step


def opm():
    """With q clipped to one, everybody whose mean ratio of scores was above one is silent in the second step."""
    silent = set()

    def step(net, epoch):
        zeros = torch.zeros(net.n, net.width).double()
        logits = sum(net.share(m, zeros if m in silent else None) for m in net.names)
        score = {m: right(net, net.share(m)) for m in net.names}
        g = net.gradient(cross_entropy(logits, net.y))
        silent.clear()
        for m in net.names:
            others = [j for j in net.names if j != m]
            if sum(score[m] / score[j] for j in others) / len(others) > 1:
                silent.add(m)
        return g

    return step


def amco():
    """With p = 1 at once, who says most about the labels is silent."""

    def step(net, epoch):
        score = {m: right(net, net.share(m)) for m in net.names}
        first = max(score, key=lambda m: score[m])
        zeros = torch.zeros(net.n, net.width).double()
        logits = sum(net.share(m, zeros if m == first else None) for m in net.names)
        return net.gradient(cross_entropy(logits, net.y))

    return step


def bogc(prior=1.0, beta=0.9):
    """Rows weighed by 1/(1 + W σ²/mean σ²), times two; σ² is the running variance of each entry, zero at the first step."""
    mean, square = {}, {}

    def step(net, epoch):
        fused = net.gradient(cross_entropy(net.fused(), net.y))
        own = net.gradient(sum(net.own(m) for m in net.names))
        total = {k: fused[k] + own[k] for k in net.p}
        for k in (k for m in net.names for k in net.encoder(m)):
            rows = torch.stack([fused[k], own[k]])
            if epoch == 0:
                mean[k], square[k] = rows, torch.zeros_like(rows)
            else:
                gap = rows - mean[k]
                square[k] = beta * (square[k] + (1 - beta) * gap**2)
                mean[k] = mean[k] + (1 - beta) * gap
            level = square[k].mean(0).clamp(min=1e-300)
            b = 1 / (1 + prior * square[k] / level)
            total[k] = 2 * (b / b.sum(0) * rows).sum(0)
        return total

    return step


def gblend(floor=1e-2):
    """Every loss is tried alone for an epoch; gain over squared growth of overfitting, which one split for both leaves at its floor."""

    def losses(net):
        return [cross_entropy(net.fused(), net.y), *(net.own(m) for m in net.names)]

    def step(net, epoch):
        here, gains = net.p, []
        for k in range(1 + len(net.names)):
            before = losses(net)[k]
            net.move(net.after(net.gradient(before)))
            gains.append(float(before.detach() - losses(net)[k].detach()))
            net.move(here)
        raw = [max(g, 0.0) / floor**2 for g in gains]
        return net.gradient(sum(r / sum(raw) * f for r, f in zip(raw, losses(net), strict=True)))

    return step


def umurl():
    """Five times the consistencies, by pairs and with the stream of the mean; five times the spread's hinge and the squared covariances."""

    def step(net, epoch):
        def layer(name, z):
            return z @ net.p[f"{name}.weight"] + net.p[f"{name}.bias"]

        embedded = {m: layer(f"embed:{m}", net.z(m)) for m in net.names}
        fused = layer("stream:shared", sum(embedded.values()) / len(net.names)).relu()
        codes = {m: layer(f"project:{m}", layer("stream:shared", e).relu()) for m, e in embedded.items()}
        parts = {m: layer(f"project:{m}", fused) for m in net.names}
        apart = sum((codes[a] - codes[b]).square().mean() for a in net.names for b in net.names if a < b) / len(
            net.names
        )
        match = sum((codes[m] - parts[m]).square().mean() for m in net.names)
        loss = cross_entropy(layer("probe:shared", fused.detach()), net.y) + 5 * (apart + match)
        for code in (*codes.values(), *parts.values()):
            cov = torch.cov(code.mT)
            loss = loss + 5 * (1 - (cov.diagonal() + 1e-4).sqrt()).clamp(min=0).mean()
            loss = loss + (cov - torch.diag(cov.diagonal())).square().sum() / len(cov)
        return net.gradient(loss)

    return step


REFERENCES = {
    "reconboost": (reconboost, {}, 3), "aug": (aug, {"every": 1}, 2), "umt": (umt, {"teacher_epochs": 0}, 3),
    "famo": (famo, {}, 3), "i2m2": (i2m2, {}, 2), "mie": (mie, {}, 3), "mses": (mses, {"patience": 1, "tolerance": 10.0}, 3),
    "mslr": (mslr, {"strength": 0.5, "measure": "score", "first": 0}, 3), "greedy": (greedy, {"start": 0}, 3),
    "opm": (opm, {"q_base": 1.0, "p_exe": 1.0}, 2), "amco": (amco, {"p": 1.0, "ramp": 1}, 2), "bogc": (bogc, {}, 3),
    "gblend": (gblend, {"super_epoch": 1}, 2), "umurl": (umurl, {}, 2),
}  # fmt: skip


def inforeg(beta=0.95):
    """Who leads the others' mean score is pulled back to where the epoch began, by β e^{tanh lead}."""
    seen, anchor = [], {}

    def step(net, epoch):
        if epoch not in seen:
            seen.append(epoch)
            anchor.update({k: v.detach().clone() for k, v in net.p.items()})
        score = {m: right(net, net.share(m)) for m in net.names}
        g = net.gradient(cross_entropy(net.fused(), net.y))
        for m in net.names:
            lead = score[m] - sum(s for j, s in score.items() if j != m) / (len(score) - 1)
            for k in net.encoder(m) if lead > 0 else ():
                g[k] = g[k] + beta * torch.exp(torch.tanh(lead)) * (net.p[k].detach() - anchor[k])
        return g

    return step


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_steps_within_an_epoch(names, beside):
    beside("inforeg", {"gap": 0.0}, names, 2, inforeg(), batches=3)


@pytest.mark.parametrize("names", ["ab", "abc"])
@pytest.mark.parametrize("name", REFERENCES)
def test_steps_are_what_the_formulas_say(name, names, beside):
    reference, settings, epochs = REFERENCES[name]
    beside(name, settings, names, epochs, reference())
