"""Text as numbers without a vocabulary to download: hashed words."""

from __future__ import annotations

import hashlib
import itertools
import re

import numpy as np

WORDS = re.compile(r"[\w$]+", re.UNICODE)
WIDTH = 2048


def hashed(text: str, width: int = WIDTH) -> np.ndarray:
    """Signed counts of words and pairs of neighbours, hashed to ``width`` numbers of norm one (zero for no words).

    >>> hashed("to be or not to be").shape, float(np.linalg.norm(hashed("to be")).round(6)), float(hashed("").sum())
    ((2048,), 1.0, 0.0)
    """
    words = WORDS.findall(text.lower())
    counts = np.zeros(width)
    for token in (*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))):
        code = int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "big")
        counts[code % width] += 1 if code >> 63 else -1
    norm = np.linalg.norm(counts)
    return counts / norm if norm else counts
