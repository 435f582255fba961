"""Runs all audit tests."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ..data.units import maskable
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from .comparisons import random_base, seeds
from .distribution import distance
from .explained import Explained, explain_inputs, masking_everything
from .finding import Finding, _verdict
from .leaks import pattern, probe_alone
from .swapped import swapped
from .thresholds import OUTSIDE


def margin(found: Sequence[Explained], bound: float) -> Finding:
    """
    (g) How many inputs are outside the margin?

    Args:
        found (`Sequence[Explained]`): The explainer's explanations.
        bound (`float`): The margin.

    Returns:
        [`Finding`]
    """
    costs = np.array([one.cost for one in found])
    figures = {"outside": float((costs > bound).mean()), "cost": float(costs.mean()), "margin": bound}
    within = figures["outside"] <= OUTSIDE and figures["cost"] <= bound
    return Finding("margin", "How many inputs are outside the margin?", _verdict(within), figures, "")


def audit(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    texts: Sequence[int] | None = None,
    other_seeds: Sequence[DiffMaskModel] = (),
    on_random_base: DiffMaskModel | None = None,
    batch_size: int = 32,
    why_none: str | None = None,
) -> list[Finding]:
    """
    Findings of all tests.

    Args:
        explainer ([`DiffMaskModel`]): Explainer for a classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`):
            For each input, the model's arguments and `special_tokens_mask`. Inputs with only special tokens
            are left out.
        texts (`Sequence[int]`, *optional*):
            For each input (a window of a text), the number of its text. By default each input is a text; equal inputs
            are one text.
        other_seeds (`Sequence[DiffMaskModel]`, *optional*): Explainers for the same base model, with other seeds.
        on_random_base ([`DiffMaskModel`], *optional*):
            An explainer trained the same way for the base model with random weights; it holds this base model.
        batch_size (`int`, *optional*, defaults to 32): Inputs per batch.
        why_none (`str`, *optional*): Why other explainers are missing, if they are.

    Returns:
        `list[Finding]`: One finding per test; a test that cannot run is "not checked", with the reason.

    Raises:
        DiffMaskError: If the base model is no classifier, or no input has a token to mask.
    """
    if texts is None:
        numbers: dict[tuple[int, ...], int] = {}
        texts = [numbers.setdefault(tuple(one["input_ids"]), len(numbers)) for one in inputs]
    pairs = [(one, text) for one, text in zip(inputs, texts, strict=True) if not all(one["special_tokens_mask"])]
    if not pairs:
        raise DiffMaskError("There is nothing to audit: no input has a token that is not special.")
    inputs, texts = [one for one, _ in pairs], [text for _, text in pairs]

    def run(model: DiffMaskModel) -> list[Explained]:
        return explain_inputs(model, tokenizer, inputs, batch_size)

    def of_random() -> Finding:
        if on_random_base is None:
            return random_base(found, None, special, 0.0, 0.0, why_none)
        to_lose = masking_everything(on_random_base, tokenizer, inputs, batch_size)
        return random_base(found, run(on_random_base), special, to_lose, float(on_random_base.config.margin))

    def gates() -> Finding:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            untrained = DiffMaskModel(explainer.config, explainer.base).to(explainer.device).eval()
        return probe_alone(found, run(untrained), texts, told)

    found, told = run(explainer), explainer.config.class_conditional
    special = [[int(not one) for one in maskable(features)] for features in inputs]
    tests: dict[str, Callable[[], Finding]] = {
        "pattern": lambda: pattern(found, special, texts, told),
        "swapped_baseline": lambda: swapped(explainer, tokenizer, inputs, found, batch_size),
        "random_base": of_random,
        "probe_alone": gates,
        "distribution": lambda: distance(explainer, tokenizer, inputs, found, texts, batch_size),
        "seeds": lambda: seeds(found, [run(other) for other in other_seeds], special, why_none),
        "margin": lambda: margin(found, float(explainer.config.margin)),
    }
    findings = []
    for name, test in tests.items():
        try:
            findings.append(test())
        except DiffMaskError as error:
            findings.append(Finding(name, "", "not checked", {}, str(error)))
    return findings
