"""Faithfulness of a ranking of tokens: predictions without the top tokens, and with the top tokens alone."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..data.units import maskable, whole_units
from ..errors import DiffMaskError
from ..tasks.task import Task
from .predictions import check_class, class_probabilities

TOO_SHORT = "There are too few tokens: no bin of this preset takes one away."


class Preset(NamedTuple):
    """A protocol of measurement. Only figures of the same protocol are comparable."""

    replacement: str
    """How tokens are removed, see [`~hf_diffmask.base.removal.without`]."""
    shares: tuple[float, ...] | None
    """Bins: shares of the ordinary tokens, in (0, 1]; `None` for every number of tokens, one to all."""
    rounding: str
    """Rounding of share times number of tokens: `"ceil"` or `"floor"`. `"floor_rest"` also rounds down the number of
    tokens removed to measure sufficiency, as time_interpret does."""
    positive: bool = False
    """Whether bins hold only tokens with a score above 0, as ferret does by default. A bin that is empty, or equal to
    the bin before, does not count."""

    def sizes(self, count: int) -> list[tuple[int, int]]:
        """
        For each bin, the number of tokens to remove, and of tokens to keep alone.

        Args:
            count (`int`): Tokens that are not special.

        Returns:
            `list[tuple[int, int]]`
        """
        if self.shares is None:
            return [(size, size) for size in range(1, count + 1)]
        if self.rounding == "floor_rest":
            return [(int(count * share), count - int(count * (1.0 - share))) for share in self.shares]
        if self.rounding == "floor":
            return [(int(count * share), int(count * share)) for share in self.shares]
        # Floating point may put a product such as 100 * 0.07 just above the whole number.
        sizes = [math.ceil(count * share - 1e-9) for share in self.shares]
        return [(size, size) for size in sizes]

    def takes_away(self, count: int) -> bool:
        """
        Whether any bin removes a token.

        Args:
            count (`int`): Tokens that are not special.

        Returns:
            `bool`: `False` if the input is too short for a preset that rounds down.
        """
        return count > 0 and any(removed for removed, _ in self.sizes(count))

    def bins(self, order: Sequence[int], scores: Sequence[float]) -> list[tuple[int, int]]:
        """
        As [`Preset.sizes`], for one ranking.

        Args:
            order (`Sequence[int]`): Result of [`ranking`].
            scores (`Sequence[float]`): The ranked scores.

        Returns:
            `list[tuple[int, int]]`

        Raises:
            DiffMaskError: If no bin removes a token, or the preset uses only scores above 0 and there is none.
        """
        sizes = self.sizes(len(order))
        if not self.takes_away(len(order)):
            raise DiffMaskError(TOO_SHORT)
        if not self.positive:
            return sizes
        above = sum(scores[k] > 0 for k in order)
        if not above:
            raise DiffMaskError("No token has a score above 0, and this preset removes no other token.")
        found = sorted({min(size, above) for size, _ in sizes} - {0})
        return [(size, size) for size in found]


PRESETS = {
    # Our default.
    "hf_diffmask": Preset("mask", (0.1, 0.2, 0.3, 0.5), "ceil"),
    # DeYoung et al. 2020, section 4.2: bins of 1, 5, 10, 20 and 50 %; the paper does not say how to round.
    "eraser": Preset("delete", (0.01, 0.05, 0.1, 0.2, 0.5), "ceil"),
    # Attanasio et al. 2023, as in their package: bins of 10 to 100 %, some slightly too large in floating point.
    "ferret": Preset("delete", tuple(np.arange(0.1, 1.1, 0.1).tolist()), "floor", positive=True),
    # Enguehard 2023: one bin of 20 %, filled with 0, the padding token of BERT-like models.
    "time_interpret": Preset("pad", (0.2,), "floor_rest"),
}


class Curve(NamedTuple):
    """A classifier's predictions for one input, whole and with tokens removed."""

    choice: int
    """The class to measure."""
    shares: np.ndarray
    """Share of the ordinary tokens that each bin removes, `(K,)`."""
    whole: np.ndarray
    """Probabilities for the whole input, `(C,)`."""
    removed: np.ndarray
    """Probabilities without the top tokens, `(K, C)`."""
    kept: np.ndarray
    """Probabilities with the top tokens alone, `(K, C)`."""


