"""Finds the Transformers model inside the object that a caller has in hand."""

import os
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .states import embedding_table


def unwrapped(model: Any) -> PreTrainedModel:
    """
    The Transformers model that a caller gave, without the wrapper of `torch.compile` or PEFT.

    Args:
        model: A [`~transformers.PreTrainedModel`], `torch.compile(model)`, or a PEFT model whose adapters are part of
            its layers.

    Returns:
        [`~transformers.PreTrainedModel`]: The model itself. It shares all weights with the wrapper.

    Raises:
        DiffMaskError: If it is no such model, has no embeddings of tokens, or they are not in memory.
    """
    if isinstance(model, str | os.PathLike):
        raise DiffMaskError(
            f"The base model must be a loaded model, but is the path {os.fspath(model)!r}: load it with "
            "`AutoModelForSequenceClassification.from_pretrained`, or the class of its task."
        )
    model = getattr(model, "_orig_mod", model)  # torch.compile
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        if model.active_peft_config.is_prompt_learning:
            raise DiffMaskError(
                "The base model has learned prompts (PEFT), which add tokens that no text has: this is not supported. "
                "Adapters such as LoRA are."
            )
        model = model.get_base_model()
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise DiffMaskError(
            f"The base model is wrapped in {type(model).__name__}: give the model inside, which is its `module`."
        )
    if not isinstance(model, PreTrainedModel):
        raise DiffMaskError(
            f"The base model must be a Transformers model (PreTrainedModel), but is a {type(model).__name__}."
        )
    if embedding_table(model).weight.is_meta:
        raise DiffMaskError(
            "The embeddings of the base model are offloaded: keep them in memory, with a `device_map` that offloads "
            "blocks alone."
        )
    return model
