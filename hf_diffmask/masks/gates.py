"""Hard Concrete gates (Louizos et al. 2018; paper, section 3.2). Shapes: `B` examples, `T` units, `S` states."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE, LEFT, RIGHT = 0.2, -0.2, 1.0


SOFT_TEMPERATURE = 2.0


RELAXED_SHARE, RELAXED_UNITS = 0.5, 32  # share of the units, and the largest number


_SHIFT = TEMPERATURE * math.log(-LEFT / RIGHT)


def sample(logits: Tensor, noise: Tensor) -> Tensor:
    """
    Draws gates `z = clip(s * (r - l) + l, 0, 1)` with `s = sigmoid((logit(u) + alpha) / tau)`.

    Args:
        logits (`torch.Tensor`): Gate logits `alpha`, any shape.
        noise (`torch.Tensor`): Uniform noise `u` in (0, 1), same shape.

    Returns:
        `torch.Tensor`: Gates in [0, 1], same shape; 0 masks the unit.
    """
    stretched = torch.sigmoid((torch.logit(noise) + logits) / TEMPERATURE) * (RIGHT - LEFT) + LEFT
    return stretched.clamp(0, 1)


def log_keep_probability(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """
    Log of the probability that a gate is not 0, `log P(z != 0) = log sigmoid(alpha - tau * log(-l / r))`.

    Args:
        logits (`torch.Tensor`): Gate logits `alpha`, any shape.
        temperature (`float`, *optional*, defaults to 1.0):
            Divides the argument of the sigmoid. Above 1 it softens the probability, so its gradient lasts longer.

    Returns:
        `torch.Tensor`: Log-probabilities in nats, same shape.
    """
    return F.logsigmoid((logits - _SHIFT) / temperature)


def keep_logits(keep_probability: Tensor, most: float = 4.0) -> Tensor:
    """
    Gate logits from keep probabilities: the inverse of [`log_keep_probability`], with limited log-odds. The limit lets
    nearly decided gates still change.

    Args:
        keep_probability (`torch.Tensor`): `P(z != 0)`, any shape.
        most (`float`, *optional*, defaults to 4.0): Largest absolute log-odds.

    Returns:
        `torch.Tensor`: Gate logits `alpha`, same shape.
    """
    return torch.logit(keep_probability, eps=1e-6).clamp(-most, most) + _SHIFT


def log_drop_probability(logits: Tensor) -> Tensor:
    """
    Log of the probability that a gate is 0, `log P(z = 0) = log sigmoid(tau * log(-l / r) - alpha)`.

    Args:
        logits (`torch.Tensor`): Gate logits `alpha`, any shape.

    Returns:
        `torch.Tensor`: Log-probabilities in nats, same shape.
    """
    return F.logsigmoid(_SHIFT - logits)


def draw_with_fading(keep: Tensor, soft_keep: Tensor, noise: Tensor, maskable: Tensor) -> Tensor:
    """
    Draws masks whose gradient is close to the gradient of the expectation over binary masks.

    The expectation of a function `D` over independent binary gates is linear in each keep probability. Its derivative
    is `E[D(z_i = 1) - D(z_i = 0)]`, the integral of `dD/dz_i` from 0 to 1. So a random share of the units takes a
    uniform value between 0 and 1. Only these units have a gradient, scaled up by their share. The other units are kept
    or masked, as at inference. A straight-through gradient reads `dD/dz_i` at one end only, where a model hardly
    reacts to a small change. In long inputs, the number of units with a value between 0 and 1 is bounded: too many of
    them would leave too little of the input.

    The gradient goes to `soft_keep` instead of `keep`. If all terms of a loss do so, each unit's gradient keeps its
    sign, and units that are nearly decided can still change.

    Args:
        keep (`torch.Tensor` of shape `(B, T)`): Keep probability of each unit.
        soft_keep (`torch.Tensor` of shape `(B, T)`): Softened keep probability, which receives the gradient.
        noise (`torch.Tensor` of shape `(B, T, 3)`): Uniform noise in (0, 1).
        maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked, `bool`.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Masks in [0, 1].
    """
    there = (noise[..., 0] < keep).to(keep.dtype)
    share = (RELAXED_UNITS / maskable.sum(-1, keepdim=True).clamp(min=1)).clamp(max=RELAXED_SHARE)
    position = noise[..., 2] + (soft_keep - soft_keep.detach()) / share
    return torch.where(noise[..., 1] < share, position, there)


def hard_mask(keep_probability: Tensor) -> Tensor:
    """
    The deterministic mask for inference: `P(z != 0) > 0.5`.

    Args:
        keep_probability (`torch.Tensor`): Any shape.

    Returns:
        `torch.Tensor`: `bool`, same shape; `True` means kept.
    """
    return keep_probability > 0.5
