"""Tells whether flow can be read from a base model."""

from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .attention_read import unreadable
from .dummies import CANNOT_RUN, dummy_input
from .running import record_with_attention

# By model: the implementation of attention in its config, and whether flow can be read with it.
_tried: WeakKeyDictionary[PreTrainedModel, tuple[str | None, bool]] = WeakKeyDictionary()


def reads_flow(model: PreTrainedModel) -> bool:
    """
    Whether flow can be read from a base model: each block calls PyTorch's `scaled_dot_product_attention` once.

    The model runs on its dummy inputs, at the first call, and again if its implementation of attention has changed.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `bool`: `False` also if the model cannot run on its dummy inputs.
    """
    used = model.config._attn_implementation
    if model not in _tried or _tried[model][0] != used:
        _tried[model] = used, _try(model)
    return _tried[model][1]


@torch.no_grad()
def _try(model: PreTrainedModel) -> bool:
    dummies = dummy_input(model)
    try:
        record_with_attention(model, dummies, [])
    except (DiffMaskError, *CANNOT_RUN):
        return False
    return True


def check_flow(model: PreTrainedModel) -> None:
    """
    Refuses a base model that flow cannot be read from.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Raises:
        DiffMaskError: If flow cannot be read. The message names the model's class and says what to do.
    """
    if not reads_flow(model):
        raise DiffMaskError(unreadable(model))
