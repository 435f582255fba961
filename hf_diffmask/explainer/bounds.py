"""Bounds of the counts in a config. They are checked before a config or model is built from it."""

import re
from typing import Any

from ..errors import DiffMaskError

# Far above published models, and small enough to build: the largest label sets have about 22,000 classes.
MOST_LABELS = 100_000
# The deepest Transformers have about 1,000 blocks.
MOST_BLOCKS = 4_096
# The largest mixtures have about 16,000 experts.
MOST_EXPERTS = 65_536
# Hidden states of the largest models have about 25,000 values.
MOST_HIDDEN = 131_072
# The largest vocabularies have about a million entries, the longest inputs ten million positions.
MOST_ENTRIES = 16_777_216

EXPLAINER_COUNTS = {
    "hidden_size": MOST_HIDDEN, "embedding_size": MOST_HIDDEN, "vocab_size": MOST_ENTRIES,
    "flow_size": MOST_HIDDEN, "flow_blocks": MOST_BLOCKS,
}  # fmt: skip
# Fields of base models by name, in the spellings of their families.
BASE_COUNTS = {
    re.compile(r"(?:n|num)_\w*(?:layer|block|head)\w*|(?:en|de)coder_(?:attention_heads|layers)"): MOST_BLOCKS,
    re.compile(r"(?:n|num)_\w*expert\w*"): MOST_EXPERTS,
    re.compile(
        r"\w*(?:vocab|hidden|embedding|intermediate)_size|\w*(?:embed|hidden|ffn|head)_dim|dim|"
        r"d_(?:model|ff|kv|inner|embed)|n_(?:embd|inner|positions|ctx)|max_position_embeddings"
    ): MOST_ENTRIES,
}
# Names of code on the Hub are accepted in these fields.
CODE = ("attn_implementation", "_attn_implementation", "experts_implementation")


def check_explainer(fields: dict[str, Any], what: str) -> None:
    """
    Refuses an explainer's config whose counts are no counts, or far too large.

    Args:
        fields (`dict`): Fields of the config.
        what (`str`): Name of the config in an error.

    Raises:
        DiffMaskError: The message names the field.
    """
    _check_labels(fields, what)
    for name, most in EXPLAINER_COUNTS.items():
        _check_count(name, fields.get(name, 0), most, what)
    states = fields.get("state_names", ())
    if not isinstance(states, list | tuple) or len(states) > MOST_BLOCKS:
        raise DiffMaskError(f"`state_names` of {what} must be a list of at most {MOST_BLOCKS:,} names.")


def check_base(fields: dict[str, Any], what: str) -> None:
    """
    Refuses a base model's config whose counts are no counts, or far too large, or that names code on the Hub.

    Args:
        fields (`dict`): Fields of the config; parts of composite models are checked as well.
        what (`str`): Name of the config in an error.

    Raises:
        DiffMaskError: The message names the field.
    """
    _check_labels(fields, what)
    waiting: list[dict[str, Any]] = [fields]
    while waiting:  # no recursion: JSON may be nested as deeply as Python's stack
        part = waiting.pop()
        for name, value in part.items():
            most = next((bound for named, bound in BASE_COUNTS.items() if named.fullmatch(name)), None)
            if isinstance(value, dict):
                waiting.append(value)
            elif most is not None and value is not None:
                for one in value if isinstance(value, list) else [value]:
                    _check_count(name, one, most, what)
            elif name in CODE and "/" in str(value):
                raise DiffMaskError(
                    f"`{name}` of {what} names code on the Hub, which is not run: remove the field from the config."
                )


def _check_labels(fields: dict[str, Any], what: str) -> None:
    """The fields that Transformers reads before it knows the model; other types end in a traceback there."""
    for name, kind in (("id2label", dict), ("label2id", dict), ("auto_map", dict), ("architectures", list)):
        if not isinstance(fields.get(name), kind | None):
            raise DiffMaskError(f"`{name}` of {what} must be {'a list' if kind is list else 'names with values'}.")
    if not all(isinstance(one, str) for one in fields.get("architectures") or ()):
        raise DiffMaskError(f"`architectures` of {what} must be a list of names.")
    if not isinstance(fields.get("model_type", ""), str):
        raise DiffMaskError(f"`model_type` of {what} must be a name.")
    labels = fields.get("id2label") or {}
    if len(labels) > MOST_LABELS or len(fields.get("label2id") or {}) > MOST_LABELS:
        raise DiffMaskError(f"{what} names more than {MOST_LABELS:,} labels: such a model is not loaded.")
    if not all(isinstance(key, int) or re.fullmatch("[0-9]{1,9}", str(key)) for key in labels):
        raise DiffMaskError(f'`id2label` of {what} must have numbers as keys, such as "0".')
    if fields.get("num_labels") is not None:
        _check_count("num_labels", fields["num_labels"], MOST_LABELS, what)


def _check_count(name: str, value: Any, most: int, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most or value != int(value):
        said = f"{value:.3g}" if isinstance(value, float) else _shortened(value)
        raise DiffMaskError(f"`{name}` of {what} must be a whole number from 0 to {most:,}, but is {said}.")


def _shortened(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    said = repr(value)
    return said if len(said) <= 50 else f"{said[:50]}..."
