"""Exact functionals of known laws: information, decompositions, Shapley values; nothing here ever samples."""

from ._shapley import shapley as shapley
from ._shapley import subsets as subsets
