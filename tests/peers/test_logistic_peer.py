"""Our batched logistic regression against scikit-learn's, one replicate at a time."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mmtheory.bounds import logistic_regression
from mmtheory.rng import Stream

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("ridge", [0.01, 0.3])
def test_weights_and_loss(ridge):
    draws = Stream(5).draws(range(4))
    x, y = draws.normal("x", 300, 4), draws.integers("y", 2, 300)
    fit = logistic_regression(x, y, ridge=ridge)
    for r in range(4):
        peer = LogisticRegression(
            C=1 / (ridge * 300), fit_intercept=False, tol=1e-12, max_iter=10_000, solver="newton-cg"
        )
        theirs = peer.fit(x[r].numpy(), y[r].numpy()).coef_[0]
        np.testing.assert_allclose(fit.weights[r].numpy(), theirs, atol=1e-6)
        margin = (2 * y[r].numpy() - 1) * (x[r].numpy() @ theirs)
        assert fit.loss[r] - fit.gap[r] - 1e-14 <= np.logaddexp(0, -margin).mean() + ridge / 2 * theirs @ theirs
