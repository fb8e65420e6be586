"""What a Gramian, a preference and a hyper-parameter must be before any weight is computed from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from mmtheory.errors import ArgumentError

LEAST_OBJECTIVES = 2
FACTOR = cast("Callable[..., Any]", get_lapack_funcs("potrf", dtype=np.float64))
HUGE = 1e150


def settled(unfinished: Tensor) -> bool:
    """Whether no entry is left, where the host may know it: on the CPU; elsewhere, and under ``torch.vmap``, the answer is no.

    A loop that asks this stops early on the CPU and runs its fixed number of rounds on an accelerator, without a synchronisation.
    """
    if unfinished.device.type != "cpu":
        return False
    try:
        return not bool(unfinished.any())
    except RuntimeError:  # a tensor under vmap has no truth value
        return False


def numbers(tensor: Tensor) -> np.ndarray | None:
    """The tensor's values as the host sees them, or None where asking would synchronise or is impossible (``torch.vmap``)."""
    if tensor.device.type != "cpu":
        return None
    try:
        return tensor.detach().numpy()
    except RuntimeError:
        return None


def shaped(gramian: Tensor) -> Tensor:
    """The Gramian, once its shape and type are right; looks at no value, so it never synchronises."""
    if not isinstance(cast("object", gramian), Tensor):
        raise ArgumentError(f"gramian: expected a tensor, found {type(gramian).__name__}")
    if gramian.ndim < LEAST_OBJECTIVES or gramian.shape[-1] != gramian.shape[-2]:
        raise ArgumentError(f"gramian: expected shape [*batch, m, m], found {list(gramian.shape)}")
    if gramian.shape[-1] < LEAST_OBJECTIVES:
        raise ArgumentError(f"gramian: expected at least 2 objectives, found {gramian.shape[-1]}")
    if not gramian.is_floating_point():
        raise ArgumentError(f"gramian: expected a real floating type, found {gramian.dtype}")
    return gramian


def checked(gramian: Tensor) -> Tensor:
    r"""The Gramian itself, once it is known to be finite, symmetric and positive semi-definite.

    Both tests are made on the cosines :math:`G_{ij}/\sqrt{G_{ii}G_{jj}}`, with the square root of the type's precision as tolerance, so
    that a row of norm 1e-6 is judged as sharply as one of norm 1e6. Looks at values: on an accelerator this is one synchronisation.

    Shape: ``[*batch, m, m]`` with m ≥ 2.

    :raises ArgumentError: a wrong shape or type, NaN or infinity, asymmetry, a negative eigenvalue.

    >>> checked(torch.eye(2)).shape
    torch.Size([2, 2])
    """
    slack = math.sqrt(torch.finfo(shaped(gramian).dtype).eps)
    single = numbers(gramian.double()) if gramian.ndim == LEAST_OBJECTIVES else None
    fault = _fault_of_one(single, slack) if single is not None else _fault_of_many(gramian.double(), slack)
    if fault:
        raise ArgumentError(f"gramian: expected {fault[0]}, found {fault[1]}")
    return gramian


def admitted(gramian: Tensor, *, validate: bool) -> Tensor:
    """The Gramian in float64, its values checked if ``validate`` and if they lie on the CPU."""
    given = shaped(gramian)
    return (checked(given) if validate and given.device.type == "cpu" else given).detach().double()


def _fault_of_one(G: np.ndarray, slack: float) -> tuple[str, str] | None:
    """What is wrong with one matrix; a few microseconds, because it stands in front of every single solve."""
    diagonal = G.diagonal()
    if not np.isfinite(G).all():
        return "finite numbers", "NaN or infinity"
    if diagonal.min() < 0:
        return "a positive semi-definite matrix", f"the diagonal entry {diagonal.min():.3g}"
    norms = np.sqrt(diagonal)
    bound = np.outer(norms, norms)
    if (np.abs(G - G.T) > slack * bound).any():
        return "a symmetric matrix", f"a difference of {np.abs(G - G.T).max():.3g} between an entry and its mirror"
    if (np.abs(G) > (1 + slack) * bound).any():
        return "a positive semi-definite matrix", "a cosine above 1"
    if G.shape[0] == LEAST_OBJECTIVES:
        return None
    live = np.where(bound > 0, bound, 1.0)
    cosines = G / live
    cosines.flat[:: G.shape[0] + 1] = 1 + G.shape[0] * slack
    return ("a positive semi-definite matrix", "a negative eigenvalue") if FACTOR(cosines)[1] else None


