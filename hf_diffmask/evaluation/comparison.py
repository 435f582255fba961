"""Runs methods on the same inputs: scores, faithfulness and cost of each."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from ..base.running import run
from ..data.batching import in_batches
from ..data.features import model_inputs
from ..data.units import maskable
from ..methods.registry import METHODS, Explainers, Features
from .faithfulness import Preset, areas, curves, measures
from .predictions import class_probabilities
from .soft_faithfulness import NoScaleError, soft_measures
from .stability import perturbed, rank_correlation

RESAMPLES = 1000  # resamples of the bootstrap


class Attributed(NamedTuple):
    """A method's scores and cost."""

    scores: list[list[float]]
    """For each input, a score per token."""
    seconds: float
    """Seconds per input."""
    forwards: float
    """Cost per input in forward passes of the base model, timed on the same batches in the same run."""


def attribute(
    explainers: Explainers,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    method: str,
    batch_size: int = 32,
) -> Attributed:
    """
    A method's scores and its cost, compared with bare forward passes on the same batches.

    Args:
        explainers ([`Explainers`]): Explainers that the method uses.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments and `special_tokens_mask`.
        method (`str`): One of `METHODS`.
        batch_size (`int`, *optional*, defaults to 32): Inputs per batch.

    Returns:
        [`Attributed`]
    """
    base, device = explainers.trained.base, explainers.trained.device
    seconds = bare = 0.0
    is_first = True
    with tqdm(total=len(inputs), desc=method, leave=False, disable=len(inputs) < 2 * batch_size) as progress:

        def attributed(features: Features) -> list[list[float]]:
            nonlocal seconds, bare, is_first
            plain = model_inputs(features)
            with torch.no_grad():
                if is_first:
                    run(base, plain)  # the first pass is slow and would make the method look cheap
                    is_first = False
                begun = time.perf_counter()
                run(base, plain).logits.sum().item()
            between = time.perf_counter()
            scores = METHODS[method](explainers, features).to(device)
            scores = explainers.trained.batch(**features).pooled(scores).double().cpu()
            seconds += time.perf_counter() - between
            bare += between - begun
            progress.update(len(scores))
            return [
                row[there].tolist() for row, there in zip(scores, features["attention_mask"].bool().cpu(), strict=True)
            ]

        found = in_batches(tokenizer, inputs, device, attributed, batch_size)
    return Attributed(found, seconds / len(inputs), seconds / bare)


def rankable(
    inputs: Sequence[dict[str, list[int]]], scores: Sequence[list[float]], preset: Preset
) -> tuple[list[list[float]], int]:
    """
    Scores that rank the tokens of each input: falls back to text order if a method ranks nothing.

    Args:
        inputs (`Sequence[dict[str, list[int]]]`): Inputs, each with `special_tokens_mask`.
        scores (`Sequence[list[float]]`): For each input, a score per token.
        preset ([`~hf_diffmask.evaluation.faithfulness.Preset`]): The protocol.

    Returns:
        `tuple`: The scores, and the number of inputs with replaced scores. Scores are replaced if all are equal, or if
        the preset removes only tokens with a score above 0 and there is none.
    """
    found, replaced = [], 0
    for one, of_input in zip(inputs, scores, strict=True):
        ranked = [score for score, counts in zip(of_input, maskable(one), strict=True) if counts]
        if (len(ranked) > 1 and len(set(ranked)) == 1) or (preset.positive and max(ranked, default=1.0) <= 0):
            of_input = [1 / (1 + position) for position in range(len(of_input))]
            replaced += 1
        found.append(of_input)
    return found, replaced


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """
    95 % interval of a mean, from the percentile bootstrap over inputs.

    Args:
        values (`numpy.ndarray` of shape `(N,)`): One value per input.
        seed (`int`, *optional*, defaults to 0): Seed of the resamples. With one seed for all methods, intervals of
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
    Figures of each input, see [`~hf_diffmask.evaluation.faithfulness.measures`].

    Args:
        explainers ([`Explainers`]): Explainers with the base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments and `special_tokens_mask`.
        scores (`Sequence[Sequence[float]]`): For each input, a score per token.
        preset ([`~hf_diffmask.evaluation.faithfulness.Preset`]): The protocol.
        batch_size (`int`, *optional*, defaults to 64): Inputs per batch.

    Returns:
        `dict[str, numpy.ndarray]`: For each figure, values of shape `(N,)`.
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
    Figures that need many passes per input: areas under the deletion and insertion curves, soft faithfulness, and
    stability. Stability is the rank correlation with the method's scores after a tenth of the tokens is masked.

    Args:
        explainers ([`Explainers`]): Explainers with the base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments and `special_tokens_mask`.
        scores (`Sequence[list[float]]`): For each input, a score per token.
        preset ([`~hf_diffmask.evaluation.faithfulness.Preset`]): Only its replacement is used.
        method (`str`, *optional*):
            Method that gave the scores; `None` if it cannot be run here. Stability needs a method and a mask token.
        batch_size (`int`, *optional*, defaults to 32): Inputs per batch.

    Returns:
        `dict[str, numpy.ndarray]`: For each figure, at most `N` values. Soft figures leave out inputs whose
        probability does not fall for an all-zero input. Stability leaves out inputs without a ranking, and inputs
        whose prediction changes when tokens are masked.
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
            # Explanations of different classes should differ: leave the input out.
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
    Means and their 95 % intervals.

    Args:
        values (`dict[str, numpy.ndarray]`): Result of [`measured`].

    Returns:
        `dict`: For each figure `mean`, and `low` and `high` of the interval.
    """
    return {
        name: dict(zip(("mean", "low", "high"), (float(of_figure.mean()), *interval(of_figure)), strict=True))
        for name, of_figure in values.items()
    }
