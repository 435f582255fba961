"""Compares methods on the same inputs: all figures of `hf-diffmask evaluate`. Saves after each method."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from ..data.writing import make_folder, write_text
from ..explainer.modeling_diffmask import DiffMaskModel
from ..methods.registry import COSTLY, Explainers, explains_log_odds
from .ablated import masked_log_odds
from .additive import additive_figures
from .attributions import write_attributions
from .bounds import Bounds, bounds, reached
from .comparison import Attributed, attribute, extended, interval, measured, rankable, summary
from .faithfulness import Preset
from .tables import SHOWN

RESULT_FILE = "faithfulness.json"


class Plan(NamedTuple):
    """Settings of a comparison."""

    methods: Sequence[str]
    """Methods to run."""
    read: dict[str, list[list[float]]]
    """Attributions from elsewhere: for each input, a score per token."""
    preset: Preset
    """The protocol."""
    others: list[Preset]
    """The same protocol with other replacements."""
    seen: Sequence[str]
    """Replacements that the explainer saw in training."""
    few: int
    """Number of inputs for costly methods: the first ones, called the few inputs."""
    bounds: bool
    """Whether to search the best and the worst ranking for each of the few inputs."""
    extended: bool
    """Whether to measure further figures on the few inputs."""
    batch_size: int
    """Inputs per batch."""

    @property
    def groups(self) -> dict[str, list[str]]:
        """The measured replacements that are `unseen` and `seen`, each if there is one (`dict[str, list[str]]`)."""
        names = [preset.replacement for preset in (self.preset, *self.others)]
        groups = {"unseen": [name for name in names if name not in self.seen]}
        groups["seen"] = [name for name in names if name in self.seen]
        return {group: of_group for group, of_group in groups.items() if of_group}


def compare_methods(
    explainers: Explainers,
    tokenizer: PreTrainedTokenizerBase,
    inputs: list[dict[str, list[int]]],
    plan: Plan,
    folder: Path,
    facts: dict[str, Any],
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """
    Figures of each method. They are saved after each method, so a later failure loses nothing.

    Args:
        explainers ([`Explainers`]): Explainers that the methods use.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        inputs (`list[dict]`): For each input, the model's arguments and `special_tokens_mask`.
        plan ([`Plan`]): Settings of the comparison.
        folder (`Path`): Output folder for `faithfulness.json` and `attributions/`.
        facts (`dict`): First entries of the file.
        warn (`Callable`): Called with a message if a method ranks nothing.

    Returns:
        `dict`: Content of the file: `methods`, figures over all inputs; `on_few`, figures over the few inputs;
        `random_masks`, LDS and R2 over the few inputs; `extended`; `bounds`.
    """
    result: dict[str, Any] = {**facts, "methods": {}, "on_few": {}, "random_masks": {}, "extended": {}}
    few, seed = inputs[: plan.few], explainers.seed
    show_few = plan.bounds or bool(set(COSTLY) & set(plan.methods))
    within: dict[str, list[Bounds]] = {}
    if plan.bounds:
        within = _searched(explainers.trained, tokenizer, few, plan.preset, plan.batch_size)
        result["bounds"] = {
            figure: {end: float(np.mean([getattr(one, end) for one in ends])) for end in ("low", "high")}
            for figure, ends in within.items()
        }
    replacements = [preset.replacement for preset in (plan.preset, *plan.others)]
    log_odds = masked_log_odds(
        explainers.trained.base, tokenizer, few, replacements, None, seed, batch_size=plan.batch_size,
        task=explainers.trained.task,
    )  # fmt: skip
    make_folder(folder / "attributions")
    first: dict[str, dict[str, dict[str, np.ndarray]]] = {"methods": {}, "on_few": {}}
    for name in [*plan.methods, *plan.read]:
        of_method, is_read = few if name in COSTLY else inputs, name in plan.read
        if is_read:
            found = Attributed(plan.read[name], 0.0, 0.0)
        else:
            found = attribute(explainers, tokenizer, of_method, name, plan.batch_size)
        ranks, unranked = rankable(of_method, found.scores, plan.preset)
        values, others = _measured(explainers, tokenizer, of_method, found.scores, ranks, plan, folder, name)
        for where, count in (("methods", len(inputs)), ("on_few", len(few))):
            if count > len(of_method) or (where == "on_few" and not show_few):
                continue
            cut, *parts = (
                {figure: of_figure[:count] for figure, of_figure in part.items()}
                for part in (values, *others.values())
            )
            beside = dict(zip(others, parts, strict=True))
            result[where][name] = {
                **_compared(cut, beside, first[where], within if where == "on_few" else {}, plan, seed),
                "seconds": None if is_read else found.seconds,
                "forwards": None if is_read else found.forwards,
                "unranked": rankable(of_method[:count], found.scores[:count], plan.preset)[1],
            }
        scores = found.scores[: len(few)]
        in_log_odds = not is_read and explains_log_odds(explainers, name)
        result["random_masks"][name] = additive_figures(few, scores, log_odds, plan.groups, in_log_odds, seed)
        _save(folder, result)
        if plan.extended:
            known = None if is_read else name
            more = extended(explainers, tokenizer, few, scores, plan.preset, known, plan.batch_size)
            result["extended"][name] = {
                figure: {**means, "inputs": len(more[figure])} for figure, means in summary(more).items()
            }
            _save(folder, result)
        if unranked:
            warn(f"{name} ranks no token of {unranked} inputs: their text order is used instead.")
    return result


def _save(folder: Path, result: dict[str, Any]) -> None:
    write_text(folder / RESULT_FILE, json.dumps(result, indent=1))


def _measured(
    explainers: Explainers,
    tokenizer: PreTrainedTokenizerBase,
    inputs: list[dict[str, list[int]]],
    scores: list[list[float]],
    ranks: list[list[float]],
    plan: Plan,
    folder: Path,
    name: str,
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
    """Figures of a method under the preset's and the other replacements; writes scores and figures to a file."""
    lines = [{"input_ids": one["input_ids"], "scores": of_input} for one, of_input in zip(inputs, scores, strict=True)]
    path = folder / "attributions" / f"{name}.jsonl"
    write_attributions(path, lines)
    values = measured(explainers, tokenizer, inputs, ranks, plan.preset, plan.batch_size)
    others = {
        other.replacement: measured(explainers, tokenizer, inputs, ranks, other, plan.batch_size)
        for other in plan.others
    }
    for figure in SHOWN:
        of_replacements = {plan.preset.replacement: values, **others}
        for k, line in enumerate(lines):
            line[figure] = {one: float(part[figure][k]) for one, part in of_replacements.items()}
    write_attributions(path, lines)
    return values, others


