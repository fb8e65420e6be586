"""The rows of each block: which losses reach it, and their gradients with the fewest passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._gramian import Row


@dataclass(frozen=True)
class Block:
    """Parameters under one name, the feature behind which they lie (if any), and the objectives to compute."""

    name: str
    parameters: tuple[Tensor, ...]
    feature: Tensor | None
    wanted: frozenset[int]


def checked_blocks(
    losses: Mapping[str, Tensor],
    blocks: Mapping[str, Iterable[Tensor]],
    features: Mapping[str, Tensor],
    mask: Mapping[str, Sequence[str]] | None,
    *,
    validate: bool,
) -> list[Block]:
    """The blocks, once they are disjoint, every name is known, and every feature covers its block."""
    held = {name: tuple(parameters) for name, parameters in blocks.items()}  # ``Module.parameters()`` can be read once
    shape = next(iter(losses.values())).shape
    if any(loss.shape != shape for loss in losses.values()):
        raise ArgumentError(
            f"losses: expected one shape [*batch], found {[list(loss.shape) for loss in losses.values()]}"
        )
    owner = _owners(held, shape)
    for what, given in (("features", features), ("mask", mask or {})):
        if unknown := sorted(set(given) - set(held)):
            raise ArgumentError(f"{what}: expected names of blocks {sorted(held)}, found {unknown[0]!r}")
    if validate:
        _covered(losses, features, owner)
    return [Block(name, ps, features.get(name), _wanted(losses, name, mask)) for name, ps in held.items()]


def _owners(blocks: Mapping[str, Sequence[Tensor]], shape: torch.Size) -> dict[int, str]:
    """The block of every parameter, each of which is a leaf with the losses' leading axes and in one block only."""
    owner: dict[int, str] = {}
    for name, parameters in blocks.items():
        for parameter in parameters:
            if id(parameter) in owner:
                raise ArgumentError(
                    f"blocks: expected every parameter in one block, found one in {owner[id(parameter)]!r} and {name!r}"
                )
            if not parameter.requires_grad or not parameter.is_leaf:
                raise ArgumentError(
                    f"blocks: expected leaf parameters that require gradients, found another in {name!r}"
                )
            if parameter.shape[: len(shape)] != shape:
                raise ArgumentError(
                    f"blocks: expected the losses' leading axes {list(shape)}, found shape {list(parameter.shape)} in {name!r}"
                )
            owner[id(parameter)] = name
    if not owner:
        raise ArgumentError("blocks: expected at least one parameter, found none")
    return owner


def _wanted(losses: Mapping[str, Tensor], block: str, mask: Mapping[str, Sequence[str]] | None) -> frozenset[int]:
    """Places of the objectives to compute for a block."""
    names = list(losses)
    if mask is None or block not in mask:
        return frozenset(range(len(names)))
    if unknown := sorted(set(mask[block]) - set(names)):
        raise ArgumentError(f"mask: expected names of losses {names}, found {unknown[0]!r}")
    return frozenset(names.index(n) for n in mask[block])


def _covered(losses: Mapping[str, Tensor], features: Mapping[str, Tensor], owner: dict[int, str]) -> None:
    """Walk the graph once from all losses: no used parameter without a block, none of a featured block seen past its feature."""
    barriers = {z.grad_fn for z in features.values() if z.grad_fn is not None}
    beyond = _leaves([loss.grad_fn for loss in losses.values()], barriers)
    for leaf in beyond:
        if owner.get(id(leaf)) in features:
            raise ArgumentError(
                f"features: expected every path to block {owner[id(leaf)]!r} to pass its feature, found one that does not"
            )
        if id(leaf) not in owner:
            raise ArgumentError(
                f"blocks: expected every parameter in a block, found one of shape {list(leaf.shape)} in none"
            )
    for name, z in features.items():
        for leaf in _leaves([z.grad_fn], set()):
            other = owner.get(id(leaf))
            if other is None:
                raise ArgumentError(
                    f"blocks: expected every parameter in a block, found one of shape {list(leaf.shape)} in none"
                )
            if other != name:
                raise ArgumentError(
                    f"features: expected the feature of {name!r} to depend on its own block, found parameters of {other!r}"
                )


def _leaves(roots: Sequence[Any], barriers: set[Any]) -> list[Tensor]:
    """The leaf tensors that the graph behind some nodes ends in, not looking behind the barriers."""
    pending, seen = [node for node in roots if node is not None], set[Any]()
    found: list[Tensor] = []
    while pending:
        node = pending.pop()
        if node in seen or node in barriers:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        pending.extend(after for after, _ in node.next_functions if after is not None)
    return found


def all_rows(losses: Mapping[str, Tensor], blocks: Sequence[Block], *, retain_graph: bool) -> list[list[list[Row]]]:
    """For each parameter of each block the losses' gradients, None where a loss does not reach it.

    One pass a loss down to the plain parameters and the features, then one pass through an encoder for each loss that reaches its feature.
    """
    rows: list[list[list[Row]]] = [[[None] * len(losses) for _ in block.parameters] for block in blocks]
    cotangents: list[list[Row]] = [[None] * len(losses) for _ in blocks]
    for i, loss in enumerate(losses.values()):
        chosen = [k for k, block in enumerate(blocks) if i in block.wanted]
        targets = [(k, blocks[k].feature) for k in chosen]
        inputs = [t for k, z in targets for t in (blocks[k].parameters if z is None else (z,))]
        if not inputs or not loss.requires_grad:
            continue
        keep = retain_graph or i < len(losses) - 1
        found = iter(torch.autograd.grad(loss.sum(), inputs, retain_graph=keep, allow_unused=True))
        for k, z in targets:
            if z is not None:
                cotangents[k][i] = next(found)
                continue
            for tensor in rows[k]:
                tensor[i] = next(found)
    for k, block in enumerate(blocks):
        if block.feature is not None:
            _through(block, block.feature, cotangents[k], rows[k], retain_graph=retain_graph)
    return rows


def _through(
    block: Block, feature: Tensor, cotangents: Sequence[Row], rows: list[list[Row]], *, retain_graph: bool
) -> None:
    """Carry cotangents of the feature on to the block's parameters."""
    present = [(i, c) for i, c in enumerate(cotangents) if c is not None]
    for place, (i, cotangent) in enumerate(present):
        keep = retain_graph or place < len(present) - 1
        gradients = torch.autograd.grad(feature, block.parameters, cotangent, retain_graph=keep, allow_unused=True)
        for tensor, gradient in zip(rows, gradients, strict=True):
            tensor[i] = gradient
