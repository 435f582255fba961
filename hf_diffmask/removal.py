"""Ways to take tokens away from an input, and what a classifier predicts then."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from . import heads
from .base_model import as_guest, replace
from .data import collate
from .errors import DiffMaskError

REPLACEMENTS = ("mask", "pad", "unk", "attention", "delete", "mean")


def without(
    features: dict[str, list[int]], keep: Sequence[bool], replacement: str, tokenizer: PreTrainedTokenizerBase
) -> dict[str, list[int]]:
    """
    An input with tokens taken away.

    Args:
        features (`dict[str, list[int]]`): What the model takes, a list of `T` numbers each.
        keep (`Sequence[bool]`): Of each token, whether it stays.
        replacement (`str`):
            `"mask"`, `"pad"` or `"unk"`: that token comes in its place; `"attention"`: it stays where it is, and no
            other token can attend to it; `"delete"`: the others close ranks. `"mean"` leaves these features as they
            are: see [`class_probabilities`].
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Knows the tokens.

    Returns:
        `dict[str, list[int]]`: Features of the new input.

    Raises:
        DiffMaskError: If there is no such replacement, the tokenizer lacks the token, or nothing is left.
    """
    if replacement not in REPLACEMENTS:
        raise DiffMaskError(f"The replacement must be one of {', '.join(REPLACEMENTS)}, but is {replacement!r}.")
    if replacement == "mean":
        return features
    if replacement == "delete":
        if not any(keep):
            raise DiffMaskError("An input of which every token is deleted has no prediction: mask tokens instead.")
        return {
            name: [value for value, stays in zip(values, keep, strict=True) if stays]
            for name, values in features.items()
        }
    if replacement == "attention":
        seen = [int(value and stays) for value, stays in zip(features["attention_mask"], keep, strict=True)]
        return {**features, "attention_mask": seen}
    check_replacement(tokenizer, replacement)
    token = getattr(tokenizer, f"{replacement}_token_id")
    ids = [value if stays else token for value, stays in zip(features["input_ids"], keep, strict=True)]
    return {**features, "input_ids": ids}


def check_replacement(tokenizer: PreTrainedTokenizerBase, replacement: str) -> None:
    """
    Refuses a way of taking tokens away that needs a token which a tokenizer lacks.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of the base model.
        replacement (`str`): One of `REPLACEMENTS`.

    Raises:
        DiffMaskError: If there is no such token.
    """
    # Ways without a token of their own have no such attribute.
    if getattr(tokenizer, f"{replacement}_token_id", 0) is None:
        raise DiffMaskError(f"The tokenizer has no {replacement} token: take tokens away in another way.")


def check_class(model: PreTrainedModel, target: int) -> None:
    """
    Refuses a class that a model lacks.

    Args:
        model ([`~transformers.PreTrainedModel`]): A sequence classifier.
        target (`int`): The class.

    Raises:
        DiffMaskError: If there is no such class.
    """
    if not 0 <= target < model.config.num_labels:
        raise DiffMaskError(f"There is no class {target}: the model has {model.config.num_labels}, from 0.")


@torch.no_grad()
def class_probabilities(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    keep: Sequence[Sequence[bool]],
    replacement: str = "mask",
    batch_size: int = 64,
) -> Tensor:
    """
    What a classifier predicts of inputs with tokens taken away.

    Args:
        model ([`~transformers.PreTrainedModel`]): A sequence classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): Of each what the model takes, a list of `T` numbers each.
        keep (`Sequence[Sequence[bool]]`): Of each token, whether it stays.
        replacement (`str`, *optional*, defaults to `"mask"`):
            See [`without`]; with `"mean"` the mean of all token embeddings comes in a token's place.
        batch_size (`int`, *optional*, defaults to 64): Inputs that run through the model at once.

    Returns:
        `torch.Tensor` of shape `(N, C)`: Probabilities, on the CPU.

    Raises:
        DiffMaskError: If the model is no classifier, or tokens cannot be taken away in that way.
    """
    if heads.task_of(model) != heads.CLASSIFICATION:
        raise DiffMaskError(f"{type(model).__name__} is no classifier: there is no probability of a class to measure.")
    changed = [without(one, stays, replacement, tokenizer) for one, stays in zip(inputs, keep, strict=True)]
    order = sorted(range(len(changed)), key=lambda k: len(changed[k]["input_ids"]))
    if batch_size < 1:
        raise DiffMaskError(f"`batch_size` must be at least 1, but is {batch_size}.")
    if tokenizer.pad_token_id is None:
        batch_size = 1
    table = model.get_input_embeddings().weight
    found = torch.empty(len(changed), model.config.num_labels)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        # What stays travels as the special tokens do, which no model takes and collation knows how to pad.
        items = [{**changed[k], "special_tokens_mask": [int(kept) for kept in keep[k]]} for k in rows]
        if replacement == "delete":
            items = [changed[k] for k in rows]
        batch = collate(tokenizer, [{**item, "example_ids": 0} for item in items])
        batch = {name: value.to(model.device) for name, value in batch.items() if name != "example_ids"}
        stays = batch.pop("special_tokens_mask", None)
        if replacement == "mean" and stays is not None:
            there = stays[..., None].to(table.dtype)
            embedded = model.get_input_embeddings()(batch["input_ids"])
            output = replace(model, batch, "embeddings", there * embedded + (1 - there) * table.mean(0))
        else:
            with as_guest(model):
                output = model(**batch)
        found[rows] = heads.log_probabilities(output).exp().cpu()
    return found
