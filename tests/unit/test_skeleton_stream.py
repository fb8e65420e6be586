"""Skeletons through one stream: what bones and motion are made of, and UmURL on a double of NTU-60."""

import numpy as np

from real.data import DATASETS
from real.data.gestures import TRUNK
from real.recipe import Recipe
from real.trainer import Fit


def test_bones_and_motion_are_made_of_joints(tmp_path):
    data = DATASETS["ntu-60"](DATASETS["ntu-60"].write_double(tmp_path))
    found = data.read(range(4))
    joint, bone, motion = (found[m].reshape(4, 64, 2, 25, 3) for m in ("joint", "bone", "motion"))
    assert np.allclose(bone, joint - joint[..., list(TRUNK), :], atol=1e-5)
    assert np.allclose(motion[:, :-1], joint[:, 1:] - joint[:, :-1], atol=1e-5)
    assert np.abs(motion[:, -1]).max() == 0
    assert np.abs(bone).max() > 0


def test_a_stream_of_skeletons_is_trained_and_read(tmp_path):
    data = DATASETS["ntu-60"](DATASETS["ntu-60"].write_double(tmp_path))
    fit = Fit(data, Recipe(method="umurl", epochs=1, width=8, batch_size=8, strengths={"width": 8})).run()
    logits = fit.trainer.predict(fit.parts.test)
    assert logits.shape == (fit.parts.test.n, 60)
    assert logits.isfinite().all()
