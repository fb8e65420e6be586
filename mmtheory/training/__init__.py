"""The one training loop, its optimisers, and stacked replicates that go through it together."""

from ._loop import EpochView as EpochView
from ._loop import Settings as Settings
from ._loop import Trainer as Trainer
from ._loop import gather as gather
from ._loop import train as train
from ._optimisers import SGD as SGD
from ._optimisers import Adam as Adam
from ._optimisers import Optimiser as Optimiser
