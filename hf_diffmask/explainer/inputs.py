"""The inputs of an explainer: windows of texts, and for some tasks the parts of them that are explained."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from ..base.running import run
from ..data.batching import in_batches
from ..data.encoding import Text, max_length
from ..data.features import Features, TextFeatures, model_inputs
from ..errors import DiffMaskError
from ..tasks.task import Task
from .modeling_diffmask import DiffMaskModel

BATCH_SIZE = 32
MOST_PARTS = 2  # parts of one input that are drawn for training


def inputs_of(
    explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], for_training: bool = False
) -> Features:
    """
    The windows of texts. For a task with outputs at positions, one item for each explained part of each window.

    Args:
        explainer ([`DiffMaskModel`]): Holds the base model. For parts it runs on every window.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        texts (`list`): Texts or pairs.
        for_training (`bool`, *optional*, defaults to `False`): Whether to draw parts of each window: up to two of
            those that the task explains by default, and one other token. Otherwise all that the task explains by
            default. What is explained of a text that does not say it, such as a text without a mask token, is drawn
            as well. The draw is always the same.

    Returns:
        [`~hf_diffmask.data.features.Features`]

    Raises:
        DiffMaskError: If there is nothing to explain.
    """
    length, task = max_length(explainer.base, tokenizer), explainer.task
    draw = torch.Generator().manual_seed(0)
    read = partial(task.encoded, what="A text", draw=draw)
    made = TextFeatures(tokenizer, task.with_room(tokenizer, texts, length), length, explainer.config.unit, read)
    if not task.at_positions:
        return made
    parts = _parts(explainer, tokenizer, made.items)
    if for_training and task.explains_any:
        parts = [_drawn(of_item, item, draw) for of_item, item in zip(parts, made.items, strict=True)]
    items, of_text = [], []
    for item, of_item, number in zip(made.items, parts, made.of_text, strict=True):
        for part in of_item:
            items.append({**item, "explained_mask": [int(k in part) for k in range(len(item["input_ids"]))]})
            of_text.append(number)
    if texts and not items:
        found = f"the base model finds {task.nothing} in {len(texts)} texts"
        raise DiffMaskError(f"There is nothing to explain: {found}.")
    return Features(items, of_text)


def check_items(task: Task, data: Iterable[Sequence[dict[str, Any]]]) -> None:
    """
    Refuses items that do not say what is explained.

    Args:
        task ([`Task`]): The explainer's task.
        data (`Iterable`): The items of each data set.

    Raises:
        DiffMaskError: If the task has outputs at positions, and an item names none.
    """
    if task.at_positions and any("explained_mask" not in item for items in data for item in items):
        raise DiffMaskError(
            "The items do not say which tokens are explained: make them with hf_diffmask.explainer.inputs.inputs_of."
        )


def _parts(
    explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, items: list[dict[str, Any]]
) -> list[list[list[int]]]:
    """What the task explains by default in each item."""
    task, base = explainer.task, explainer.base
    progress = tqdm(total=len(items), desc="Finding entities", unit="input", leave=False, disable=len(items) < 1000)

    @torch.no_grad()
    def found(batch: dict[str, Tensor]) -> list[list[list[int]]]:
        target = task.target(run(base, model_inputs(batch)), batch["attention_mask"]).cpu()
        special, units = batch["special_tokens_mask"].bool().cpu(), batch["attention_mask"].bool().cpu()
        progress.update(len(target))
        return [
            task.parts(one[there], ids[there], marks[there], base.config)
            for one, ids, marks, there in zip(target, batch["input_ids"].cpu(), special, units, strict=True)
        ]

    with progress:
        return in_batches(tokenizer, items, base.device, found, BATCH_SIZE)


def _drawn(parts: list[list[int]], item: dict[str, Any], draw: torch.Generator) -> list[list[int]]:
    """Some of the parts, and another token."""
    chosen = [parts[k] for k in torch.randperm(len(parts), generator=draw)[:MOST_PARTS].tolist()]
    taken = {position for part in parts for position in part}
    others = [k for k, special in enumerate(item["special_tokens_mask"]) if not special and k not in taken]
    if others:
        chosen.append([others[int(torch.randint(len(others), (1,), generator=draw))]])
    return chosen
