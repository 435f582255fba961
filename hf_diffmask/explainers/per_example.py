"""Per-example DiffMask: the same objective with free logits instead of probes (paper, section 4)."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..gates import SOFT_TEMPERATURE, draw_on_paths, log_keep_probability
from ..modeling_diffmask import DiffMaskModel
from ..objective import mean_over_units
from .free_logits import in_parts, search
from .masking import Masking


def per_example(
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
    Learns which units of each input can be masked, from this input alone.

    It is not amortised, and can therefore fit what happens to be enough for one input: the paper's hindsight bias.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model, baseline and margin; its probes are not used.
        features (`dict[str, torch.Tensor]`): What the base model takes, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to 0): Number of the state at which units are masked.
        steps (`int`, *optional*, defaults to 200): Steps of Adam.
        samples (`int`, *optional*, defaults to 8): Masks drawn for each input in a step.
        batch_size (`int`, *optional*, defaults to 256): Masked inputs in one forward pass.
        learning_rate (`float`, *optional*, defaults to 0.1): Of the logits.
        multiplier_learning_rate (`float`, *optional*, defaults to 0.1): Step size of the log-multipliers.
        seed (`int`, *optional*, defaults to 0): Seed of the noise.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Keep probabilities, above 0.5 for the units of the hard mask; 0 where units
        cannot be masked.

    Raises:
        DiffMaskError: If the explainer masks no units at this state.
    """

    def find(masking: Masking) -> Tensor:
        def estimate(logits: Tensor, noise: Tensor, divergence: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
            keep = log_keep_probability(logits).exp()
            soft = log_keep_probability(logits, SOFT_TEMPERATURE).exp()
            masks = draw_on_paths(keep.repeat_interleave(samples, 0), soft.repeat_interleave(samples, 0), noise)
            return divergence(masks).view(-1, samples).mean(-1), mean_over_units(soft, masking.maskable)

        return search(
            masking, estimate, steps, samples, learning_rate, multiplier_learning_rate, seed, "Per-example DiffMask"
        )

    parts = in_parts(features, batch_size // samples)
    return torch.cat([find(Masking(explainer, part, state)) for part in parts])
