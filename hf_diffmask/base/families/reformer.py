"""Reformer: two streams run side by side, so that training need not keep its states."""

from torch import nn
from transformers import PreTrainedModel

from ...errors import DiffMaskError


def outputs(model: PreTrainedModel) -> list[nn.Module]:
    """
    Refuses the model.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Raises:
        DiffMaskError: Always.
    """
    raise DiffMaskError(
        f"{type(model).__name__} has two vectors for each token between its blocks (reversible layers), and one was "
        "looked for: this model is not supported."
    )
