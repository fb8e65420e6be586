"""The one training loop, its optimisers, and stacked replicates that go through it together."""

from ._checkpoint import load as load
from ._checkpoint import save as save
from ._compiled import compiler as compiler
from ._cost import Cost as Cost
from ._cost import counted_cost as counted_cost
from ._cost import counting as counting
from ._cost import predicted_cost as predicted_cost
from ._epoch import EpochView as EpochView
from ._feed import Feeding as Feeding
from ._feed import gather as gather
from ._feed import placed as placed
from ._feed import spread_over as spread_over
from ._loop import Trainer as Trainer
from ._loop import train as train
from ._optimisers import SGD as SGD
from ._optimisers import Adam as Adam
from ._optimisers import Optimiser as Optimiser
from ._scales import Scales as Scales
from ._settings import Constant as Constant
from ._settings import Cosine as Cosine
from ._settings import Schedule as Schedule
from ._settings import Settings as Settings
from ._settings import Stairs as Stairs
from ._settings import Warmup as Warmup
from ._task import check_method_loss as check_method_loss
