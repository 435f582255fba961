"""Tokens of texts, with their offsets."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import DiffMaskError
from .spans import Span, token_spans

Text = str | tuple[str, str]


def clean(text: str) -> str:
    """Replaces unpaired surrogates, which tokenizers reject, with U+FFFD; offsets do not change."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def max_length(base_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """
    Longest input of a base model in tokens, including special tokens.

    Args:
        base_model ([`~transformers.PreTrainedModel`]): The base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.

    Returns:
        `int`: The smaller limit of tokenizer and base model; 512 if neither has a limit.
    """
    limits = [tokenizer.model_max_length]
    positions = getattr(base_model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and positions > 0:  # XLNet has -1, for no limit
        # RoBERTa-like models number positions from the row after the padding row.
        reserved = [
            module.padding_idx + 1
            for name, module in base_model.named_modules()
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        ]
        limits.append(positions - max(reserved, default=0))
    return min([limit for limit in limits if limit and limit < 1_000_000], default=512)


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """
    Refuses a tokenizer with more tokens than the base model has embeddings.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The tokenizer.
        rows (`int`): Rows of the base model's embedding table.

    Raises:
        DiffMaskError: If some tokens have no embedding.
    """
    if len(tokenizer) > rows:
        raise DiffMaskError(
            f"The tokenizer has {len(tokenizer)} tokens, and the base model has embeddings for {rows}: give the base "
            "model's own tokenizer. Use one of its tokens for padding (`tokenizer.pad_token = tokenizer.eos_token`), "
            "or call `resize_token_embeddings` before training."
        )


class NoOffsets(Sequence[Span]):
    """
    In the place of offsets that a slow tokenizer does not give.

    Args:
        tokenizer (`str`): Name of the tokenizer's class.

    Raises:
        DiffMaskError: For each use of an offset.
    """

    def __init__(self, tokenizer: str):
        self.tokenizer = tokenizer

    def __getitem__(self, number: Any) -> Any:
        raise DiffMaskError(
            f"{self.tokenizer} gives no character offsets: words, sentences, spans, entities and answers need a fast "
            "tokenizer. Without them tokens are explained as they are."
        )

    def __len__(self) -> int:
        return 0


@dataclass(frozen=True)  # no tuple: pipelines split tuples when they move data to a device
class EncodedText:
    """The tokens of a whole input, without truncation. Lists have one entry per token, except `texts`."""

    texts: list[str]
    features: dict[str, list[int]]
    tokens: list[str]
    offsets: Sequence[Span]
    """Start and end of each token in the text of its segment, in characters, see [`token_spans`]; [`NoOffsets`] with a
    slow tokenizer."""
    segments: list[int | None]
    """0 for the first text, 1 for the second text of a pair, `None` for special tokens."""
    token_of: Callable[[int], str] | None = None
    """Text of a token id, for a task that predicts tokens."""
    unit: str = "token"
    """What is masked together: `"token"`, `"word"`, `"sentence"`, or `"unit"` for given spans."""


def encode(tokenizer: PreTrainedTokenizerBase, text: Text) -> EncodedText:
    """
    The tokens of a text or a pair, without truncation.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): A fast tokenizer, or a slow one, without offsets.
        text (`str` or `tuple[str, str]`): The input.

    Returns:
        [`EncodedText`]

    Raises:
        DiffMaskError: If the input is no text.
    """
    if not isinstance(text, str | tuple | list):  # a mapping would give its keys
        raise DiffMaskError(f"An input is no text but of type {type(text).__name__}: give a string or a pair of two.")
    texts = [clean(segment) for segment in ([text] if isinstance(text, str) else text)]
    if not tokenizer.is_fast:
        return _without_offsets(tokenizer, texts)
    encoding = tokenizer(
        *texts, truncation=False, return_offsets_mapping=True, return_attention_mask=True, verbose=False
    )
    offsets = encoding.pop("offset_mapping")
    tokens, segments = encoding.tokens(), encoding.sequence_ids()
    for which, segment in enumerate(texts):
        if which in segments:
            first = segments.index(which)
            last = first + segments.count(which)
            offsets[first:last] = token_spans(tokenizer, segment, tokens[first:last], offsets[first:last])
    features = {name: list(values) for name, values in encoding.items()}
    features["special_tokens_mask"] = [int(segment is None) for segment in segments]
    return EncodedText(texts=texts, features=features, tokens=tokens, offsets=offsets, segments=segments)


def _without_offsets(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> EncodedText:
    """The tokens of a text or a pair, by a slow tokenizer."""
    encoding = tokenizer(
        *texts, truncation=False, return_special_tokens_mask=True, return_attention_mask=True, verbose=False
    )
    features = {name: list(values) for name, values in encoding.items()}
    tokens = tokenizer.convert_ids_to_tokens(features["input_ids"])
    first = len(tokenizer.tokenize(texts[0]))
    ordinary = iter(range(len(tokens)))
    segments = [None if mark else int(next(ordinary) >= first) for mark in features["special_tokens_mask"]]
    return EncodedText(texts, features, tokens, NoOffsets(type(tokenizer).__name__), segments)


def features_of_ids(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> dict[str, list[int]]:
    """
    Features for the token ids of one text.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Has the special tokens.
        ids (`Sequence[int]`): Token ids, with special tokens and without padding.

    Returns:
        `dict[str, list[int]]`: `input_ids`, `attention_mask` and `special_tokens_mask`.

    Raises:
        DiffMaskError: If the ids are a pair and the model uses `token_type_ids`.
    """
    ids = list(ids)
    separator = tokenizer.sep_token_id
    if "token_type_ids" in tokenizer.model_input_names and separator is not None and separator in ids[:-1]:
        raise DiffMaskError(
            "These are the ids of a pair, and ids do not show where its second text begins: give features to the "
            "functions of hf_diffmask that the metrics wrap."
        )
    # Unknown and mask tokens stand for words.
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id, tokenizer.mask_token_id}
    return {
        "input_ids": ids,
        "attention_mask": [1] * len(ids),
        "special_tokens_mask": [int(token in special) for token in ids],
    }
