"""C2.5: trained with all its experts the model is never worse than the better of intra-only and inter-only training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmtheory.bounds import logistic_regression
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, Relation, clopper_pearson
from synthetic.claims._fits import data_sets
from synthetic.worlds import SelectionGaussian

Experts = Literal["intra", "inter", "both"]
PLACES: Mapping[str, tuple[tuple[float, float], float]] = {
    "no interaction": ((0.7, 0.4), 0.0),
    "interaction alone": ((0.0, 0.0), 1.5),
    "some of each": ((0.7, 0.4), 1.0),
}


@final
@dataclass(frozen=True)
class NeverWorse(Claim[SelectionGaussian]):
    r"""In at least 95 % of the training sets, at every place of the dials, CE(I2M2) ≤ min(CE(intra), CE(inter)) + ``tolerance``.

    The experts are the smallest classes that contain the terms of the posterior: linear log-odds a modality, and a bilinear one; each
    model is the logistic regression on the sum of its experts' features, trained by maximum likelihood on ``size`` samples. (Without a
    bound on the inter expert there is nothing to claim: it could be the posterior itself.) The tolerance pays for the parameters that
    the better of the two does without, about d/2n.

    :param tried: which experts the model is given in the place of both, for the controls.
    """

    size: int = 400
    tolerance: float = 0.05
    fresh: int = 5000
    tried: Experts = "both"

    def analytic(self, world: SelectionGaussian) -> Sides:
        return {place: Interval.exact(0.95) for place in PLACES}

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for place, (kappa, lam) in PLACES.items():
            here = replace(world, kappa=kappa, lam=lam)
            test = here.sample(self.fresh, stream=trial.stream.child("fresh", place), device=trial.device)
            within = replace(trial, stream=trial.stream.child(place))
            held = 0
            for batch in data_sets(here, self.size, 2 * here.dim, within):
                models: set[Experts] = {"intra", "inter", self.tried}
                loss = {e: _loss(batch.x, batch.y, test.x, test.y, e) for e in models}
                best = torch.minimum(loss["intra"], loss["inter"])
                held += int((loss[self.tried] <= best + self.tolerance).sum())
            sides[place] = clopper_pearson(held, trial.n, alpha=trial.alpha / len(PLACES))
        return sides

    def controls(self) -> tuple[Control, ...]:
        wrong: dict[str, Experts] = {"intra experts alone": "intra", "the inter expert alone": "inter"}
        return tuple(Control(n, replace(self, id=f"{self.id}!{e}", tried=e), self.world) for n, e in wrong.items())


def _loss(x: Mapping[str, Tensor], y: Tensor, fresh: Mapping[str, Tensor], label: Tensor, experts: Experts) -> Tensor:
    """Cross-entropy on fresh samples of the model trained on each replicate, [replicates]."""
    fit = logistic_regression(_features(x, experts), y)
    margin = (2.0 * label - 1)[:, None] * (_features(fresh, experts) @ fit.weights.mT)
    return softplus(-margin).mean(0)


def _features(x: Mapping[str, Tensor], experts: Experts) -> Tensor:
    """One, the coordinates (intra), and the products of one of a with one of b (inter)."""
    parts = [torch.ones_like(x["a"][..., :1])]
    if experts != "inter":
        parts += list(x.values())
    if experts != "intra":
        parts.append((x["a"][..., :, None] * x["b"][..., None, :]).flatten(-2))
    return torch.cat(parts, -1)


NEVER_WORSE: Claim[Any] = NeverWorse(
    id="C2.5",
    source=Source(
        "madaan2024", "I2M2 against intra-only and inter-only training, in our Gaussian family", "derived here"
    ),
    statement="Trained with all experts the model is at most a tolerance worse than the better of intra-only and inter-only, on every dial.",
    world=SelectionGaussian(dim=2),
    budgets={"small": Budget(360, 720), "full": Budget(2000, 8000)},
    relation=Relation.AT_LEAST,
    unit="training sets",
)
