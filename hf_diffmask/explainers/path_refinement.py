"""A few gradient steps on the scores of one input, from those of a trained explainer."""

import torch
from torch import Tensor

from ..gates import gate_noise, hashed_uniform
from ..modeling_diffmask import DiffMaskModel
from ..objective import PathObjective, path_loss
from ..paths import budgets, draw, threshold

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
    features: dict[str, Tensor],
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
        features (`dict[str, torch.Tensor]`): What the base model takes, `(B, T)` each, and `special_tokens_mask`.
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
    inputs = {name: value for name, value in features.items() if name != "special_tokens_mask"}
    recorded = explainer.record(**inputs)
    maskable = explainer.maskable(
        inputs["input_ids"], inputs.get("attention_mask"), features.get("special_tokens_mask")
    ).repeat_interleave(samples, 0)
    target = recorded.target.repeat_interleave(samples, 0)
    many = {name: value.repeat_interleave(samples, 0) for name, value in inputs.items()}
    masked_at = 0 if explainer.config.masks_inputs else state % explainer.config.num_states
    states = [
        part.repeat_interleave(samples, 0) if number == masked_at else part
        for number, part in enumerate(recorded.states)
    ]
    of_samples = recorded._replace(target=target, states=states)
    explained = None if classes is None else classes.repeat_interleave(samples, 0)
    units = many.get("attention_mask", torch.ones_like(many["input_ids"]))
    # Samples are numbered within each input.
    numbers = torch.arange(samples, device=scores.device).repeat(len(scores))
    found = scores.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([found], lr=learning_rate)
    for step in range(steps):
        shares = PathObjective.LOWEST + (PathObjective.HIGHEST - PathObjective.LOWEST) * hashed_uniform(
            seed, step, numbers
        )
        noise = gate_noise(seed, step, numbers, units, 3)
        every = found.repeat_interleave(samples, 0)
        cut = threshold(every.detach(), budgets(shares, maskable), maskable)
        mask = draw((every - cut[:, None]) / explainer.config.temperature, noise, maskable)
        kept, left_out = (
            explainer.masked_forward(part.masked_fill(~maskable, 1.0), state, of_samples, **many)
            for part in (mask, 1 - mask)
        )
        loss = path_loss(explainer.config.target, target, kept, left_out, explained).sum()
        (found.grad,) = torch.autograd.grad(loss / samples, found)
        optimizer.step()
    return found.detach()
