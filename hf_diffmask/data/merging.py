"""Merges results of windows into whole inputs, and results of tokens into words."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .encoding import EncodedText, NoOffsets
from .units import unit_of
from .words import words


def _real(window: dict[str, Any]) -> Tensor:
    """Positions of a window without padding, on either side."""
    return window["attention_mask"][0].bool()


def length_weighted_mean(model_outputs: list[dict[str, Any]], key: str) -> Tensor:
    """
    Log of the windows' mean probabilities, weighted by window length.

    Args:
        model_outputs (`list[dict]`): The pipeline's result for each window; `units` has one entry per token.
        key (`str`): Key of the log-probabilities in a result, `(1, C)`, in nats.

    Returns:
        `torch.Tensor` of shape `(C,)`: Log-probabilities in nats.
    """
    lengths = torch.tensor([len(window["units"]) for window in model_outputs], dtype=torch.float32)
    logs = torch.stack([window[key][0] for window in model_outputs])
    return torch.logsumexp(logs + (lengths / lengths.sum()).log()[:, None], dim=0)


def length_weighted(model_outputs: list[dict[str, Any]], key: str) -> Tensor:
    """
    Mean of the windows' numbers, weighted by window length.

    Args:
        model_outputs (`list[dict]`): The pipeline's result for each window; `units` has one entry per token.
        key (`str`): Key of the numbers in a result, `(1, K)`.

    Returns:
        `torch.Tensor` of shape `(1, K)`
    """
    lengths = torch.tensor([len(window["units"]) for window in model_outputs], dtype=torch.float32)
    numbers = torch.cat([window[key] for window in model_outputs])
    return ((lengths / lengths.sum())[:, None] * numbers).sum(0, keepdim=True)


def most_central(model_outputs: list[dict[str, Any]], encoded: EncodedText, key: str) -> Tensor:
    """
    Values for a whole input's units, each from the window with the unit farthest from the edges.

    Args:
        model_outputs (`list[dict]`): The pipeline's result for each window.
        encoded ([`~hf_diffmask.data.encoding.EncodedText`]): The whole input.
        key (`str`): Key of the values in a result, `(1, T_w, K)`.

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
        for segment in (0, 1):  # texts of a pair are split separately
            (run,) = torch.where(segments[units] == segment)
            from_edge[run] = torch.minimum(torch.arange(len(run)), torch.arange(len(run)).flip(0))
        better = from_edge > margin[units]
        merged[units[better]] = window[key][0][_real(window)][better]
        margin[units[better]] = from_edge[better]
    return merged


def tokens_of(model_outputs: list[dict[str, Any]], encoded: EncodedText, state: int) -> list[dict[str, Any]]:
    """
    The tokens of a whole input, with their scores.

    Args:
        model_outputs (`list[dict]`): The pipeline's result for each window.
        encoded ([`~hf_diffmask.data.encoding.EncodedText`]): The whole input.
        state (`int`): Number of the state whose evidence is given.

    Returns:
        `list[dict]`: `tokens` of the pipeline's result.
    """
    keep_probability = most_central(model_outputs, encoded, "keep_probability")
    (kept,) = most_central(model_outputs, encoded, "kept").T
    evidence = most_central(model_outputs, encoded, "evidence") if "evidence" in model_outputs[0] else None
    is_pair, has_offsets = 1 in encoded.segments, not isinstance(encoded.offsets, NoOffsets)
    tokens = []
    for unit, token in enumerate(encoded.tokens):
        segment = encoded.segments[unit]
        states = keep_probability[unit].tolist()
        tokens.append(
            {
                "token": token,
                "start": encoded.offsets[unit][0] if has_offsets else None,
                "end": encoded.offsets[unit][1] if has_offsets else None,
                "special": bool(encoded.features["special_tokens_mask"][unit]),
                "score": sum(states) / len(states) if evidence is None else states[state],
                "kept": bool(kept[unit]),
                "states": states,
                **({} if evidence is None else {"evidence": evidence[unit, state].item()}),
                **({"segment": segment} if is_pair else {}),
            }
        )
    return tokens


def merge_words(tokens: list[dict[str, Any]], encoded: EncodedText, own: Container[str] = ()) -> list[dict[str, Any]]:
    """
    Merges tokens into words: maximum of scores, evidence and states; a word is kept if any of its tokens is.

    Args:
        tokens (`list[dict]`): Tokens in the pipeline's result.
        encoded ([`~hf_diffmask.data.encoding.EncodedText`]): The input of these tokens.
        own (`Container[str]`, *optional*): Tokens that the tokenizer finds in a text as they are.

    Returns:
        `list[dict]`: One for each special token and each word that has a token, see
        [`~hf_diffmask.data.words.words`].
    """
    # For each token, the words that it is a part of: number of the text, start and end.
    parts: dict[int, list[tuple[int, ...]]] = {}
    for which, text in enumerate(encoded.texts):
        units = [unit for unit, number in enumerate(encoded.segments) if number == which]
        names = [encoded.tokens[unit] for unit in units]
        found, numbers = words(text, names, [encoded.offsets[unit] for unit in units], own)
        for unit, of_token in zip(units, numbers, strict=True):
            parts[unit] = [(which, *found[number]) for number in of_token]
    return _merged(tokens, encoded, parts)


def merge_units(tokens: list[dict[str, Any]], encoded: EncodedText) -> list[dict[str, Any]]:
    """
    Merges the tokens of each unit, see [`~hf_diffmask.data.units.with_units`]. They differ only where a window ends
    inside of a unit; then as in [`merge_words`].

    Args:
        tokens (`list[dict]`): Tokens in the pipeline's result.
        encoded ([`~hf_diffmask.data.encoding.EncodedText`]): The input of these tokens.

    Returns:
        `list[dict]`: One for each special token and each unit, in the order of the text.
    """
    if "unit_of" not in encoded.features:
        return tokens
    ends: dict[int, tuple[int, ...]] = {}
    numbers = unit_of(encoded)
    for token, number, segment in zip(tokens, numbers, encoded.segments, strict=True):
        if segment is not None:
            _, start, end, _ = ends.get(number, (segment, token["start"], token["end"], number))
            ends[number] = segment, min(start, token["start"]), max(end, token["end"]), number
    return _merged(tokens, encoded, {k: [ends[number]] for k, number in enumerate(numbers) if number in ends})


def _merged(
    tokens: list[dict[str, Any]], encoded: EncodedText, parts: Mapping[int, Sequence[tuple[int, ...]]]
) -> list[dict[str, Any]]:
    """Tokens merged into parts of the text: number of the text, start, end, and what else tells them apart."""
    merged: list[dict[str, Any]] = []
    whole: dict[tuple[int, ...], dict[str, Any]] = {}
    for unit, token in enumerate(tokens):
        if unit not in parts:
            merged.append(dict(token))
            continue
        for key in parts[unit]:
            if key not in whole:
                which, start, end, *_ = key
                whole[key] = {**token, "token": encoded.texts[which][start:end], "start": start, "end": end}
                merged.append(whole[key])
                continue
            word = whole[key]
            for figure in ("score", "evidence"):
                if figure in token:
                    word[figure] = max(word[figure], token[figure])
            word["kept"] = word["kept"] or token["kept"]
            word["states"] = [max(pair) for pair in zip(word["states"], token["states"], strict=True)]
    return merged
