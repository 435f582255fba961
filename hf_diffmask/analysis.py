"""What an explainer says of a whole data set: the paper's analyses, as plain data, ready for plots and JSON."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from .budget_search import smallest_budget
from .data import Text, Window, encode, max_length, windows
from .errors import DiffMaskError
from .modeling_diffmask import DiffMaskModel
from .tasks.sst import LABELS, Sentence
from .validation import COLUMNS, measure

# First character, the character after the last, and a label for what is between.
Span = tuple[int, int, str]

# Of tokens, in the order in which they are shown.
GROUPS = (
    "ordinary tokens",
    "first text",
    "second text",
    "question",
    "passage",
    "predicted answer",
    "special tokens",
)


class GroupCurve(TypedDict):
    """Mean keep probability of a group of tokens."""

    group: str
    count: int
    """Tokens in it, over all inputs."""
    mean: list[float]
    """One for each state, in [0, 1]."""


class KeepByState(TypedDict):
    """What [`keep_by_state`] returns."""

    states: list[str]
    groups: list[GroupCurve]


class LabelMean(TypedDict):
    """Mean number of states at which the tokens of a label are kept."""

    label: str
    special: bool
    """Whether the label is the text of a special token."""
    count: int
    """Tokens, over all inputs."""
    mean: float
    """In states, from 0 to their number."""
    standard_error: float | None
    """Of the mean, in states; `None` for a single token."""


class StatesKept(TypedDict):
    """What [`states_kept_by_label`] returns."""

    num_states: int
    groups: list[LabelMean]


class FixedByState(TypedDict):
    """What [`fixed_by_state`] returns."""

    states: list[str]
    count: int
    """Inputs."""
    unchanged: list[float]
    """Share of inputs whose prediction the hard mask of each state leaves as it is, in [0, 1]."""
    fixed: list[float]
    """Share of inputs for which the same holds at each state and at all above it; it never falls."""


class DecidedByState(TypedDict):
    """What [`decided_by_state`] returns."""

    states: list[str]
    count: int
    """Inputs."""
    margin: float
    """What the masks were allowed to cost."""
    lower: list[float]
    """Of each state, the share of its tokens that a quarter of the inputs need at most, in [0, 1]."""
    median: list[float]
    """The same for half of them."""
    upper: list[float]
    """The same for three quarters."""
    mean: list[float]
    """Mean share over the inputs."""


class HeatMapPanel(TypedDict):
    """One explainer's view of an input."""

    title: str
    states: list[str]
    keep_probability: list[list[float]]
    """`T` rows of `S`, in [0, 1]."""


class HeatMap(TypedDict):
    """What [`heat_map`] returns."""

    tokens: list[str]
    panels: list[HeatMapPanel]


def states_kept(result: dict[str, Any]) -> list[int]:
    """
    At how many states each token is kept (keep probability above 0.5).

    Args:
        result (`dict`): A result of the pipeline.

    Returns:
        `list[int]`: One number a token, from 0 to the number of states.
    """
    return [sum(keep > 0.5 for keep in token["states"]) for token in result["tokens"]]


def _names_of_states(results: Sequence[dict[str, Any]]) -> list[str]:
    if not results:
        raise DiffMaskError("There is nothing to analyse: give at least one result of the pipeline.")
    names = results[0]["states"]
    if any(result["states"] != names for result in results):
        raise DiffMaskError("The results are of different states: analyse those of one explainer at a time.")
    return names


def _group(token: dict[str, Any], result: dict[str, Any]) -> str:
    if token["special"]:
        return "special tokens"
    if "segment" not in token:
        return "ordinary tokens"
    if "answer" not in result:
        return ("first text", "second text")[token["segment"]]
    if token["segment"] == 0:
        return "question"
    in_answer = token["start"] < result["end"] and token["end"] > result["start"]
    return "predicted answer" if in_answer else "passage"


