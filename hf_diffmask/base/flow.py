"""What each unit gives to the positions that the head reads, from queries, keys and values of the base model."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from .attention_read import Attention, BlockAttention
from .padding import spread

# Longest text for flow through others. Queries and keys of all blocks stay in memory until the last block has run:
# 74 kB a token for 12 blocks of width 768, 300 MB for one text of this length.
LONGEST = 4096
# Rows of attention that are in memory at once.
ROWS_AT_ONCE = 64


class Flow(NamedTuple):
    """What each unit gives to the positions that the head reads, block by block and head by head. 0 at padding."""

    values: Tensor
    """`(B, T, L, H, d_v)`: value vectors, repeated for grouped queries."""
    direct: Tensor
    """`(B, T, L, H)`: `sum_i w_L[i] a[l,h,i,j]` for unit `j`, with the weights `w_L` of the read positions."""
    through_others: Tensor
    """`(B, T, L, H)`: `sum_i w_l[i] a[l,h,i,j]`; from the last block down, `w_(l-1) = (w_l + w_l A_l) / 2` with `A_l`
    the mean over heads."""

    def rows(self, pick: Tensor) -> "Flow":
        """
        A selection of the examples.

        Args:
            pick (`torch.Tensor`): Numbers of examples, which may repeat, or a `bool` mask of shape `(B,)`.

        Returns:
            [`Flow`]
        """
        return Flow(*(one[pick] for one in self))


@torch.no_grad()
def flow(attention: Attention, positions: Tensor, rows: int = 8) -> Flow:
    """
    What each unit gives to the positions that the head reads.

    Only rows of attention that are needed are computed, in `float32` or the base model's higher precision.

    - `direct` is exact.
    - `through_others` uses the `rows` largest weights of a block. For texts longer than `LONGEST` it equals `direct`.
    - If the head reads more than `rows` positions of a text, such as the mean over all, the rows of exactly these
      positions are computed for both. For the mean over all positions both are exact, and cost about as much as the
      base model's own attention.

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
            return _flow(attention.runs[0], positions, units, rows)
        found = [
            _flow(run, part.take(positions), part.take(units), rows)
            for run, part in zip(attention.runs, parts, strict=True)
        ]
    return Flow(*(spread(parts, values, units.shape) for values in zip(*found, strict=True)))


def _flow(run: list[BlockAttention], positions: Tensor, units: Tensor, rows: int) -> Flow:
    first = positions.to(torch.promote_types(run[0].query.dtype, torch.float32))
    reads, is_long = int((first > 0).sum(-1).max()), len(first[0]) > LONGEST
    read, places = _largest(first, reads)
    weights, direct, through = first, [], []
    for block in reversed(run):
        if weights is first or is_long:  # the weights at the last block are those of the read positions
            straight = others = _shares(block, places, read[:, None])[:, :, 0]
        elif reads > rows:
            heavy = weights.gather(1, places).where(read > 0, 0)
            straight, others = _shares(block, places, torch.stack([read, heavy], 1)).unbind(2)
        else:
            heavy, where = _largest(weights, rows)
            both = torch.stack([pad(read, (0, heavy.shape[1])), pad(heavy, (reads, 0))], 1)
            straight, others = _shares(block, torch.cat([places, where], 1), both).unbind(2)
        direct.append(straight)
        through.append(others)
        weights = (weights + others.mean(1)) / 2
    values = torch.stack([_repeated(block).transpose(1, 2) for block in run], 2)
    if not units.all():
        values.masked_fill_(~units[:, :, None, None, None], 0)
    return Flow(values, *(torch.stack(shares[::-1], 1).permute(0, 3, 1, 2) for shares in (direct, through)))


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
    """Sums of rows of attention, `(B, H, S, T)`, for `S` sets of weights `(B, S, R)` of the positions `where`."""
    total: Tensor | None = None
    for some, of_some in zip(where.split(ROWS_AT_ONCE, 1), weights.split(ROWS_AT_ONCE, 2), strict=True):
        found = of_some[:, None] @ _rows(block, some)
        total = found if total is None else total + found
    assert total is not None
    return total


def _rows(block: BlockAttention, where: Tensor) -> Tensor:
    """Rows of attention, `(B, H, R, T)`, for the positions `where`, `(B, R)`."""
    batch = torch.arange(len(where), device=where.device)[:, None]
    query = block.query.transpose(1, 2)[batch, where].transpose(1, 2)  # (B, H, R, d_h)
    key = block.key.transpose(2, 3)
    rows, heads, count, width = query.shape
    # Heads of a group are neighbours, so that they can stand side by side as rows.
    scores = query.reshape(rows, key.shape[1], -1, width) @ key
    scores = scores.view(rows, heads, count, -1).to(torch.promote_types(scores.dtype, torch.float32))
    scores = scores * (width**-0.5 if block.scale is None else block.scale)
    if block.is_causal:
        later = torch.arange(scores.shape[-1], device=where.device) > where[..., None]
        scores = scores.masked_fill(later[:, None], -torch.inf)
    if block.mask is not None:
        mask = block.mask.expand(rows, -1, -1, -1)
        if mask.shape[2] > 1:
            mask = mask.transpose(1, 2)[batch, where].transpose(1, 2)
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)
