"""check_method lets a method pass and catches each way of breaking the contract by its name."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmtheory.errors import ArgumentError
from mmtheory.methods import OGM, OPM, Card, Contributing, InfoReg, Method, Phase
from mmtheory.methods._scores import discrepancy, label_scores
from mmtheory.models import Dense
from mmtheory.rng import Stream
from mmtheory.testing import check_method, no_waiting

CARD = Card("mine", "nobody", "Shrinks the gradient of who is ahead.", "reconstruction", neutral="factor = 1")


class Brake(Contributing):
    """A sound method: every encoder whose modality is ahead has its gradient multiplied by a constant."""

    card = CARD

    def __init__(self, factor=0.5):
        self.factor = factor

    def coefficient(self, ratio):
        return torch.where(ratio > 1, self.factor, torch.ones_like(ratio))

    def on_gradients(self, step, gradients):
        scores = label_scores(self.provider.logits(step.model, step.features), step.batch.y)
        for m, ratio in discrepancy(scores).items():
            gradients.owned("total", m).mul_(self.coefficient(ratio).unsqueeze(-1))
        return gradients.total()

    def neutral(self):
        return type(self)(1.0)


class NoCard(Method):
    pass


class Nameless(Brake):
    card = replace(CARD, name="")


class Sourceless(Brake):
    card = replace(CARD, source=" ")


class Unfaithful(Brake):
    card = replace(CARD, fidelity="roughly")


class SilentNeutral(Brake):
    card = replace(CARD, neutral="")


class NotNeutral(Brake):
    def neutral(self):
        return type(self)(1.0 + 1e-15)


class Inert(Brake):
    def coefficient(self, ratio):
        return torch.ones_like(ratio)


class Mixes(Brake):
    """Its coefficient is an average over replicates."""

    def coefficient(self, ratio):
        return super().coefficient(ratio).mean().expand_as(ratio)


class FirstIsSlower(Brake):
    """Slows whoever comes first, wherever the names stand."""

    def on_gradients(self, step, gradients):
        if self.factor != 1:
            gradients.owned("total", step.model.modalities[0]).mul_(self.factor)
        return gradients.total()


class Waits(Brake):
    def coefficient(self, ratio):
        return ratio * 0 + (self.factor if bool((ratio > 1).all()) else 1.0)


class WaitsUnlessFree(Brake):
    def coefficient(self, ratio):
        if ratio.device.type == "cpu" and not bool((ratio > 1).any()):
            return torch.ones_like(ratio)
        return super().coefficient(ratio)


class WritesInLosses(Brake):
    def losses(self, step):
        losses = super().losses(step)
        with torch.no_grad():
            next(step.model.owned("a")).mul_(self.factor)
        return losses


class DoesNotRestore(Brake):
    @contextmanager
    def around(self, step):
        p = next(step.model.owned("a"))
        with torch.no_grad():
            p.add_(1e-12)
        yield
        with torch.no_grad():
            p.sub_(1e-12 if self.factor == 1 else 2e-12)


class MovesOthers(Method):
    """Takes turns, and moves an encoder whose turn it is not."""

    card = replace(CARD, neutral="")

    def phases(self, epoch, index):
        return tuple(Phase(m, move=(m,)) for m in "ab")

    def after_step(self, step):
        with torch.no_grad():
            next(step.model.owned("a" if step.phase.name == "b" else "b")).mul_(0.99)


class Forgets(Brake):
    """Has a state that it does not give to the checkpoint."""

    def bind(self, model, draws):
        super().bind(model, draws)
        self.seen = 0

    def on_gradients(self, step, gradients):
        self.seen += 1
        return super().on_gradients(step, gradients) * (1 if self.factor == 1 else 0.9**self.seen)


class TakesAnOwner(Brake):
    def auxiliary(self, model, draws):
        return {"a": Dense(5, 3, draws=draws, name="a", dtype=torch.float64)}


class WrongShape(Brake):
    def on_gradients(self, step, gradients):
        return super().on_gradients(step, gradients)[..., :1]


class NotFinite(Brake):
    def coefficient(self, ratio):
        return super().coefficient(ratio) / (0.0 if self.factor != 1 else 1.0)


class ServesNobody(Brake):
    def bind(self, model, draws):
        raise ArgumentError("mine: expected another fusion")


class PredictsForOne(Brake):
    def predict(self, model, auxiliary, batch):
        return super().predict(model, auxiliary, batch).mean(-2, keepdim=True)


class KnowsTwo(Brake):
    """Written for a pair: a third modality is nobody."""

    def on_gradients(self, step, gradients):
        if self.factor != 1:
            gradients.owned("total", {2: "a"}[len(step.features)]).mul_(self.factor)
        return gradients.total()


class FirstTwoOnly(Brake):
    """Forgets whoever comes third."""

    def on_gradients(self, step, gradients):
        for m in step.model.modalities[2:] if self.factor != 1 else ():
            gradients.owned("total", m).zero_()
        return super().on_gradients(step, gradients)


class RollsItsOwn(Brake):
    """Noise from torch's global generator."""

    def on_gradients(self, step, gradients):
        total = super().on_gradients(step, gradients)
        return total if self.factor == 1 else total + 1e-3 * torch.rand_like(total)


