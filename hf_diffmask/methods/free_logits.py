"""The constrained objective for single inputs: a free logit for each unit instead of a probe."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..explainer.masking import Masking
from ..masks.gates import hard_mask, log_keep_probability
from ..masks.noise import hashed_uniform

START, LOWEST, HIGHEST = 1.0, 0.01, 200.0  # multipliers
INITIAL_LOGIT = 2.0

Estimator = Callable[[Tensor, Tensor, Callable[[Tensor], Tensor]], tuple[Tensor, Tensor]]


def search(
    masking: Masking,
    estimate: Estimator,
    steps: int,
    samples: int,
    learning_rate: float,
    multiplier_learning_rate: float,
    seed: int,
    description: str,
    start: Tensor | None = None,
) -> Tensor:
    """
    Keep probabilities with the smallest kept share within the margin, for each input separately (paper, equation 4).

    Each input has its own logits and multiplier. The noise does not depend on the other inputs of the batch. The cost
    of the hard mask updates the multipliers. Among the hard masks of all steps within the margin, the result is the
    mask with the fewest units, then with the lowest cost.

    Args:
        masking ([`Masking`]): The inputs and the state.
        estimate (`Callable`):
            Gets logits `(B, T)`, noise `(B * K, T, 3)` and a function from masks `(B * K, T)` to their divergence
            `(B * K,)`. Returns two values, `(B,)` each: one with the gradient of the mean divergence, one with the
            gradient of the kept share.
        steps (`int`): Steps of Adam.
        samples (`int`): Masks `K` per input and step.
        learning_rate (`float`): Learning rate for the logits.
        multiplier_learning_rate (`float`): Step size of the log-multipliers.
        seed (`int`): Seed of the noise.
        description (`str`): Title of the progress bar.
        start (`torch.Tensor` of shape `(B, T)`, *optional*): Logits to start from; by default all units are kept.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Keep probabilities of the best masks; 0 at units that cannot be masked. If no
        mask of an input is within the margin, all its maskable units have 1.
    """
    maskable = masking.maskable
    batch = len(maskable)
    rows = torch.arange(batch, device=maskable.device).repeat_interleave(samples)
    draws = torch.arange(samples, device=maskable.device)[:, None, None]
    channels = torch.arange(3, device=maskable.device)
    # Counts units from the first one after left padding, so the noise does not depend on the padding side.
    units = masking.batch.units.long().cumsum(-1) - 1
    logits = torch.full(maskable.shape, INITIAL_LOGIT, device=maskable.device) if start is None else start.clone()
    logits.requires_grad_()
    optimizer = torch.optim.Adam([logits], learning_rate)
    multipliers = torch.full((batch,), START, device=maskable.device)
    best = maskable.to(logits.dtype)
    fewest, lowest = maskable.sum(-1), torch.zeros(batch, device=maskable.device)
    with torch.enable_grad():
        for step in tqdm(range(steps), desc=description, leave=False, disable=steps * batch < 10_000):
            noise = hashed_uniform(seed, step, draws, units[:, None, :, None], channels).flatten(0, 1)
            divergence, kept = estimate(logits, noise, lambda masks: masking.divergence(masks, rows))
            loss = (kept + multipliers * divergence) / (1 + multipliers)
            (logits.grad,) = torch.autograd.grad(loss.sum(), logits)
            optimizer.step()
            with torch.no_grad():
                keep = log_keep_probability(logits).exp()
                mask = hard_mask(keep)
                cost = masking.cost(mask)
                multipliers *= (multiplier_learning_rate * (cost / masking.margin - 1).clamp(-1, 1)).exp()
                multipliers.clamp_(LOWEST, HIGHEST)
                count = (mask & maskable).sum(-1)
                better = (cost <= masking.margin) & ((count < fewest) | ((count == fewest) & (cost < lowest)))
                best[better] = keep[better].to(best.dtype) * maskable[better]
                fewest, lowest = torch.where(better, count, fewest), torch.where(better, cost, lowest)
    return best


def in_parts(features: dict[str, Tensor], size: int) -> Iterator[dict[str, Tensor]]:
    """
    Consecutive parts of a batch.

    Args:
        features (`dict[str, torch.Tensor]`): `B` inputs.
        size (`int`): Most inputs per part; values below 1 count as 1.

    Yields:
        `dict[str, torch.Tensor]`: Up to `size` inputs.
    """
    for part in zip(*(value.split(max(1, size)) for value in features.values()), strict=True):
        yield dict(zip(features, part, strict=True))
