"""Contracts and hypothesis strategies to point at your own world, claim, method or aggregator (needs the `test` extra)."""

from ._aggregator import check_aggregator as check_aggregator
from ._claim import blind as blind
from ._claim import check_claim as check_claim
from ._claim import mute as mute
from ._world import check_world as check_world
