"""The contract of a training method: its card, its neutral and its active setting, replicates, names, ownership, resumption."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Card, Fidelity, Gradients, Joint, Method, Phase, Step
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Draws, Stream
from mmtheory.training import Settings, Trainer

from ._watch import no_waiting

LOUDNESS = {"a": 12.0, "b": 1.0, "c": 0.0}
"""How much each modality says about the label: enough that within a few small steps a leads, and by more than a method's usual threshold."""
QUIET = {"a": 3.0, "b": 1.0, "c": 0.0}
"""The same of hard data, of which only finite numbers are asked."""
CLASSES, WIDTH, SAMPLES = 3, 5, 24


def check_method(
    method: Method,
    *,
    fusions: Sequence[str] = ("sum", "film"),
    settings: Settings | None = None,
    stream: Stream | None = None,
) -> None:
    """Fail with a sentence unless this is a training method, by short runs with two and three modalities in float64.

    - the card is complete, and says how to be neutral if and only if ``neutral()`` does;
    - the neutral setting is joint training bit for bit, and the method as given is not (unless it is always neutral);
    - stacked replicates are the replicates alone (1e-10), and the order in which modalities are named does not matter (1e-9);
    - hooks that look do not write parameters, ``around`` restores them, no hook moves an owner that its phase does not;
    - no hook of a step waits for the device; gradients and predictions are finite and of the right shape;
    - nobody draws from the global generators of torch or numpy; two and three modalities are served alike;
    - absent modalities, samples without any, a class that no label has and a batch of one leave everything finite;
    - a resumed run is the uninterrupted one bit for bit.

    :param method: an instance that acts within ``settings``; it is copied for every run.
    :param fusions: names in FUSIONS; one that the method refuses is passed over, but one must be served.
    :param settings: of each run; None for two epochs of batches of ten.
    :raises AssertionError: naming the method and the broken clause.
    """
    who = _check_card(method)
    bench = _Bench(
        method, settings or Settings(epochs=2, batch_size=10, lr=0.05), stream or Stream(0, ("check_method",))
    )
    served = [f for f in fusions if bench.serves(f)]
    assert served, f"{who}: expected a fusion that it serves among {list(fusions)}, found it refuses all"
    for fusion in served:
        for names in ("ab", "abc"):
            bench.fusion, bench.names = fusion, names
            with _naming(who, bench):
                _check_hooks(who, bench)
            whole = bench.trainer(method).run()
            _check_activity(who, bench, whole)
            _check_replicates(who, bench, whole)
            _check_order(who, bench, whole)
            _check_resumption(who, bench, whole)
            _check_hard_data(who, bench)


@dataclass
class _Bench:
    """A small imbalanced problem that trainers of two replicates, of one of them, or of renamed modalities are made for."""

    method: Method
    settings: Settings
    stream: Stream
    fusion: str = "sum"
    names: str = "ab"
    hard: bool = False

    def trainer(self, method: Method, *, names: str | None = None, alone: int | None = None) -> Trainer:
        order = names or self.names
        stream = self.stream if alone is None else self.stream.child(alone)
        return Trainer(
            lambda draws: self._model(draws, order),
            copy.deepcopy(method),
            self._data("train", order, alone),
            settings=self.settings,
            stream=stream,
            replicates=range(2) if alone is None else None,
            validation=self._data("validation", order, alone),
        )

    def _model(self, draws: Draws, names: str) -> MultimodalModel:
        encoders = {m: MLPEncoder((4 + (m == "a"), 6, WIDTH), draws=draws, name=m, dtype=torch.float64) for m in names}
        head = FUSIONS[self.fusion](dict.fromkeys(names, WIDTH), CLASSES, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    def _data(self, split: str, names: str, alone: int | None) -> Batch:
        draws = self.stream.child("data", split).draws(range(2))
        n = 3 * self.settings.batch_size + 1 if self.hard else SAMPLES
        y = draws.integers("y", CLASSES - self.hard, n)
        x = {m: draws.normal(m, n, 4 + (m == "a")) for m in names}
        for m, z in x.items():
            z[..., :CLASSES] += (QUIET if self.hard else LOUDNESS)[m] * one_hot(y, CLASSES)
        present: dict[str, Tensor] = {}
        if self.hard:
            present = {m: draws.uniform(f"present {m}", n) < 0.7 for m in names}
            for here in present.values():
                here[:, 0] = False  # a sample of which nothing is there
        whole = Batch(x, y, present)
        return whole if alone is None else Batch({m: z[alone] for m, z in x.items()}, y[alone])

    def serves(self, fusion: str) -> bool:
        self.fusion = fusion
        try:
            self.trainer(self.method)
        except ArgumentError:
            return False
        return True


def _check_card(method: Method) -> str:
    name = type(method).__name__
    card = getattr(type(method), "card", None)
    assert isinstance(card, Card), f"{name}: expected a Card as its class's ``card``, found {card!r}"
    assert card.name, f"{name}: expected a card with a name"
    for part in ("source", "summary", "cost"):
        assert getattr(card, part).strip(), f"{card.name}: expected a card with a {part}"
    known = get_args(Fidelity)
    assert card.fidelity in known, (
        f"{card.name}: expected a card whose fidelity is one of {known}, found {card.fidelity!r}"
    )
    assert all(d.strip() for d in card.differences), f"{card.name}: expected differences that say something"
    neutral = method.neutral()
    assert bool(card.neutral) == (neutral is not None), (
        f"{card.name}: expected the card to say how to be neutral if and only if neutral() does, found {card.neutral!r} and {neutral!r}"
    )
    return card.name


def _parameters(trainer: Trainer) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in trainer.model.named_parameters()}


