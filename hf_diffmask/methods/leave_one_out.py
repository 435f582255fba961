"""Leave-one-out: the cost of masking a single unit (Li et al. 2016)."""

import torch
from torch import Tensor

from ..ablations.running import masked_values
from ..explainer.masking import Masking
from ..explainer.modeling_diffmask import DiffMaskModel


@torch.no_grad()
def leave_one_out(
    explainer: DiffMaskModel,
    features: dict[str, Tensor],
    state: int = 0,
    *,
    batch_size: int = 512,
    signed: bool = False,
    log_odds: bool = False,
) -> Tensor:
    """
    Divergence of the prediction when one unit is masked and all others are kept.

    Takes one masked forward pass per unit. Redundant units all get low scores, because each can be masked while the
    others stay.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baselines.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.
        batch_size (`int`, *optional*, defaults to 512): Masked inputs in one forward pass.
        signed (`bool`, *optional*, defaults to `False`):
            Whether to return the drop in the prediction's log-probability instead of the divergence. The drop is below
            0 if masking the unit makes the model surer.
        log_odds (`bool`, *optional*, defaults to `False`):
            Whether to return the signed drop in the prediction's log-odds instead, see [`Task.value`].

    Returns:
        `torch.Tensor` of shape `(B, T)`: Divergence, at least 0, or drop, in nats; 0 at units that cannot be masked.

    Raises:
        DiffMaskError: If the state does not exist or has no baseline.
    """
    masking = Masking(explainer, features, state)
    scores = torch.zeros(masking.maskable.shape, device=masking.maskable.device)
    rows, units = masking.maskable.nonzero(as_tuple=True)
    if len(rows) == 0:
        return scores
    masks = torch.ones(len(rows), scores.shape[1], dtype=torch.bool, device=scores.device)
    masks[torch.arange(len(rows), device=scores.device), units] = False
    explained = explainer.task.value if log_odds else explainer.task.log_probability

    def cost(target: Tensor, masked: Tensor) -> Tensor:
        if signed or log_odds:
            return explained(target, target) - explained(target, masked)
        return explainer.task.divergence(target, masked).clamp(min=0)  # rounding may give values just below 0

    found = masked_values(explainer, masking.recorded, masks, rows, cost, state=masking.state, batch_size=batch_size)
    scores[rows, units] = found.to(scores.dtype)
    return scores
