"""Which labels an explanation is asked for: one, several, or all that hold."""

from typing import Any

import torch
from torch import Tensor

from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..tasks.inputs import whole_number

HOLDING = "predicted"
"""Asks for all labels that hold, the most probable first."""

# Number of a label, numbers of several, or `HOLDING`.
Asked = int | tuple[int, ...] | str


def asked_labels(model: DiffMaskModel, label: Any) -> Asked:
    """
    The labels that a caller asks for, by number.

    Args:
        model ([`DiffMaskModel`]): The explainer.
        label (`str`, `int`, or a list of them): Names, or numbers of any library. `"predicted"`, if no label has this
            name, stands for all labels that hold.

    Returns:
        `int`, `tuple[int, ...]` or `str`: A number for one label, numbers for a list, each once; or `"predicted"`.

    Raises:
        DiffMaskError: If the explainer cannot explain one choice, a choice does not exist, or a list is empty.
    """
    if not model.preserved.of_choice:
        raise DiffMaskError("This explainer explains the whole output, not a class: leave `label` out.")
    is_holding = isinstance(label, str) and label == HOLDING and label not in _names(model)
    several = is_holding or isinstance(label, list | tuple)
    if several and model.task.at_positions:
        raise DiffMaskError("Each token or entity is explained for one label: name one, or leave `label` out.")
    if isinstance(label, list | tuple):
        if not label:
            raise DiffMaskError("The list of labels is empty: name at least one, or leave `label` out.")
        return tuple(dict.fromkeys(_number(model, one) for one in label))
    if is_holding:
        return HOLDING
    return _number(model, label)


def _names(model: DiffMaskModel) -> list[str]:
    return model.task.choice_names(model.base.config)


def _number(model: DiffMaskModel, label: Any) -> int:
    """The number of one label."""
    names = _names(model)
    if isinstance(label, str) and label in names:
        return names.index(label)
    number = whole_number(label)
    if number is not None and 0 <= number < len(names):
        return number
    raise DiffMaskError(f"There is no class {label!r}: name one of {', '.join(names)}, or its number.")


def choices_of(model: DiffMaskModel, asked: Asked, target: Tensor, is_whole: bool) -> Tensor:
    """
    The choices to explain in a batch of windows.

    Args:
        model ([`DiffMaskModel`]): The explainer.
        asked (`tuple[int, ...]` or `str`): Result of [`asked_labels`] for several labels.
        target (`torch.Tensor` of shape `(B, ...)`): Outputs for the windows.
        is_whole (`bool`): Whether each window is a whole input. Else a label that holds in the input may not hold in
            every window, and all choices are explained.

    Returns:
        `torch.Tensor` of shape `(B, N)`: The same number for each window, so some may not hold.
    """
    logs = model.task.choice_log_probabilities(target)
    if isinstance(asked, tuple):
        return torch.tensor([asked], device=logs.device).expand(len(logs), -1)
    most = max(1, int(model.task.holding(target).sum(-1).max())) if is_whole else logs.shape[-1]
    return logs.topk(most, dim=-1).indices


def numbers_of(model: DiffMaskModel, asked: Asked, prediction: dict[str, Any]) -> list[int]:
    """
    The labels of one input's explanations.

    Args:
        model ([`DiffMaskModel`]): The explainer.
        asked (`tuple[int, ...]` or `str`): Result of [`asked_labels`] for several labels.
        prediction (`dict`): Fields of the result that hold the prediction.

    Returns:
        `list[int]`: Empty if no label holds.
    """
    if isinstance(asked, tuple):
        return list(asked)
    names = model.task.choice_names(model.base.config)
    return [names.index(name) for name in model.task.held_names(prediction)]
