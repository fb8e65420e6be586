"""Samples of the competition world show what its dials say; each check errs with probability at most 1e-6."""

import pytest
import torch

from mmtheory.rng import Stream
from mmtheory.stats import clopper_pearson
from synthetic.worlds import Competition


@pytest.mark.parametrize("mu", [(0.3, 0.1), (0.0, 1.0, 0.5)])
def test_shown_shares_classes_and_the_bayes_rule(mu):
    world = Competition(strength=(2.0,) * len(mu), mu=mu, classes=4)
    n = 20_000
    batch = world.sample(n, stream=Stream(0, ("competition",)))
    shown = {m: x.amax(-1) > 0 for m, x in batch.x.items()}
    alpha = 1e-6 / (len(mu) + 5)
    for m, share in zip(world.modalities, mu, strict=True):
        assert 1 - share in clopper_pearson(int(shown[m].sum()), n, alpha=alpha)
        assert bool((batch.x[m][shown[m]].argmax(-1) == batch.y[shown[m]]).all())
        assert set(batch.x[m].unique().tolist()) <= {0.0, 2.0}
    for k in range(4):
        assert 0.25 in clopper_pearson(int((batch.y == k).sum()), n, alpha=alpha)
    score = torch.stack(list(batch.x.values())).sum(0)
    guess = torch.where(score.amax(-1) > 0, score.argmax(-1), 0)
    risk = world.known("bayes_risk", world.modalities).middle
    assert risk in clopper_pearson(int((guess != batch.y).sum()), n, alpha=alpha)
