"""The per-sample information bottleneck (Schulz et al. 2020): noise replaces units that are not needed."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import DiffMaskError
from ..explainer.masking import Masking
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.noise import gaussian_noise
from ..tasks.heads import widen

INITIAL_LOGIT = 5.0
SMALLEST_STD = 1e-6


def information_bottleneck(
    explainer: DiffMaskModel,
    features: dict[str, Tensor],
    state: int = 0,
    *,
    steps: int = 50,
    learning_rate: float = 0.1,
    beta: float = 10.0,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """
    Share of each unit that passes the bottleneck.

    Each unit is mixed with noise: `z = lambda * h + (1 - lambda) * eps`, with `eps ~ N(mean, std^2)` and `lambda =
    sigmoid(alpha)`. For each input, centred RMSprop fits `alpha` to minimise `D( f(x) || f(z) ) + beta * I`. `I` is
    the information that passes, in nats, averaged over features and units. `alpha` starts at 5.

    The score is `lambda`, not the information, as in the DiffMask authors' code. `lambda` is bounded like a keep
    probability. The information also grows with a unit's distance from the mean, even if the unit is not needed.

    Args:
        explainer ([`DiffMaskModel`]): Holds the base model; the baseline is not used.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.
        steps (`int`, *optional*, defaults to 50): Steps of RMSprop, with one draw of noise each.
        learning_rate (`float`, *optional*, defaults to 0.1): Learning rate for RMSprop.
        beta (`float`, *optional*, defaults to 10.0): Weight of the information.
        mean (`torch.Tensor` of shape `(d,)`, *optional*):
            Mean of the state; by default over the batch's units that can be masked. With the default, scores depend on
            the other inputs in the batch.
        std (`torch.Tensor` of shape `(d,)`, *optional*): Standard deviation of the state, with the same default.
        seed (`int`, *optional*, defaults to 0): Seed of the noise.

    Returns:
        `torch.Tensor` of shape `(B, T)`: `lambda`, in [0, 1]; 0 at units that cannot be masked.

    Raises:
        DiffMaskError: If the state does not exist or has no baseline, or if `mean` or `std` is missing and the batch
            has fewer than two units to mask.
    """
    masking = Masking(explainer, features, state)
    hidden, maskable = widen(masking.hidden), masking.maskable
    if (mean is None or std is None) and maskable.sum() < 2:
        raise DiffMaskError("Mean and standard deviation of a state need at least two units: pass `mean` and `std`.")
    mean = hidden[maskable].mean(0) if mean is None else mean.to(hidden)
    std = (hidden[maskable].std(0, correction=0) if std is None else std.to(hidden)).clamp(min=SMALLEST_STD)
    with torch.enable_grad():
        logits = torch.full(maskable.shape, INITIAL_LOGIT, device=hidden.device, requires_grad=True)
        optimizer = torch.optim.RMSprop([logits], lr=learning_rate, centered=True)
        for step in range(steps):
            noise = mean + std * gaussian_noise(maskable, hidden.shape[-1], seed, step)
            share = logits.sigmoid()[..., None]
            mixed = torch.where(maskable[..., None], share * hidden + (1 - share) * noise, hidden)
            divergence = explainer.task.divergence(masking.target, masking.predict(mixed))
            information = _information(logits, (hidden - mean) / std)
            per_unit = (information * maskable).sum(-1) / maskable.sum(-1).clamp(min=1)
            # Each example has its own logits, so the sum does not mix their gradients.
            (divergence + beta * per_unit).sum().backward(inputs=[logits])
            optimizer.step()
            optimizer.zero_grad()
    return logits.detach().sigmoid() * maskable


def _information(logits: Tensor, standardised: Tensor) -> Tensor:
    """
    `KL( N(lambda * h + (1 - lambda) * mean, (1 - lambda)^2 std^2) || N(mean, std^2) )`, mean over features, in nats.

    Args:
        logits (`torch.Tensor` of shape `(B, T)`): `alpha`.
        standardised (`torch.Tensor` of shape `(B, T, d)`): `(h - mean) / std`.

    Returns:
        `torch.Tensor` of shape `(B, T)`.
    """
    squared = logits.sigmoid() ** 2 * standardised.square().mean(-1)
    return (squared + logits.neg().sigmoid() ** 2 - 1) / 2 - F.logsigmoid(-logits)
