"""Multi-modal Boltzmann machines and recurrent networks, their exact oracle, and the ways to train them (Sohn, Shang and Lee 2014)."""

from ._contrast import clamped_negatives as clamped_negatives
from ._contrast import contrast as contrast
from ._contrast import divergence_loss as divergence_loss
from ._contrast import gibbs as gibbs
from ._contrast import perceptron_loss as perceptron_loss
from ._contrast import persistent_loss as persistent_loss
from ._deep import MultimodalDeepRNN as MultimodalDeepRNN
from ._deep import Pathway as Pathway
from ._machine import MultimodalRBM as MultimodalRBM
from ._machine import binary as binary
from ._machine import states as states
from ._parameters import Group as Group
from ._parameters import Hidden as Hidden
from ._parameters import machine_of as machine_of
from ._parameters import pathway_of as pathway_of
from ._prediction import Direction as Direction
from ._prediction import directions as directions
from ._prediction import multi_prediction_loss as multi_prediction_loss
from ._prediction import subset_prediction_loss as subset_prediction_loss
from ._prediction import unseen_loss as unseen_loss
from ._recurrent import Completion as Completion
from ._recurrent import recurrent as recurrent
