"""Training methods by name: hooks for the one loop, one method a file, each with its card."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ._contribution import AuxiliaryHeads as AuxiliaryHeads
from ._contribution import Contributing as Contributing
from ._contribution import Contribution as Contribution
from ._contribution import LinearSplit as LinearSplit
from ._contribution import MeanBaseline as MeanBaseline
from ._contribution import ShapleyShares as ShapleyShares
from ._contribution import ZeroOut as ZeroOut
from ._contribution import default_contribution as default_contribution
from ._losses import cross_entropy as cross_entropy
from ._losses import declared_loss as declared_loss
from ._losses import half_square as half_square
from ._method import Card as Card
from ._method import Fidelity as Fidelity
from ._method import Gradients as Gradients
from ._method import Method as Method
from ._method import Phase as Phase
from ._method import Step as Step
from ._method import Strength as Strength
from ._method import View as View
from ._method import per_replicate as per_replicate
from ._named import configured as configured
from ._named import made as made
from ._named import parted as parted
from ._named import settings_of as settings_of
from ._pretrained import Pretrained as Pretrained
from ._pretrained import fingerprint as fingerprint
from ._scores import discrepancy as discrepancy
from ._scores import label_scores as label_scores
from ._scores import leads as leads
from ._strengths import tunable as tunable
from .agm import AGM as AGM
from .amco import AMCo as AMCo
from .amss import AMSS as AMSS
from .amss import AMSSPlus as AMSSPlus
from .aug import AUG as AUG
from .bogc import BOGC as BOGC
from .boltzmann import Boltzmann as Boltzmann
from .cggm import CGGM as CGGM
from .chain import Chain as Chain
from .cml import CML as CML
from .combined import Combined as Combined
from .famo import FAMO as FAMO
from .gblend import GBlend as GBlend
from .graddrop import GradDrop as GradDrop
from .greedy import Greedy as Greedy
from .i2m2 import I2M2 as I2M2
from .inforeg import InfoReg as InfoReg
from .joint import Joint as Joint
from .lfm import LFM as LFM
from .m2pt import M2PT as M2PT
from .mbsd import MBSD as MBSD
from .mie import MIE as MIE
from .mimo import MIMO as MIMO
from .minvi import MinVI as MinVI
from .mla import MLA as MLA
from .mmcosine import MMCosine as MMCosine
from .mmlora import MMLoRA as MMLoRA
from .mmpareto import MMPareto as MMPareto
from .mrhp import MRHP as MRHP
from .mses import MSES as MSES
from .mslr import MSLR as MSLR
from .ngdiff import NGDiff as NGDiff
from .ogm import OGM as OGM
from .ogm import OGMGE as OGMGE
from .opm import OPM as OPM
from .pmr import PMR as PMR
from .reconboost import ReconBoost as ReconBoost
from .relearning import Relearning as Relearning
from .ume import UME as UME
from .umt import UMT as UMT
from .umurl import UmURL as UmURL
from .uniform import Uniform as Uniform
from .unimodal import Unimodal as Unimodal
from .valuation import Valuation as Valuation

METHODS: Mapping[str, type[Method]] = MappingProxyType({
    "joint": Joint,
    "unimodal": Unimodal,
    "uniform": Uniform,
    "ume": UME,
    "ogm": OGM,
    "ogm-ge": OGMGE,
    "opm": OPM,
    "moo": Combined,
    "famo": FAMO,
    "graddrop": GradDrop,
    "mimo": MIMO,
    "mmpareto": MMPareto,
    "ngdiff": NGDiff,
    "pmr": PMR,
    "amss": AMSS,
    "amss-plus": AMSSPlus,
    "bogc": BOGC,
    "mses": MSES,
    "mslr": MSLR,
    "mla": MLA,
    "agm": AGM,
    "cml": CML,
    "lfm": LFM,
    "mmcosine": MMCosine,
    "amco": AMCo,
    "inforeg": InfoReg,
    "mbsd": MBSD,
    "gblend": GBlend,
    "umt": UMT,
    "mie": MIE,
    "relearning": Relearning,
    "cggm": CGGM,
    "greedy": Greedy,
    "valuation": Valuation,
    "reconboost": ReconBoost,
    "aug": AUG,
    "i2m2": I2M2,
    "umurl": UmURL,
    "minvi": MinVI,
    "mmlora": MMLoRA,
    "m2pt": M2PT,
    "mrhp": MRHP,
})  # fmt: skip
