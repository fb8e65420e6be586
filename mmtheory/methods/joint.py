"""Joint training: the reference that every other method is compared with."""

from __future__ import annotations

from typing import ClassVar, final

from ._method import Card, Method


@final
class Joint(Method):
    """One loss on the fused logits, differentiated once."""

    card: ClassVar[Card] = Card(
        name="joint",
        source="textbook",
        summary="One loss on the fused logits trains every encoder together.",
        fidelity="paper",
        neutral="always",
    )
    why_classes: ClassVar[str] = ""

    def neutral(self) -> Method:
        return Joint()
