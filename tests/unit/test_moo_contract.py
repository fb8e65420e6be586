"""The contract of an aggregator: every weighting keeps it, and one that breaks a clause is told which."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from mmtheory.moo import WEIGHTINGS, CappedMGDA, Certificate, DualProj, FairGrad, Linear, Stateful, UPGrad, Weighting
from mmtheory.testing import check_aggregator

CASES = [(name, m) for name in sorted(WEIGHTINGS) for m in (2, 3, 6) if name != "mmpareto" or m == 2]


@pytest.mark.parametrize(("name", "m"), CASES)
def test_every_weighting_keeps_the_contract(name, m):
    check_aggregator(WEIGHTINGS[name](), objectives=m)


@pytest.mark.parametrize(
    "weighting",
    [
        Linear(preference=(0.2, 0.3, 0.5)),
        UPGrad(preference=(0.2, 0.3, 0.5)),
        DualProj(preference=(1.0, 0.0, 0.0)),
        FairGrad(alpha=2.0),
        CappedMGDA(cap=0.4),
    ],
    ids=repr,
)
def test_hyper_parameters_keep_the_contract(weighting):
    check_aggregator(weighting)


class Broken(Weighting):
    name = "broken"


def even(gramian):
    return torch.ones_like(gramian[..., 0])


class ByPosition(Broken):
    def solve(self, gramian):
        return even(gramian) * torch.arange(gramian.shape[-1])


class AcrossTheBatch(Broken):
    def solve(self, gramian):
        return even(gramian) * gramian.diagonal(dim1=-2, dim2=-1).mean()


class Ridge(Broken):
    degree: ClassVar[float | None] = 0.0

    def solve(self, gramian):
        return even(gramian) / (gramian.diagonal(dim1=-2, dim2=-1) + 1e-4).sum(-1, keepdim=True)


class Unguarded(Broken):
    def solve(self, gramian):
        return 1 / gramian.diagonal(dim1=-2, dim2=-1).sqrt()


class InPlace(Broken):
    def solve(self, gramian):
        return even(gramian.mul_(2))


class OneTooMany(Broken):
    def solve(self, gramian):
        return torch.ones_like(gramian)


class Credulous(Broken):
    def solve(self, gramian):
        return even(gramian)

    def certificate(self, gramian, weights):
        zero = torch.zeros_like(weights[..., 0])
        return Certificate(zero, zero, zero, zero, zero)


class Uncertain(Credulous):
    def certificate(self, gramian, weights):
        one = torch.ones_like(weights[..., 0])
        return Certificate(one, one, one, one, one)


@dataclass(frozen=True)
class Forgetful(Stateful[torch.Tensor]):
    name = "forgetful"

    def initial(self, gramian):
        return torch.zeros(())

    def advance(self, gramian, state):
        return even(gramian), state.add_(1)


@pytest.mark.parametrize(
    ("weighting", "clause"),
    [
        (ByPosition(), "permut"),
        (AcrossTheBatch(), "stack"),
        (Ridge(), "times the gradients"),
        (Unguarded(), "not finite, one zero"),
        (InPlace(), "was changed"),
        (OneTooMany(), "shape"),
        (Credulous(), "does not notice"),
        (Uncertain(), "gap of"),
        (Forgetful(), "changed the state"),
    ],
    ids=lambda v: getattr(type(v), "__name__", v),
)
def test_a_broken_aggregator_is_caught(weighting, clause):
    with pytest.raises(AssertionError, match=clause):
        check_aggregator(weighting)
