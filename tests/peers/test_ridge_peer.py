"""Our ridge readout of frozen features against scikit-learn's, one replicate at a time."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from torch.nn.functional import one_hot

from mmtheory.diagnose import hits, ridge_scores
from mmtheory.rng import Stream

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("ridge", [1e-3, 0.3])
def test_scores_and_hits(ridge):
    draws = Stream(5).draws(range(3))
    y = draws.integers("y", 4, 150)
    x = draws.normal("x", 150, 6) @ draws.normal("mix", 6, 6) + one_hot(y, 6)
    fresh, told = x[:, 100:], ridge_scores(x[:, :100], y[:, :100], x[:, 100:], 4, ridge=ridge)
    for r in range(3):
        seen, target = x[r, :100].numpy(), one_hot(y[r, :100], 4).numpy()
        # Ours loads the mean variance: of the sum of squares that is n times as much.
        peer = Ridge(alpha=ridge * 100 * seen.var(0).mean(), solver="cholesky").fit(seen, target)
        np.testing.assert_allclose(told[r].numpy(), peer.predict(fresh[r].numpy()), atol=1e-10)
        right = (peer.predict(fresh[r].numpy()).argmax(1) == y[r, 100:].numpy()).mean()
        assert float(hits(told[r], y[r, 100:]).mean()) == right
