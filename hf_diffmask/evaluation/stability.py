"""Similarity of two attributions of the same tokens."""

import math
from collections.abc import Sequence

import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

from ..data.units import maskable, whole_units
from ..errors import DiffMaskError
from .faithfulness import ranking


def rank_correlation(scores: Sequence[float], others: Sequence[float]) -> float:
    """
    Spearman's rank correlation. Equal scores share the mean of their ranks.

    Args:
        scores (`Sequence[float]`): Scores of at least two tokens.
        others (`Sequence[float]`): Other scores of the same tokens.

    Returns:
        `float`: In [-1, 1].

    Raises:
        DiffMaskError: If the numbers of scores differ, there are fewer than two, or one side does not rank the tokens.
    """
    if len(scores) != len(others):
        raise DiffMaskError(f"There are {len(scores)} scores on one side and {len(others)} on the other.")
    if len(scores) < 2:
        raise DiffMaskError("One token alone has no rank: leave this input out.")
    for side in (scores, others):
        ranking(side, [False] * len(side))
    return float(pd.Series(scores).rank().corr(pd.Series(others).rank()))


def perturbed(
    features: dict[str, list[int]], tokenizer: PreTrainedTokenizerBase, share: float = 0.1, seed: int = 0
) -> tuple[dict[str, list[int]], list[bool]]:
    """
    The input with a few random tokens replaced by the mask token. All other tokens stay in place, so their scores can
    be compared.

    Args:
        features (`dict[str, list[int]]`): The model's arguments and `special_tokens_mask`, as lists of length `T`.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Tokenizer with a mask token.
        share (`float`, *optional*, defaults to 0.1): Share of units to replace; their number is rounded up.
        seed (`int`, *optional*, defaults to 0): Seed; the draw depends on the seed and the input only.

    Returns:
        `tuple`: The new input, and for each token whether it can be compared (neither special nor replaced).

    Raises:
        DiffMaskError: If the tokenizer has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise DiffMaskError("The tokenizer has no mask token to perturb inputs with.")
    tokens = [k for k, one in enumerate(maskable(features)) if one]
    generator = torch.Generator().manual_seed(hash((seed, *features["input_ids"])) % 2**63)
    drawn = torch.randperm(len(tokens), generator=generator)[: math.ceil(share * len(tokens) - 1e-9)].tolist()
    gone = {tokens[k] for k in drawn}
    replaced = whole_units(features, [k in gone for k in range(len(features["input_ids"]))])
    ids = [
        tokenizer.mask_token_id if one else token for one, token in zip(replaced, features["input_ids"], strict=True)
    ]
    return {**features, "input_ids": ids}, [k in set(tokens) - gone for k in range(len(ids))]
