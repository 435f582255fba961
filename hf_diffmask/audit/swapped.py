"""Tests whether predictions hold under unseen replacements."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ..data.units import maskable, whole_units
from ..errors import DiffMaskError
from ..evaluation.predictions import class_probabilities
from ..evaluation.unseen import seen_replacements
from ..explainer.modeling_diffmask import DiffMaskModel
from .explained import Explained
from .finding import Finding, _verdict
from .thresholds import HOLDS, REPLACEMENTS


def swapped(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    found: Sequence[Explained],
    batch_size: int = 32,
) -> Finding:
    """
    (b) Does the prediction hold under unseen replacements, better than with random masks of the same size?

    Args:
        explainer ([`DiffMaskModel`]): Explainer with its base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments and `special_tokens_mask`.
        found (`Sequence[Explained]`): The explainer's explanations.
        batch_size (`int`, *optional*, defaults to 32): Inputs per batch.

    Returns:
        [`Finding`]: For each replacement that training did not use, `agreement_...` for the explainer's masks and
        `random_...` for random masks.

    Raises:
        DiffMaskError: If no replacement works for the model's inputs.
    """
    question = "Does the prediction hold when another replacement comes in the place of the baseline?"
    if not explainer.config.masks_inputs:
        note = "hidden masking replaces hidden states: no replacement of tokens stands for that"
        return Finding("swapped_baseline", question, "not checked", {}, note)
    generator = torch.Generator().manual_seed(0)
    kept = [whole_units(features, list(one.kept)) for one, features in zip(found, inputs, strict=True)]
    masks: dict[str, list[list[bool]]] = {"agreement": kept, "random": []}
    for one, features in zip(found, inputs, strict=True):
        tokens = [k for k, counts in enumerate(maskable(features)) if counts]
        size = sum(one.kept[k] for k in tokens)
        drawn = {tokens[k] for k in torch.randperm(len(tokens), generator=generator)[:size].tolist()}
        random = [k in drawn or k not in set(tokens) for k in range(len(one.kept))]
        masks["random"].append(whole_units(features, random))
    predicted = torch.tensor([one.predicted for one in found])
    figures = {"agreement_own_baseline": float(np.mean([one.agrees for one in found]))}
    left_out: list[str] = []
    seen = [name for name in seen_replacements(explainer, tokenizer) if name in REPLACEMENTS]
    unseen = [name for name in REPLACEMENTS if name not in seen]
    for replacement in unseen:
        try:
            for name, keep in masks.items():
                probabilities = class_probabilities(
                    explainer.base, tokenizer, inputs, keep, replacement, batch_size, explainer.task
                )
                figures[f"{name}_{replacement}"] = (probabilities.argmax(-1) == predicted).double().mean().item()
        except DiffMaskError:
            left_out.append(replacement)
    used = [name for name in unseen if name not in left_out]
    if not used:
        raise DiffMaskError("No replacement can remove tokens from this model's inputs.")
    holds = all(figures[f"agreement_{name}"] >= HOLDS for name in used)
    better = all(figures[f"agreement_{name}"] >= figures[f"random_{name}"] for name in used)
    notes = {"seen in training": seen, "cannot be done": left_out}
    note = "; ".join(f"{about}: {', '.join(names)}" for about, names in notes.items() if names)
    return Finding("swapped_baseline", question, _verdict(holds and better), figures, note)
