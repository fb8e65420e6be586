"""The paper's own machines on binary data: trained by any of its objectives through the one loop, with a probe for the labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, cast, final, get_args

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import Dense, Encoder, MultimodalModel
from mmtheory.models.rbm import (
    Group,
    Hidden,
    MultimodalDeepRNN,
    MultimodalRBM,
    binary,
    directions,
    divergence_loss,
    multi_prediction_loss,
    pathway_of,
    perceptron_loss,
    persistent_loss,
    recurrent,
    subset_prediction_loss,
)
from mmtheory.rng import Draws

from ._filling import HEAD, TOP, clamped, top_of
from ._method import Card, Method, Phase, Step, View

Objective = Literal["mp", "ml", "percloss", "hybrid", "subset"]


@final
class Boltzmann(Method):
    r"""Multimodal machine (MRBM), or deep recurrent network (MDRNN), of binary data.

    The data are the visible units; encoders and fusion of the model stay as they were initialised, and its predictions are those of a
    linear probe on the shared layer. Not in METHODS: data that are not bits or probabilities are refused.

    :param objective: ``mp`` predicts each modality from the others by recurrent sweeps; ``ml`` is the likelihood by persistent chains;
        ``percloss`` the conditional perceptron's loss (CD-PercLoss); ``hybrid`` is α of the first and 1 − α of the second; ``subset``
        predicts random units from the rest (MP-DBM style).
    :param sweeps: of the recurrent inference, in training and at test time.
    :param steps: Gibbs steps, of the chains or of a guess. ``chains``: how many persist.
    :param direction: ``both``, ``x->y`` or ``->y``: of ``mp`` (fine-tuning in one direction) and of ``percloss``.
    :param keep: of ``mp``: largest share of the target's units that are clamped too. Of ``subset``: the share of all units that are seen.
    :param horizon: of ``mp`` without layers: sweeps that the gradient goes back through, growing from one by one every ``grow`` epochs (0:
        at once); None for all.
    :param doubling: of ``mp`` without layers: whether the first guess counts the given modalities for the missing one too.
    :param sparsity: of ``mp`` without layers: weight of the hidden units' penalty; 0 for none. ``active``: the mean that costs least.
    :param layers: tied layers of a pathway (``mp`` alone), of ``units`` each; 0 is the MRBM.
    :param greedy: epochs in which each layer in turn is pre-trained by contrastive divergence, before all are trained together.
    :param supervised: epoch from which the labels reach the machine too; None for never.
    :raises ArgumentError: a number out of its range or an objective that does not exist; when bound, an unknown direction; at the first
        epoch, data outside [0, 1].

    Source: Sohn, Shang and Lee 2014 (NIPS), all four objectives (code).
    """

    card: ClassVar[Card] = Card(
        name="boltzmann",
        source="Sohn, Shang and Lee 2014 (NIPS)",
        summary="Trains a multimodal Boltzmann machine or deep recurrent network on binary data, with a linear probe for the labels.",
        fidelity="repo",
        cost="no encoder, no fusion; see models.rbm",
        differences=(
            "negative statistics of ml are those of sampled visible units with hidden ones summed out; the released ones are of visible "
            "probabilities with sampled hidden states (same expectation)",
            "percloss counts the data's half as the released code does, without its sparsity penalty",
            "no up and down factors on the weights (one on MNIST), no growing number of Gibbs steps, no sparsity penalty of the contrasts; the "
            "growing horizon and the penalty of mp are options, off by default",
            "pathways of the deep network are pre-trained on bits by contrastive divergence alone, all modalities side by side",
            "the probe is trained beside the machine",
        ),
    )

    def __init__(
        self,
        objective: Objective = "mp",
        *,
        sweeps: int = 5,
        steps: int = 1,
        chains: int = 100,
        alpha: float = 0.5,
        hidden: int = 128,
        direction: str = "both",
        keep: float = 0.0,
        layers: int = 0,
        units: int = 64,
        greedy: int = 0,
        supervised: int | None = None,
        deviation: float = 0.01,
        horizon: int | None = None,
        grow: int = 0,
        doubling: bool = True,
        sparsity: float = 0.0,
        active: float = 0.1,
    ) -> None:
        if objective not in get_args(Objective):
            raise ArgumentError(
                f"boltzmann: expected an objective among {', '.join(get_args(Objective))}, found {objective!r}"
            )
        if min(sweeps, layers, greedy) < 0 or min(steps, chains, hidden, units) < 1:
            raise ArgumentError(
                f"boltzmann: expected sweeps, layers, greedy >= 0 and steps, chains, hidden, units >= 1, found {sweeps}, {layers}, {greedy} and {steps}, {chains}, {hidden}, {units}"
            )
        if not (0 <= alpha <= 1 and 0 <= keep <= 1):
            raise ArgumentError(f"boltzmann: expected alpha and keep in [0, 1], found {alpha} and {keep}")
        if (horizon is not None and horizon < 0) or grow < 0 or not sparsity >= 0 or not 0 < active < 1:
            raise ArgumentError(
                f"boltzmann: expected horizon, grow, sparsity >= 0 and active in (0, 1), found {horizon}, {grow}, {sparsity}, {active}"
            )
        if layers and objective != "mp":
            raise ArgumentError(f"boltzmann: expected objective mp with layers, found {objective}")
        self.objective, self.sweeps, self.steps, self.alpha = objective, sweeps, steps, alpha
        self.chains, self.hidden, self.direction, self.keep = chains, hidden, direction, keep
        self.layers, self.units, self.greedy = layers, units, greedy
        self.supervised = math.inf if supervised is None else supervised
        self.deviation, self.doubling = deviation, doubling
        self.horizon, self.grow, self.sparsity, self.active = horizon, grow, sparsity, active

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        directions(model.modalities, self.direction)
        started = draws.uniform("chains", self.chains, self.hidden) < 0.5
        self.states = started.to(next(model.parameters()).dtype)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        dtype = next(model.parameters()).dtype
        parts: dict[str, nn.Module] = {}
        groups: list[Group] = []
        for m in model.modalities:
            width = math.prod(cast("Encoder", model.encoders[m]).shape)
            widths = (width, *(self.units,) * self.layers, self.hidden)
            own = {
                name: Group(below, above, draws=draws, name=name, deviation=self.deviation, dtype=dtype)
                for name, below, above in zip(self._names(m), widths, widths[1:], strict=False)
            }
            parts |= own
            groups += own.values()
        parts[TOP] = Hidden(groups[-1])
        parts[HEAD] = Dense(self.hidden, model.fusion.classes, draws=draws, name=HEAD, dtype=dtype)
        return parts

    @torch.no_grad()
    def on_epoch(self, view: View) -> None:
        if view.epoch:
            return
        for m, x in binary(self.visibles(view.model, view.train)).items():
            # The biases of the data's own frequencies are the machine of the lowest loss without weights.
            mean = x.mean(-2).clamp(1e-3, 1 - 1e-3)
            bias = cast("Group", view.auxiliary[self._names(m)[0]]).bias
            bias.copy_(torch.logit(mean).to(bias.dtype).expand_as(bias))

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        return (Phase(hear=frozenset()),)

    def visibles(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        """The data as rows of visible units, [*batch, n, D_m]."""
        dtype = next(model.parameters()).dtype
        return {
            m: batch.x[m].flatten(-len(cast("Encoder", model.encoders[m]).shape)).to(dtype) for m in model.modalities
        }

    def machine(self, auxiliary: nn.ModuleDict) -> MultimodalRBM:
        """The shared machine as it is now."""
        return top_of(auxiliary)

    def network(self, auxiliary: nn.ModuleDict) -> MultimodalDeepRNN:
        """The deep network as it is now."""
        top = self.machine(auxiliary)
        return MultimodalDeepRNN({m: pathway_of(auxiliary, self._names(m)[:-1]) for m in top.groups}, top)

    def _names(self, m: str) -> tuple[str, ...]:
        """Owners of a modality's layers, from its data up to the shared machine."""
        return (*(f"path {place}:{m}" for place in range(self.layers)), f"top:{m}")

    def shared(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        """Probabilities of the shared layer given the modalities that are present, the absent filled in; [*batch, n, hidden]."""
        x = self.visibles(model, batch)
        seen, boost = clamped(x, batch.present, len(x))
        if self.layers:
            return self.network(auxiliary).recurrent(x, sweeps=self.sweeps, seen=seen, boost=boost).hidden
        return recurrent(self.machine(auxiliary), x, sweeps=self.sweeps, seen=seen, boost=boost).hidden

    def output(self, step: Step) -> Tensor:
        h = self.shared(step.model, step.auxiliary, step.batch)
        return step.auxiliary[HEAD](h.detach() if step.epoch < self.supervised else h)

    def losses(self, step: Step) -> dict[str, Tensor]:
        return {"total": super().losses(step)["total"] + self.objective_value(step)}

    def objective_value(self, step: Step) -> Tensor:
        """The objective on this batch (of contrasts: a number with the right gradient), [*batch]."""
        x = self.visibles(step.model, step.batch)
        if self.layers:
            return self._layered(step, x)
        machine, kind = self.machine(step.auxiliary), self.objective
        if kind == "percloss":
            return perceptron_loss(machine, _bits(x, step), step.draws, steps=self.steps, direction=self.direction)
        if kind == "subset":
            seen = {m: step.draws.uniform(f"seen {m}", *v.shape[-2:]).to(v.dtype) < self.keep for m, v in x.items()}
            return subset_prediction_loss(machine, x, seen, sweeps=self.sweeps)
        mp = 0.0 if kind == "ml" else self._predicted(step, machine, x)
        if kind == "mp":
            return cast("Tensor", mp)
        ml, self.states = persistent_loss(machine, _bits(x, step), self.states, step.draws, steps=self.steps)
        return ml if kind == "ml" else self.alpha * mp + (1 - self.alpha) * ml

    def _predicted(self, step: Step, machine: MultimodalRBM, x: Mapping[str, Tensor]) -> Tensor:
        horizon = self.horizon
        if horizon is not None and self.grow:
            horizon = min(horizon, 1 + step.epoch // self.grow)
        return multi_prediction_loss(
            machine, x, sweeps=self.sweeps, direction=self.direction, seen=self._kept(step, x), keep=self.keep, horizon=horizon,
            doubling=self.doubling, sparsity=self.sparsity, active=self.active,
        )  # fmt: skip

    def _kept(self, step: Step, x: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Units that are clamped beside the given modalities: each with a probability that is uniform up to ``keep``."""
        if not self.keep:
            return None
        return {
            m: step.draws.uniform(f"kept {m}", *v.shape[-2:]) < self.keep * step.draws.uniform(f"share {m}", 1, 1)
            for m, v in x.items()
        }

    def _layered(self, step: Step, x: Mapping[str, Tensor]) -> Tensor:
        network = self.network(step.auxiliary)
        level = step.epoch // self.greedy if self.greedy else self.layers
        if level >= self.layers:
            return network.loss(
                x, sweeps=self.sweeps, direction=self.direction, seen=self._kept(step, x), keep=self.keep
            )
        below = _bits({m: network.up(v, m, level).detach() for m, v in x.items()}, step)
        losses = [
            divergence_loss(network.layer(m, level), {m: v}, step.draws, name=f"divergence {m}")
            for m, v in below.items()
        ]
        return torch.stack(losses).sum(0)

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        return auxiliary[HEAD](self.shared(model, auxiliary, batch))

    def state_dict(self) -> dict[str, Tensor]:
        return {"chains": self.states}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.states = state["chains"].clone()


def _bits(x: Mapping[str, Tensor], step: Step) -> dict[str, Tensor]:
    """Visible states drawn with the data as probabilities."""
    return {m: (step.draws.uniform(f"bits {m}", *v.shape[-2:]).to(v.dtype) < v).to(v.dtype) for m, v in x.items()}