def keep_by_state(results: Sequence[dict[str, Any]]) -> KeepByState:
    """
    Mean keep probability at each state of groups of tokens (the paper's analysis of question answering).

    The groups are disjoint: ordinary and special tokens of single texts; the first text, the second and the special
    tokens of pairs; of question answering the question, the passage without the predicted answer, the predicted answer
    and the special tokens. Every token counts alike, whichever input it is of.

    Args:
        results (`Sequence[dict]`): Results of the pipeline, of one explainer and with `aggregation="token"`.

    Returns:
        [`KeepByState`]: A plain `dict`. Groups without a token are left out.

    Raises:
        DiffMaskError: If there are no results, or their states differ.
    """
    names = _names_of_states(results)
    members: dict[str, list[list[float]]] = defaultdict(list)
    for result in results:
        for token in result["tokens"]:
            members[_group(token, result)].append(token["states"])
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
    Hands labels of words on to tokens, by character offsets.

    Args:
        result (`dict`): A result of the pipeline.
        spans (`Sequence[Sequence[tuple[int, int, str]]]`):
            Of the text, or of each of a pair, its labelled spans: start, end and label, in order and disjoint.

    Returns:
        `list[str | None]`: For each token the label of the span with which it shares most characters, of the first of
        several that tie, and `None` where it shares none; special tokens are their own labels.
    """
    labels: list[str | None] = []
    for token in result["tokens"]:
        if token["special"]:
            labels.append(token["token"])
            continue
        best, most = None, 0
        for start, end, label in spans[token.get("segment", 0)]:
            shared = min(end, token["end"]) - max(start, token["start"])
            if shared > most:
                best, most = label, shared
        labels.append(best)
    return labels


def word_sentiments(sentence: Sentence) -> list[Span]:
    """
    The words of a sentence with the sentiment that each has on its own.

    Args:
        sentence ([`~hf_diffmask.tasks.sst.Sentence`]): A sentence of the treebank.

    Returns:
        `list[tuple[int, int, str]]`: Start and end of each word in `sentence.text`, and a name of `LABELS`.
    """
    # Words are joined by one space.
    ends = list(itertools.accumulate(len(word) + 1 for word in sentence.words))
    return [
        (end - 1 - len(word), end - 1, LABELS[label])
        for word, end, label in zip(sentence.words, ends, sentence.word_labels, strict=True)
    ]


def states_kept_by_label(
    results: Sequence[dict[str, Any]], labels: Sequence[Sequence[str | None]], order: Sequence[str] = ()
) -> StatesKept:
    """
    Mean number of states at which a token is kept, by a label of the token (the paper's analysis of parts of speech).

    The standard error takes tokens for independent, which those of one text are not quite: it is a lower bound.

    Args:
        results (`Sequence[dict]`): Results of the pipeline, of one explainer and with `aggregation="token"`.
        labels (`Sequence[Sequence[str | None]]`):
            Labels of each result's tokens, see [`token_labels`]; tokens with `None` are left out.
        order (`Sequence[str]`, *optional*):
            Labels that come first, in this order. The others follow by falling mean, those of special tokens last.

    Returns:
        [`StatesKept`]: A plain `dict`. Labels without a token are left out.

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
    place = {label: position for position, label in enumerate(order)}
    groups.sort(key=lambda group: (group["special"], place.get(group["label"], len(place)), -group["mean"]))
    return {"num_states": len(names), "groups": groups}


def unchanged_predictions(
    explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], batch_size: int = 8
) -> Tensor:
    """
    Whether the hard mask of each state leaves the prediction of each input as it is: a masked pass each.

    The prediction is the label, or the most probable start and end of an answer. That of an input that needs several
    windows counts as unchanged if it is so in all of them.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's.
        texts (`Sequence`): `N` texts or pairs.
        batch_size (`int`, *optional*, defaults to 8): Windows that run through the base model at once.

    Returns:
        `torch.Tensor` of shape `(N, S)`, `bool`.
    """
    unchanged = torch.ones(len(texts), explainer.config.num_states, dtype=torch.bool)
    for indices, features in _of_one_length(explainer, tokenizer, texts, batch_size, "Masking at each state"):
        agreement = measure(explainer, features)[..., COLUMNS.index("agreement")].bool().cpu()
        for index, row in zip(indices, agreement, strict=True):
            unchanged[index] &= row
    return unchanged


