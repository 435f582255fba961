"""Maximum entropy noise (Guan et al. 2019): how much noise each unit tolerates."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..explainer.masking import Masking
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.noise import gaussian_noise
from ..tasks.heads import widen

INITIAL = -5.0
"""Initial value before the softplus: a standard deviation of about 0.007."""


def maximum_entropy_noise(
    explainer: DiffMaskModel,
    features: dict[str, Tensor],
    state: int = 0,
    *,
    steps: int = 50,
    learning_rate: float = 0.1,
    weight: float = 10.0,
    seed: int = 0,
) -> Tensor:
    """
    Precision of each unit: the inverse of the noise that it tolerates.

    Noise `N(0, sigma_i^2)` is added to all features of a unit. For each input, centred RMSprop fits `sigma`. It
    minimises the squared change of the log-probabilities minus `weight` times the entropy, `sum_i log sigma_i` up to a
    constant.

    The score is `1 / sigma`, as in the DiffMask authors' code. It is positive and comparable across inputs. A
    logarithm would have to be shifted by its minimum over each input.

    Args:
        explainer ([`DiffMaskModel`]): Holds the base model; the baseline is not used.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.
        steps (`int`, *optional*, defaults to 50): Steps of RMSprop, with one draw of noise each.
        learning_rate (`float`, *optional*, defaults to 0.1): Learning rate for RMSprop.
        weight (`float`, *optional*, defaults to 10.0): Weight of the entropy.
        seed (`int`, *optional*, defaults to 0): Seed of the noise.

    Returns:
        `torch.Tensor` of shape `(B, T)`: `1 / sigma`, above 0, in the inverse of the state's unit of measurement; 0 at
        units that cannot be masked.

    Raises:
        DiffMaskError: If the state does not exist or has no baseline.
    """
    masking = Masking(explainer, features, state)
    hidden, maskable = widen(masking.hidden), masking.maskable
    with torch.enable_grad():
        before_softplus = torch.full(maskable.shape, INITIAL, device=hidden.device, requires_grad=True)
        optimizer = torch.optim.RMSprop([before_softplus], lr=learning_rate, centered=True)
        for step in range(steps):
            sigma = F.softplus(before_softplus) * maskable
            noise = gaussian_noise(maskable, hidden.shape[-1], seed, step)
            change = masking.predict(hidden + sigma[..., None] * noise) - masking.target
            entropy = F.softplus(before_softplus).log().masked_fill(~maskable, 0.0).sum(-1)
            # Each example has its own `sigma`, so the sum does not mix their gradients.
            (change.square().flatten(1).sum(-1) - weight * entropy).sum().backward(inputs=[before_softplus])
            optimizer.step()
            optimizer.zero_grad()
    return maskable / F.softplus(before_softplus.detach())
