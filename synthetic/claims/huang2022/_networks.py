"""The late-fusion network of the competition world, integrated class by class, many classes at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mmtheory.rng import Stream
from synthetic.worlds import Competition

RELATIVE = 0.05


@final
@dataclass(frozen=True)
class ClassNets:
    """The weights along one class's features, which no other class's samples move (the features are orthogonal).

    Shape: ``weight`` [nets, outputs, modalities, neurons], output 0 being the class itself; ``share`` [nets, patterns] weighs the
    training samples that show each non-empty set of modalities; a row of zeros trains nothing.
    """

    world: Competition
    weight: Tensor
    share: Tensor

    def activation(self) -> Tensor:
        """What each output hears of each modality when it shows this class, [nets, outputs, modalities]."""
        return smoothed_relu(self._slopes(), self.world)[0].sum(-1)

    def learnt(self) -> Tensor:
        """Whether a neuron of the class itself has reached the linear part, [nets, modalities]."""
        return (self._slopes()[:, 0] >= self.world.beta).any(-1)

    def _slopes(self) -> Tensor:
        return self.weight * strengths(self.world)

    def step(self, pull: Tensor | None = None) -> ClassNets:
        """One step of gradient flow on the cross-entropy, as long as no weight changes by more than a few per cent.

        :param pull: what else is added to the derivative of the loss by the activations (with a minus sign), [nets, outputs, modalities].
        """
        active, slope = smoothed_relu(self._slopes(), self.world)
        seen = patterns(self.world)
        logits = (active.sum(-1) @ seen.T).mT
        wrong = -logits.softmax(-1)
        wrong[..., 0] += 1
        heard = (wrong * self.share[..., None]).mT @ seen
        heard = heard if pull is None else heard + pull
        speed = heard[..., None] * slope * strengths(self.world)
        fastest = (speed.abs() / self.weight.abs().clamp(min=1e-12)).amax((1, 2, 3), keepdim=True)
        moved = self.weight + RELATIVE * speed / fastest.clamp(min=1e-300)
        return ClassNets(self.world, moved, self.share)

    def until_learnt(self, steps: int = 400, *, then: Tensor | None = None) -> tuple[ClassNets, Tensor]:
        """Train every class until it has learnt a modality (or cannot); and which came first, −1 for none, [nets].

        From then on a class trains on the shares ``then``, by default on sufficient samples alone: the others, which its modality
        does not decide, count as memorised.
        """
        weight, first = self.weight.clone(), torch.full(self.weight.shape[:1], -1, device=self.weight.device)
        can = (self.weight[:, 0] > 0).any(-1) & ((self.share[..., None] * patterns(self.world)).sum(1) > 0)
        going, nets = can.any(-1).nonzero()[:, 0], self
        for k in range(steps):
            if k % 8 == 0:
                going = going[first[going] < 0]
                nets = ClassNets(self.world, weight[going], self.share[going])
            if not len(going):
                break
            nets = nets.step()
            # Both at once within one step: the one that is further.
            front = nets.weight[:, 0].amax(-1).mul(strengths(self.world)[:, 0]).argmax(-1)
            new = nets.learnt().any(-1) & (first[going] < 0)
            first[going] = torch.where(new, front, first[going])
            weight[going] = nets.weight
        later = (sufficient(self.world) if then is None else then).expand_as(self.share)
        return ClassNets(self.world, weight, later), first

    def trained(self, steps: int = 150, pull: Callable[[ClassNets], Tensor] | None = None) -> ClassNets:
        """So many steps more; ``pull`` as :meth:`step` takes it, of the networks as they are."""
        nets = self
        for _ in range(steps):
            nets = nets.step(None if pull is None else pull(nets))
        return nets

    def risk(self, *, only: int | None = None) -> Tensor:
        """Exact 0–1 risk on this class, silence (all outputs below half of what the linear part begins with) being guessed, [nets].

        :param only: the one modality that is heard.
        """
        world, heard = self.world, self.activation()
        if only is not None:
            heard = heard * torch.nn.functional.one_hot(torch.tensor(only), heard.shape[-1])
        risk = torch.zeros(heard.shape[0], dtype=heard.dtype, device=heard.device)
        quiet = world.beta / world.q / 2
        for shown in itertools.product((0.0, 1.0), repeat=heard.shape[-1]):
            chance = math.prod(1 - u if b else u for b, u in zip(shown, world.insufficient, strict=True))
            logits = (heard * torch.tensor(shown).to(heard)).sum(-1)
            right = (logits[:, 0] > logits[:, 1:].amax(-1)).to(heard)
            risk += chance * (1 - torch.where(logits.amax(-1) < quiet, 1 / world.classes, right))
        return risk


def smoothed_relu(u: Tensor, world: Competition) -> tuple[Tensor, Tensor]:
    """0, then u^q/(qβ^(q−1)), then linear from β on; and its derivative."""
    bent = u.clamp(0, world.beta)
    slope = (bent / world.beta) ** (world.q - 1)
    return bent * slope / world.q + (u - world.beta).clamp(min=0), slope


def strengths(world: Competition) -> Tensor:
    """The s_m as a column, [modalities, 1]."""
    return torch.tensor(world.strength, dtype=torch.float64)[:, None]


def patterns(world: Competition) -> Tensor:
    """Which modalities show the class: every non-empty set, [patterns, modalities]."""
    count = len(world.strength)
    rows = [row for row in itertools.product((0.0, 1.0), repeat=count) if any(row)]
    return torch.tensor(rows, dtype=torch.float64)


def population(world: Competition) -> Tensor:
    """Probability of each pattern."""
    mu = torch.tensor(world.insufficient, dtype=torch.float64)
    seen = patterns(world)
    return torch.where(seen > 0, 1 - mu, mu).prod(-1)


def start(world: Competition, stream: Stream, nets: int, share: Tensor) -> ClassNets:
    """Fresh networks from N(0, σ₀²), all on these shares [patterns] or [nets, patterns]."""
    shape = (nets, world.classes, len(world.strength), world.neurons)
    weight = world.sigma0 * stream.draws().normal("initial weights", *shape)
    return ClassNets(world, weight, share.expand(nets, -1).clone())


def sufficient(world: Competition, only: int | None = None) -> Tensor:
    """Training on sufficient samples of all modalities, or of one alone."""
    seen = patterns(world)
    wanted = torch.ones(seen.shape[-1], dtype=torch.float64)
    if only is not None:
        wanted = torch.zeros_like(wanted)
        wanted[only] = 1.0
    return (seen == wanted).all(-1).to(torch.float64)
