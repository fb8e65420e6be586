"""Multi-objective optimisation: weights from Gramians, exact, batched and certified.

A weighting turns the Gramian G = JJᵀ of m gradients into m weights w; the update direction is d = Jᵀw, and every slope ⟨g_i, d⟩ = (Gw)_i.
``WEIGHTINGS`` names those that need nothing but G; ``FAMO``, ``STCH``, ``EPO`` and the MIMO-style ``SmoothLexicographic`` also look at the
losses, and ``graddrop`` at J itself. ``moo_backward`` does all of it for the parameters of a model.

>>> import torch
>>> w = WEIGHTINGS["mgda"]().weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
>>> w.tolist(), float(certify("mgda", torch.tensor([[1.0, 0.0], [0.0, 3.0]]), w).gap)
([0.75, 0.25], 0.0)
"""

from ._aligned import AlignedMTL as AlignedMTL
from ._backward import MooReport as MooReport
from ._backward import moo_backward as moo_backward
from ._cagrad import CAGrad as CAGrad
from ._capped import CappedMGDA as CappedMGDA
from ._certificate import Certificate as Certificate
from ._certificate import certify_nnqp as certify_nnqp
from ._certificate import certify_simplex as certify_simplex
from ._checks import checked as checked
from ._dual_proj import DualProj as DualProj
from ._epo import EPO as EPO
from ._equal_angle import IMTLG as IMTLG
from ._equal_angle import ConFIG as ConFIG
from ._fair import FairGrad as FairGrad
from ._fair import NashMTL as NashMTL
from ._graddrop import GradDrop as GradDrop
from ._graddrop import certify_graddrop as certify_graddrop
from ._graddrop import graddrop as graddrop
from ._gradvac import GradVac as GradVac
from ._gramian import GramianAccumulator as GramianAccumulator
from ._gramian import clipped as clipped
from ._gramian import combine as combine
from ._gramian import gramian as gramian
from ._gramian import unbiased_gramian as unbiased_gramian
from ._linear import Linear as Linear
from ._linear import Mean as Mean
from ._min_norm import MGDA as MGDA
from ._mmpareto import MMPareto as MMPareto
from ._ngdiff import NGDiff as NGDiff
from ._ngdiff import gen_optimum as gen_optimum
from ._ngdiff import gen_rate as gen_rate
from ._ngdiff import gen_step as gen_step
from ._nnqp import nnqp as nnqp
from ._nnqp import nnqp_by_enumeration as nnqp_by_enumeration
from ._pcd import PCD as PCD
from ._pcgrad import PCGrad as PCGrad
from ._registry import BEYOND as BEYOND
from ._registry import IN_LOOP as IN_LOOP
from ._registry import WEIGHTINGS as WEIGHTINGS
from ._registry import certify as certify
from ._sdmgrad import SDMGrad as SDMGrad
from ._simplex import project as project
from ._smooth_max import FAMO as FAMO
from ._smooth_max import STCH as STCH
from ._smooth_max import SmoothLexicographic as SmoothLexicographic
from ._smooth_max import smooth_max as smooth_max
from ._tracking import CRMOGM as CRMOGM
from ._tracking import MoCo as MoCo
from ._tracking import MoDo as MoDo
from ._tracking import track as track
from ._upgrad import UPGrad as UPGrad
from ._weighting import InLoop as InLoop
from ._weighting import Stateful as Stateful
from ._weighting import Weighting as Weighting
