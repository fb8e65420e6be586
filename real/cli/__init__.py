"""Sub-commands of ``mmtheory`` that this program brings; heavy imports happen inside."""

from __future__ import annotations


def data(argv: list[str]) -> int:
    """List real data sets, check a download against its layout, prepare it for training."""
    from ._data import main

    return main(argv)


def train(argv: list[str]) -> int:
    """Train one method on one real data set, choose on validation, look at the test part once."""
    from ._train import main

    return main(argv)


def bench(argv: list[str]) -> int:
    """Compare methods on real data sets: paired seeds, equal tuning budget, intervals."""
    from ._bench import main

    return main(argv)
