"""R3.1 and R3.2: the ratios of content attention are invariant to prompts, and a task that must change them is out of their reach."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.models.prompts import prompted_attention
from mmtheory.rng import Draws
from mmtheory.stats import Interval, student
from synthetic.worlds import GaussianRegression, SelectionGaussian

WIDTH, TOKENS, PROMPTS = 12, 6, 4


@final
@dataclass(frozen=True)
class ContentRatios(Claim[SelectionGaussian]):
    r"""In the first layer prompts leave every ratio A_ij/A_ik of content attention as it is, and the output is a mixture.

    .. math:: o = (1-\lambda)\,o_{\rm content} + \lambda\,o_{\rm prompt}, \qquad o - (1-\lambda)\,o_{\rm content} \in \mathrm{span}(V_P)

    Left: largest discrepancies of a randomly drawn head on sequences of the world's views, the softmax taken over prompts and content
    together.

    :param layer: which layer's ratios are compared; in the second they change, because its inputs have.
    """

    layer: int = 1

    def analytic(self, world: SelectionGaussian) -> Sides:
        return {case: Interval.exact(0.0) for case in ("log ratios", "mixture", "outside the prompts' span")}

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        draws = trial.stream.child("head").draws()
        d = 2 * world.dim
        batch = world.sample(trial.n * TOKENS, stream=trial.stream.child("tokens"))
        tokens = batch.stacked().reshape(trial.n, TOKENS, d)
        prompts = draws.normal("prompts", 2, PROMPTS, d)
        plain, moved = tokens, tokens
        for layer in range(self.layer - 1):
            maps, back = _head(draws, layer, d)
            moved = moved + _with_prompts(moved, prompts[layer], maps)[0] @ back
            q, k, v = (plain @ m for m in maps)
            plain = plain + scaled_dot_product_attention(q, k, v) @ back
        maps, _ = _head(draws, self.layer - 1, d)
        output, weights = _with_prompts(moved, prompts[self.layer - 1], maps)
        q, k, v = (moved @ m for m in maps)
        pk, pv = (prompts[self.layer - 1] @ m for m in maps[1:])
        bare = (plain @ maps[0] @ (plain @ maps[1]).mT / math.sqrt(WIDTH)).log_softmax(-1)
        parts = prompted_attention(q, k, v, pk, pv)
        mixed = (1 - parts.share[..., None]) * parts.content + parts.share[..., None] * parts.prompt
        beyond = output - (1 - parts.share[..., None]) * parts.content
        basis = torch.linalg.qr(pv.mT).Q
        gaps = {
            "log ratios": (weights - weights[..., :1]) - (bare - bare[..., :1]),
            "mixture": output - mixed,
            "outside the prompts' span": beyond - beyond @ basis @ basis.mT,
        }
        return {case: Interval.exact(float(gap.abs().max())) for case, gap in gaps.items()}

    def controls(self) -> tuple[Control, ...]:
        deeper = replace(self, id=f"{self.id}!2", layer=2)
        return (Control("in the second layer", deeper, self.world),)


def _head(draws: Draws, layer: int, d: int) -> tuple[list[Tensor], Tensor]:
    """A layer's query, key and value maps, and the one back to the tokens."""
    maps = [draws.normal(f"map {layer} {part}", d, WIDTH) / math.sqrt(d) for part in ("query", "key", "value")]
    return maps, draws.normal(f"back {layer}", WIDTH, d) / math.sqrt(WIDTH)


def _with_prompts(tokens: Tensor, prompts: Tensor, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Output at the content tokens, and the logarithms of their attention to content, of one softmax over prompts and content."""
    both = torch.cat([prompts.expand(len(tokens), -1, -1), tokens], 1)
    q, k, v = tokens @ maps[0], both @ maps[1], both @ maps[2]
    weights = (q @ k.mT / math.sqrt(WIDTH)).log_softmax(-1)
    return scaled_dot_product_attention(q, k, v), weights[..., PROMPTS:]


@final
@dataclass(frozen=True)
class OutOfReach(Claim[GaussianRegression]):
    r"""A frozen head that attends evenly to two tokens cannot be prompted to read the second one alone.

    .. math:: \min_{\text{prompts}} E\Big(v_2 - (1-\lambda)\tfrac{v_1+v_2}{2} - \lambda c\Big)^2 = \sigma^2\,\frac{1-\rho}{2}

    for tokens of equal variance σ² and correlation ρ, at λ = 0: the best prompt is none. Tuning the two attention logits themselves
    brings the error to zero. Left: squared errors on fresh samples after training prompts' keys and values (or the logits) by
    gradient descent.

    :param prompted: whether the analytic side believes that prompts do as well as the logits.
    """

    steps: int = 150
    prompted: bool = False

    def analytic(self, world: GaussianRegression) -> Sides:
        cov = world.law.block("ab")[0]
        even = float((cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]) / 4)
        return {
            "prompts": Interval.exact(0.0 if self.prompted else even, 1e-12),
            "attention logits": Interval.exact(0.0),
        }

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        train, fresh = (
            world.sample(trial.n, stream=trial.stream.child(part, trial.n)).stacked() for part in ("train", "fresh")
        )
        draws = trial.stream.child("start").draws()
        prompts = {"key": draws.normal("key", PROMPTS) - 1, "value": draws.normal("value", PROMPTS)}
        logits = {"logits": torch.zeros(2, dtype=torch.float64)}
        sides: dict[str, Interval] = {}
        for case, start in (("prompts", prompts), ("attention logits", logits)):
            live = {name: value.requires_grad_() for name, value in start.items()}
            optimiser = torch.optim.Adam(list(live.values()), lr=0.1)
            for _ in range(self.steps):
                optimiser.zero_grad()
                _error(train, live).mean().backward()
                optimiser.step()
            with torch.no_grad():
                sides[case] = student(_error(fresh, live), alpha=trial.alpha / 2)
        return sides

    def controls(self) -> tuple[Control, ...]:
        able = replace(self, id=f"{self.id}!able", prompted=True)
        return (Control("prompts do what the logits do", able, self.world),)


def _error(tokens: Tensor, live: dict[str, Tensor]) -> Tensor:
    """Squared error of reading the second token, [n]."""
    if "logits" in live:
        return ((tokens * live["logits"].softmax(0)).sum(-1) - tokens[:, 1]) ** 2
    # The frozen head gives both tokens the logit 0; prompts enter the same softmax.
    weight = torch.cat([live["key"], torch.zeros(2, dtype=torch.float64)]).softmax(0)
    read = (live["value"] * weight[:PROMPTS]).sum() + (tokens * weight[PROMPTS:]).sum(-1)
    return (read - tokens[:, 1]) ** 2


CONTENT_RATIOS: Claim[Any] = ContentRatios(
    id="R3.1",
    source=Source("m2pt", "prompts before a frozen attention layer", "derived here"),
    statement="Prompts leave the ratios of content attention in their own layer as they are, and move its output along their values alone.",
    world=SelectionGaussian(),
    budgets={"small": Budget(50, 50), "full": Budget(1000, 1000)},
    margin=1e-8,
    unit="sequences",
)

OUT_OF_REACH: Claim[Any] = OutOfReach(
    id="R3.2",
    source=Source("m2pt", "a task that needs other ratios of content attention", "derived here"),
    statement="One layer of prompts cannot make an even head read one of two tokens: σ²(1−ρ)/2 of error is left.",
    world=GaussianRegression(snr=(1.0, 1.0), dims=(1, 1)),
    budgets={"small": Budget(16_000, 128_000), "full": Budget(128_000, 512_000)},
    margin=0.05,
)
