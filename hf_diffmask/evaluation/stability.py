"""How alike two attributions of the same tokens are."""

import math
from collections.abc import Sequence

import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

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
        DiffMaskError: If one of the two does not rank the tokens.
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
    An input with a few tokens, drawn at random, in the place of which the mask token comes. All others stay where and
    what they are, so that their scores can be compared.

    Args:
        features (`dict[str, list[int]]`): What the model takes, and `special_tokens_mask`; a list of `T` each.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Knows the mask token.
        share (`float`, *optional*, defaults to 0.1): Of the tokens that are not special; rounded up.
        seed (`int`, *optional*, defaults to 0): The draw is a function of the seed and the input.

    Returns:
        `tuple`: The new input, and of each token whether it can be compared: it is neither special nor replaced.

    Raises:
        DiffMaskError: If the tokenizer has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise DiffMaskError("The tokenizer has no mask token to perturb inputs with.")
    tokens = [k for k, special in enumerate(features["special_tokens_mask"]) if not special]
    generator = torch.Generator().manual_seed(hash((seed, *features["input_ids"])) % 2**63)
    drawn = torch.randperm(len(tokens), generator=generator)[: math.ceil(share * len(tokens) - 1e-9)].tolist()
    gone = {tokens[k] for k in drawn}
    ids = [tokenizer.mask_token_id if k in gone else token for k, token in enumerate(features["input_ids"])]
    return {**features, "input_ids": ids}, [k in set(tokens) - gone for k in range(len(ids))]
