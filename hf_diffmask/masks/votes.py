"""Votes of gates over states (paper, section 3.1). Shapes: `B` examples, `T` units, `S` states."""

from typing import Any

import torch
from torch import Tensor

from ..errors import DiffMaskError
from .gates import log_keep_probability
from .masks import Masks, refuse


class VoteMasks(Masks):
    """Each state votes for the units to keep, at one margin (paper, section 3.1): `objective="lagrangian"`.

    With input masking votes multiply over states.
    """

    name, has_levels, any_margin, has_evidence = "lagrangian", True, False, False
    on_violation = ("keep", "refine", "abstain")

    @property
    def nested(self) -> bool:
        """See [`Masks.nested`]."""
        return self.config.masks_inputs

    def keep(self, logits: Tensor, maskable: Tensor, margin: float) -> Tensor:
        """See [`Masks.keep`]; the margin has no effect, since gates are trained for one margin."""
        return vote(log_keep_probability(logits).masked_fill(~maskable[..., None], 0.0), self.nested)

    def attribution(self, logits: Tensor, keep_probability: Tensor) -> Tensor:
        """See [`Masks.attribution`]: the mean keep probability over states."""
        return keep_probability.mean(-1)

    def check(self, on_violation: str, **asked: Any) -> None:
        """See [`Masks.check`]."""
        for name, value in asked.items():
            if value is not None:
                raise refuse(name)
        if on_violation == "search":
            raise DiffMaskError(
                '`on_violation="search"` is for explainers that were trained with --recipe ablation: this one '
                'can "refine" its masks.'
            )


def vote(log_keep: Tensor, multiply: bool = True) -> Tensor:
    """
    Keep probability of each unit at each state.

    With input masking, all states up to this one vote: `P(z_l != 0) = prod_{k <= l} P(v_k != 0)`, since gates are
    independent. The probability never grows with depth: a unit that a low state drops stays dropped (paper, section
    3.1). With hidden masking each state has its own mask, `z_l = v_l`.

    Args:
        log_keep (`torch.Tensor` of shape `(B, T, S)`): Log keep probability of each vote.
        multiply (`bool`, *optional*, defaults to `True`): Whether votes multiply over states.

    Returns:
        `torch.Tensor` of shape `(B, T, S)`: Keep probabilities.
    """
    return (log_keep.cumsum(-1) if multiply else log_keep).exp()


def counting_votes(states: Tensor, num_states: int, multiply: bool = True) -> Tensor:
    """
    The votes that count at a state `l`: `k <= l` if votes multiply, else `k = l`.

    Args:
        states (`torch.Tensor` of shape `(B,)`): State `l` of each example.
        num_states (`int`): `S`.
        multiply (`bool`, *optional*, defaults to `True`): Whether votes multiply over states.

    Returns:
        `torch.Tensor` of shape `(B, 1, S)`, `bool`.
    """
    numbers = torch.arange(num_states, device=states.device)
    return (numbers <= states[:, None] if multiply else numbers == states[:, None])[:, None]


def keep_at(log_keep: Tensor, states: Tensor, multiply: bool = True) -> Tensor:
    """
    Log keep probability of each unit at the state of its example.

    Args:
        log_keep (`torch.Tensor` of shape `(B, T, S)`): Log keep probability of each vote.
        states (`torch.Tensor` of shape `(B,)`): State of each example.
        multiply (`bool`, *optional*, defaults to `True`): Whether votes multiply over states.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Sum of the votes that count, in nats.
    """
    return log_keep.masked_fill(~counting_votes(states, log_keep.shape[-1], multiply), 0.0).sum(-1)
