"""The constrained objective for one input at a time: a free logit for each unit instead of a probe."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..explainer.masking import Masking
from ..masks.gates import hard_mask, log_keep_probability
from ..masks.noise import hashed_uniform

START, LOWEST, HIGHEST = 1.0, 0.01, 200.0  # of the multipliers
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
    Minimises how much is kept subject to the margin, for each input of a batch by itself (paper, equation 4).

    All inputs are optimised side by side, each with its own logits and multiplier; the noise does not depend on which
    others are in the batch. The multipliers go by the hard mask, and so does the result: of the hard masks met on the
    way that stay within the margin it is that which keeps the fewest units, and of several that of lowest cost.

    Args:
        masking ([`Masking`]): The inputs and the state.
        estimate (`Callable`):
            Gets logits `(B, T)`, noise `(B * K, T, 3)` and a function from masks `(B * K, T)` to their divergence
            `(B * K,)`; returns what has the gradient of the mean divergence, `(B,)`, and of the share kept, `(B,)`.
        steps (`int`): Steps of Adam.
        samples (`int`): Masks `K` drawn for each input in a step.
        learning_rate (`float`): Of the logits.
        multiplier_learning_rate (`float`): Step size of the log-multipliers.
        seed (`int`): Seed of the noise.
        description (`str`): Title of the progress bar.
        start (`torch.Tensor` of shape `(B, T)`, *optional*): Logits to start from; by default all units are kept.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Keep probabilities of the best masks, 0 where units cannot be masked. All are
        1 for an input none of whose masks stayed within the margin.
    """
    maskable = masking.maskable
    batch = len(maskable)
    rows = torch.arange(batch, device=maskable.device).repeat_interleave(samples)
    draws = torch.arange(samples, device=maskable.device)[:, None, None]
    channels = torch.arange(3, device=maskable.device)
    # Units are counted from the first that is no padding, on whichever side.
    units = masking.batch.units.long().cumsum(-1) - 1
    logits = torch.full(maskable.shape, INITIAL_LOGIT, device=maskable.device) if start is None else start.clone()
    logits.requires_grad_()
    optimizer = torch.optim.Adam([logits], learning_rate)
    multipliers = torch.full((batch,), START, device=maskable.device)
    best = maskable.float()
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
                best[better] = keep[better] * maskable[better]
                fewest, lowest = torch.where(better, count, fewest), torch.where(better, cost, lowest)
    return best


def in_parts(features: dict[str, Tensor], size: int) -> Iterator[dict[str, Tensor]]:
    """
    Splits a batch.

    Args:
        features (`dict[str, torch.Tensor]`): `B` inputs.
        size (`int`): Most inputs of a part; at least 1 is taken.

    Yields:
        `dict[str, torch.Tensor]`: Consecutive inputs.
    """
    for part in zip(*(value.split(max(1, size)) for value in features.values()), strict=True):
        yield dict(zip(features, part, strict=True))
