"""The contract of a method holds in every variant that an option chooses, not only for the defaults."""

import pytest

from mmtheory.methods import (
    AGM,
    AMSS,
    CML,
    LFM,
    MBSD,
    MIE,
    MLA,
    PMR,
    UME,
    AMCo,
    AMSSPlus,
    InfoReg,
    MeanBaseline,
    MMCosine,
    ShapleyShares,
    Unimodal,
    ZeroOut,
)
from mmtheory.testing import check_method

VARIANTS = {
    "unimodal a": Unimodal("a"),
    "ume probabilities": UME(average="probabilities"),
    "pmr binary": PMR(ratio="binary", subset=0.5, mu=0.5, entropy_epochs=1),
    "amss ema": AMSS(importance="ema"),
    "amss by means": AMSS(0.5, contribution=MeanBaseline()),
    "amss-plus released": AMSSPlus(weights="released"),
    "amss-plus ema": AMSSPlus(importance="ema"),
    "mla update": MLA(space="update"),
    "mla off": MLA(projection="off", blend="mean"),
    "mla released": MLA(before=True, normalise=True, blend="released"),
    "mie stages of two": MIE(stage=2, norm="tensor"),
    "mie deep heads": MIE(0.0, hidden=(6, 5)),
    "agm by shapley": AGM(2.0, contribution=ShapleyShares("mean"), clip=0.1),
    "agm by zeroing": AGM(contribution=ZeroOut()),
    "cml": CML(3.0),
    "lfm learned": LFM(schedule="learned"),
    "lfm by zeroing": LFM(contribution=ZeroOut(), power=2.0),
    "mmcosine": MMCosine(3.0),
    "amco": AMCo(0.9, ramp=1),
    "inforeg by name": InfoReg({"a": 2.0, "b": 3.0, "c": 1.0}, gap=0.0),
    "mbsd released": MBSD(form="released", temperature=1.0),
}


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_a_variant_keeps_the_contract(variant):
    check_method(VARIANTS[variant], fusions=("film",))
