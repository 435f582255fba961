"""What each unit gives to the positions that the head reads, from queries, keys and values of the base model."""

from typing import NamedTuple

import torch
from torch import Tensor

from .attention_read import Attention, BlockAttention
from .padding import spread

# Longest text for flow through others. Queries and keys of all blocks stay in memory until the last block has run:
# 74 kB a token for 12 blocks of width 768, 300 MB for one text of this length.
LONGEST = 4096
# Rows of attention that are in memory at once.
ROWS_AT_ONCE = 64
# Largest number of attention weights, in all blocks, that are computed at once.
SMALL = 2**17


class Flow(NamedTuple):
    """What each unit gives to the positions that the head reads: values and their shares, block by block."""

    values: tuple[Tensor, ...]
    """`L` tensors `(B, T, H, d_v)`: value vectors, repeated for grouped queries. Anything at padding, also NaN."""
    shares: Tensor
    """`(B, T, L, H)`: `sum_i w_l[i] a[l,h,i,j]` for unit `j`, with weights `w_l` of positions. `w_L` are those of the
    read positions; from the last block down, `w_(l-1) = (w_l + w_l A_l) / 2` with `A_l` the mean of `a_l` over heads.
    0 at padding."""

    def rows(self, pick: Tensor) -> "Flow":
        """
        A selection of the examples.

        Args:
            pick (`torch.Tensor`): Numbers of examples, which may repeat, or a `bool` mask of shape `(B,)`.

        Returns:
            [`Flow`]
        """
        return Flow(tuple(one[pick] for one in self.values), self.shares[pick])


@torch.no_grad()
def flow(attention: Attention, positions: Tensor, rows: int = 8) -> Flow:
    """
    What each unit gives to the positions that the head reads.

    Only rows of attention that are needed are computed, in `float32` or the base model's higher precision: those with
    the `rows` largest weights of a block. If the head reads more than `rows` positions of a text, such as the mean
    over all, the rows of exactly these positions are computed. For the mean over all positions this is exact, and
    costs about as much as the base model's own attention.

    For texts longer than `LONGEST`, `w_l = w_L` in each block: the flow through others is left out.

    Args:
        attention ([`Attention`]): What [`record_with_attention`] read.
        positions (`torch.Tensor` of shape `(B, T)`): Weights of the read positions, with sum 1 for each input.
        rows (`int`, *optional*, defaults to 8): Rows of attention for each block, at least 1.

    Returns:
        [`Flow`]: Without gradients.
    """
    units, parts = attention.units, attention.parts
    with torch.autocast(units.device.type, enabled=False):  # sums of weights need float32
        if not parts:
            return _flow(attention.runs[0], positions, rows)
        found = [_flow(run, part.take(positions), rows) for run, part in zip(attention.runs, parts, strict=True)]
    values = zip(*(one.values for one in found), strict=True)
    return Flow(
        tuple(spread(parts, of_block, units.shape) for of_block in values),
        spread(parts, [one.shares for one in found], units.shape),
    )


def _flow(run: list[BlockAttention], positions: Tensor, rows: int) -> Flow:
    first = positions.to(torch.promote_types(run[0].query.dtype, torch.float32))
    reads, is_long = int((first > 0).sum(-1).max()), len(first[0]) > LONGEST
    weights, found, every = first, [], _every_row(run)
    largest, places = _largest(first, reads)
    is_read, batch = largest > 0, torch.arange(len(first), device=first.device)[:, None]
    for number, block in reversed(list(enumerate(run))):
        if weights is not first and reads > rows:
            largest = weights.gather(1, places).where(is_read, 0)
        elif weights is not first:
            largest, places = _largest(weights, rows)
        if every is None:
            found.append(_shares(block, places, largest))
        else:
            picked = every[number].transpose(1, 2)[batch, places]  # (B, R, H, T); other rows may be NaN
            found.append((largest[:, None] @ picked.flatten(2)).view(picked[:, 0].shape))
        if not is_long:
            weights = (weights + found[-1].mean(1)) / 2
    values = tuple(_repeated(block).transpose(1, 2) for block in run)
    return Flow(values, torch.stack(found[::-1], 1).permute(0, 3, 1, 2))


def _every_row(run: list[BlockAttention]) -> Tensor | None:
    """Attention of all blocks, `(L, B, H, T, T)`, if it is small: then fewer operations are faster than fewer rows."""
    first = run[0]
    size = len(run) * first.query.shape[2] * first.query[..., 0].numel()
    if size > SMALL or any(
        one.mask is not first.mask
        or (one.is_causal, one.scale) != (first.is_causal, first.scale)
        or (one.query.shape, one.key.shape) != (first.query.shape, first.key.shape)
        for one in run
    ):
        return None
    query, key = torch.stack([one.query for one in run]), torch.stack([one.key for one in run])
    layers, rows, heads, length, width = query.shape
    scores = query.view(layers, rows, key.shape[2], -1, width) @ key.transpose(3, 4)
    scores = scores.view(layers, rows, heads, length, length)
    where = torch.arange(length, device=scores.device)
    return _softmax(scores, first, first.mask, where[:, None] if first.is_causal else None)


def _repeated(block: BlockAttention) -> Tensor:
    """Value vectors of each head. Blocks of one model may differ in whether the model has repeated them itself."""
    groups = block.query.shape[1] // block.value.shape[1]
    return block.value if groups == 1 else block.value.repeat_interleave(groups, 1)


def _largest(weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest weights and their positions, `(B, R)` each. A weight of 0 gets the position of the largest one."""
    largest, where = weights.topk(min(count, weights.shape[1]))
    # Rows of padding may attend to nothing, which gives NaN.
    return largest, where.where(largest > 0, where[:, :1])


def _shares(block: BlockAttention, where: Tensor, weights: Tensor) -> Tensor:
    """The sum of rows of attention, `(B, H, T)`, with weights `(B, R)` of the positions `where`."""
    parts = zip(where.split(ROWS_AT_ONCE, 1), weights.split(ROWS_AT_ONCE, 1), strict=True)
    found = [torch.einsum("br,bhrt->bht", of_some, _rows(block, some)) for some, of_some in parts]
    return sum(found[1:], found[0])


def _rows(block: BlockAttention, where: Tensor) -> Tensor:
    """Rows of attention, `(B, H, R, T)`, for the positions `where`, `(B, R)`."""
    batch = torch.arange(len(where), device=where.device)[:, None]
    query = block.query.transpose(1, 2)[batch, where].transpose(1, 2)  # (B, H, R, d_h)
    key = block.key.contiguous().transpose(2, 3)  # a product of matrices with gaps takes twice the time
    rows, heads, count, width = query.shape
    # Heads of a group are neighbours, so that they can stand side by side as rows.
    scores = query.reshape(rows, key.shape[1], -1, width) @ key
    mask = None if block.mask is None else block.mask.expand(rows, -1, -1, -1)
    if mask is not None and mask.shape[2] > 1:
        mask = mask.transpose(1, 2)[batch, where].transpose(1, 2)
    scores = scores.view(rows, heads, count, -1)
    return _softmax(scores, block, mask, where[:, None, :, None] if block.is_causal else None)


def _softmax(scores: Tensor, block: BlockAttention, mask: Tensor | None, where: Tensor | None) -> Tensor:
    """Attention from products of queries and keys; with `where`, the positions of the queries, it is causal."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    scores = scores * (block.query.shape[-1] ** -0.5 if block.scale is None else block.scale)
    if where is not None:
        scores = scores.masked_fill(torch.arange(scores.shape[-1], device=scores.device) > where, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)
