"""Per-example DiffMask: the explainer's objective with free logits instead of probes (paper, section 4)."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from ..base.running import Recorded
from ..explainer.masking import Masking
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.gates import SOFT_TEMPERATURE, draw_with_fading, keep_logits, log_keep_probability
from ..masks.units import mean_over_units
from .free_logits import in_parts, search


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
    start: Tensor | None = None,
) -> Tensor:
    """
    Keep probabilities learned for each input separately.

    Without amortisation, a mask may keep units that suffice for one input by chance: the paper's hindsight bias.

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
        start (`torch.Tensor` of shape `(B, T)`, *optional*):
            Keep probabilities to start from, such as the explainer's; by default nearly all units are kept.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Keep probabilities, above 0.5 for the units of the hard mask; 0 at units
        that cannot be masked.

    Raises:
        DiffMaskError: If the state does not exist or has no baseline.
    """

    def find(masking: Masking, logits: Tensor | None) -> Tensor:
        def estimate(logits: Tensor, noise: Tensor, divergence: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
            keep = log_keep_probability(logits).exp()
            soft = log_keep_probability(logits, SOFT_TEMPERATURE).exp()
            keep, soft_keep, maskable = (
                values.repeat_interleave(samples, 0) for values in (keep, soft, masking.maskable)
            )
            masks = draw_with_fading(keep, soft_keep, noise, maskable)
            return divergence(masks).view(-1, samples).mean(-1), mean_over_units(soft, masking.maskable)

        return search(
            masking, estimate, steps, samples, learning_rate, multiplier_learning_rate, seed,
            "Per-example DiffMask", logits,
        )  # fmt: skip

    size = batch_size // samples
    starts = itertools.repeat(None) if start is None else keep_logits(start).split(max(1, size))
    parts = zip(in_parts(features, size), starts, strict=False)
    return torch.cat([find(Masking(explainer, part, state), logits) for part, logits in parts])


REFINE_STEPS, REFINE_SAMPLES = 20, 4
# Forward passes per input. Each step takes 3 per sample, as a backward pass counts as two, and 1 for the hard mask.
REFINE_FORWARDS = REFINE_STEPS * (3 * REFINE_SAMPLES + 1)


def refine(explainer: DiffMaskModel, recorded: Recorded, keep_probability: Tensor, state: int = -1) -> Tensor:
    """
    Keep probabilities after a short search, from the explainer's masks.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model, baselines and margin.
        recorded ([`Recorded`]): The base model's output and states for the whole inputs.
        keep_probability (`torch.Tensor` of shape `(B, T)`): The explainer's keep probabilities at the state.
        state (`int`, *optional*, defaults to the last): Number of the state.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Keep probabilities with hard masks within the margin; 1 at units that cannot
        be masked.
    """
    batch = recorded.batch
    found = per_example(
        explainer,
        batch.features,
        explainer.config.masked_at(state),
        steps=REFINE_STEPS,
        samples=REFINE_SAMPLES,
        start=keep_probability,
    )
    return found.masked_fill(~batch.maskable, 1.0)
