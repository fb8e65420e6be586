"""Exact functionals of known laws: information, decompositions, Shapley values; nothing here ever samples."""

from ._decomposition import Decomposition as Decomposition
from ._decomposition import bsc_decomposition as bsc_decomposition
from ._decomposition import design_correlated as design_correlated
from ._decomposition import gaussian_decomposition as gaussian_decomposition
from ._decomposition import lda_decomposition as lda_decomposition
from ._decomposition import mmi_decomposition as mmi_decomposition
from ._gaussian import correlated_strength as correlated_strength
from ._gaussian import gaussian_conditional as gaussian_conditional
from ._gaussian import gaussian_conditional_information as gaussian_conditional_information
from ._gaussian import gaussian_entropy as gaussian_entropy
from ._gaussian import gaussian_information as gaussian_information
from ._gaussian import snr_information as snr_information
from ._lda import lda_equivocation as lda_equivocation
from ._lda import lda_error as lda_error
from ._lda import lda_information as lda_information
from ._lda import lda_separation as lda_separation
from ._shapley import shapley as shapley
from ._shapley import subsets as subsets
