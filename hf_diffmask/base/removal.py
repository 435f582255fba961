"""Ways to take tokens away from an input."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from ..errors import DiffMaskError

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
