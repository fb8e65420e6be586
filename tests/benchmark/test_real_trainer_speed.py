"""The trainer on real data costs no more than a loop written by hand, its look at validation after every epoch included."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from real.data import DATASETS
from real.recipe import Recipe
from real.trainer import Fit

pytestmark = pytest.mark.benchmark
EPOCHS, ROUNDS = 10, 7


def bare(train, validation):
    """Plain PyTorch: Adam, mini-batches of 64, accuracy on validation after every epoch."""
    generator = torch.Generator().manual_seed(0)
    encoders = {m: nn.Sequential(nn.Linear(v.shape[-1], 128), nn.ReLU()) for m, v in train.x.items()}
    head = nn.Linear(256, 7)
    optimiser = torch.optim.Adam([*(p for e in encoders.values() for p in e.parameters()), *head.parameters()], lr=2e-3)

    def logits(x):
        return head(torch.cat([encoders[m](x[m]) for m in encoders], -1))

    for _ in range(EPOCHS):
        order = torch.randperm(train.n, generator=generator)
        for i in range(0, train.n, 64):
            rows = order[i : i + 64]
            loss = nn.functional.cross_entropy(logits({m: v[rows] for m, v in train.x.items()}), train.y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            (logits(validation.x).argmax(-1) == validation.y).double().mean().item()


def test_overhead():
    data, recipe = DATASETS["htad"](), Recipe(epochs=EPOCHS)
    ours, theirs = [], []
    with torch.random.fork_rng():
        for _ in range(ROUNDS):
            fit = Fit(data, recipe)
            start = time.perf_counter()
            fit.run()
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            bare(fit.parts.train, fit.parts.validation)
            theirs.append(time.perf_counter() - start)
    ratio = min(ours) / min(theirs)
    print(f"trainer over bare loop: {ratio:.2f}")
    assert ratio <= 1.03
