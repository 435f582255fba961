"""Exact erasure: tries all subsets of units to find the smallest that suffice (paper, section 2)."""

from collections.abc import Iterable, Iterator
from itertools import combinations, islice
from math import comb

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import DiffMaskError
from ..explainer.masking import Masking
from ..explainer.modeling_diffmask import DiffMaskModel

SILENT_BELOW = 4096
"""A search with fewer candidates shows no progress bar."""


def exact_erasure(
    explainer: DiffMaskModel,
    features: dict[str, Tensor],
    state: int = 0,
    *,
    budget: int = 200_000,
    batch_size: int = 512,
) -> Tensor:
    """
    The smallest subset of units with a cost within the explainer's margin, by exhaustive search.

    Among subsets of equal size, the result has the lowest cost; other subsets may suffice as well. Erasure has a
    hindsight bias: of several redundant units only one is kept.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model, baselines and margin.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.
        budget (`int`, *optional*, defaults to 200000): Most masked inputs to try, for the whole batch.
        batch_size (`int`, *optional*, defaults to 512): Masked inputs in one forward pass.

    Returns:
        `torch.Tensor` of shape `(B, T)`: 1 at units of the subset, else 0; 0 at units that cannot be masked.

    Raises:
        DiffMaskError: If the search would exceed the budget, or the state does not exist or has no baseline.
    """
    subsets = smallest_subsets(Masking(explainer, features, state), budget=budget, batch_size=batch_size)
    return torch.stack([optimal[0] for optimal in subsets]).float()


@torch.no_grad()
def smallest_subsets(masking: Masking, *, budget: int = 200_000, batch_size: int = 512) -> list[Tensor]:
    """
    All smallest subsets of units with a cost within the margin.

    The search tries all subsets of 0 units, then of 1 unit, and so on, until a subset suffices. The whole input always
    suffices and is not tried, so an input of `n` units costs at most `2^n - 1` masked inputs. The search ends far
    earlier if few units suffice. The budget is checked before each size.

    Args:
        masking ([`~hf_diffmask.explainer.masking.Masking`]): Inputs, state and margin.
        budget (`int`, *optional*, defaults to 200000): Most masked inputs to try, for the whole batch.
        batch_size (`int`, *optional*, defaults to 512): Masked inputs in one forward pass, of all inputs together.

    Returns:
        `list[torch.Tensor]`: For each input its `K_i` optimal subsets, `(K_i, T)`, `bool`, lowest cost first;
        `False` at units that cannot be masked.

    Raises:
        DiffMaskError: If the search would exceed the budget.
    """
    units = [row.nonzero().flatten().tolist() for row in masking.maskable.cpu()]
    found = {row: masking.maskable[row, None] for row in range(len(units))}
    least = sum(_count(len(own), size) for own in units for size in (0, 1))
    if least > budget:
        raise DiffMaskError(
            f"Exact erasure has a budget of {budget} masked inputs. These {len(units)} inputs need {least} for "
            f"subsets of at most one unit, and the longest input up to 2^{max(map(len, units))} - 1 in all: raise "
            "`budget`, or give fewer or shorter inputs."
        )
    searched, spent, size = list(found), 0, 0
    while searched := [row for row in searched if size < len(units[row])]:
        needed = sum(_count(len(units[row]), size) for row in searched)
        if spent + needed > budget:
            longest = max(searched, key=lambda row: len(units[row]))
            raise DiffMaskError(
                f"Exact erasure stops at its budget of {budget} masked inputs: no subset of up to {size - 1} of the "
                f"{len(units[longest])} units of input {longest} suffices, {spent} masked inputs are tried, and "
                f"subsets of {size} need {needed} more. Raise `budget`, or give fewer or shorter inputs."
            )
        spent += needed
        with tqdm(
            total=needed, desc=f"Erasure, {size} units", unit="mask", leave=False, disable=needed < SILENT_BELOW
        ) as progress:
            candidates = ((row, subset) for row in searched for subset in combinations(units[row], size))
            tried = _within_margin(masking, size, _batches(candidates, batch_size), progress)
        rows, masks, costs = (torch.cat(parts) for parts in zip(*tried, strict=True))
        for row in rows.unique().tolist():
            order = costs[rows == row].argsort(stable=True)
            found[row] = masks[rows == row][order]
            searched.remove(row)
        size += 1
    return list(found.values())


def _count(units: int, size: int) -> int:
    """Number of subsets of a size to try; the whole input is not tried."""
    return comb(units, size) if size < units else 0


def _batches(candidates: Iterable[tuple[int, tuple]], batch_size: int) -> Iterator[list[tuple[int, tuple]]]:
    candidates = iter(candidates)
    while batch := list(islice(candidates, batch_size)):
        yield batch


def _within_margin(
    masking: Masking, size: int, batches: Iterable[list[tuple[int, tuple]]], progress: tqdm
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For the candidates that suffice: numbers of inputs `(N,)`, masks `(N, T)` and costs `(N,)`."""
    length, device = masking.maskable.shape[1], masking.maskable.device
    kept = []
    for batch in batches:
        rows = torch.tensor([row for row, _ in batch], device=device)
        subsets = torch.tensor([subset for _, subset in batch], dtype=torch.long, device=device)
        masks = torch.zeros(len(batch), length, dtype=torch.bool, device=device)
        masks.scatter_(1, subsets.view(len(batch), size), True)
        costs = masking.cost(masks, rows)
        within = costs <= masking.margin
        kept.append((rows[within], masks[within], costs[within]))
        progress.update(len(batch))
    return kept