def ranking(scores: Sequence[float], special: Sequence[bool]) -> list[int]:
    """
    Positions of tokens, from the most to the least important.

    Args:
        scores (`Sequence[float]` of length `T`): Higher is more important.
        special (`Sequence[bool]` of length `T`): Special tokens; they are never removed nor ranked.

    Returns:
        `list[int]`: With equal scores, the earlier token comes first.

    Raises:
        DiffMaskError: If the number of scores is wrong, a score is not finite, all tokens are special, or all scores
            are equal, which ranks nothing.
    """
    if len(scores) != len(special):
        raise DiffMaskError(f"There are {len(scores)} scores for {len(special)} tokens: give one for each token.")
    ranked = [k for k, is_special in enumerate(special) if not is_special]
    if not ranked:
        raise DiffMaskError("There is no token to rank: all tokens are special.")
    if not all(scores[k] is not None and math.isfinite(scores[k]) for k in ranked):
        raise DiffMaskError("A score is not finite: leave this input out, or find out where it comes from.")
    if len(ranked) > 1 and len({float(scores[k]) for k in ranked}) == 1:
        raise DiffMaskError("All scores are the same: such an attribution ranks nothing.")
    return sorted(ranked, key=lambda k: -scores[k])


def curves(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    scores: Sequence[Sequence[float]],
    preset: str | Preset = "hf_diffmask",
    choices: Sequence[int] | None = None,
    batch_size: int = 64,
    task: Task | None = None,
) -> list[Curve]:
    """
    A classifier's predictions for inputs without their top tokens, and with the top tokens alone.

    Args:
        model ([`~transformers.PreTrainedModel`]): A sequence classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`):
            For each input, without padding: `input_ids`, `attention_mask`, `special_tokens_mask` and the model's other
            arguments.
        scores (`Sequence[Sequence[float]]`):
            For each input, a score per token; higher is more important. Scores of special tokens are ignored.
        preset (`str` or [`Preset`], *optional*, defaults to `"hf_diffmask"`): The protocol.
        choices (`Sequence[int]`, *optional*): For each input, the class to measure; by default the predicted class.
        batch_size (`int`, *optional*, defaults to 64): Inputs per batch.
        task ([`Task`], *optional*): The explainer's task, with its constants; by default the model's task.

    Returns:
        `list[Curve]`: One for each input.

    Raises:
        DiffMaskError: If scores do not rank the tokens (see [`ranking`]; the message names the input), or a class or
            the preset does not exist.
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise DiffMaskError(f"The preset must be one of {', '.join(PRESETS)}, but is {preset!r}.")
        preset = PRESETS[preset]
    if len(inputs) != len(scores):
        raise DiffMaskError(f"There are scores for {len(scores)} inputs, but {len(inputs)} inputs.")
    if choices is not None and len(inputs) != len(choices):
        raise DiffMaskError(f"There are classes for {len(choices)} inputs, but {len(inputs)} inputs.")
    made: list[dict[str, list[int]]] = []
    keep: list[list[bool]] = []
    shares: list[np.ndarray] = []
    for number, (features, of_input) in enumerate(zip(inputs, scores, strict=True)):
        removable = maskable(features)
        try:
            if choices is not None:
                check_class(model, choices[number], task)
            order = ranking(of_input, [not one for one in removable])
            sizes = preset.bins(order, of_input)
        except DiffMaskError as error:
            raise DiffMaskError(f"Input {number}: {error}") from None
        shares.append(np.array([removed for removed, _ in sizes]) / len(order))
        keep.append([True] * len(removable))
        for removed, _ in sizes:
            gone = set(order[:removed])
            keep.append(whole_units(features, [k not in gone for k in range(len(removable))]))
        for _, kept in sizes:
            there = set(order[:kept])
            keep.append(whole_units(features, [k in there or not one for k, one in enumerate(removable)]))
        made += [features] * (1 + 2 * len(sizes))
    probabilities = class_probabilities(model, tokenizer, made, keep, preset.replacement, batch_size, task).numpy()
    found, start = [], 0
    for number, of_bins in enumerate(shares):
        count = len(of_bins)
        whole_input = probabilities[start]
        found.append(
            Curve(
                int(whole_input.argmax()) if choices is None else choices[number],
                of_bins,
                whole_input,
                probabilities[start + 1 : start + 1 + count],
                probabilities[start + 1 + count : start + 1 + 2 * count],
            )
        )
        start += 1 + 2 * count
    return found


def measures(curve: Curve) -> dict[str, float]:
    """
    Figures of one input.

    Args:
        curve ([`Curve`]): The model's predictions for the input.

    Returns:
        `dict[str, float]`:
            - **comprehensiveness** -- drop of the choice's probability without the top tokens, mean over bins (DeYoung
              et al. 2020, section 4.2); higher is better.
            - **sufficiency** -- drop of the choice's probability with the top tokens alone, mean over bins; lower is
              better, and below 0 if the top tokens make the model surer than the whole input.
            - **log_odds** -- log-probability without the top tokens minus log-probability of the whole input, in nats,
              mean over bins (Shrikumar et al. 2016); lower is better.
            - **flip_share** -- share of the tokens in the first bin whose removal changes the predicted class, 1 if
              there is none; lower is better (Nguyen 2018).
    """
    choice = curve.choice
    before, removed, kept = curve.whole[choice], curve.removed[:, choice], curve.kept[:, choice]
    flipped = np.flatnonzero(curve.removed.argmax(-1) != curve.whole.argmax())
    tiny = np.finfo(np.float32).tiny  # keeps the logarithm finite if a probability underflows
    return {
        "comprehensiveness": float((before - removed).mean()),
        "sufficiency": float((before - kept).mean()),
        "log_odds": float((np.log(np.maximum(removed, tiny)) - math.log(max(before, tiny))).mean()),
        "flip_share": float(curve.shares[flipped[0]]) if len(flipped) else 1.0,
    }


def areas(curve: Curve) -> dict[str, float]:
    """
    Areas under the deletion and insertion curves (Petsiuk et al. 2018).

    Args:
        curve ([`Curve`]): Curve whose last bin holds all tokens, such as from `Preset(..., None, "ceil")`.

    Returns:
        `dict[str, float]`:
            - **deletion** -- area under the choice's probability over the share of removed tokens, in [0, 1]; lower
              is better.
            - **insertion** -- the same over the share of kept tokens; higher is better.

    Raises:
        DiffMaskError: If the last bin does not hold all tokens.
    """
    if curve.shares[-1] != 1.0:
        raise DiffMaskError("The area under a curve needs bins up to all tokens: take a preset with shares=None.")
    shares = np.concatenate([[0.0], curve.shares])
    choice = curve.choice
    deletion = np.concatenate([[curve.whole[choice]], curve.removed[:, choice]])
    # Nothing inserted is the same input as everything deleted.
    insertion = np.concatenate([[curve.removed[-1, choice]], curve.kept[:, choice]])
    return {"deletion": float(np.trapezoid(deletion, shares)), "insertion": float(np.trapezoid(insertion, shares))}


def mean_measures(found: Iterable[dict[str, float]]) -> dict[str, float]:
    """
    Means over inputs.

    Args:
        found (`Iterable[dict[str, float]]`): Results of [`measures`] or [`areas`].

    Returns:
        `dict[str, float]`

    Raises:
        DiffMaskError: If there is no input.
    """
    rows = list(found)
    if not rows:
        raise DiffMaskError("There is no input to measure.")
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
