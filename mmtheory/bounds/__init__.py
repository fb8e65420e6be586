"""Bounds on risk and complexity: Rademacher, Huang's theorems and their sharp forms, PAC-Bayes, uniform deviation."""

from ._connection import ConnectionBound as ConnectionBound
from ._connection import connection_bound as connection_bound
from ._connection import finite_class_complexity as finite_class_complexity
from ._logistic import LogisticFit as LogisticFit
from ._logistic import logistic_regression as logistic_regression
