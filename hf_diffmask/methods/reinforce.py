"""The REINFORCE variant of per-example DiffMask: Bernoulli gates and a score-function gradient (paper, section 4)."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..explainer.masking import Masking
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.gates import log_drop_probability, log_keep_probability
from ..masks.units import mean_over_units
from .free_logits import in_parts, search

DECAY = 0.9  # of the moving average of divergences


def reinforce(
    explainer: DiffMaskModel,
    features: dict[str, Tensor],
    state: int = 0,
    *,
    steps: int = 200,
    samples: int = 8,
    batch_size: int = 256,
    learning_rate: float = 0.1,
    multiplier_learning_rate: float = 0.1,
    seed: int = 0,
) -> Tensor:
    """
    Keep probabilities learned for each input separately, with REINFORCE (Williams 1992).

    Needs no gradients through the base model. To reduce variance, the moving average of the input's divergences in
    earlier steps is subtracted from each divergence.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model, baselines and margin; probes are not used.
        features (`dict[str, torch.Tensor]`): Arguments of the base model, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state at which units are masked.
        steps (`int`, *optional*, defaults to 200): Steps of Adam.
        samples (`int`, *optional*, defaults to 8): Masks per input and step.
        batch_size (`int`, *optional*, defaults to 256): Masked inputs in one forward pass.
        learning_rate (`float`, *optional*, defaults to 0.1): Learning rate for the logits.
        multiplier_learning_rate (`float`, *optional*, defaults to 0.1): Step size of the log-multipliers.
        seed (`int`, *optional*, defaults to 0): Seed of the noise.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Keep probabilities, above 0.5 for the units of the hard mask; 0 at units
        that cannot be masked.

    Raises:
        DiffMaskError: If the state does not exist or has no baseline.
    """

    def find(masking: Masking) -> Tensor:
        average: Tensor | None = None

        def estimate(logits: Tensor, noise: Tensor, divergence: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
            nonlocal average
            log_keep = log_keep_probability(logits)
            repeated = log_keep.detach().exp().repeat_interleave(samples, 0)
            with torch.no_grad():
                drawn = noise[..., 0] < repeated
                cost = divergence(drawn).view(-1, samples)
            log_drop = log_drop_probability(logits)
            drawn = drawn.view(-1, samples, drawn.shape[-1])
            log_probability = torch.where(drawn, log_keep[:, None], log_drop[:, None])
            log_probability = (log_probability * masking.maskable[:, None]).sum(-1)
            mean = cost.mean(-1)
            advantage = cost - (mean if average is None else average)[:, None]
            average = mean if average is None else DECAY * average + (1 - DECAY) * mean
            return (advantage * log_probability).mean(-1), mean_over_units(log_keep.exp(), masking.maskable)

        return search(masking, estimate, steps, samples, learning_rate, multiplier_learning_rate, seed, "REINFORCE")

    parts = in_parts(features, batch_size // samples)
    return torch.cat([find(Masking(explainer, part, state)) for part in parts])
