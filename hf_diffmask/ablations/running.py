"""Runs the base model under masks."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..base.calling import padding_id
from ..base.dummies import CANNOT_RUN
from ..base.running import Recorded, run
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel

BASELINE, ATTENTION = "baseline", "attention"
REPLACEMENTS = (BASELINE, ATTENTION)
"""Ways to leave out units: the explainer's baseline in their place, or no token attends to them."""


def replacements_for(explainer: DiffMaskModel) -> tuple[str, ...]:
    """
    The replacements that a base model allows.

    Args:
        explainer ([`DiffMaskModel`]): Holds the base model, which runs once on four short inputs.

    Returns:
        `tuple[str, ...]`: `"baseline"`, and `"attention"` if the attention mask can hide a token amid others. A
        recurrent model, for example, only counts its tokens with the mask.
    """
    return REPLACEMENTS if _can_hide(explainer) else (BASELINE,)


def replacement_of(numbers: Tensor, count: int) -> Tensor:
    """
    The replacement of each mask. Masks of one pair have the same one, and pairs alternate.

    Args:
        numbers (`torch.Tensor`): Numbers of masks.
        count (`int`): Number of replacements.

    Returns:
        `torch.Tensor` of the same shape: Numbers of replacements.
    """
    return numbers // 2 % count


@torch.no_grad()
def run_masks(
    explainer: DiffMaskModel,
    recorded: Recorded,
    masks: Tensor,
    replacements: tuple[str, ...],
    batch_size: int = 64,
) -> Tensor:
    """
    What the base model says under masks, without gradients.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baseline.
        recorded ([`Recorded`]): Output and state 0 for the whole inputs; other states are not used.
        masks (`torch.Tensor` of shape `(B, M, T)`, `bool`): `True` at kept units. Unmaskable units are kept.
        replacements (`tuple[str, ...]`): Some of `REPLACEMENTS`; pairs of masks alternate, see [`replacement_of`].
        batch_size (`int`, *optional*, defaults to 64): Masked inputs in one forward pass.

    Returns:
        `torch.Tensor` of shape `(B, M, K)`: See [`Task.kept`].

    Raises:
        DiffMaskError: If a replacement does not exist.
    """
    for name in replacements:
        if name not in REPLACEMENTS:
            raise DiffMaskError(f"The replacement must be {' or '.join(REPLACEMENTS)}, but is {name!r}.")
    count = masks.shape[1]
    numbers = torch.arange(masks.shape[0] * count, device=masks.device)
    kind = replacement_of(numbers % count, len(replacements))
    order, parts = [], []
    for which, name in enumerate(replacements):
        chosen = numbers[kind == which]
        if len(chosen):
            given, rows = masks.flatten(0, 1)[chosen], chosen // count
            order.append(chosen)
            parts.append(
                masked_values(
                    explainer, recorded, given, rows, explainer.task.kept, replacement=name, batch_size=batch_size
                )
            )
    kept = torch.cat(parts)[torch.cat(order).argsort()]
    return kept.view(masks.shape[0], count, -1)


@torch.no_grad()
def masked_values(
    explainer: DiffMaskModel,
    recorded: Recorded,
    masks: Tensor,
    rows: Tensor,
    read: Callable[[Tensor, Tensor], Tensor],
    *,
    replacement: str = BASELINE,
    state: int = 0,
    batch_size: int = 64,
) -> Tensor:
    """
    Numbers that are read from the base model's outputs under masks, without gradients.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baseline.
        recorded ([`Recorded`]): Output and the masked state for the whole inputs.
        masks (`torch.Tensor` of shape `(N, T)`, `bool`): `True` at kept units. Unmaskable units are kept.
        rows (`torch.Tensor` of shape `(N,)`): The input of each mask; at least one.
        read (`Callable`): Maps outputs for whole and masked inputs, `(n, ...)` each, to numbers `(n, ...)`, such as
            [`Task.kept`].
        replacement (`str`, *optional*, defaults to `"baseline"`): One of `REPLACEMENTS`.
        state (`int`, *optional*, defaults to 0): The state that the baseline is put into.
        batch_size (`int`, *optional*, defaults to 64): Masked inputs in one forward pass.

    Returns:
        `torch.Tensor` of shape `(N, ...)`
    """
    parts = []
    for chosen, mask in zip(rows.split(batch_size), masks.split(batch_size), strict=True):
        picked = recorded.rows(chosen, state)
        hidden = replacement == ATTENTION
        masked = _unattended(explainer, picked, mask) if hidden else explainer.masked(picked, mask, state)
        parts.append(read(picked.target, masked))
    return torch.cat(parts)


def _unattended(explainer: DiffMaskModel, recorded: Recorded, mask: Tensor) -> Tensor:
    """Output of the base model when no token attends to the units that are left out."""
    batch = recorded.batch
    seen = batch.units & batch.spread(mask | ~batch.maskable)
    attention = seen.to(batch.inputs.get("attention_mask", seen.long()).dtype)
    output = run(explainer.base, {**batch.inputs, "attention_mask": attention}, batch.units)
    # An answer cannot be at a unit that is left out.
    return explainer.task.target(output, attention, batch.explained)


@torch.no_grad()
def _can_hide(explainer: DiffMaskModel) -> bool:
    """Whether another token at a place with attention mask 0 leaves the output as it is."""
    base, device = explainer.base, explainer.base.device
    ids = [number for number in range(min(6, explainer.config.vocab_size)) if number != padding_id(base)]
    if len(ids) < 5:
        return False
    one, other = [ids[0], ids[1], ids[2], ids[3]], [ids[0], ids[4], ids[2], ids[3]]
    shown = torch.ones(4, 4, dtype=torch.long, device=device)
    hidden = shown.clone()
    hidden[:2, 1] = 0
    features = {"input_ids": torch.tensor([one, other] * 2, device=device), "attention_mask": hidden}
    try:
        output = explainer.task.target(run(base, features, shown.bool()), hidden).flatten(1)
    except (DiffMaskError, *CANNOT_RUN):
        return False  # the model needs other inputs
    return bool((output[0] - output[1]).abs().max() <= 0.01 * (output[2] - output[3]).abs().max())