def _of_one_length(
    explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], batch_size: int, title: str
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Batches of windows with the texts that they are of. None is padded, so that a tokenizer that cannot will do."""
    length = max_length(explainer.base, tokenizer)
    parts: list[tuple[int, Window]] = [
        (index, window) for index, text in enumerate(texts) for window in windows(encode(tokenizer, text), length)
    ]

    def size(part: tuple[int, Window]) -> int:
        return len(part[1].units)

    with tqdm(total=len(parts), desc=title, unit="window", disable=len(parts) < 20) as progress:
        for _, group in itertools.groupby(sorted(parts, key=size), key=size):
            of_one_length = list(group)
            for start in range(0, len(of_one_length), batch_size):
                batch = of_one_length[start : start + batch_size]
                features = {
                    name: torch.tensor([window.features[name] for _, window in batch], device=explainer.device)
                    for name in batch[0][1].features
                }
                yield [index for index, _ in batch], features
                progress.update(len(batch))


@torch.no_grad()
def smallest_shares(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    margin: float | None = None,
    batch_size: int = 8,
) -> Tensor:
    """
    How much of each input a path has to keep at each state: its smallest budget that is within a margin, as verified.

    Of an input that needs several windows, each of them is searched, and their budgets are added up.

    Args:
        explainer ([`DiffMaskModel`]): One whose masks form a path (`--recipe path`).
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's.
        texts (`Sequence`): `N` texts or pairs.
        margin (`float`, *optional*): What a mask may cost, see [`DiffMaskModel.cost`]; by default the explainer's.
        batch_size (`int`, *optional*, defaults to 8): Windows whose paths are searched at once.

    Returns:
        `torch.Tensor` of shape `(N, S)`: Shares of the units that can be masked, in [0, 1]; 0 where there is none.

    Raises:
        DiffMaskError: If the explainer's masks form no path.
    """
    if explainer.config.objective != "path":
        raise DiffMaskError("Only a path can be cut at any budget: train an explainer with --recipe path.")
    margin = explainer.config.margin if margin is None else margin
    found = torch.zeros(2, len(texts), explainer.config.num_states)
    for indices, features in _of_one_length(explainer, tokenizer, texts, batch_size, "Searching at each state"):
        inputs = {name: value for name, value in features.items() if name != "special_tokens_mask"}
        output = explainer(**features)
        for state in range(explainer.config.num_states):
            scores = output.logits[..., state]
            budget = smallest_budget(explainer, scores, output.maskable, margin, state, **inputs).budget
            found[0, :, state].index_add_(0, torch.tensor(indices), budget.cpu().float())
            found[1, :, state].index_add_(0, torch.tensor(indices), output.maskable.sum(-1).cpu().float())
    return found[0] / found[1].clamp(min=1)


def decided_by_state(states: Sequence[str], shares: Tensor, margin: float) -> DecidedByState:
    """
    When predictions were decided: how much of the inputs each state shows to be enough.

    Each share is of a mask that was run and is within the margin, or keeps everything, so that the rest is irrelevant;
    a smaller one may be, too (see [`~hf_diffmask.budget_search.smallest_budget`]).

    Args:
        states (`Sequence[str]`): Names of the `S` states.
        shares (`torch.Tensor` of shape `(N, S)`): See [`smallest_shares`].
        margin (`float`): What the masks were allowed to cost.

    Returns:
        [`DecidedByState`]: A plain `dict`.

    Raises:
        DiffMaskError: If there are no inputs.
    """
    if not len(shares):
        raise DiffMaskError("There is nothing to analyse: give at least one input.")
    quartiles = torch.quantile(shares.double(), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=0)
    return {
        "states": list(states),
        "count": len(shares),
        "margin": margin,
        "lower": quartiles[0].tolist(),
        "median": quartiles[1].tolist(),
        "upper": quartiles[2].tolist(),
        "mean": shares.double().mean(0).tolist(),
    }


def fixed_by_state(states: Sequence[str], unchanged: Tensor) -> FixedByState:
    """
    From which state on predictions are settled.

    The prediction of an input is *fixed at a state* if the hard masks of this state and of every state above it leave
    it as it is: from there on up, what the explainer keeps is enough to decide. Where the last state's mask changes
    it, it is fixed nowhere. To be unchanged at one state alone is less: under a low state's mask that keeps nearly
    all any prediction is, and what is dropped above may still change it.

    Args:
        states (`Sequence[str]`): Names of the `S` states.
        unchanged (`torch.Tensor` of shape `(N, S)`, `bool`): See [`unchanged_predictions`].

    Returns:
        [`FixedByState`]: A plain `dict`.

    Raises:
        DiffMaskError: If there are no inputs.
    """
    if not len(unchanged):
        raise DiffMaskError("There is nothing to analyse: give at least one input.")
    fixed = unchanged.long().flip(1).cumprod(1).flip(1)
    return {
        "states": list(states),
        "count": len(unchanged),
        "unchanged": unchanged.double().mean(0).tolist(),
        "fixed": fixed.double().mean(0).tolist(),
    }


def heat_map(views: dict[str, dict[str, Any]]) -> HeatMap:
    """
    Keep probabilities of one input, units x states, as one or more explainers see them (the paper's heat maps).

    Args:
        views (`dict[str, dict]`): A title for each explainer, and its pipeline's result for the input.

    Returns:
        [`HeatMap`]: A plain `dict`.

    Raises:
        DiffMaskError: If the results are of different inputs.
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
