"""The loss of a mask and its complement, for the recipe `path` and for refining its scores."""

from torch import Tensor

from ..tasks.preserved import Preserved
from ..tasks.task import Task

# Share of the units that a drawn budget keeps: from the lowest to the highest.
LOWEST_SHARE, HIGHEST_SHARE = 0.03, 0.63


def path_loss(
    task: Task, preserved: Preserved, target: Tensor, masked: Tensor, left_out: Tensor, choice: Tensor | None = None
) -> Tensor:
    """
    What a mask loses, plus what its complement still has.

    Args:
        task ([`Task`]): Reads the outputs.
        preserved ([`Preserved`]): What is to be preserved.
        target (`torch.Tensor` of shape `(B, ...)`): Output on the whole input.
        masked (`torch.Tensor` of the same shape): Output on the units that the mask keeps.
        left_out (`torch.Tensor` of the same shape): Output on the units that the mask leaves out.
        choice (`torch.Tensor` of shape `(B,)`, *optional*): The choice that is explained; by default the predicted
            one.

    Returns:
        `torch.Tensor` of shape `(B,)`: For a choice, the log-probability that is lost plus the probability that is
        left. For the whole output, the divergence of the mask plus `exp(-D)` of its complement.
    """
    if not preserved.of_choice:
        return task.divergence(target, masked) + (-task.divergence(target, left_out)).exp()
    chosen = (task.predicted(target) if choice is None else choice)[:, None]
    whole, kept, left = (
        task.choice_log_probabilities(output).gather(-1, chosen)[:, 0] for output in (target, masked, left_out)
    )
    return whole - kept + left.exp()
