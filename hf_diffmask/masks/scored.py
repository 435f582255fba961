"""Scores of units, as masks are made from them."""

from typing import NamedTuple

from torch import Tensor


class Scored(NamedTuple):
    """Scores of the units of a batch. Shapes: `B` examples, `T` units, `C` columns, `K` choices."""

    logits: Tensor
    """`(B, T, C)`: gate logits, or scores that rank the units."""
    maskable: Tensor
    """`(B, T)`, `bool`: units that can be masked."""
    target: Tensor
    """`(B, ...)`: the base model's output for the whole input, see [`Task.target`]."""
    evidence: Tensor | None = None
    """`(B, T, C, K)`: log-odds that each unit adds to each choice, for masks that predict their cost."""
    choice: Tensor | None = None
    """`(B,)`: the explained choice; `None` for the predicted one."""
