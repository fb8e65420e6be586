"""The weightings by name, and the certificate of given weights."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from mmtheory.errors import ArgumentError

from ._aligned import AlignedMTL
from ._cagrad import CAGrad
from ._capped import CappedMGDA
from ._certificate import Certificate
from ._checks import admitted
from ._dual_proj import DualProj
from ._equal_angle import IMTLG, ConFIG
from ._fair import FairGrad, NashMTL
from ._gradvac import GradVac
from ._linear import Linear, Mean
from ._min_norm import MGDA
from ._mmpareto import MMPareto
from ._ngdiff import NGDiff
from ._pcd import PCD
from ._pcgrad import PCGrad
from ._sdmgrad import SDMGrad
from ._tracking import CRMOGM, MoCo, MoDo
from ._upgrad import UPGrad
from ._weighting import Weighting

CLASSES: tuple[type[Weighting], ...] = (
    Mean, Linear, MGDA, UPGrad, DualProj, PCGrad, GradVac, CAGrad, IMTLG, ConFIG, NashMTL, FairGrad,
    AlignedMTL, SDMGrad, MoDo, MoCo, CRMOGM, NGDiff, PCD, CappedMGDA, MMPareto,
)  # fmt: skip
WEIGHTINGS: Mapping[str, type[Weighting]] = MappingProxyType({c.name: c for c in CLASSES})


def weighting_of(weighting: str | Weighting) -> Weighting:
    """A weighting from its name (with default hyper-parameters) or itself.

    :raises ArgumentError: an unknown name.
    """
    if isinstance(weighting, Weighting):
        return weighting
    if weighting not in WEIGHTINGS:
        raise ArgumentError(f"weighting: expected one of {', '.join(sorted(WEIGHTINGS))}, found {weighting!r}")
    return WEIGHTINGS[weighting]()


def certify(weighting: str | Weighting, gramian: Tensor, weights: Tensor) -> Certificate:
    """How far weights, wherever they come from, are from those of a weighting.

    Shape: gramian ``[*batch, m, m]``, weights ``[*batch, m]``, each number of the certificate ``[*batch]``.

    :raises ArgumentError: an unknown name, a Gramian that is none, weights of another shape.

    >>> import torch
    >>> float(certify("mgda", torch.eye(2), torch.tensor([1.0, 0.0])).gap)
    1.0
    """
    G = admitted(gramian, validate=True)
    if weights.shape != G.shape[:-1]:
        raise ArgumentError(f"weights: expected shape {list(G.shape[:-1])}, found {list(weights.shape)}")
    return weighting_of(weighting).certificate(G, weights.detach().double())
