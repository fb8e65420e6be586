"""One step's gradients: rows of every block, their Gramian, the weights, and the combination in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import Certificate
from ._epo import EPO
from ._gramian import Row, clipped, combine
from ._mmpareto import MMPareto
from ._ranks import agreed, gramian_of, reduced
from ._registry import weighting_of
from ._rows import Block, all_rows, checked_blocks
from ._weighting import Stateful, Weighting

Scope = Literal["global", "block", "shared"]


@dataclass(frozen=True)
class MooReport:
    r"""What happened in one step.

    ``weights`` is ``[*batch, m]``, or with scope "block" ``[*batch, blocks, m]`` (0 for objectives that do not reach a block); ``gramian``
    and ``cosines`` are ``[*batch, m, m]`` or ``[*batch, blocks, m, m]`` alike. The certificate is that of the joint solve, or stacked over
    the blocks with a solve of their own; None where no block had two objectives.

    :param reached: for each block the names of the objectives that structurally reach it.
    :param blocks: each block's own Gramian over all objectives, rows that do not reach it zero.
    :param state: a stateful weighting's state for the next step (a mapping by block with scope "block").
    """

    objectives: tuple[str, ...]
    weights: Tensor
    gramian: Tensor
    certificate: Certificate | None
    cosines: Tensor
    reached: Mapping[str, tuple[str, ...]]
    blocks: Mapping[str, Tensor]
    state: object = None

    @property
    def conflicts(self) -> Tensor:
        """Number of pairs of objectives whose gradients point apart, ``[*batch]`` or ``[*batch, blocks]``."""
        return (self.cosines < 0).sum((-2, -1)) // 2

    @property
    def norms(self) -> Mapping[str, Tensor]:
        """Each block's gradient norm by objective, ``[*batch, m]``: which modality is learning from what."""
        return {name: g.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt() for name, g in self.blocks.items()}


