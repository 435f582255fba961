"""Refines a trained explainer's scores for one input with a few gradient steps."""

import torch
from torch import Tensor

from ..base.running import Recorded
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.noise import gate_noise, hashed_uniform
from ..masks.path_loss import HIGHEST_SHARE, LOWEST_SHARE, path_loss
from ..masks.paths import budgets, draw, threshold

REFINE_SAMPLES = 4  # masks per step


def forwards_of(steps: int, samples: int) -> int:
    """
    Forward passes to refine one input.

    Args:
        steps (`int`): Gradient steps.
        samples (`int`): Masks per step.

    Returns:
        `int`: Each mask takes two masked inputs; a backward pass counts as two forward passes.
    """
    return steps * samples * 2 * 3


@torch.enable_grad()
def refine_scores(
    explainer: DiffMaskModel,
    recorded: Recorded,
    scores: Tensor,
    state: int = -1,
    classes: Tensor | None = None,
    steps: int = 10,
    samples: int = REFINE_SAMPLES,
    learning_rate: float = 0.1,
    seed: int = 0,
) -> Tensor:
    """
    Scores after gradient descent on the path objective, for each input separately.

    All inputs use the same budgets and noise, so the other inputs of a batch change nothing.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model, baselines and temperature.
        recorded ([`Recorded`]): The base model's output and states for the whole inputs.
        scores (`torch.Tensor` of shape `(B, T)`): Scores to start from.
        state (`int`, *optional*, defaults to the last): Number of the state, for hidden masking.
        classes (`torch.Tensor` of shape `(B,)`, *optional*): The choice to explain; by default the predicted one.
        steps (`int`, *optional*, defaults to 10): Gradient steps.
        samples (`int`, *optional*, defaults to 4): Masks per step, each with its own budget.
        learning_rate (`float`, *optional*, defaults to 0.1): Learning rate for Adam, on the scores' scale.
        seed (`int`, *optional*, defaults to 0): Seed of budgets and gates.

    Returns:
        `torch.Tensor` of shape `(B, T)`: New scores.
    """
    rows = torch.arange(len(scores), device=scores.device).repeat_interleave(samples)
    of_samples = recorded.rows(rows, explainer.config.masked_at(state))
    maskable, target = of_samples.batch.maskable, of_samples.target
    choices = None if classes is None else classes[rows]
    units = of_samples.batch.units.long()
    numbers = torch.arange(samples, device=scores.device).repeat(len(scores))
    found = scores.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([found], lr=learning_rate)
    for step in range(steps):
        shares = LOWEST_SHARE + (HIGHEST_SHARE - LOWEST_SHARE) * hashed_uniform(seed, step, numbers)
        noise = gate_noise(seed, step, numbers, units, 3)
        every = found.repeat_interleave(samples, 0)
        cut = threshold(every.detach(), budgets(shares, maskable), maskable)
        mask = draw((every - cut[:, None]) / explainer.config.temperature, noise, maskable)
        kept, left_out = (explainer.masked(of_samples, part, state) for part in (mask, 1 - mask))
        loss = path_loss(explainer.task, explainer.preserved, target, kept, left_out, choices).sum()
        (found.grad,) = torch.autograd.grad(loss / samples, found)
        optimizer.step()
    return found.detach()
