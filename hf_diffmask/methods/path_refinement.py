"""A few gradient steps on the scores of one input, from those of a trained explainer."""

import torch
from torch import Tensor

from ..base.running import Recorded
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.noise import gate_noise, hashed_uniform
from ..masks.path_loss import HIGHEST_SHARE, LOWEST_SHARE, path_loss
from ..masks.paths import budgets, draw, threshold

REFINE_SAMPLES = 4  # masks of a step


def forwards_of(steps: int, samples: int) -> int:
    """
    What refining costs an input.

    Args:
        steps (`int`): Gradient steps.
        samples (`int`): Masks of a step.

    Returns:
        `int`: Forward passes: two inputs for each mask, with a backward pass, which costs two.
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
    Moves each input's own scores down the objective of the path, from where they are.

    All inputs draw the same budgets and noise, so that none depends on what it is refined along with.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model, baseline and temperature.
        recorded ([`Recorded`]): What the base model computes on the whole inputs.
        scores (`torch.Tensor` of shape `(B, T)`): To start from.
        state (`int`, *optional*, defaults to the last): Number of the state, where hidden states are masked.
        classes (`torch.Tensor` of shape `(B,)`, *optional*): The class explained; by default the predicted one.
        steps (`int`, *optional*, defaults to 10): Gradient steps.
        samples (`int`, *optional*, defaults to 4): Masks of a step, each of another budget.
        learning_rate (`float`, *optional*, defaults to 0.1): Of Adam, in units of the scores.
        seed (`int`, *optional*, defaults to 0): Of budgets and gates.

    Returns:
        `torch.Tensor` of shape `(B, T)`: New scores.
    """
    rows = torch.arange(len(scores), device=scores.device).repeat_interleave(samples)
    of_samples = recorded.rows(rows, explainer.config.masked_at(state))
    maskable, target = of_samples.batch.maskable, of_samples.target
    explained = None if classes is None else classes[rows]
    units = of_samples.batch.units.long()
    # Samples are numbered within each input.
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
        loss = path_loss(explainer.task, explainer.preserved, target, kept, left_out, explained).sum()
        (found.grad,) = torch.autograd.grad(loss / samples, found)
        optimizer.step()
    return found.detach()