def _check_activity(who: str, bench: _Bench, whole: Trainer) -> None:
    joint = bench.trainer(Joint()).run()
    reference, found = _parameters(joint), _parameters(whole)
    where = f"with {bench.fusion} and {len(bench.names)} modalities"
    neutral = bench.method.neutral()
    if neutral is not None:
        quiet = _parameters(bench.trainer(neutral).run())
        bad = [name for name, p in reference.items() if not torch.equal(quiet[name], p)]
        assert not bad, (
            f"{who}: expected its neutral setting to be joint training bit for bit {where}, found {bad[0]} changed"
        )
    if type(bench.method).card.neutral == "always":
        return
    moved = set(found) != set(reference) or any(not torch.equal(found[name], p) for name, p in reference.items())
    said = not torch.equal(whole.predict(whole.train_data), joint.predict(joint.train_data))
    assert moved or said, (
        f"{who}: expected an active method to change training {where}, found joint training bit for bit; give an instance that acts within the settings (a smaller threshold, an earlier epoch)"
    )


def _check_replicates(who: str, bench: _Bench, whole: Trainer) -> None:
    said = whole.predict(whole.train_data)
    shape = (2, SAMPLES, CLASSES)
    assert tuple(said.shape) == shape, f"{who}: expected predictions {shape}, found {tuple(said.shape)}"
    assert bool(said.isfinite().all()), f"{who}: expected finite predictions"
    for r in range(2):
        alone = bench.trainer(bench.method, alone=r).run()
        apart = float((whole.flat.data[r] - alone.flat.data).abs().max())
        assert apart <= 1e-10, (
            f"{who}: stacked replicate {r} is not the replicate trained alone: parameters differ by {apart:.2g}"
        )
        apart = float((said[r] - alone.predict(alone.train_data)).abs().max())
        assert apart <= 1e-8, (
            f"{who}: stacked replicate {r} is not the replicate trained alone: predictions differ by {apart:.2g}"
        )


def _check_order(who: str, bench: _Bench, whole: Trainer) -> None:
    if bench.fusion in {"concat", "gmu", "poe"}:
        return  # their initial numbers fill one matrix of all modalities side by side
    here, there = _parameters(whole), _parameters(bench.trainer(bench.method, names=bench.names[::-1]).run())
    apart = max(float((p - there[name]).abs().max()) for name, p in here.items())
    assert apart <= 1e-9, (
        f"{who}: expected the order in which modalities are named not to matter, found parameters {apart:.2g} apart"
    )


def _check_resumption(who: str, bench: _Bench, whole: Trainer) -> None:
    half = bench.trainer(bench.method).run(1)
    resumed = bench.trainer(bench.method)
    resumed.load_state_dict(half.state_dict())
    resumed.run(bench.settings.epochs - 1)
    state = resumed.state_dict()
    for name, value in whole.state_dict().items():
        same = torch.equal(state[name].nan_to_num(), value.nan_to_num())
        assert same, f"{who}: a resumed run is not the uninterrupted one: {name} differs; is all state in state_dict?"


