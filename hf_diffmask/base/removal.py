"""Ways to remove tokens from an input."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from ..errors import DiffMaskError

REPLACEMENTS = ("mask", "pad", "unk", "attention", "delete", "mean")


def without(
    features: dict[str, list[int]], keep: Sequence[bool], replacement: str, tokenizer: PreTrainedTokenizerBase
) -> dict[str, list[int]]:
    """
    An input without some of its tokens.

    Args:
        features (`dict[str, list[int]]`): Arguments of the base model, a list of `T` numbers each.
        keep (`Sequence[bool]`): For each token, whether to keep it.
        replacement (`str`):
            `"mask"`, `"pad"` or `"unk"` puts the special token at the removed position. `"attention"` keeps the token,
            and no other token can attend to it. `"delete"` shortens the input; a token that is explained becomes the
            mask token or else the unknown token, since its label needs a position. `"mean"` returns the features
            unchanged, see [`class_probabilities`].
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.

    Returns:
        `dict[str, list[int]]`: Features of the new input.

    Raises:
        DiffMaskError: If the replacement does not exist, the tokenizer lacks its token, or every token is deleted.
    """
    if replacement not in REPLACEMENTS:
        raise DiffMaskError(f"The replacement must be one of {', '.join(REPLACEMENTS)}, but is {replacement!r}.")
    if replacement == "mean":
        return features
    if replacement == "delete":
        if not any(keep):
            raise DiffMaskError("An input without tokens has no prediction: mask tokens instead of deleting them.")
        return _deleted(features, keep, tokenizer)
    if replacement == "attention":
        seen = [int(value and stays) for value, stays in zip(features["attention_mask"], keep, strict=True)]
        return {**features, "attention_mask": seen}
    check_replacement(tokenizer, replacement)
    token = getattr(tokenizer, f"{replacement}_token_id")
    ids = [value if stays else token for value, stays in zip(features["input_ids"], keep, strict=True)]
    return {**features, "input_ids": ids}


def _deleted(
    features: dict[str, list[int]], keep: Sequence[bool], tokenizer: PreTrainedTokenizerBase
) -> dict[str, list[int]]:
    explained = features.get("explained_mask", [0] * len(keep))
    token = tokenizer.unk_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id
    if token is not None:
        hidden = [bool(mark) and not stays for mark, stays in zip(explained, keep, strict=True)]
        ids = [token if is_hidden else old for old, is_hidden in zip(features["input_ids"], hidden, strict=True)]
        features = {**features, "input_ids": ids}
    there = [stays or bool(mark) for stays, mark in zip(keep, explained, strict=True)]
    return {
        name: [value for value, stays in zip(values, there, strict=True) if stays] for name, values in features.items()
    }


def check_replacement(tokenizer: PreTrainedTokenizerBase, replacement: str) -> None:
    """
    Checks that a tokenizer has the token for a replacement.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        replacement (`str`): One of `REPLACEMENTS`.

    Raises:
        DiffMaskError: If the tokenizer lacks this token.
    """
    # Replacements without a token have no such attribute.
    if getattr(tokenizer, f"{replacement}_token_id", 0) is None:
        raise DiffMaskError(f"The tokenizer has no {replacement} token: choose another replacement.")