def _searched(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: list[dict[str, list[int]]],
    preset: Preset,
    batch_size: int,
) -> dict[str, list[Bounds]]:
    """Bounds of each table figure, for each input."""
    found: dict[str, list[Bounds]] = {figure: [] for figure in SHOWN}
    for one in tqdm(inputs, desc="bounds", leave=False):
        for figure in SHOWN:
            given = (explainer.base, tokenizer, one, preset, figure)
            found[figure].append(bounds(*given, batch_size=batch_size, task=explainer.task))
    return found


def _compared(
    values: dict[str, np.ndarray],
    others: dict[str, dict[str, np.ndarray]],
    first: dict[str, dict[str, np.ndarray]],
    within: dict[str, list[Bounds]],
    plan: Plan,
    seed: int,
) -> dict[str, Any]:
    """A method's figures with intervals, under other replacements, minus the first method's, and within bounds."""
    by_replacement = {plan.preset.replacement: values, **others}

    def mean(names: Iterable[str]) -> dict[str, np.ndarray]:
        return {figure: np.mean([by_replacement[name][figure] for name in names], axis=0) for figure in values}

    def less_the_first(of_method: dict[str, np.ndarray], group: str) -> dict[str, dict[str, float]]:
        of_first = first.setdefault(group, of_method)
        ends = {figure: interval(of_method[figure] - of_first[figure], seed) for figure in of_method}
        return {figure: {"low": low, "high": high} for figure, (low, high) in ends.items()}

    def entry_of(group: str, names: Iterable[str]) -> dict[str, Any]:
        means = mean(names)
        return {"figures": summary(means), "less_the_first": less_the_first(means, group)}

    entry = {
        **entry_of("preset", [plan.preset.replacement]),
        "held_out": summary(mean(list(others))),
        "by_held_out": {name: summary(part) for name, part in others.items()},
        **{group: entry_of(group, names) for group, names in plan.groups.items()},
    }
    if len(others) > 1:
        entry["every_replacement"] = entry_of("every", list(by_replacement))
    if within:
        of_bounds = {
            figure: np.array(
                [
                    reached(value, ends, lower_is_better=figure == "sufficiency")
                    for value, ends in zip(values[figure], of_figure, strict=True)
                ]
            )
            for figure, of_figure in within.items()
        }
        entry["reached"] = summary(of_bounds)
    return entry
