"""The registered claims about synthetic worlds: a folder a paper, a file a statement."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mmtheory.claims import Claim

from . import (
    classical,
    du2023,
    huang2021,
    huang2022,
    i2m2,
    laboratory,
    liang2023,
    lu2023,
    m2pt,
    madaan2024,
    mmlora,
    monotone,
    moo,
    mrhp,
    sohn2014,
    umurl,
    wang2020,
    wei2024,
    zhang2024,
)

PAPERS: Mapping[str, tuple[Claim[Any], ...]] = MappingProxyType({
    "huang2021": huang2021.CLAIMS,
    "madaan2024": madaan2024.CLAIMS,
    "lu2023": lu2023.CLAIMS,
    "huang2022": huang2022.CLAIMS,
    "zhang2024": zhang2024.CLAIMS,
    "du2023": du2023.CLAIMS,
    "wang2020": wang2020.CLAIMS,
    "liang2023": liang2023.CLAIMS,
    "wei2024": wei2024.CLAIMS,
    "laboratory": laboratory.CLAIMS,
    "sohn2014": sohn2014.CLAIMS,
    "mmlora": mmlora.CLAIMS,
    "m2pt": m2pt.CLAIMS,
    "umurl": umurl.CLAIMS,
    "mrhp": mrhp.CLAIMS,
    "i2m2": i2m2.CLAIMS,
    "classical": classical.CLAIMS,
    "monotone": monotone.CLAIMS,
    "moo": moo.CLAIMS,
})  # fmt: skip

CLAIMS: Mapping[str, Claim[Any]] = MappingProxyType({claim.id: claim for claims in PAPERS.values() for claim in claims})
