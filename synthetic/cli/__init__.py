"""Sub-commands of ``mmtheory`` that this program brings; heavy imports happen inside."""

from __future__ import annotations


def verify(argv: list[str]) -> int:
    """Confront the registered claims with their worlds and write a run folder with a report."""
    from ._verify import main

    return main(argv)


def claims(argv: list[str]) -> int:
    """List every registered claim: id, source, tag, statement, world, budgets."""
    from ._claims import main

    return main(argv)


def worlds(argv: list[str]) -> int:
    """List the synthetic worlds and their dials."""
    from ._worlds import main

    return main(argv)


def world(argv: list[str]) -> int:
    """Print the exact answers of one world for every subset of its modalities."""
    from ._world import main

    return main(argv)


def methods(argv: list[str]) -> int:
    """List every training method: source, cost, neutral setting, differences from released code."""
    from ._methods import main

    return main(argv)


def imbalance(argv: list[str]) -> int:
    """Train balancing methods in a world whose imbalance is known, and compare them by paired seeds."""
    from ._imbalance import main

    return main(argv)