def _check_hard_data(who: str, bench: _Bench) -> None:
    hard = replace(bench, hard=True)
    trainer = hard.trainer(bench.method)
    with _naming(who, bench, "absent modalities, a class without samples and a batch of one"):
        trainer.run()
        said = trainer.predict(trainer.train_data)
    whole = bool(trainer.alive.all()) and bool(trainer.flat.data.isfinite().all()) and bool(said.isfinite().all())
    assert whole, (
        f"{who}: expected all to stay finite where modalities are absent, a class has no samples and a batch has one, found it is not"
    )


@contextmanager
def _naming(who: str, bench: _Bench, what: str = "") -> Generator[None]:
    """An error that the method's own code raises is a broken clause, not a crash of the check."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        served = what or f"{len(bench.names)} modalities with {bench.fusion}"
        raise AssertionError(f"{who}: expected to serve {served}, found {type(error).__name__}: {error}") from error


def _generators() -> tuple[tuple[str, object], ...]:
    """What the global generators will say next."""
    key = np.random.get_state()  # noqa: NPY002 (it is the global one that is watched)
    return (
        ("torch", torch.get_rng_state().tolist()),
        ("numpy", [k.tolist() if isinstance(k, np.ndarray) else k for k in key]),
    )


def _check_hooks(who: str, bench: _Bench) -> None:
    watch = _Watch(who)
    trainer = bench.trainer(bench.method)
    owners = set(trainer.model.owners)
    extra = set(trainer.auxiliary.keys())
    assert not owners & extra, (
        f"{who}: expected auxiliary owners beside {sorted(owners)}, found {sorted(owners & extra)} again"
    )
    watch.trainer = trainer
    watch.put_on(trainer.method)
    trainer.closed = None
    before = _generators()
    trainer.run()
    for (name, old), (_, new) in zip(before, _generators(), strict=True):
        assert old == new, (
            f"{who}: expected random numbers of step.draws alone, found the global generator of {name} moved"
        )


@dataclass
class _Watch:
    """Stands around every hook of one step and compares the parameters before and after."""

    who: str
    trainer: Any = field(default=None)

    def put_on(self, method: Method) -> None:
        """Replace the hooks of this one instance by watched ones."""
        for name in ("phases", "on_features", "output", "losses", "on_gradients", "on_update", "after_step"):
            setattr(method, name, self._watched(name, getattr(method, name)))
        method.around = self._restoring(method.around)

    def _watched(self, name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:  # noqa: ANN401 (whatever the hook takes)
            before = self._now()
            with no_waiting(f"{self.who}: {name}"):
                found = hook(*args)
            phase = args[0].phase if isinstance(args[0], Step) else Phase()
            after_the_move = name in {"on_update", "after_step"}
            self._compare(name, before, phase.move if after_the_move else ())
            if name == "on_gradients":
                self._admit(found, args[1])
            return found

        return call

    def _admit(self, found: Tensor, gradients: Gradients) -> None:
        shape = gradients.flat.data.shape
        assert found.shape == shape, f"{self.who}: on_gradients: expected {tuple(shape)}, found {tuple(found.shape)}"
        assert bool(found.isfinite().all()), f"{self.who}: on_gradients: expected finite gradients"

    def _restoring(self, around: Callable[[Step], AbstractContextManager[None]]) -> Callable[..., Any]:
        @contextmanager
        def call(step: Step) -> Generator[None]:
            before = self._now()
            with around(step):
                yield
            self._compare("around", before, ())

        return call

    def _now(self) -> Mapping[str, Tensor]:
        flat = self.trainer.flat
        return {owner: flat.data[..., columns].clone() for owner, columns in flat.columns.items()}

    def _compare(self, name: str, before: Mapping[str, Tensor], movable: tuple[str, ...] | None) -> None:
        if movable is None:
            return
        for owner, now in self._now().items():
            same = owner in movable or torch.equal(now, before[owner])
            assert same, f"{self.who}: {name}: expected the parameters of {owner!r} to stay, found them written"
