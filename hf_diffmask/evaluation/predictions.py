"""Probabilities of a model's choices for inputs with tokens removed."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..base.embeddings import mean_embedding
from ..base.removal import without
from ..base.running import masked_state, replace, run
from ..data.batching import in_batches
from ..data.features import aligned, model_inputs
from ..errors import DiffMaskError
from ..explainer.inputs import check_items
from ..tasks.inputs import whole_number
from ..tasks.registry import model_task
from ..tasks.task import Task


def choosing_task(model: PreTrainedModel, task: Task | None = None) -> Task:
    """
    Task that reads a model's choices.

    Args:
        model ([`~transformers.PreTrainedModel`]): The model.
        task ([`Task`], *optional*): The explainer's task, with its constants; by default the model's task.

    Returns:
        [`Task`]

    Raises:
        DiffMaskError: If the model has no choices.
    """
    task = model_task(model) if task is None else task
    if not task.has_choices:
        raise DiffMaskError(f"{type(model).__name__} is no classifier: there is no probability of a class to measure.")
    return task


def check_class(model: PreTrainedModel, choice: int, task: Task | None = None) -> None:
    """
    Refuses a class that the model does not have.

    Args:
        model ([`~transformers.PreTrainedModel`]): The model.
        choice (`int`): The class.
        task ([`Task`], *optional*): The explainer's task, with its constants; by default the model's task.

    Raises:
        DiffMaskError: If the class does not exist, or the model has no choices.
    """
    count = choosing_task(model, task).choices(model.config)
    number = whole_number(choice)
    if number is None or not 0 <= number < count:
        raise DiffMaskError(f"There is no class {choice}: the model has {count}, from 0.")


def class_probabilities(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    keep: Sequence[Sequence[bool]],
    replacement: str = "mask",
    batch_size: int = 64,
    task: Task | None = None,
) -> Tensor:
    """
    Probability of each choice, for inputs with tokens removed.

    Args:
        model ([`~transformers.PreTrainedModel`]): A model with choices, such as a classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments, as lists of length `T`.
        keep (`Sequence[Sequence[bool]]`): For each input, whether each token stays.
        replacement (`str`, *optional*, defaults to `"mask"`):
            See [`~hf_diffmask.base.removal.without`]; `"mean"` replaces a token by the mean of all token embeddings.
        batch_size (`int`, *optional*, defaults to 64): Inputs per batch.
        task ([`Task`], *optional*): The explainer's task, with its constants; by default the model's task.

    Returns:
        `torch.Tensor` of shape `(N, K)`: Probabilities, on the CPU.

    Raises:
        DiffMaskError: If the model has no choices, or tokens cannot be removed in this way.
    """
    return class_log_probabilities(model, tokenizer, inputs, keep, replacement, batch_size, task).exp()


@torch.no_grad()
def class_log_probabilities(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    keep: Sequence[Sequence[bool]],
    replacement: str = "mask",
    batch_size: int = 64,
    task: Task | None = None,
) -> Tensor:
    """
    Log-probability of each choice, for inputs with tokens removed. The arguments are those of
    [`class_probabilities`].

    Args:
        model ([`~transformers.PreTrainedModel`]): A model with choices, such as a classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments, as lists of length `T`.
        keep (`Sequence[Sequence[bool]]`): For each input, whether each token stays.
        replacement (`str`, *optional*, defaults to `"mask"`): How tokens are removed.
        batch_size (`int`, *optional*, defaults to 64): Inputs per batch.
        task ([`Task`], *optional*): The explainer's task, with its constants; by default the model's task.

    Returns:
        `torch.Tensor` of shape `(N, K)`: In nats, on the CPU.

    Raises:
        DiffMaskError: If the model has no choices, or tokens cannot be removed in this way.
    """
    task = choosing_task(model, task)
    check_items(task, [inputs])
    if batch_size < 1:
        raise DiffMaskError(f"`batch_size` must be at least 1, but is {batch_size}.")
    changed = [without(one, stays, replacement, tokenizer) for one, stays in zip(inputs, keep, strict=True)]
    mean = mean_embedding(model).to(model.dtype) if replacement == "mean" else None

    def log_probabilities(batch: dict[str, Tensor]) -> list[Tensor]:
        rows = batch["example_ids"].tolist()
        explained, batch = batch.get("explained_mask"), model_inputs(batch)
        # The attention mask also hides removed tokens, which are no padding.
        lengths = torch.tensor([[len(changed[row]["input_ids"])] for row in rows], device=model.device)
        units = torch.arange(batch["input_ids"].shape[1], device=model.device) < lengths
        if mean is not None:
            stays = aligned([keep[row] for row in rows], batch["attention_mask"])
            embedded = model.get_input_embeddings()(batch["input_ids"])
            output = replace(model, batch, "embeddings", masked_state(embedded, stays, mean), units)
        else:
            output = run(model, batch, units)
        return list(task.choice_log_probabilities(task.target(output, explained=explained)).cpu())

    return torch.stack(in_batches(tokenizer, changed, model.device, log_probabilities, batch_size, with_ids=True))
