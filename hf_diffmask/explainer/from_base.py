"""Config and first baseline of a new explainer."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..base.beside import check_reads_state_only
from ..base.dummies import dummy_input
from ..base.embeddings import mean_embedding, token_embeddings
from ..base.fingerprint import fingerprint
from ..base.flow import flow
from ..base.flow_support import reads_flow
from ..base.head import head_reads
from ..base.running import record_with_attention, state_widths
from ..base.states import has_decoder, hidden_size, state_names
from ..data.encoding import check_vocabulary
from ..errors import DiffMaskError
from ..masks.registry import MASKS
from ..tasks.registry import task_of
from ..tasks.task import Task
from .configuration_diffmask import DiffMaskConfig
from .guest import commit_of


def config_for(
    base_model: PreTrainedModel,
    states: Sequence[str] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    **config: Any,
) -> DiffMaskConfig:
    """
    The config of a new explainer for a base model.

    Args:
        base_model ([`~transformers.PreTrainedModel`]): The base model.
        states (`Sequence[str]`, *optional*): State names, for a model without blocks.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): Its tokenizer, for constants of the task.
        config: Further fields of [`DiffMaskConfig`].

    Returns:
        [`DiffMaskConfig`]

    Raises:
        DiffMaskError: If no task covers the base model, its hidden states cannot be read, or the model reads the
            input beside the state that is masked.
    """
    task = task_of(base_model)
    if not task.has_choices:
        config["class_conditional"] = False
    if has_decoder(base_model) and config.get("masking", DiffMaskConfig.masking) == "hidden":
        raise DiffMaskError(
            f"{type(base_model).__name__} has a decoder that reads the input beside the encoder's states, so masking "
            "these hides nothing: train with input masking."
        )
    table = base_model.get_input_embeddings().weight
    if states is not None and not states:
        raise DiffMaskError("An explainer needs at least one state: name some, or leave `states` out.")
    if states is None:
        names, widths = state_names(base_model), [table.shape[1], hidden_size(base_model)]
    else:
        names, widths = list(states), state_widths(base_model, states)
    found = head_reads(base_model, names)  # records all states, so that what cannot be recorded is refused here
    location, reads = base_model.name_or_path, None if task.at_positions else found
    masked = names[len(names) // 2 if config.get("masking", DiffMaskConfig.masking) == "hidden" else 0]
    if masked != "embeddings":
        check_reads_state_only(base_model, masked)
    constants = {**({} if reads is None else {"reads": reads}), **task.given_constants(base_model.config, tokenizer)}
    if MASKS[config.get("objective", DiffMaskConfig.objective)].beside_states:
        config = {**flow_fields(base_model, task, constants), **config}
    return DiffMaskConfig(
        base_model_name_or_path=os.path.abspath(location) if os.path.isdir(location) else location or None,
        base_model_revision=config.pop("base_model_revision", None) or commit_of(location),
        base_model_fingerprint=fingerprint(base_model, base_model.dtype),
        base_model_dtype=str(base_model.dtype).removeprefix("torch."),
        base_model_class=type(base_model).__name__,
        task=task.name,
        task_constants=constants,
        vocab_size=table.shape[0],
        embedding_size=widths[0],
        hidden_size=widths[-1],
        state_names=names,
        id2label=base_model.config.id2label,
        label2id=base_model.config.label2id,
        **config,
    )


def flow_fields(base_model: PreTrainedModel, task: type[Task], constants: dict[str, Any]) -> dict[str, Any]:
    """
    Config fields of the flow that an explanation head reads.

    Args:
        base_model ([`~transformers.PreTrainedModel`]): The base model.
        task (`type[Task]`): Its task.
        constants (`dict`): Constants of the task; `reads` says which positions the head reads.

    Returns:
        `dict`: `read_flow`, and if it is `True` the sizes of the flow.
    """
    if not task(constants).knows_positions or not reads_flow(base_model):
        return {}
    dummies = dummy_input(base_model)
    with torch.no_grad():
        _, _, attention = record_with_attention(base_model, dummies, [])
    ids = next(iter(dummies.values()))
    values = flow(attention, torch.ones_like(ids) / ids.shape[1]).values
    return {"read_flow": True, "flow_blocks": len(values), "flow_size": values[0][0, 0].numel()}


def named_states(base_model: PreTrainedModel, names: Sequence[str]) -> list[str] | None:
    """
    The `states` argument of [`DiffMaskModel.from_base_model`] for an explainer with these states.

    Args:
        base_model ([`~transformers.PreTrainedModel`]): The base model.
        names (`Sequence[str]`): State names.

    Returns:
        `list[str]` or `None`: `None` if they are the model's default states.
    """
    try:
        return None if state_names(base_model) == list(names) else list(names)
    except DiffMaskError:  # a model without blocks
        return list(names)


def first_baseline(base_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None) -> Tensor:
    """
    The first baseline of the embeddings (paper, section 3.1).

    Args:
        base_model ([`~transformers.PreTrainedModel`]): The base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): Its tokenizer.

    Returns:
        `torch.Tensor` of shape `(d,)`: Embedding of the mask token, else of the unknown token, else the mean
        embedding, at the scale of the state `embeddings`.

    Raises:
        DiffMaskError: If the tokenizer has more tokens than the base model has embeddings.
    """
    token = None
    if tokenizer is not None:
        check_vocabulary(tokenizer, len(base_model.get_input_embeddings().weight))
        token = tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.unk_token_id
    return mean_embedding(base_model) if token is None else token_embeddings(base_model, [token])[0]
