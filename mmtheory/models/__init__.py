"""Encoders, fusions and the model that owns them; every parameter has one owner and carries the replicate axes in front."""

from ._attention import Attention as Attention
from ._attention import Block as Block
from ._attention import LayerNorm as LayerNorm
from ._cnn import CNNEncoder as CNNEncoder
from ._deep_linear import DeepLinearEncoder as DeepLinearEncoder
from ._dense import NARROW as NARROW
from ._dense import Dense as Dense
from ._dense import dense as dense
from ._dense import linear_sum as linear_sum
from ._dense import relu_chain as relu_chain
from ._dense import weight_gradient as weight_gradient
from ._encoders import Encoder as Encoder
from ._encoders import MLPEncoder as MLPEncoder
from ._flat import FlatParameters as FlatParameters
from ._model import SHARED as SHARED
from ._model import MultimodalModel as MultimodalModel
from ._model import Output as Output
from ._transformer import TransformerEncoder as TransformerEncoder
from .fusion import FUSIONS as FUSIONS
from .fusion import Fusion as Fusion
from .rbm import MultimodalRBM as MultimodalRBM
