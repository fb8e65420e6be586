"""Contracts and hypothesis strategies to point at your own world, claim, method or aggregator (needs the `test` extra)."""

from ._aggregator import check_aggregator as check_aggregator
from ._claim import blind as blind
from ._claim import check_claim as check_claim
from ._claim import mute as mute
from ._method import check_method as check_method
from ._model import check_model as check_model
from ._watch import no_waiting as no_waiting
from ._world import check_world as check_world