class RollsInNumpy(Brake):
    def on_gradients(self, step, gradients):
        return super().on_gradients(step, gradients) * (1 if self.factor == 1 else np.random.rand())  # noqa: NPY002


class FirstReplicateForAll(Brake):
    """Loops over replicates and reads the first one's ratio each time."""

    def coefficient(self, ratio):
        found = super().coefficient(ratio)
        return torch.stack([found[0] for _ in range(len(found))]) if found.ndim else found


class ScoresByClass(Brake):
    """Weights classes by the inverse of how often they are in training: one that is not there makes it infinite."""

    def on_epoch(self, view):
        counts = torch.nn.functional.one_hot(view.train.y, 3).sum(-2).double()
        self.rarity = (1 / counts).sum(-1)

    def losses(self, step):
        losses = super().losses(step)
        return losses if self.factor == 1 else {"total": losses["total"] * (1 + self.rarity)}


class AsIfAllWerePresent(Brake):
    """Divides by how many are present."""

    def losses(self, step):
        losses = super().losses(step)
        if self.factor == 1 or not step.batch.present:
            return losses
        there = torch.stack(list(step.batch.present.values())).sum(0).to(losses["total"].dtype)
        return {"total": losses["total"] * (len(step.features) / there).mean(-1)}


@pytest.fixture
def generators_put_back():
    """Two of the broken ones move the global generators, which no test may."""
    known = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        yield
    np.random.set_state(known)  # noqa: NPY002


@pytest.mark.parametrize(
    "method", [Brake(), WaitsUnlessFree(), OGM(0.5, form="journal"), OPM(0.5)], ids=lambda m: type(m).__name__
)
def test_a_sound_method_passes(method):
    check_method(method, stream=Stream(1))


@pytest.mark.parametrize("seed", range(3))
def test_a_threshold_at_its_default_is_passed_within_the_short_runs(seed):
    """Below its gap of .05 InfoReg is joint training, as it should be; so somebody must lead by more, also where nothing is additive."""
    check_method(InfoReg(), fusions=("sum", "concat", "film"), stream=Stream(seed, ("check_method",)))


def test_below_its_threshold_a_method_is_asked_to_act():
    with pytest.raises(AssertionError, match=r"inforeg: expected an active method .* \(a smaller threshold"):
        check_method(InfoReg(gap=0.9), fusions=("film",))


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (NoCard(), "NoCard: expected a Card"),
        (Nameless(), "Nameless: expected a card with a name"),
        (Sourceless(), "mine: expected a card with a source"),
        (Unfaithful(), "mine: expected a card whose fidelity is one of"),
        (SilentNeutral(), "mine: expected the card to say how to be neutral"),
        (NotNeutral(), "mine: expected its neutral setting to be joint training bit for bit"),
        (Inert(), "mine: expected an active method to change training"),
        (Mixes(), "mine: stacked replicate 0 is not the replicate trained alone"),
        (FirstIsSlower(), "mine: expected the order in which modalities are named not to matter"),
        (Waits(), "mine: on_gradients: expected no wait of the host for the device, found a tensor read as a Python"),
        (WritesInLosses(), "mine: losses: expected the parameters of 'a' to stay"),
        (DoesNotRestore(), "mine: around: expected the parameters of 'a' to stay"),
        (MovesOthers(), "mine: after_step: expected the parameters of"),
        (Forgets(), "mine: a resumed run is not the uninterrupted one"),
        (TakesAnOwner(), "mine: expected auxiliary owners beside"),
        (WrongShape(), "mine: on_gradients: expected"),
        (NotFinite(), "mine: on_gradients: expected finite gradients"),
        (ServesNobody(), "mine: expected a fusion that it serves"),
        (PredictsForOne(), "mine: expected predictions"),
        (KnowsTwo(), "mine: expected to serve 3 modalities with sum, found KeyError"),
        (FirstTwoOnly(), "mine: expected the order in which modalities are named not to matter"),
        (RollsItsOwn(), "mine: expected random numbers of step.draws alone, found the global generator of torch moved"),
        (
            RollsInNumpy(),
            "mine: expected random numbers of step.draws alone, found the global generator of numpy moved",
        ),
        (FirstReplicateForAll(), "mine: stacked replicate 1 is not the replicate trained alone"),
        (ScoresByClass(), "mine: expected all to stay finite where modalities are absent, a class has no samples"),
        (AsIfAllWerePresent(), "mine: expected all to stay finite where modalities are absent"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Method) else "",
)
@pytest.mark.usefixtures("generators_put_back")
def test_a_broken_method_is_caught_by_name(method, said):
    with pytest.raises(AssertionError) as caught:
        check_method(method)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: float(x[0]),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.equal(x, x),
        lambda x: x.unique(),
        lambda x: torch.allclose(x, x),
    ],
)
def test_reading_numbers_on_the_host_is_seen(read):
    with pytest.raises(AssertionError, match="me: expected no wait"), no_waiting("me"):
        read(torch.ones(3))


def test_plain_arithmetic_is_not_a_wait():
    x = torch.ones(3, requires_grad=True)
    with no_waiting("me"):
        y = torch.where(x > 0, x, -x).softmax(-1)[..., :2].sum()
        (g,) = torch.autograd.grad(y, [x])
        torch.nn.functional.one_hot(torch.tensor([0, 1]), 3)
        x.detach().index_select(0, torch.tensor([1]))
    assert g.shape == (3,)
