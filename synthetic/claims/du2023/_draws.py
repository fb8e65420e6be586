"""Training sets of the saturation world and what its learners make of them."""

from __future__ import annotations

from mmtheory.rng import Stream
from synthetic.worlds import Saturation
from synthetic.worlds.saturation import Learnt


def learnt(world: Saturation, stream: Stream, replicates: int) -> Learnt:
    """One independent training set of ``world.n`` samples a replicate."""
    return world.learn(world.occurrences(world.n, stream.draws(range(replicates))))
