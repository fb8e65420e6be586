"""Bounds on risk and complexity: Rademacher, Huang's theorems and their sharp forms, PAC-Bayes, uniform deviation."""

from ._logistic import LogisticFit as LogisticFit
from ._logistic import logistic_regression as logistic_regression
