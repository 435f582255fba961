"""At how many states tokens are kept, by group and by label (the paper's analyses)."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ..data.sst import LABELS, Sentence
from ..display.plot_data import HeatMap, KeepByState, LabelMean, StatesKept
from ..errors import DiffMaskError
from ..tasks.registry import task_of_result

# First character, the character after the last, label.
Span = tuple[int, int, str]


# Groups of tokens, in display order.
GROUPS = (
    "ordinary tokens",
    "first text",
    "second text",
    "question",
    "passage",
    "predicted answer",
    "special tokens",
)


def states_kept(result: dict[str, Any]) -> list[int]:
    """
    Number of states that keep each token (keep probability above 0.5).

    Args:
        result (`dict`): A result of the pipeline.

    Returns:
        `list[int]`: One number per token, from 0 to the number of states.
    """
    return [sum(keep > 0.5 for keep in token["states"]) for token in result["tokens"]]


def _names_of_states(results: Sequence[dict[str, Any]]) -> list[str]:
    if not results:
        raise DiffMaskError("There is nothing to analyse: give at least one result of the pipeline.")
    names = results[0]["states"]
    if any(result["states"] != names for result in results):
        raise DiffMaskError("The results are of different states: analyse those of one explainer at a time.")
    return names


def keep_by_state(results: Sequence[dict[str, Any]]) -> KeepByState:
    """
    Mean keep probability of token groups at each state (the paper's analysis of question answering).

    The groups are disjoint. Single texts: ordinary and special tokens. Pairs: first text, second text and special
    tokens. Question answering: question, passage without the predicted answer, predicted answer and special tokens.
    All tokens of all inputs have the same weight.

    Args:
        results (`Sequence[dict]`): Results of the pipeline, of one explainer and with `aggregation="token"`.

    Returns:
        [`KeepByState`]: A plain `dict`, without empty groups.

    Raises:
        DiffMaskError: If there are no results, or their states differ.
    """
    names = _names_of_states(results)
    members: dict[str, list[list[float]]] = defaultdict(list)
    for result in results:
        task = task_of_result(result)
        for token in result["tokens"]:
            members[task.group(token, result)].append(token["states"])
    return {
        "states": names,
        "groups": [
            {
                "group": group,
                "count": len(members[group]),
                "mean": [statistics.fmean(values) for values in zip(*members[group], strict=True)],
            }
            for group in GROUPS
            if group in members
        ],
    }


def token_labels(result: dict[str, Any], spans: Sequence[Sequence[Span]]) -> list[str | None]:
    """
    Labels of tokens, taken from labelled words by character offsets.

    Args:
        result (`dict`): A result of the pipeline.
        spans (`Sequence[Sequence[tuple[int, int, str]]]`):
            Labelled spans of the text, or of both texts of a pair: start, end and label, in order and disjoint.

    Returns:
        `list[str | None]`: For each token, the label of the span that shares most characters with it (the first, in a
        tie), or `None` if no span does. A special token is its own label.

    Raises:
        DiffMaskError: If the tokens have no place in the text, since the tokenizer is a slow one.
    """
    labels: list[str | None] = []
    for token in result["tokens"]:
        if token["special"]:
            labels.append(token["token"])
            continue
        if token["start"] is None:
            raise DiffMaskError("Labelled spans need character offsets, and this tokenizer gives none.")
        best, most = None, 0
        for start, end, label in spans[token.get("segment", 0)]:
            shared = min(end, token["end"]) - max(start, token["start"])
            if shared > most:
                best, most = label, shared
        labels.append(best)
    return labels


def word_sentiments(sentence: Sentence) -> list[Span]:
    """
    Words of a sentence, each labelled with its own sentiment.

    Args:
        sentence ([`~hf_diffmask.data.sst.Sentence`]): A sentence of the treebank.

    Returns:
        `list[tuple[int, int, str]]`: Start and end of each word in `sentence.text`, and a name of `LABELS`.
    """
    # The text joins words with one space.
    ends = list(itertools.accumulate(len(word) + 1 for word in sentence.words))
    return [
        (end - 1 - len(word), end - 1, LABELS[label])
        for word, end, label in zip(sentence.words, ends, sentence.word_labels, strict=True)
    ]


def states_kept_by_label(
    results: Sequence[dict[str, Any]], labels: Sequence[Sequence[str | None]], order: Sequence[str] = ()
) -> StatesKept:
    """
    Mean number of states that keep a token, by token label (the paper's analysis of parts of speech).

    The standard error is a lower bound: it assumes independent tokens, but tokens of one text are dependent.

    Args:
        results (`Sequence[dict]`): Results of the pipeline, of one explainer and with `aggregation="token"`.
        labels (`Sequence[Sequence[str | None]]`):
            Labels of each result's tokens, see [`token_labels`]; tokens with `None` are left out.
        order (`Sequence[str]`, *optional*):
            Labels that come first, in this order. The others follow by falling mean, special tokens last.

    Returns:
        [`StatesKept`]: A plain `dict`, without labels that no token has.

    Raises:
        DiffMaskError: If there are no results, or their states differ.
    """
    names = _names_of_states(results)
    members: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for result, of_tokens in zip(results, labels, strict=True):
        for token, kept, label in zip(result["tokens"], states_kept(result), of_tokens, strict=True):
            if label is not None:
                members[token["special"], label].append(kept)
    groups: list[LabelMean] = [
        {
            "label": label,
            "special": special,
            "count": len(kept),
            "mean": statistics.fmean(kept),
            "standard_error": statistics.stdev(kept) / len(kept) ** 0.5 if len(kept) > 1 else None,
        }
        for (special, label), kept in members.items()
    ]
    rank = {label: position for position, label in enumerate(order)}
    groups.sort(key=lambda group: (group["special"], rank.get(group["label"], len(rank)), -group["mean"]))
    return {"num_states": len(names), "groups": groups}


def heat_map(views: dict[str, dict[str, Any]]) -> HeatMap:
    """
    Keep probabilities of one input, units x states, from one or more explainers (the paper's heat maps).

    Args:
        views (`dict[str, dict]`): The pipeline's result for the input, by a title for each explainer.

    Returns:
        [`HeatMap`]: A plain `dict`.

    Raises:
        DiffMaskError: If the results are for different inputs.
    """
    first, *others = ([token["token"] for token in result["tokens"]] for result in views.values())
    if any(tokens != first for tokens in others):
        raise DiffMaskError("The results are of different tokens: a heat map shows one input.")
    return {
        "tokens": first,
        "panels": [
            {
                "title": title,
                "states": result["states"],
                "keep_probability": [token["states"] for token in result["tokens"]],
            }
            for title, result in views.items()
        ],
    }
