"""Many methods on the same inputs in one run: what each says of the tokens, how faithful it is, what it costs."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from ..data.batching import in_batches
from ..methods.registry import METHODS, Explainers, Features
from .faithfulness import Preset, areas, curves, measures
from .predictions import class_probabilities
from .soft_faithfulness import NoScaleError, soft_measures
from .stability import perturbed, rank_correlation

RESAMPLES = 1000  # of the bootstrap


class Attributed(NamedTuple):
    """What a method says of inputs."""

    scores: list[list[float]]
    """Of each input, a score for each token."""
    seconds: float
    """What that took, an input."""
    forwards: float
    """The same in forward passes of the base model over the same batches, timed in the same run."""


def attribute(
    explainers: Explainers,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    method: str,
    batch_size: int = 32,
) -> Attributed:
    """
    Runs a method, and times it beside bare forward passes over the same batches.

    Args:
        explainers ([`Explainers`]): What it is computed with.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of the base model.
        inputs (`Sequence[dict[str, list[int]]]`): Of each what the base model takes, and `special_tokens_mask`.
        method (`str`): One of `METHODS`.
        batch_size (`int`, *optional*, defaults to 32): Inputs at once.

    Returns:
        [`Attributed`]
    """
    base, device = explainers.trained.base, explainers.trained.device
    seconds = bare = 0.0
    is_first = True
    with tqdm(total=len(inputs), desc=method, leave=False, disable=len(inputs) < 2 * batch_size) as progress:

        def run(features: Features) -> list[list[float]]:
            nonlocal seconds, bare, is_first
            plain = {name: value for name, value in features.items() if name != "special_tokens_mask"}
            with torch.no_grad():
                if is_first:
                    base(**plain)  # the first pass of all is slow: it would flatter whatever is set beside it
                    is_first = False
                begun = time.perf_counter()
                base(**plain).logits.sum().item()
            between = time.perf_counter()
            scores = METHODS[method](explainers, features).double().cpu()
            seconds += time.perf_counter() - between
            bare += between - begun
            progress.update(len(scores))
            return [
                row[there].tolist() for row, there in zip(scores, features["attention_mask"].bool().cpu(), strict=True)
            ]

        found = in_batches(tokenizer, inputs, device, run, batch_size)
    return Attributed(found, seconds / len(inputs), seconds / bare)


def rankable(
    inputs: Sequence[dict[str, list[int]]], scores: Sequence[list[float]], preset: Preset
) -> tuple[list[list[float]], int]:
    """
    Lets the order of the text do where a method ranks nothing, so that one such input does not end a comparison.

    Args:
        inputs (`Sequence[dict[str, list[int]]]`): Of each `special_tokens_mask` counts.
        scores (`Sequence[list[float]]`): Of each input, a score for each token.
        preset ([`~hf_diffmask.evaluation.faithfulness.Preset`]): The protocol.

    Returns:
        `tuple`: The scores, and of how many inputs they are replaced: those whose tokens all have one score, or, where
        the preset takes away only tokens with a score above 0, have none.
    """
    found, replaced = [], 0
    for one, of_input in zip(inputs, scores, strict=True):
        ranked = [score for score, special in zip(of_input, one["special_tokens_mask"], strict=True) if not special]
        if (len(ranked) > 1 and len(set(ranked)) == 1) or (preset.positive and max(ranked, default=1.0) <= 0):
            of_input = [1 / (1 + position) for position in range(len(of_input))]
            replaced += 1
        found.append(of_input)
    return found, replaced


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """
    A 95 % interval of a mean, by the percentile bootstrap over inputs.

    Args:
        values (`numpy.ndarray` of shape `(N,)`): One value an input.
        seed (`int`, *optional*, defaults to 0): Seed of the resamples: the same for all methods, so that intervals of
            differences are paired.

    Returns:
        `tuple[float, float]`: Lower and upper end.
    """
    picked = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[picked].mean(-1), [2.5, 97.5])
    return float(low), float(high)


def measured(
    explainers: Explainers,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    scores: Sequence[Sequence[float]],
    preset: Preset,
    batch_size: int = 64,
) -> dict[str, np.ndarray]:
    """
    Figures of [`~hf_diffmask.evaluation.faithfulness.measures`] for each input.

    Args:
        explainers ([`Explainers`]): Hold the base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of the base model.
        inputs (`Sequence[dict[str, list[int]]]`): Of each what the base model takes, and `special_tokens_mask`.
        scores (`Sequence[Sequence[float]]`): Of each input, a score for each token.
        preset ([`~hf_diffmask.evaluation.faithfulness.Preset`]): The protocol.
        batch_size (`int`, *optional*, defaults to 64): Inputs at once.

    Returns:
        `dict[str, numpy.ndarray]`: Of each figure `(N,)` values.
    """
    base, task = explainers.trained.base, explainers.trained.task
    found = [measures(curve) for curve in curves(base, tokenizer, inputs, scores, preset, None, batch_size, task)]
    return {name: np.array([row[name] for row in found]) for name in found[0]}


def extended(
    explainers: Explainers,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    scores: Sequence[list[float]],
    preset: Preset,
    method: str | None,
    batch_size: int = 32,
) -> dict[str, np.ndarray]:
    """
    Figures that cost many passes an input: areas under the curves of deletion and insertion, soft faithfulness, and
    stability, the rank correlation with what a method says of inputs a tenth of whose tokens is masked.

    Args:
        explainers ([`Explainers`]): Hold the base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of the base model.
        inputs (`Sequence[dict[str, list[int]]]`): Of each what the base model takes, and `special_tokens_mask`.
        scores (`Sequence[list[float]]`): Of each input, a score for each token.
        preset ([`~hf_diffmask.evaluation.faithfulness.Preset`]): Its replacement counts.
        method (`str`, *optional*):
            Which gave the scores; `None` for one that cannot be run here, so that there is no stability. Nor is there
            without a mask token.
        batch_size (`int`, *optional*, defaults to 32): Inputs at once.

    Returns:
        `dict[str, numpy.ndarray]`: Of each figure at most `N` values: soft figures leave out inputs that a whole of
        zeros does not make less sure, and stability those of which there is nothing to rank, and those that are
        predicted otherwise once tokens are masked.
    """
    base, task = explainers.trained.base, explainers.trained.task
    every = Preset(preset.replacement, None, "ceil")
    ranks, _ = rankable(inputs, scores, every)
    found: dict[str, list[float]] = {}
    for curve in curves(base, tokenizer, inputs, ranks, every, None, batch_size, task):
        for name, value in areas(curve).items():
            found.setdefault(name, []).append(value)
    for one, of_input in zip(inputs, ranks, strict=True):
        try:
            soft = soft_measures(base, tokenizer, one, of_input, seed=explainers.seed, task=task)
        except NoScaleError:
            continue
        for name, value in soft.items():
            found.setdefault(name, []).append(value)
    if method is not None and tokenizer.mask_token_id is not None:
        changed, comparable = zip(*(perturbed(one, tokenizer, seed=explainers.seed) for one in inputs), strict=True)
        others = attribute(explainers, tokenizer, changed, method, batch_size).scores
        predicted = [
            class_probabilities(
                base, tokenizer, side, [[True] * len(one["input_ids"]) for one in side], "delete", task=task
            )
            for side in (inputs, changed)
        ]
        same = (predicted[0].argmax(-1) == predicted[1].argmax(-1)).tolist()
        found["stability"] = []
        for of_input, of_changed, tokens, comparable_too in zip(scores, others, comparable, same, strict=True):
            # An explanation of another class says something else, and rightly so.
            if not comparable_too:
                continue
            pair = [
                [score for score, there in zip(side, tokens, strict=True) if there] for side in (of_input, of_changed)
            ]
            if len(pair[0]) > 1 and all(len(set(side)) > 1 for side in pair):
                found["stability"].append(rank_correlation(*pair))
    return {name: np.array(values) for name, values in found.items() if values}


def summary(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """
    Means with their intervals.

    Args:
        values (`dict[str, numpy.ndarray]`): Result of [`measured`].

    Returns:
        `dict`: Of each figure `mean`, and `low` and `high` of its 95 % interval.
    """
    return {
        name: dict(zip(("mean", "low", "high"), (float(of_figure.mean()), *interval(of_figure)), strict=True))
        for name, of_figure in values.items()
    }
