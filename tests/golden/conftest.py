"""A small concat-fusion net in plain tensors, and the loop's training beside it."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmtheory.batch import Batch
from mmtheory.methods import METHODS
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Draws, Stream
from mmtheory.training import Settings, Trainer
from mmtheory.training._draws import StepDraws

WIDTH, CLASSES, N, RATE = 5, 3, 24, 0.1
SPEEDS = {"a": 3.0, "b": 1.0, "c": 0.3}
"""Scales of the inputs, so that nobody is in balance."""


class Plain:
    """The same network as the loop's, its parameters as leaves by name."""

    n, width, classes, rate = N, WIDTH, CLASSES, RATE

    def __init__(self, trainer, x, y):
        named = [*trainer.model.named_parameters(), *trainer.auxiliary.named_parameters()]
        self.p = {k: v.detach().clone().requires_grad_() for k, v in named}
        self.frozen = {k: v.clone() for k, v in trainer.model.named_buffers()}
        self.x, self.y, self.names = x, y, sorted(x)

    def z(self, m):
        h = self.x[m]
        for k in (0, 2):
            h = (h @ self.p[f"encoders.{m}.layers.{k}"] + self.p[f"encoders.{m}.layers.{k + 1}"]).relu()
        return h

    def share(self, m, z=None):
        """W_m z_m + b/M."""
        k = self.names.index(m)
        w = self.p["fusion.head.weight"][k * self.width : (k + 1) * self.width]
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
        return {k: v.detach() - self.rate * gradient[k] for k, v in self.p.items()}

    def move(self, new):
        self.p = {k: v.detach().requires_grad_() for k, v in new.items()}


@pytest.fixture
def beside(monkeypatch):
    """Trains a registered method with one batch an epoch, and the plain net by a reference that is asked for each epoch's gradient.

    What a method draws at random is its own choice: numbers of a first, equal run are handed to the reference by name.
    """

    def drawn(trainer, epochs):
        log = {}

        def logging(draw):
            def call(self, name, *shape):
                log[name] = draw(self, name, *shape)
                return log[name]

            return call

        with monkeypatch.context() as patch:
            for kind in ("normal", "uniform"):
                for draws in (Draws, StepDraws):
                    patch.setattr(draws, kind, logging(getattr(draws, kind)))
            trainer.run(epochs)
        return log

    def compare(name, settings, names, epochs, reference, *, batches=1, drawn_in=1, apart=False):
        draws = Stream(3).draws()
        y = draws.integers("y", CLASSES, N)
        x = {m: SPEEDS[m] * (draws.normal(m, N, 4) + y[:, None] * draws.normal(f"mean {m}", 4)) for m in names}
        if batches > 1:  # of one and the same sample, so that their order does not matter
            y, x = y[:1].repeat(N), {m: v[:1].repeat(N, 1) for m, v in x.items()}

        def build(draws):
            encoders = {m: MLPEncoder((4, 7, WIDTH), draws=draws, name=m, dtype=torch.float64) for m in names}
            head = FUSIONS["concat"](dict.fromkeys(names, WIDTH), CLASSES, draws=draws, dtype=torch.float64)
            return MultimodalModel(encoders, head)

        how = Settings(batch_size=N // batches, lr=RATE, momentum=0.0, weight_decay=0.0, epochs=epochs)
        data = Batch(x, y)
        held = Batch({m: v[: N // 2] + 1 for m, v in x.items()}, y[: N // 2]) if apart else data

        def fresh(name=name, **settings):
            return Trainer(build, METHODS[name](**settings), data, settings=how, stream=Stream(1), validation=held)

        trainer = fresh(**settings)
        net = Plain(trainer, x, y)
        net.held, net.heads = held, dict(fresh("unimodal").auxiliary.named_parameters())
        net.drawn = drawn(fresh(**settings), drawn_in)
        start = {k: v.detach().clone() for k, v in net.p.items()}
        for step in range(epochs * batches):
            gradient = reference(net, step // batches)  # None from one that moved the net itself
            if gradient is not None:
                net.move(net.after(gradient))
        trainer.run(epochs)
        found = dict((*trainer.model.named_parameters(), *trainer.auxiliary.named_parameters()))
        for k, v in net.p.items():
            assert float((found[k] - v).detach().abs().max()) < 1e-10, k
        assert max(float((found[k].detach() - start[k]).abs().max()) for k in start) > 1e-3

    return compare
