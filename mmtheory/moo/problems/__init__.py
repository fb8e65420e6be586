"""Test problems P1 to P11 with known Pareto sets: objectives and gradients in closed form, smoothness constants, merit functions.

>>> import torch
>>> from mmtheory.moo.problems import PROBLEMS
>>> sorted(PROBLEMS)[:3]
['cagrad-toy', 'common-hessian', 'element-wise']
>>> PROBLEMS["quadratics"]().values(torch.zeros(2, dtype=torch.float64)).tolist()
[0.5, 0.25]
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ._descent import Path as Path
from ._descent import descend as descend
from ._learning import LinearMultimodal as LinearMultimodal
from ._learning import LogisticPair as LogisticPair
from ._nonconvex import VLMOP2 as VLMOP2
from ._nonconvex import CAGradToy as CAGradToy
from ._nonconvex import SmoothDTLZ2 as SmoothDTLZ2
from ._problem import Merit as Merit
from ._problem import Problem as Problem
from ._quadratics import CommonHessian as CommonHessian
from ._quadratics import ElementWise as ElementWise
from ._quadratics import NoisyQuadratics as NoisyQuadratics
from ._quadratics import Quadratics as Quadratics
from ._quadratics import SharedMinimiser as SharedMinimiser
from ._quadratics import Spheres as Spheres

CLASSES: tuple[type[Problem], ...] = (
    Spheres, CommonHessian, Quadratics, SharedMinimiser, ElementWise, VLMOP2, SmoothDTLZ2, LinearMultimodal, LogisticPair,
    CAGradToy, NoisyQuadratics,
)  # fmt: skip
PROBLEMS: Mapping[str, type[Problem]] = MappingProxyType({c.name: c for c in CLASSES})