def moo_backward(
    losses: Mapping[str, Tensor] | Sequence[Tensor],
    blocks: Mapping[str, Iterable[Tensor]],
    weighting: str | Weighting | EPO,
    *,
    scope: Scope = "global",
    features: Mapping[str, Tensor] | None = None,
    mask: Mapping[str, Sequence[str]] | None = None,
    state: object = None,
    group: dist.ProcessGroup | None = None,
    unbiased: bool = False,
    retain_graph: bool = False,
    validate: bool = True,
) -> MooReport:
    r"""Add ``Σ_i w_i ∇f_i`` to every parameter's ``grad``, as ``backward`` does for one loss.

    A row is absent, not zero, where a loss does not reach a block in the graph: absent rows never enter a solve, so an encoder that a loss
    cannot see is not stopped by it. The Gramian is accumulated tensor by tensor, the combination written over the rows themselves.

    :param losses: m ≥ 2 losses ``[*batch]``; with a batch every parameter carries the same leading axes.
    :param blocks: a partition of the parameters by name; every leaf that a loss reaches and that requires a gradient must be in one block.
    :param weighting: a name of ``WEIGHTINGS`` or an instance. ``MMPareto(rescale="tensor")`` restores each tensor's magnitude by itself and
        needs scope "block"; the weights reported are then those of the whole block. ``EPO`` sees the losses too.
    :param scope: "global" solves for the whole Gramian (Pareto stationarity); "block" for each block on its own (block stationarity only);
        "shared" for the sum over the blocks that two or more objectives reach. Rows alone in their block have weight 1 in the last two.
    :param features: block name → the encoder's output, through which every loss sees that block: then each of the losses that reach it costs
        one pass through that encoder and none through the others (late fusion: two).
    :param mask: block name → objectives to compute there, for structure that the graph does not show; default what the graph shows.
    :param state: what the last report carried, for stateful weightings.
    :param group: processes among which the loss is a mean: rows are averaged before the Gramian (averaging Gramians would add the noise's).
    :param unbiased: with a group, weights from the U-statistic over its ranks, negative eigenvalues clipped before each solve, instead of the
        biased Gramian.
    :param validate: check what can be checked, as in ``Weighting.weights``, and with a group let the processes agree on what reaches what; False
        if that is known to be the same everywhere.
    :raises ArgumentError: fewer than 2 losses, a parameter in two blocks, an unknown block or objective, a loss that reaches no block, a
        feature that does not cover its block, an unknown scope.

    >>> x = torch.tensor([1.0, 1.0], requires_grad=True)
    >>> report = moo_backward([x[0] ** 2 / 2, x[1] ** 2], {"all": [x]}, "mgda")
    >>> [round(v, 6) for v in report.weights.tolist()], [round(v, 6) for v in x.grad.tolist()]
    ([0.8, 0.2], [0.8, 0.4])
    """
    named = dict(losses) if isinstance(losses, Mapping) else {str(i): loss for i, loss in enumerate(losses)}
    if len(named) < 2:
        raise ArgumentError(f"losses: expected at least 2, found {len(named)}")
    if scope not in {"global", "block", "shared"}:
        raise ArgumentError(f"scope: expected global, block or shared, found {scope!r}")
    if unbiased and group is None:
        raise ArgumentError("unbiased: expected a process group to average over, found none")
    chosen = weighting if isinstance(weighting, EPO) else weighting_of(weighting)
    by_tensor = isinstance(chosen, MMPareto) and chosen.rescale == "tensor"
    if by_tensor and scope != "block":
        raise ArgumentError(f"scope: expected block to rescale by tensor, found {scope!r}")
    parts = checked_blocks(named, blocks, features or {}, mask, validate=validate)
    rows = all_rows(named, parts, retain_graph=retain_graph)
    if group is not None and validate:
        agreed(rows, [part.parameters for part in parts], group)
    _checked_reach(named, parts, rows)
    like = next(iter(named.values()))
    gramians = [reduced(block, like, group, unbiased=unbiased) for block in rows]
    values = torch.stack([loss.detach() for loss in named.values()], -1)
    solved = _Solver(tuple(named), parts, rows, gramians, values, chosen, state, validate, unbiased)
    report = solved.per_block() if scope == "block" else solved.joint(shared=scope == "shared")
    weights = solved.weights_by_block(report, per_block=scope == "block", shared=scope == "shared")
    for k, (part, block, w) in enumerate(zip(parts, rows, weights, strict=True)):
        own = _by_tensor(cast("MMPareto", chosen), block, solved.active(k), w) if by_tensor else [w] * len(block)
        for parameter, tensor, v in zip(part.parameters, block, own, strict=True):
            parameter.grad = combine(tensor, v, parameter.grad)
    return report


def _checked_reach(named: Mapping[str, Tensor], parts: Sequence[Block], rows: Sequence[list[list[Row]]]) -> None:
    """Every loss reaches some block: one that does not would put a zero row into the solve."""
    for i, name in enumerate(named):
        if not any(tensor[i] is not None for block in rows for tensor in block):
            raise ArgumentError(
                f"losses: expected every loss to reach a block of {[p.name for p in parts]}, found {name!r} that reaches none"
            )


def _by_tensor(
    method: MMPareto, block: Sequence[Sequence[Row]], active: Sequence[int], weights: Tensor
) -> list[Tensor]:
    """Weights of every tensor of a block, from its own Gramian."""
    if len(active) < 2:
        return [weights] * len(block)
    own = [gramian_of([[tensor[i] for i in active]], weights[..., 0]) for tensor in block]
    found: list[Tensor] = []
    for part in method.tensor_weights(torch.stack(own, -3)).unbind(-2):
        whole = torch.zeros_like(weights)
        whole[..., list(active)] = part.to(whole.dtype)
        found.append(whole)
    return found


