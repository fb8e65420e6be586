"""How fast weights are: one Gramian, batches, a whole pass and whole training steps, beside TorchJD and cvxpy; ratios and goals as JSON.

The goals are the printed ones, for an idle machine. The limits asserted are several times wider, because two cores are shared here.
"""

import json
import statistics
import time

import cvxpy as cp
import pytest
import torch
import torchjd.aggregation as peers
import torchjd.autojac as autojac

from mmtheory.moo import WEIGHTINGS, GramianAccumulator, SmoothLexicographic, certify, combine, gramian, moo_backward
from mmtheory.rng import Stream

pytestmark = [pytest.mark.benchmark, pytest.mark.peers]

LOADED = 3  # how much slower a shared machine may be than the goal


def conflicting(m, count):
    J = Stream(0, ("benchmark", m)).draws(range(count)).normal("J", m, 3 * m)
    return J - 1.1 * J.mean(1, keepdim=True)


def spread(m, count):
    """Rows of lengths from 1e-3 to 1e3."""
    draws = Stream(1, ("benchmark", m)).draws(range(count))
    J = draws.normal("J", m, 3 * m)
    return J / J.norm(dim=-1, keepdim=True) * 10 ** (6 * draws.uniform("length", m, 1) - 3)


def seconds(work, repeats):
    """The least of some runs, after one to warm up; time of the processor, of which only one thread is used."""
    work()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def show(capsys, report):
    with capsys.disabled():
        print("\n" + json.dumps(report))


def test_duality_gap_over_six_decades(capsys):
    """Relative to ‖d‖², beside the Frank–Wolfe iteration of TorchJD on the same Gramians."""
    report, method = {}, WEIGHTINGS["mgda"]()
    for m in range(2, 9):
        J = spread(m, 2000)
        G = J @ J.mT
        ours = float(certify("mgda", G, method.weights(G)).relative.max())
        one = torch.stack([method.weights(g) for g in G[:200]])
        report[f"gap_m{m}"] = max(ours, float(certify("mgda", G[:200], one).relative.max()))
    for m in (4, 8):
        J = spread(m, 40)
        G = J @ J.mT
        theirs = peers.MGDAWeighting()
        found = certify("mgda", G, torch.stack([theirs(g) for g in G]))
        report[f"torchjd_gap_m{m}_max"] = float(found.relative.max())
        report[f"torchjd_gap_m{m}_median"] = float(found.relative.median())
    show(capsys, {**report, "goal": 1e-10})
    assert max(v for k, v in report.items() if k.startswith("gap")) <= 1e-10
    assert report["torchjd_gap_m8_max"] > 1


def cvxpy_min_norm(m):
    """The programme compiled once, as a careful user of cvxpy would."""
    root, w = cp.Parameter((m, m)), cp.Variable(m, nonneg=True)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(root @ w)), [cp.sum(w) == 1])

    def solve(g):
        root.value = torch.linalg.cholesky(g).mT.numpy()
        problem.solve(solver="CLARABEL")

    return solve


def test_one_gramian_and_a_batch(capsys):
    """Microseconds; the goals are of the min-norm kernel, the other weightings are shown beside it."""
    method, report, worst = WEIGHTINGS["mgda"](), {}, {}
    for m, goal in ((2, 60), (3, 350), (4, 350), (8, 350)):
        J = conflicting(m, 4000)
        G = J @ J.mT
        few = list(G[:10])
        ours = 1e6 * seconds(lambda few=few: [method.weights(g) for g in few], 15) / len(few)
        batch = 1e6 * seconds(lambda G=G: method.weights(G), 5) / len(G)
        theirs, cone = peers.MGDAWeighting(), cvxpy_min_norm(m)
        jd = 1e6 * seconds(lambda few=few, theirs=theirs: [theirs(g) for g in few], 2) / len(few)
        cvx = 1e6 * seconds(lambda few=few, cone=cone: [cone(g) for g in few], 2) / len(few)
        report[f"m{m}"] = {
            "one_us": round(ours, 1),
            "goal_us": goal,
            "torchjd_over_ours": round(jd / ours, 1),
            "cvxpy_over_ours": round(cvx / ours, 1),
            "batch_us_an_item": round(batch, 2),
            "batch_goal_us": 2,
        }
        worst[m] = max(ours / goal, batch / 2)
    show(capsys, report)
    assert max(worst.values()) <= LOADED