def _fault_of_many(G: Tensor, slack: float) -> tuple[str, str] | None:
    """What is wrong with any matrix of a batch; nothing with a batch of none."""
    if not G.numel():
        return None
    norms = G.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    # A zero row must be zero throughout: a huge factor leaves zeros alone and makes anything else fail the Cholesky factorisation.
    inverse = torch.where(norms > 0, 1 / norms, HUGE)
    cosines = G * inverse[..., :, None] * inverse[..., None, :]
    unlike = (cosines - cosines.mT).abs().amax()
    if _seen(~(unlike <= slack)):
        finite = not _seen(~G.isfinite())
        return (
            ("a symmetric matrix", "an entry that differs from its mirror")
            if finite
            else ("finite numbers", "NaN or infinity")
        )
    cosines.diagonal(dim1=-2, dim2=-1).add_((norms == 0) + G.shape[-1] * slack)
    negative = _seen(torch.linalg.cholesky_ex(cosines)[1] > 0)
    return ("a positive semi-definite matrix", "a negative eigenvalue") if negative else None


def _seen(where: Tensor) -> bool:
    """Whether any entry is true; under vmap nothing can be seen and the caller has checked before."""
    try:
        return bool(where.any())
    except RuntimeError:
        return False


def above(losses: Tensor, floor: float) -> None:
    """Raises where a loss does not lie above the floor, if the host may look."""
    seen = numbers(losses)
    if seen is not None and not (seen > floor).all():
        raise ArgumentError(f"losses: expected numbers above {floor}, found {seen.min()}")


def beside(values: Sequence[float], like: Tensor) -> Tensor:
    """Numbers as a tensor of another's type on its device, sent there without waiting for it."""
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)


def preference_of(preference: tuple[float, ...] | None, gramian: Tensor) -> Tensor:
    """The preference as a vector ``[m]`` beside the Gramian; None is 1/m each."""
    m = gramian.shape[-1]
    if preference is None:
        return gramian.new_full((m,), 1 / m)
    if len(preference) != m:
        raise ArgumentError(f"preference: expected {m} entries, one an objective, found {len(preference)}")
    return beside(preference, gramian)


def on_simplex(preference: tuple[float, ...] | None) -> None:
    """Raises unless the preference is None or non-negative with sum 1."""
    if preference is None:
        return
    if not all(p >= 0 for p in preference) or not math.isclose(sum(preference), 1, abs_tol=1e-9):
        raise ArgumentError(f"preference: expected non-negative entries that sum to 1, found {preference}")


def within(name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Raises, naming the hyper-parameter, unless it is a finite number of the interval."""
    inside = low < value <= high if open_low else low <= value <= high
    if not inside or not math.isfinite(value):
        raise ArgumentError(f"{name}: expected a number in {'(' if open_low else '['}{low}, {high}], found {value}")


def positive(name: str, values: Sequence[float] | None) -> None:
    """Raises, naming the hyper-parameter, unless it is None or at least one positive finite number."""
    if values is not None and not (values and all(0 < v < math.inf for v in values)):
        raise ArgumentError(f"{name}: expected positive finite entries, found {values}")


def finite(name: str, values: Sequence[float] | None) -> None:
    """Raises, naming the hyper-parameter, unless it is None or at least one finite number."""
    if values is not None and not (values and all(math.isfinite(v) for v in values)):
        raise ArgumentError(f"{name}: expected finite entries, found {values}")
