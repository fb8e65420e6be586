"""The dial board: describe multi-modal data by what its modalities share, hide and only jointly show; get data and exact answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.rng import Stream
from mmtheory.stats import Interval
from synthetic.worlds import GaussianProbit, GaussianRegression, LatentProbit, LatentRegression

from .worlds._dials import names, per_modality

Exact = GaussianRegression | LatentRegression | GaussianProbit | LatentProbit
LEAK = 0.3


@dataclass(frozen=True)
class LatentSpace:
    r"""Multi-modal data from latents of three kinds, with a separate dial for everything that can be unequal between modalities.

    Every modality sees the ``shared`` latents, modality m alone sees its ``private[m]``, and the ``synergistic`` ones are masked as in
    secret sharing: modality ``a`` carries them under the sum of masks, every other modality carries one mask. The target is a
    weighted sum of all latents plus label noise (or its sign).

    Three imbalances are three dials: *information* is ``snr``, *learning speed* is ``scale`` (it moves no exact answer), *dimension* is
    ``dims``. Independent noise on a shared latent is itself synergy, for two noisy copies average; ``rho`` moves that.

    :param snr: information of each modality about the latents it sees; 0 is a modality that knows nothing. Its length is M, up to 8.
    :param shared: number of latents that all modalities see.
    :param private: number of latents that each modality has for itself; one value is meant for all.
    :param synergistic: number of latents that no modality shows without the others.
    :param importance: parts of the target's variance due to shared, private and synergistic latents; kinds that are absent drop out.
    :param mask: standard deviation of the masks, against noise of 1; 0 hides nothing, ∞ would hide a synergistic latent perfectly.
    :param rho: correlation of the modalities' noises on a shared latent; 0 is conditional independence.
    :param dims: width of each modality, filled up with pure noise; 0 is as narrow as its latents allow. One value is meant for all.
    :param scale: factor on each modality's input. One value is meant for all.
    :param label_noise: variance of the label noise, against 1 for the signal; 0 for none.
    :param missing: probability that a modality is absent, independently; absent inputs are zero and marked in ``present``. It is the
        exact world's ``missingness``.
    :param decoder: ``linear`` shows the latents in coordinates of their own, ``rotated`` in random orthonormal ones, ``network`` through
        a random invertible two-layer network.
    :param task: ``regression``, or ``classification`` by the sign of the target.
    :param seed: of the decoder, which is part of the law.
    :raises ArgumentError: a dial out of its domain.

    Source: derived here.

    >>> space = LatentSpace(snr=(3.0, 1.0), shared=1, private=(1, 1), scale=(1.0, 10.0))
    >>> world = space.exact()
    >>> world.name
    'latent-regression'
    >>> world.known("information", {"a"}).middle > world.known("information", {"b"}).middle
    True
    >>> batch = space.sample(100, stream=Stream(0))
    >>> {m: tuple(x.shape) for m, x in batch.x.items()}
    {'a': (100, 2), 'b': (100, 2)}
    """

    snr: tuple[float, ...] = (3.0, 1.0)
    shared: int = 1
    private: tuple[int, ...] = (0, 0)
    synergistic: int = 0
    importance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mask: float = 3.0
    rho: float = 0.0
    dims: tuple[int, ...] = (0, 0)
    scale: tuple[float, ...] = (1.0, 1.0)
    label_noise: float = 0.1
    missing: tuple[float, ...] = (0.0, 0.0)
    decoder: Literal["linear", "rotated", "network"] = "linear"
    task: Literal["regression", "classification"] = "regression"
    seed: int = 0

    def __post_init__(self) -> None:
        count = len(names(len(self.snr), "latent space"))
        for dial, default in (("private", (0, 0)), ("dims", (0, 0)), ("scale", (1.0, 1.0)), ("missing", (0.0, 0.0))):
            object.__setattr__(self, dial, per_modality(getattr(self, dial), default, count, f"latent space {dial}"))
        if min(self.shared, *self.private, self.synergistic) < 0 or not sum(self._counts()):
            raise ArgumentError(
                f"latent space: expected at least one latent and no negative number of them, found {self._counts()}"
            )
        if self.synergistic and count == 1:
            raise ArgumentError("latent space: expected at least 2 modalities for a synergistic latent, found 1")
        if min(self.importance) < 0 or not any(i for i, c in zip(self.importance, self._counts(), strict=True) if c):
            raise ArgumentError(
                f"latent space: expected importance >= 0 and some for a kind that is there, found {self.importance}"
            )
        if min(*self.snr, self.mask, self.label_noise) < 0 or min(self.scale) <= 0:
            raise ArgumentError(f"latent space: expected snr, mask, label_noise >= 0 and scale > 0, found {self}")
        if not (-1 / max(count - 1, 1) < self.rho < 1):
            raise ArgumentError(f"latent space: expected rho in (-1/(M-1), 1), found {self.rho}")
        if any(not 0 <= p <= 1 for p in self.missing):
            raise ArgumentError(f"latent space: expected missing in [0, 1], found {self.missing}")
        if any(d and d < c for d, c in zip(self.dims, self._cores(), strict=True)):
            raise ArgumentError(f"latent space: expected dims 0 or at least {self._cores()}, found {self.dims}")
        if self.decoder not in ("linear", "rotated", "network") or self.task not in ("regression", "classification"):
            raise ArgumentError(
                f"latent space: expected decoder linear, rotated or network and task regression or classification, found {self.decoder}, {self.task}"
            )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names in their order."""
        return names(len(self.snr), "latent space")

    def exact(self) -> Exact:
        """The exact world that these dials are: same law, same bits.

        :raises NotExactError: a network decoder, saying what :meth:`equivalent` still knows.

        >>> LatentSpace().exact().name
        'gaussian-regression'
        """
        if self.decoder == "network":
            raise NotExactError(
                "latent space: expected a linear or rotated decoder, found 'network': no linear-Gaussian law; equivalent() has the same "
                "information, Bayes risk and decomposition, for an invertible decoder moves none of them"
            )
        return self._world

    def equivalent(self) -> Exact:
        """The exact world with the same information, Bayes risk and decomposition for every subset, missing modalities included.

        >>> LatentSpace(decoder="network").equivalent().known("bayes_risk", "ab") == LatentSpace().exact().known("bayes_risk", "ab")
        True
        """
        return self._world

    def bayes_risk(self) -> Interval:
        r"""Least risk of any predictor that sees which modalities are there: :math:`\sum_A \pi(A)\,r^*(A)`, exact for every decoder.

        >>> round(LatentSpace(snr=(3.0,), missing=(0.5,)).bayes_risk().middle, 12)  # (1.1 + 0.35)/2
        0.725
        """
        return self._world.known("bayes_risk", self.modalities)

    def sample(self, n: int, *, stream: Stream, replicates: range | None = None, device: str = "cpu") -> Batch:
        """n samples; where :meth:`exact` answers, the very bits that its ``sample`` gives."""
        batch = self._world.sample(n, stream=stream, replicates=replicates, device=device)
        if self.decoder != "network":
            return batch
        # The decoder maps 0 to 0, so that what is absent stays zero.
        return replace(batch, x={m: self._decoded(i, batch.x[m]) for i, m in enumerate(self.modalities)})

    def _counts(self) -> tuple[int, int, int]:
        """Latents of each kind."""
        return self.shared, sum(self.private), self.synergistic

    def _cores(self) -> tuple[int, ...]:
        """Coordinates of each modality that carry a latent or a mask."""
        return tuple(max(1, self.shared + own + self.synergistic) for own in self.private)

    @cached_property
    def _weights(self) -> list[float]:
        """The target's weight on each latent: squares sum to 1, and each kind has its share."""
        counts = self._counts()
        total = sum(i for i, c in zip(self.importance, counts, strict=True) if c)
        return [math.sqrt(i / total / c) for i, c in zip(self.importance, counts, strict=True) for _ in range(c)]

    @cached_property
    def _world(self) -> Exact:
        plain = self._counts() == (1, 0, 0) and self.decoder != "rotated"
        scale = (1.0,) * len(self.snr) if self.decoder == "network" else self.scale
        if plain:
            dims = tuple(d or 1 for d in self.dims)
            scalar = GaussianRegression if self.task == "regression" else GaussianProbit
            return scalar(self.snr, dims, scale, self.label_noise, self.rho, self._missingness)
        widths = [d or c for d, c in zip(self.dims, self._cores(), strict=True)]
        loading, noise = self._loading(widths), self._noise(widths)
        if self.decoder == "rotated":
            turn = torch.block_diag(*(self._rotation(i, w, "turn") for i, w in enumerate(widths)))
            loading, noise = turn @ loading, turn @ noise @ turn.mT
            noise = (noise + noise.mT) / 2
        rows = [tuple(row) for row in loading.tolist()]
        blocks = tuple(tuple(rows[sum(widths[:i]) : sum(widths[: i + 1])]) for i in range(len(widths)))
        white = torch.equal(noise, torch.eye(len(noise), dtype=torch.float64))
        covariance = () if white else tuple(tuple(row) for row in noise.tolist())
        general = LatentRegression if self.task == "regression" else LatentProbit
        return general(blocks, tuple(self._weights), covariance, scale, self.label_noise, self._missingness)

    @property
    def _missingness(self) -> float | tuple[float, ...]:
        """As the exact worlds take it: one number where one will do."""
        return self.missing[0] if len(set(self.missing)) == 1 else self.missing

    def _loading(self, widths: list[int]) -> Tensor:
        """A: shared, private and synergistic latents in each modality's first coordinates."""
        loading = torch.zeros(sum(widths), sum(self._counts()), dtype=torch.float64)
        at, own = 0, self.shared
        first_synergistic = self.shared + sum(self.private)
        for i, width in enumerate(widths):
            amplitude = math.sqrt(self.snr[i])
            for k in range(self.shared):
                loading[at + k, k] = amplitude
            for k in range(self.private[i]):
                loading[at + self.shared + k, own + k] = amplitude
            for k in range(self.synergistic if i == 0 else 0):
                loading[at + self.shared + self.private[i] + k, first_synergistic + k] = amplitude
            at, own = at + width, own + self.private[i]
        return loading

    def _noise(self, widths: list[int]) -> Tensor:
        """Ψ: unit noise, correlated on shared latents, with the masks of the synergistic ones."""
        noise = torch.eye(sum(widths), dtype=torch.float64)
        starts = [sum(widths[:i]) for i in range(len(widths))]
        for i, p in enumerate(starts):
            for j, q in enumerate(starts):
                for k in range(self.shared if i != j else 0):
                    noise[p + k, q + k] = self.rho
                for k in range(self.synergistic):
                    r, s = p + self.shared + self.private[i] + k, q + self.shared + self.private[j] + k
                    shared_masks = len(starts) - 1 if i == j == 0 else int(i == j or 0 in (i, j))
                    noise[r, s] += self.mask**2 * shared_masks
        return noise

    def _rotation(self, modality: int, width: int, layer: str) -> Tensor:
        """An orthogonal matrix of the decoder's own stream."""
        drawn = Stream(self.seed, ("decoder", modality)).draws().normal(layer, width, width)
        q, r = torch.linalg.qr(drawn)
        return q * r.diagonal().sign()

    def _decoded(self, modality: int, x: Tensor) -> Tensor:
        """Through two orthogonal layers with a leaky rectifier between: invertible, and anything but linear."""
        width = x.shape[-1]
        first, second = (self._rotation(modality, width, layer).to(x.device) for layer in ("first", "second"))
        return self.scale[modality] * torch.nn.functional.leaky_relu(x @ first.mT, LEAK) @ second.mT

    def dials(self) -> Mapping[str, object]:
        """The dials by name."""
        return {f: getattr(self, f) for f in self.__dataclass_fields__}
