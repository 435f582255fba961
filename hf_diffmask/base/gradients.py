"""Checks that gradients pass through a base model."""

import torch
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .dummies import CANNOT_RUN, dummy_input
from .running import record, replace


def check_gradients(model: PreTrainedModel, name: str) -> None:
    """
    Refuses a model that gives no gradient to a state, such as one with quantised activations.

    The model runs on its dummy inputs. A model that cannot run on them is not refused.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        name (`str`): The state.

    Raises:
        DiffMaskError: If the output does not depend on the state, for autograd.
    """
    dummies = dummy_input(model)
    try:
        with torch.no_grad():
            _, (hidden,) = record(model, dummies, [name])
        with torch.enable_grad():
            output = replace(model, dummies, name, hidden.detach().clone().requires_grad_())
    except DiffMaskError:
        raise
    except CANNOT_RUN:
        return
    if not any(value.requires_grad for value in output.values() if isinstance(value, torch.Tensor)):
        raise DiffMaskError(
            f"{type(model).__name__} gives no gradient to the state {name!r}, and gradients are needed here: use the "
            "model before quantisation."
        )
