"""The weightings by name, and the certificate of given weights."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._aligned import AlignedMTL
from ._cagrad import CAGrad
from ._capped import CappedMGDA
from ._certificate import Certificate
from ._checks import admitted, numbers
from ._dual_proj import DualProj
from ._epo import EPO
from ._equal_angle import IMTLG, ConFIG
from ._fair import FairGrad, NashMTL
from ._graddrop import GradDrop
from ._gradvac import GradVac
from ._linear import Linear, Mean
from ._min_norm import MGDA
from ._mmpareto import MMPareto
from ._ngdiff import NGDiff
from ._pcd import PCD
from ._pcgrad import PCGrad
from ._sdmgrad import SDMGrad
from ._smooth_max import FAMO, STCH, FamoState, SmoothLexicographic
from ._tracking import CRMOGM, MoCo, MoDo
from ._upgrad import UPGrad
from ._weighting import InLoop, Stateful, Weighting

CLASSES: tuple[type[Weighting], ...] = (
    Mean, Linear, MGDA, UPGrad, DualProj, PCGrad, GradVac, CAGrad, IMTLG, ConFIG, NashMTL, FairGrad,
    AlignedMTL, SDMGrad, MoDo, MoCo, CRMOGM, NGDiff, PCD, CappedMGDA, MMPareto,
)  # fmt: skip
WEIGHTINGS: Mapping[str, type[Weighting]] = MappingProxyType({c.name: c for c in CLASSES})
IN_LOOP: Mapping[str, type[InLoop]] = MappingProxyType({**WEIGHTINGS, STCH.name: STCH})
"""What a training loop can make from its name alone; an EPO is not here, because nobody but its user knows the preference."""

LossBased = FAMO | STCH | SmoothLexicographic
BEYOND: Mapping[str, type[LossBased] | type[GradDrop]] = MappingProxyType(
    {"famo": FAMO, "stch": STCH, "mimo": SmoothLexicographic, "graddrop": GradDrop}
)
"""What needs more than a Gramian and can be certified by name all the same."""


def weighting_of(weighting: str | Weighting) -> Weighting:
    """A weighting from its name (with default hyper-parameters) or itself.

    :raises ArgumentError: an unknown name.
    """
    if isinstance(weighting, Weighting):
        return weighting
    if weighting not in WEIGHTINGS:
        raise ArgumentError(f"weighting: expected one of {', '.join(sorted(WEIGHTINGS))}, found {weighting!r}")
    return WEIGHTINGS[weighting]()


def certify(
    weighting: str | Weighting | LossBased | EPO | GradDrop,
    gramian: Tensor,
    weights: Tensor,
    *,
    losses: Tensor | None = None,
    state: object = None,
    uniform: Tensor | None = None,
) -> Certificate:
    """How far weights, wherever they come from, are from those of a method.

    Beside every name of ``WEIGHTINGS``, ``famo``, ``stch``, ``mimo`` and an ``EPO`` (all of which look at the losses), and ``graddrop``, for
    which J takes the Gramian's place and the direction that of the weights.

    Shape: gramian ``[*batch, m, m]``, weights ``[*batch, m]``, each number of the certificate ``[*batch]``.

    :param losses: ``[*batch, m]``, for the methods that look at them.
    :param state: what a method with a memory started this step from. Without it a ``Stateful`` weighting is held against what it approaches
        (``Weighting.certificate``), and FAMO against its first step.
    :param uniform: the draw behind a direction of GradDrop; without it any draw will do.
    :raises ArgumentError: an unknown name, a Gramian that is none, weights of another shape or not finite, losses missing or not finite.

    >>> import torch
    >>> float(certify("mgda", torch.eye(2), torch.tensor([1.0, 0.0])).gap)
    1.0
    >>> float(certify("famo", torch.eye(2), torch.tensor([0.75, 0.25]), losses=torch.tensor([1.0, 3.0])).gap)
    0.0
    """
    chosen = BEYOND[weighting]() if isinstance(weighting, str) and weighting in BEYOND else weighting
    if isinstance(chosen, GradDrop):
        return chosen.certificate(gramian, weights, uniform)
    G = admitted(gramian, validate=True)
    if weights.shape != G.shape[:-1]:
        raise ArgumentError(f"weights: expected shape {list(G.shape[:-1])}, found {list(weights.shape)}")
    w = weights.detach().double()
    seen = numbers(w)
    if seen is not None and not np.isfinite(seen).all():
        raise ArgumentError("weights: expected finite numbers, found NaN or infinity")
    if isinstance(chosen, LossBased | EPO):
        if losses is None or losses.shape != w.shape:
            found = None if losses is None else list(losses.shape)
            raise ArgumentError(f"losses: expected shape {list(w.shape)}, found {found}")
        if isinstance(chosen, FAMO):
            return chosen.certificate(G, losses, w, cast("FamoState | None", state))
        return chosen.certificate(G, losses, w)
    method = weighting_of(chosen)
    if isinstance(method, Stateful) and state is not None:
        return cast("Stateful[Any]", method).step_certificate(G, w, state)
    return method.certificate(G, w)
