"""Training by contrast: the likelihood by persistent chains, the conditionals by clamped chains and their best guess (CD-PercLoss)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

from ._machine import MultimodalRBM
from ._prediction import directions


def contrast(machine: MultimodalRBM, positive: Mapping[str, Tensor], negative: Mapping[str, Tensor]) -> Tensor:
    r"""Mean free energy of the data minus that of negative states: a number whose gradient is the contrastive one.

    .. math:: \nabla \big(\bar F(x^+) - \bar F(x^-)\big) = \overline{\nabla F(x^+)} - \overline{\nabla F(x^-)}

    Its value is no loss: it has no lower bound and may be negative. With negatives from the machine's own law the gradient is that of the
    negative log-likelihood.

    Shape: [*batch_shape, n, D_m] each, n may differ -> [*batch_shape].

    Source: textbook (Hinton 2002).
    """
    states = {m: part.detach() for m, part in negative.items()}
    return machine.free_energy(positive).mean(-1) - machine.free_energy(states).mean(-1)


@torch.no_grad()
def gibbs(
    machine: MultimodalRBM,
    h: Tensor,
    draws: Draws,
    *,
    steps: int,
    clamped: Mapping[str, Tensor] | None = None,
    name: str = "gibbs",
) -> tuple[dict[str, Tensor], Tensor]:
    """Block Gibbs sampling: visible states given hidden ones, then hidden given visible, so many times.

    Shape: h [*batch_shape, n, H] -> states of every group [*batch_shape, n, D_m], and of the hidden units.

    :param steps: 1 or more.
    :param clamped: states of groups that are not sampled.
    :param name: of the draws, one visible and one hidden tensor in all.
    :raises ArgumentError: fewer than one step.

    Source: textbook.
    """
    if steps < 1:
        raise ArgumentError(f"gibbs: expected at least one step, found {steps}")
    noise = _noise(machine, h, draws, steps, clamped or {}, name)
    x: dict[str, Tensor] = {}
    for t in range(steps):
        x, h = _step(machine, h, noise, t, clamped or {})
    return x, h


Noise = Mapping[str, Tensor]
HIDDEN = ""


def _noise(
    machine: MultimodalRBM, h: Tensor, draws: Draws, steps: int, clamped: Mapping[str, Tensor], name: str
) -> Noise:
    """Uniform numbers for all steps, one tensor a group and one (under no name) for the hidden units."""
    widths = {m: d for m, d in machine.widths.items() if m not in clamped} | {HIDDEN: h.shape[-1]}
    n = h.shape[-2]
    return {m: draws.uniform(f"{name} {m}", steps, n, d).to(h.dtype) for m, d in widths.items()}


def _step(
    machine: MultimodalRBM, h: Tensor, noise: Noise, t: int, clamped: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    x = {
        m: clamped[m] if m in clamped else (noise[m].select(-3, t) < machine.visible(h, m)).to(h.dtype)
        for m in machine.groups
    }
    return x, (noise[HIDDEN].select(-3, t) < torch.sigmoid(machine.drive(x))).to(h.dtype)


def persistent_loss(
    machine: MultimodalRBM, x: Mapping[str, Tensor], chains: Tensor, draws: Draws, *, steps: int = 1
) -> tuple[Tensor, Tensor]:
    """Likelihood training by persistent chains: the contrast of the data with where the chains have come to, and the chains' new states.

    Shape: x[m] [*batch_shape, n, D_m], chains [*batch_shape, c, H] of 0 and 1 -> [*batch_shape] and chains.

    :param chains: hidden states that the last step left; any states at the start.
    :param steps: Gibbs steps of every chain.

    Source: Tieleman 2008; Sohn, Shang and Lee 2014, the ML baseline (code).
    """
    negative, chains = gibbs(machine, chains, draws, steps=steps, name="chains")
    return contrast(machine, x, negative), chains


def divergence_loss(
    machine: MultimodalRBM, x: Mapping[str, Tensor], draws: Draws, *, steps: int = 1, name: str = "divergence"
) -> Tensor:
    """Contrastive divergence: the contrast of the data with where so many Gibbs steps from the data lead.

    Biased: its gradient is that of the likelihood up to an error that falls like the squared correlation of visible and hidden, each step.

    Shape: x[m] [*batch_shape, n, D_m] of 0 and 1 -> [*batch_shape].

    Source: Hinton 2002; Sohn, Shang and Lee 2014, pre-training of pathways (code).
    """
    chance = torch.sigmoid(machine.drive(x)).detach()
    start = (draws.uniform(f"{name} first", *chance.shape[-2:]).to(chance.dtype) < chance).to(chance.dtype)
    negative, _ = gibbs(machine, start, draws, steps=steps, name=name)
    return contrast(machine, x, negative)


@torch.no_grad()
def clamped_negatives(
    machine: MultimodalRBM,
    x: Mapping[str, Tensor],
    target: str,
    draws: Draws,
    *,
    steps: int,
    best: bool = True,
) -> Tensor:
    """Guesses of one group with the others clamped: Gibbs steps from the first guess of the recurrent inference.

    Shape: x[m] [*batch_shape, n, D_m] of the other groups at least -> [*batch_shape, n, D_target].

    :param steps: Gibbs steps after the first sample; 0 keeps that one.
    :param best: take of all samples the one of lowest free energy, the latest among equals; False takes the last, whose law tends to the
        machine's conditional, so that the contrast's gradient tends to that of the conditional loss.
    :raises ArgumentError: an unknown target, or fewer than 0 steps.

    Source: Sohn, Shang and Lee 2014, CD-PercLoss (code).
    """
    if target not in machine.groups or steps < 0:
        raise ArgumentError(
            f"perceptron loss: expected a target among {', '.join(machine.groups)} and steps >= 0, found {target!r} and {steps}"
        )
    machine.checked(x)
    given = {m: x[m] for m in machine.groups if m != target}
    pull, weight = machine.drive(given), machine.weights[target]
    first = torch.sigmoid(pull + (pull - machine.hidden.unsqueeze(-2)) / len(given))
    h = (draws.uniform(f"{target} first", *first.shape[-2:]).to(first.dtype) < first).to(first.dtype)
    noise = _noise(machine, h, draws, steps + 1, given, target)
    found = lowest = None
    for t in range(steps + 1):
        guess = (noise[target].select(-3, t) < machine.visible(h, target)).to(h.dtype)
        drive = pull + guess @ weight
        h = (noise[HIDDEN].select(-3, t) < torch.sigmoid(drive)).to(h.dtype)
        if not best:
            found = guess
            continue
        # The clamped groups' own part of the free energy is the same for every guess.
        energy = -(guess @ machine.biases[target].unsqueeze(-1)) - softplus(drive).sum(-1, keepdim=True)
        found = guess if found is None or lowest is None else torch.where(energy <= lowest, guess, found)
        lowest = energy if lowest is None else torch.minimum(energy, lowest)
    return x[target] if found is None else found


def perceptron_loss(
    machine: MultimodalRBM,
    x: Mapping[str, Tensor],
    draws: Draws,
    *,
    steps: int = 10,
    direction: str = "both",
    best: bool = True,
) -> Tensor:
    r"""CD-PercLoss: the free energy of the data over that of the best guess of each modality from the others.

    .. math:: L = \frac1{|D|}\sum_{d} \overline{F(x) - F(x_{\setminus d}, \tilde x_d)}, \qquad
        \tilde x_d \approx \arg\min_{x'} F(x_{\setminus d}, x')

    A perceptron's loss: zero gradient where the guess is the data. With guesses that are truly best it is at least zero.

    Shape: x[m] [*batch_shape, n, D_m] of 0 and 1 -> [*batch_shape].

    :param direction: as in ``directions``; x -> y leaves what is neither out of the guess, so it is for two groups.
    :param best: as in ``clamped_negatives``; False is contrastive divergence on the conditionals.

    Source: Sohn, Shang and Lee 2014, CD-PercLoss (code).
    """
    losses: list[Tensor] = []
    for way in directions(machine.groups, direction):
        guess = clamped_negatives(machine, x, way.target, draws, steps=steps, best=best)
        losses.append(contrast(machine, x, {**x, way.target: guess}))
    return torch.stack(losses).mean(0)