REACHED = {
    "mgda", "mean", "linear", "dualproj", "pcd", "sdmgrad", "modo", "moco", "cr-mogm", "ngdiff", "capped-mgda", "pcgrad", "imtl-g", "config",
}  # fmt: skip
"""Whose batches of eight objectives come near 2 µs an item (0.4 to 2.8 measured); the others are held against ``FLOORS``."""
FLOORS = {
    "aligned": ("eigenvalues", 2),
    "upgrad": ("m_programmes", 0.8),
    "nash": ("five_systems", 4),
    "fairgrad": ("five_systems", 4),
    "cagrad": ("three_min_norm", 2.5),
    "gradvac": ("pcgrad", 7),
}
"""What a method is built of, timed in the same run, and the multiple of that time which it may take: measured 1.2, 0.35, 2, 2, 1.1 and 3.
All of these are above 2 µs at m = 8. Newton's method takes five systems, CAGrad's path two with two right sides, GradVac PCGrad's moves."""


def floors(G, batched):
    """Seconds an item of each floor."""
    n, m = G.shape[:2]
    right = torch.ones(n, m, 1, dtype=G.dtype)
    system = seconds(lambda: torch.cholesky_solve(right, torch.linalg.cholesky_ex(G)[0]), 3) / n
    return {
        "eigenvalues": seconds(lambda: torch.linalg.eigh(G), 3) / n,
        "m_programmes": m * batched["dualproj"],
        "five_systems": 5 * system,
        "three_min_norm": 3 * batched["mgda"],
        "pcgrad": batched["pcgrad"],
    }


@pytest.mark.parametrize(("m", "goal"), [(2, 60), (3, 350), (8, 350)])
def test_every_weighting(m, goal, capsys):
    """Microseconds for one Gramian, turn about with the mean, whose checks are the floor; and an item of 2000."""
    J = conflicting(m, 2000)
    G = J @ J.mT
    report, floor, batched = {}, WEIGHTINGS["mean"](), {}
    for name, kind in WEIGHTINGS.items():
        if name == "mmpareto" and m > 2:
            continue
        method, times = kind(), {"own": [], "floor": []}
        for _ in range(12):
            for which, chosen in (("floor", floor), ("own", method)):
                started = time.process_time()
                for g in G[:10]:
                    chosen.weights(g)
                times[which].append((time.process_time() - started) / 10)
        batched[name] = batch = seconds(lambda method=method: method.weights(G), 3) / len(G)
        report[name] = [round(1e6 * min(times["own"]), 1), round(1e6 * min(times["floor"]), 1), round(1e6 * batch, 2)]
    least = floors(G, batched)
    ratios = {name: round(batched[name] / least[below], 2) for name, (below, _) in FLOORS.items()}
    shown = {name: round(1e6 * v, 2) for name, v in least.items()}
    show(capsys, {f"m{m}_us_one_mean_batched": report, "goals": [goal, 2], "floors_us": shown, "over_floor": ratios})
    assert max(own for own, _, _ in report.values()) <= goal * LOADED
    assert max(batch for name, (_, _, batch) in report.items() if m == 2 or name in REACHED) <= 2 * LOADED
    if m == 8:
        assert {name: r for name, r in ratios.items() if r > FLOORS[name][1]} == {}


