"""The per-sample information bottleneck (Schulz et al. 2020): noise takes the place of what is not needed."""

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
    Share of each unit that the bottleneck lets through.

    A unit is mixed with noise, `z = lambda * h + (1 - lambda) * eps` with `eps ~ N(mean, std^2)`, and `lambda =
    sigmoid(alpha)` is fitted to each input by centred RMSprop to minimise `D( f(x) || f(z) ) + beta * I`, where `I` is
    the information that is let through, in nats, as a mean over features and units. `alpha` starts at 5.

    The score is `lambda` and not the information, as in the DiffMask authors' code: it is bounded as a keep
    probability is, while the information also grows with how far a unit lies from the mean, needed or not.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baselines.
        features (`dict[str, torch.Tensor]`): What the base model takes, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state.
        steps (`int`, *optional*, defaults to 50): Steps of RMSprop, one draw of noise each.
        learning_rate (`float`, *optional*, defaults to 0.1): Of RMSprop.
        beta (`float`, *optional*, defaults to 10.0): Weight of the information.
        mean (`torch.Tensor` of shape `(d,)`, *optional*):
            Mean of the state. That over the units of the batch that can be masked by default: scores then depend on
            what else is in the batch.
        std (`torch.Tensor` of shape `(d,)`, *optional*): Standard deviation of the state, likewise.
        seed (`int`, *optional*, defaults to 0): Seed of the noise.

    Returns:
        `torch.Tensor` of shape `(B, T)`: `lambda`, in [0, 1]; 0 at units that cannot be masked.

    Raises:
        DiffMaskError: If the explainer has no baseline at that state, or statistics are neither given nor can be
            computed.
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
            # A sum over examples: each has its own logits, whose gradient does not depend on the others.
            (divergence + beta * per_unit).sum().backward(inputs=[logits])
            optimizer.step()
            optimizer.zero_grad()
    return logits.detach().sigmoid() * maskable


def _information(logits: Tensor, standardised: Tensor) -> Tensor:
    """
    `KL( N(lambda * h + (1 - lambda) * mean, (1 - lambda)^2 std^2) || N(mean, std^2) )`, a mean over features, in nats.

    Args:
        logits (`torch.Tensor` of shape `(B, T)`): `alpha`.
        standardised (`torch.Tensor` of shape `(B, T, d)`): `(h - mean) / std`.

    Returns:
        `torch.Tensor` of shape `(B, T)`.
    """
    squared = logits.sigmoid() ** 2 * standardised.square().mean(-1)
    return (squared + logits.neg().sigmoid() ** 2 - 1) / 2 - F.logsigmoid(-logits)
