"""What windows and sub-words say, merged: of whole inputs and of words."""

from typing import Any

import torch
from torch import Tensor

from .encoding import EncodedText


def _real(window: dict[str, Any]) -> Tensor:
    """Positions of a window that hold no padding, whichever side the tokenizer pads on."""
    return window["attention_mask"][0].bool()


def length_weighted_mean(model_outputs: list[dict[str, Any]], key: str) -> Tensor:
    """
    The windows' mean probabilities, weighted by their length.

    Args:
        model_outputs (`list[dict]`): What the pipeline found of each window; `units` counts its tokens.
        key (`str`): Name of log-probabilities in them, `(1, C)`, in nats.

    Returns:
        `torch.Tensor` of shape `(C,)`: Log-probabilities in nats.
    """
    lengths = torch.tensor([len(window["units"]) for window in model_outputs], dtype=torch.float32)
    logs = torch.stack([window[key][0] for window in model_outputs])
    return torch.logsumexp(logs + (lengths / lengths.sum()).log()[:, None], dim=0)


def length_weighted(model_outputs: list[dict[str, Any]], key: str) -> Tensor:
    """
    The mean of the windows' numbers, weighted by their length.

    Args:
        model_outputs (`list[dict]`): Windows; `units` counts their tokens.
        key (`str`): Name of numbers in them, `(1, K)`.

    Returns:
        `torch.Tensor` of shape `(1, K)`
    """
    lengths = torch.tensor([len(window["units"]) for window in model_outputs], dtype=torch.float32)
    numbers = torch.cat([window[key] for window in model_outputs])
    return ((lengths / lengths.sum())[:, None] * numbers).sum(0, keepdim=True)


def most_central(model_outputs: list[dict[str, Any]], encoded: EncodedText, key: str) -> Tensor:
    """
    Values of a whole input's units, each from the window in whose middle it is most.

    Args:
        model_outputs (`list[dict]`): What the pipeline found of each window.
        encoded ([`~hf_diffmask.data.encoding.EncodedText`]): The whole input.
        key (`str`): Name of values in them, `(1, T_w, K)`.

    Returns:
        `torch.Tensor` of shape `(T, K)`
    """
    first = model_outputs[0][key]
    merged = torch.empty(len(encoded.tokens), first.shape[-1], dtype=first.dtype)
    margin = torch.full((len(encoded.tokens),), -1)
    segments = torch.tensor([-1 if segment is None else segment for segment in encoded.segments])
    for window in model_outputs:
        units = torch.tensor(window["units"])
        from_edge = torch.zeros_like(units)
        for segment in (0, 1):  # each text of a pair is cut by itself
            (run,) = torch.where(segments[units] == segment)
            from_edge[run] = torch.minimum(torch.arange(len(run)), torch.arange(len(run)).flip(0))
        better = from_edge > margin[units]
        merged[units[better]] = window[key][0][_real(window)][better]
        margin[units[better]] = from_edge[better]
    return merged


def merge_words(tokens: list[dict[str, Any]], encoded: EncodedText) -> list[dict[str, Any]]:
    """
    Merges sub-words: a word's score, evidence and states are their maxima, and it is kept if any of them is.

    Args:
        tokens (`list[dict]`): Tokens of the pipeline's result.
        encoded ([`~hf_diffmask.data.encoding.EncodedText`]): The input that they are of.

    Returns:
        `list[dict]`: As many as there are words and special tokens.
    """
    merged: list[dict[str, Any]] = []
    previous = None
    for token, segment, word in zip(tokens, encoded.segments, encoded.words, strict=True):
        if segment is None:
            merged.append(dict(token))
            previous = None
            continue
        key = (segment, word)
        if key != previous:
            merged.append({**token, "token": encoded.texts[segment][token["start"] : token["end"]]})
        else:
            whole = merged[-1]
            whole["end"] = max(whole["end"], token["end"])
            whole["token"] = encoded.texts[segment][whole["start"] : whole["end"]]
            whole["score"] = max(whole["score"], token["score"])
            whole["kept"] = whole["kept"] or token["kept"]
            if "evidence" in token:
                whole["evidence"] = max(whole["evidence"], token["evidence"])
            whole["states"] = [max(pair) for pair in zip(whole["states"], token["states"], strict=True)]
        previous = key
    return merged