@pytest.mark.parametrize("m", [2, 4])
def test_whole_pass_over_ten_million_parameters(m, capsys):
    """Gramian, weights and combination of rows that lie in 50 tensors, beside TorchJD's own way from ``.jac`` to ``.grad``."""
    tensors, size = 50, 200_000
    jacobians = [torch.randn(m, size, generator=Stream(k, ("pass",)).torch()) for k in range(tensors)]
    parameters = [torch.zeros(size, requires_grad=True) for _ in jacobians]
    for p in parameters:
        p.grad = torch.zeros_like(p)
    method = WEIGHTINGS["mgda"]()

    def ours():
        total = GramianAccumulator(m)
        for block in jacobians:
            total.add(block.unbind())
        weights = method.weights(total.total)
        for p, block in zip(parameters, jacobians, strict=True):
            combine(block.unbind(), weights, p.grad)

    def theirs():
        for p, block in zip(parameters, jacobians, strict=True):
            p.jac = block
        autojac.jac_to_grad(parameters, peers.MGDA(), retain_jac=True)

    mine, peer = seconds(ours, 4), seconds(theirs, 3)
    joined = torch.cat(jacobians, 1)
    out = torch.zeros(tensors * size)

    def ours_joined():
        combine(joined.unbind(), method.weights(gramian(joined)), out)

    aggregator = peers.MGDA()
    mine_joined, peer_joined = seconds(ours_joined, 4), seconds(lambda: aggregator(joined), 3)
    report = {
        "m": m,
        "torchjd_over_ours": round(peer / mine, 2),
        "torchjd_over_ours_on_one_matrix": round(peer_joined / mine_joined, 2),
        "goal": 2,
        "ours_ms": round(1e3 * mine, 1),
        "ours_on_one_matrix_ms": round(1e3 * mine_joined, 1),
        "read_once_ms": round(1e3 * seconds(joined.sum, 3), 1),
    }
    show(capsys, report)
    assert peer / mine >= 1.3


class Late(torch.nn.Module):
    """Two encoders, a fused head and one a modality: 3.7 million parameters."""

    def __init__(self, width=1024):
        super().__init__()
        nn = torch.nn
        with torch.random.fork_rng(devices=[]):
            self.a, self.v = (
                nn.Sequential(
                    nn.Linear(512, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 256)
                )
                for _ in "av"
            )
            self.fused, self.head_a, self.head_v = nn.Linear(512, 10), nn.Linear(256, 10), nn.Linear(256, 10)
        draws = Stream(0, ("late",)).draws()
        self.x, self.u = draws.normal("x", 64, 512).float(), draws.normal("u", 64, 512).float()
        self.y = draws.integers("y", 10, 64)

    def losses(self):
        self.zero_grad(set_to_none=True)
        ce = torch.nn.functional.cross_entropy
        z = {"a": self.a(self.x), "v": self.v(self.u)}
        out = self.fused(torch.cat((z["a"], z["v"]), -1))
        return {"f": ce(out, self.y), "a": ce(self.head_a(z["a"]), self.y), "v": ce(self.head_v(z["v"]), self.y)}, z


def test_whole_steps_of_late_fusion(capsys):
    """Forward and backward of a step, over those of the summed losses; turn about, so that the machine's load falls on all alike."""
    model = Late()
    blocks = {name: list(part.parameters()) for name, part in model.named_children()}
    smooth = SmoothLexicographic()

    def joint():
        sum(model.losses()[0].values()).backward()

    def mimo():
        smooth.objective(torch.stack(list(model.losses()[0].values()))).backward()

    def block_mgda():
        losses, features = model.losses()
        moo_backward(losses, blocks, "mgda", scope="block", features=features)

    steps = {"joint": joint, "mimo_style": mimo, "block_mgda": block_mgda}
    times = {name: [] for name in steps}
    for _ in range(40):
        for name, step in steps.items():
            started = time.process_time()
            step()
            times[name].append(time.process_time() - started)
    least = {name: min(found) for name, found in times.items()}
    paired = {
        name: statistics.median(t / j for t, j in zip(found, times["joint"], strict=True))
        for name, found in times.items()
    }
    report = {
        "block_mgda_over_joint": round(least["block_mgda"] / least["joint"], 3),
        "block_mgda_goal": 2.5,
        "mimo_style_over_joint": round(least["mimo_style"] / least["joint"], 3),
        "mimo_style_goal": 1.05,
        "paired_medians": {name: round(v, 3) for name, v in paired.items()},
        "joint_ms": round(1e3 * least["joint"], 2),
    }
    show(capsys, report)
    assert min(least["block_mgda"] / least["joint"], paired["block_mgda"]) <= 3.5
    assert min(least["mimo_style"] / least["joint"], paired["mimo_style"]) <= 1.3
