"""The loss of a mask and its complement, for the recipe `path` and for refining its scores."""

from torch import Tensor

from ..tasks.preserved import Preserved
from ..tasks.task import Task

# Range of drawn budgets, as shares of the units.
LOWEST_SHARE, HIGHEST_SHARE = 0.03, 0.63


def path_loss(
    task: Task, preserved: Preserved, target: Tensor, masked: Tensor, left_out: Tensor, choice: Tensor | None = None
) -> Tensor:
    """
    Loss of a mask, plus a penalty for the output that its complement preserves.

    Args:
        task ([`Task`]): Reads the outputs.
        preserved ([`Preserved`]): The part of the output to preserve.
        target (`torch.Tensor` of shape `(B, ...)`): Output for the whole input.
        masked (`torch.Tensor` of the same shape): Output with the units that the mask keeps.
        left_out (`torch.Tensor` of the same shape): Output with the units that the mask leaves out.
        choice (`torch.Tensor` of shape `(B,)`, *optional*): The choice to explain; by default the predicted one.

    Returns:
        `torch.Tensor` of shape `(B,)`: For a choice, its drop in log-probability with the mask plus its probability
        with the complement. For the whole output, the mask's divergence plus `exp(-D)` for the complement's divergence
        `D`.
    """
    if not preserved.of_choice:
        return task.divergence(target, masked) + (-task.divergence(target, left_out)).exp()
    chosen = (task.predicted(target) if choice is None else choice)[:, None]
    whole, kept, left = (
        task.choice_log_probabilities(output).gather(-1, chosen)[:, 0] for output in (target, masked, left_out)
    )
    return whole - kept + left.exp()
