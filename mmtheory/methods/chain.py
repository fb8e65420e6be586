"""Composition: several methods as one, their hooks from left to right, and a refusal where two of them cannot both have their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import ClassVar, final

from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import FlatParameters, MultimodalModel
from mmtheory.rng import Draws

from ._contribution import Contributing, Contribution
from ._method import Card, Gradients, Method, Phase, Step, View, required

SOLE = ("remodel", "phases", "around", "output", "predict")
"""Hooks of which a chain can have one: they say what a pass is, and two answers cannot be merged."""
WHOLE = ("on_features", "on_gradients")
"""Hooks that may ask for every modality, which a pass that hears some of them does not have."""


@final
class Chain(Method):
    r"""Several methods at once.

    Features and gradients go through the members from left to right; losses add up their differences to joint training's.

    .. math:: L = L_1 + \sum_{k \ge 2} \bigl(L_k - \ell(o, y)\bigr)

    A chain of one is that method, bit for bit, and joint training adds nothing. What is refused: two members that plan passes, surround
    them, put out logits or predict; auxiliary parts of the same name; beside a member that lets some modalities rest, members that touch
    features, losses or gradients; a member with several rows that is not the first, or with another that adds losses; one method twice.

    :param members: methods, chains among them being taken apart.
    :raises ArgumentError: no member, or (here or when it is bound) one of these.

    >>> from mmtheory.methods import OGM, OPM
    >>> Chain(OPM(), OGM(form="journal")).names
    ('opm', 'ogm')
    """

    card: ClassVar[Card] = Card(
        name="chain",
        source="composition",
        summary="Applies several methods one after the other in every hook.",
        fidelity="paper",
        cost="the sum of what the members cost beyond joint training",
        neutral="every member neutral",
    )

    def __init__(self, *members: Method) -> None:
        flat = [part for m in members for part in (m.members if isinstance(m, Chain) else (m,))]
        if not flat:
            raise ArgumentError("chain: expected at least one method, found none")
        self.members: tuple[Method, ...] = tuple(flat)
        self.names = tuple(m.card.name for m in flat)
        if twice := sorted({n for n in self.names if self.names.count(n) > 1}):
            raise ArgumentError(f"chain: expected each method once, found {', '.join(twice)} more often")
        for hook in SOLE:
            who = [m.card.name for m in flat if overrides(m, hook)]
            if len(who) > 1:
                raise ArgumentError(f"chain: expected one member with {hook}, found {' and '.join(who)}")
        # What a chain needs is its members' affair, not the class's.
        vars(self)["needs"] = frozenset[str]().union(*(m.needs for m in flat))
        vars(self)["why_classes"] = next((f"{m.card.name}: {m.why_classes}" for m in flat if m.why_classes), "")

    def _sole(self, hook: str) -> Method:
        """The member that overrides a hook, any member if none does."""
        return next((m for m in self.members if overrides(m, hook)), self.members[0])

    def remodel(self, model: MultimodalModel, draws: Draws) -> MultimodalModel:
        return self._sole("remodel").remodel(model, draws)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        parts: dict[str, nn.Module] = {}
        whose: dict[str, str] = {}
        for m in self.members:
            # Parts are drawn under their names, which differ: each is initialised as if its method stood alone.
            own = Draws(draws.streams, draws.batch_shape, draws.device)
            for owner, module in m.auxiliary(model, own).items():
                if owner in parts:
                    raise ArgumentError(
                        f"chain: expected auxiliary parts of different names, found {owner!r} in {whose[owner]} and {m.card.name}"
                    )
                parts[owner], whose[owner] = module, m.card.name
        return parts

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        for k, m in enumerate(self.members):
            m.bind(model, self._draws(k, draws))
        self._refuse_mixtures()

    def _refuse_mixtures(self) -> None:
        """What can be told only once members know their model."""
        planner = self._sole("phases")
        first = planner.phases(0, 0)
        others = [m for m in self.members if m is not planner]
        if any(p.hear is not None for p in first):
            for m in others:
                if adds_losses(m) or any(overrides(m, hook) for hook in WHOLE):
                    raise ArgumentError(
                        f"chain: expected beside {planner.card.name}, which lets modalities rest, no member that touches features, "
                        f"losses or gradients, found {m.card.name}"
                    )
        if any(p.rows != ("total",) for p in first):
            if planner is not self.members[0]:
                raise ArgumentError(
                    f"chain: expected {planner.card.name}, which joins several rows, to be first, found {self.names}"
                )
            if adding := [m.card.name for m in others if adds_losses(m)]:
                raise ArgumentError(
                    f"chain: expected beside {planner.card.name}, which differentiates several losses, none that adds losses, found {adding}"
                )

    def _draws(self, k: int, draws: Draws) -> Draws:
        """A member's own randomness: the first has the chain's, so that a chain of one is its member."""
        streams = draws.streams if k == 0 else tuple(s.child(self.names[k]) for s in draws.streams)
        return Draws(streams, draws.batch_shape, draws.device)

    def _step(self, k: int, step: Step) -> Step:
        """The step as a member sees it."""
        return step if k == 0 else replace(step, draw=lambda: self._draws(k, step.draw()))

    def on_epoch(self, view: View) -> None:
        for k, m in enumerate(self.members):
            m.on_epoch(_MemberView(view, m, self._draws(k, view.draws)))

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        return self._sole("phases").phases(epoch, index)

    def around(self, step: Step) -> AbstractContextManager[None]:
        member = self._sole("around")
        return member.around(step) if overrides(member, "around") else nullcontext()

    def on_features(self, step: Step) -> None:
        for k, m in enumerate(self.members):
            own = self._step(k, step)
            m.on_features(own)
            step.features = own.features

    def output(self, step: Step) -> Tensor:
        return self._sole("output").output(step)

    def losses(self, step: Step) -> dict[str, Tensor]:
        adding = [(k, m) for k, m in enumerate(self.members) if adds_losses(m)]
        if not adding:
            return super().losses(step)
        # Who plans the pass also names its losses; the others' are differences.
        adding.sort(key=lambda pair: not overrides(pair[1], "phases"))
        losses = adding[0][1].losses(self._step(adding[0][0], step))
        for k, m in adding[1:]:
            more = m.losses(self._step(k, step))["total"] - step.loss(required(step.logits))
            losses = {**losses, "total": losses["total"] + more}
        return losses

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        total = self.members[0].on_gradients(step, gradients)
        reached = frozenset[str]().union(*gradients.reached.values())
        for k, m in enumerate(self.members[1:], 1):
            if overrides(m, "on_gradients"):
                total = m.on_gradients(
                    self._step(k, step), Gradients(gradients.flat, {"total": total}, {"total": reached})
                )
        return total

    def on_update(self, step: Step, before: Tensor, flat: FlatParameters) -> None:
        for k, m in enumerate(self.members):
            if "update" in m.needs:
                m.on_update(self._step(k, step), before, flat)

    def after_step(self, step: Step) -> None:
        for k, m in enumerate(self.members):
            m.after_step(self._step(k, step))

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        return self._sole("predict").predict(model, auxiliary, batch)

    def plain(self) -> bool:
        return all(m.plain() for m in self.members)

    def state_dict(self) -> dict[str, Tensor]:
        return {f"{n}.{k}": v for n, m in zip(self.names, self.members, strict=True) for k, v in m.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for n, m in zip(self.names, self.members, strict=True):
            m.load_state_dict({k.removeprefix(f"{n}."): v for k, v in state.items() if k.startswith(f"{n}.")})

    def neutral(self) -> Method | None:
        known = [m for m in (member.neutral() for member in self.members) if m is not None]
        return Chain(*known) if len(known) == len(self.members) else None


@final
class _MemberView:
    """What one member sees of an epoch: validation only if it declared the need, randomness of its own."""

    def __init__(self, view: View, member: Method, draws: Draws) -> None:
        self._view = view
        self.epoch, self.model, self.auxiliary, self.train = view.epoch, view.model, view.auxiliary, view.train
        self.validation = view.validation if "validation" in member.needs else None
        self.draws = draws

    @property
    def order(self) -> Tensor:
        return self._view.order

    def set_order(self, index: Tensor) -> None:
        self._view.set_order(index)

    def fit(self, method: Method, epochs: int | None = None, *, continued: bool = False) -> MultimodalModel:
        return self._view.fit(method, epochs, continued=continued)


def overrides(method: Method, hook: str) -> bool:
    """Whether a method has this hook of its own."""
    return getattr(type(method), hook) is not getattr(Method, hook)


def adds_losses(method: Method) -> bool:
    """Whether a bound method changes the loss; asking a provider that trains nothing does not."""
    if type(method).losses is Contributing.losses and isinstance(method, Contributing):
        return type(method.provider).loss is not Contribution.loss
    return overrides(method, "losses")
