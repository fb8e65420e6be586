"""Lazada- and Amazon-MRHP: how helpful is a review of a product? Levels 0 to 4, by the votes it was given.

Read without pictures, many of whose addresses are dead. The literature ranks the reviews of a product; here the
level is a class, and the expected class is what ranks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, final

import numpy as np

from mmtheory.errors import DataError

from ._dataset import Part, mark_double
from ._files import json_of
from ._samples import Sample, SampleDataset, words
from ._splits import TEST, TRAIN, VALIDATION
from ._words import WIDTH, hashed


@final
class Mrhp(SampleDataset):
    """One category: the product's words and the review's, hashed."""

    name: ClassVar[str] = "mrhp"
    title: ClassVar[str] = "Lazada- or Amazon-MRHP, one category: helpfulness of reviews from product and review"
    licence: ClassVar[str] = "none stated; research use"
    source: ClassVar[str] = "github.com/jhliu17/MCR, one folder such as dataset/amazon/clothing"
    layout: ClassVar[tuple[str, ...]] = ("<category>.{prd,rvw,rel}.{train,dev,test}",)
    classes: tuple[str, ...] = tuple("01234")
    modalities: Mapping[str, Part] = MappingProxyType({"product": Part((WIDTH,)), "review": Part((WIDTH,))})
    spoken: ClassVar[tuple[str, ...]] = ("product", "review")
    splits: ClassVar[tuple[str, ...]] = ("official", "product", "random")
    lists: ClassVar[str | None] = "product"

    def list_samples(self) -> list[Sample]:
        named = sorted(self.root.glob("*.rel.train"))
        if len(named) != 1:
            raise DataError(f"{self.root}: expected one <category>.rel.train, found {len(named)}")
        category = named[0].name.removesuffix(".rel.train")
        found: list[Sample] = []
        for part, code in (("train", TRAIN), ("dev", VALIDATION), ("test", TEST)):
            products = {
                str(r["product_id"]): r for r in records(self.root / f"{category}.prd.{part}", "product_id", "name")
            }
            reviews = {
                str(r["review_id"]): r for r in records(self.root / f"{category}.rvw.{part}", "review_id", "content")
            }
            path = self.root / f"{category}.rel.{part}"
            for row, pair in enumerate(records(path, "product_id", "review_id", "upvotes")):
                product, review = str(pair["product_id"]), str(pair["review_id"])
                if product not in products or review not in reviews or str(pair["upvotes"]) not in self.classes:
                    raise DataError(
                        f"{path}, record {row}: expected a known product and review and a level 0 to 4, found {pair}"
                    )
                named_so = f"{products[product]['name']} {products[product].get('description') or ''}"
                files: dict[str, Path | str] = {"product": named_so, "review": str(reviews[review]["content"])}
                found.append(
                    Sample(
                        f"{part} {product} {review}",
                        int(pair["upvotes"]),
                        files,
                        {"official": code},
                        {"product": product},
                        f"{path}, record {row}",
                    )
                )
        return found

    def decode(self, modality: str, sample: Sample) -> np.ndarray:
        return hashed(words(sample, modality))

    @classmethod
    def write_double(cls, root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        for part, count in (("train", 4), ("dev", 2), ("test", 2)):
            products = [f"{part}p{i}" for i in range(count)]
            pairs = [(p, f"{p}r{k}", k) for p in products for k in range(5)]
            tables: dict[str, dict[str, list[Any]]] = {
                "prd": {
                    "product_id": products,
                    "name": [f"Coat {p}" for p in products],
                    "description": ["warm"] * count,
                },
                "rvw": {
                    "review_id": [r for _, r, _ in pairs],
                    "content": [f"level {'very ' * k}good" for _, _, k in pairs],
                },
                "rel": {
                    "product_id": [p for p, _, _ in pairs],
                    "review_id": [r for _, r, _ in pairs],
                    "upvotes": [k for _, _, k in pairs],
                },
            }
            for kind, table in tables.items():
                columns = {name: {str(i): v for i, v in enumerate(values)} for name, values in table.items()}
                (root / f"clothing.{kind}.{part}").write_text(json.dumps(columns))
        return mark_double(root, samples=40, official_train=20, official_validation=10, official_test=10)


def records(path: Path, *columns: str) -> list[dict[str, Any]]:
    """The rows of a table as pandas writes it to JSON, by columns.

    :raises DataError: no such table, or one without these columns.
    """
    held = json_of(path)
    if not isinstance(held, dict) or not all(isinstance(held.get(c), dict) for c in columns):
        raise DataError(
            f"{path}: expected columns {', '.join(columns)}, found {sorted(held) if isinstance(held, dict) else type(held).__name__}"
        )
    rows: dict[str, dict[str, Any]] = {}
    for name, column in held.items():
        for row, value in column.items():
            rows.setdefault(row, {})[name] = value
    for row, values in rows.items():
        if lacking := [c for c in columns if c not in values]:
            raise DataError(f"{path}, record {row}: expected columns {', '.join(columns)}, found no {lacking[0]}")
    return list(rows.values())
