"""Predictions about balancing methods in worlds whose imbalance is known (methods §16)."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .adam import ADAM_LOSS_TERMS, ADAM_NOISE, ADAM_THROTTLE
from .ceiling import CEILING
from .dose_response import DOSE_RESPONSE
from .encoder_rate import ENCODER_RATE
from .information_cost import INFORMATION_COST
from .milder_form import MILDER_FORM
from .over_balancing import OVER_BALANCING
from .projection import PROJECTION_CONTROL, PROJECTION_COST
from .pure_synergy import PURE_SYNERGY
from .ratio_decay import RATIO_DECAY, RATIO_DECAY_DISCRIMINANT, RATIO_DECAY_PROBIT
from .reference_gap import REFERENCE_GAP
from .throttle import THROTTLE
from .unbiased_amss import UNBIASED_AMSS
from .uniform_baseline import UNIFORM_BASELINE

CLAIMS: tuple[Claim[Any], ...] = (
    DOSE_RESPONSE,
    CEILING,
    THROTTLE,
    UNIFORM_BASELINE,
    PROJECTION_COST,
    PROJECTION_CONTROL,
    UNBIASED_AMSS,
    MILDER_FORM,
    ENCODER_RATE,
    INFORMATION_COST,
    RATIO_DECAY,
    RATIO_DECAY_PROBIT,
    RATIO_DECAY_DISCRIMINANT,
    REFERENCE_GAP,
    OVER_BALANCING,
    ADAM_THROTTLE,
    ADAM_NOISE,
    ADAM_LOSS_TERMS,
    PURE_SYNERGY,
)