@dataclass(frozen=True)
class _Solver:
    """The rows and Gramians of one step, and the weighting that is to join them."""

    names: tuple[str, ...]
    parts: Sequence[Block]
    rows: Sequence[list[list[Row]]]
    gramians: Sequence[Tensor]
    losses: Tensor
    weighting: Weighting | EPO
    state: object
    validate: bool
    estimated: bool

    def active(self, k: int) -> list[int]:
        """The objectives that reach block k."""
        return [i for i in range(len(self.names)) if any(tensor[i] is not None for tensor in self.rows[k])]

    def joint(self, *, shared: bool) -> MooReport:
        """One solve for the sum over all blocks, or over those with two or more objectives."""
        ks = [k for k in range(len(self.parts)) if not shared or len(self.active(k)) > 1]
        which = sorted({i for k in ks for i in self.active(k)})
        total = torch.stack([self.gramians[k] for k in ks]).sum(0) if ks else torch.zeros_like(self.gramians[0])
        weights, certificate, state = self._solved(total, which, self.state)
        return self._report(weights, clipped(total) if self.estimated else total, certificate, state)

    def per_block(self) -> MooReport:
        """One solve a block, over the objectives that reach it."""
        states = cast("Mapping[str, object]", self.state or {})
        found = {
            p.name: self._solved(self.gramians[k], self.active(k), states.get(p.name)) for k, p in enumerate(self.parts)
        }
        certificates = [c for _, c, _ in found.values() if c is not None]
        fields = ("gap", "primal", "dual", "complementarity", "squared_norm")
        joined = (
            Certificate(*(torch.stack([getattr(c, f) for c in certificates], -1) for f in fields))
            if certificates
            else None
        )
        weights = torch.stack([w for w, _, _ in found.values()], -2)
        after = {name: s for name, (_, _, s) in found.items() if s is not None} or None
        stacked = torch.stack(list(self.gramians), -3)
        return self._report(weights, clipped(stacked) if self.estimated else stacked, joined, after)

    def _solved(self, gramian: Tensor, which: list[int], state: object) -> tuple[Tensor, Certificate | None, object]:
        """Weights over all objectives from a solve over some; a lone objective has weight 1."""
        weights = torch.zeros_like(gramian[..., 0])
        if len(which) < 2:
            weights[..., which] = 1.0
            return weights, None, None
        index = torch.tensor(which).to(gramian.device, non_blocking=True)
        block = gramian[..., index[:, None], index]
        if self.estimated:
            block = clipped(block)
        if isinstance(self.weighting, EPO):
            seen = self.losses[..., index].double()
            weights[..., index] = part = self.weighting.weights(block, seen, validate=self.validate)
            return weights, self.weighting.certificate(block, seen, part), None
        if isinstance(self.weighting, Stateful):
            stateful = cast("Stateful[Any]", self.weighting)
            part, after = stateful.step(
                block, stateful.initial(block) if state is None else state, validate=self.validate
            )
        else:
            part, after = self.weighting.weights(block, validate=self.validate), None
        weights[..., index] = part
        return weights, self.weighting.certificate(block, part), after

    def weights_by_block(self, report: MooReport, *, per_block: bool, shared: bool) -> list[Tensor]:
        """The weights that each block's rows get."""
        if per_block:
            return list(report.weights.unbind(-2))
        alone = torch.ones_like(report.weights)
        return [alone if shared and len(self.active(k)) < 2 else report.weights for k in range(len(self.parts))]

    def _report(self, weights: Tensor, gramian: Tensor, certificate: Certificate | None, state: object) -> MooReport:
        """The report, cosines included."""
        norms = gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
        scale = norms[..., :, None] * norms[..., None, :]
        cosines = torch.where(scale > 0, gramian / torch.where(scale > 0, scale, 1.0), 0.0)
        reached = {p.name: tuple(self.names[i] for i in self.active(k)) for k, p in enumerate(self.parts)}
        blocks = {p.name: g for p, g in zip(self.parts, self.gramians, strict=True)}
        return MooReport(self.names, weights, gramian, certificate, cosines, reached, blocks, state)
