"""Tells what ablations will take: passes, minutes and bytes."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ..ablations.drawing import draw_masks
from ..ablations.making import check_masks, existing, record_first
from ..ablations.running import replacements_for, run_masks
from ..ablations.shards import bytes_for, shard_count
from ..data.encoding import Text
from ..data.features import collate
from ..explainer.inputs import inputs_of
from ..explainer.modeling_diffmask import DiffMaskModel
from .arguments import DiffMaskTrainingArguments
from .baseline import BATCH_SIZE, has_gradients
from .recipes.ablation_labels import VALIDATED, VALIDATION_MASKS

# Bytes of a shard beside its rows, and of a row beside masks and outputs; of ablations without shards.
_SHARD, _ROW, _FOLDER = 2300, 16, 4000
# Forward passes that a step of the baseline takes: the whole inputs, the masked ones, and twice that for gradients.
_STEP = 4


class Cost(NamedTuple):
    """What ablations will take."""

    inputs: int
    passes: int
    """Forward passes of single inputs, the baseline's included."""
    minutes: float
    """Measured on a few batches."""
    bytes: int
    """In files."""


@torch.no_grad()
def cost_of_ablations(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    args: DiffMaskTrainingArguments,
    validation: int = 0,
) -> Cost:
    """
    Passes, minutes and bytes of the ablations of texts. Writes nothing.

    Minutes are measured on three batches, of short, middle and long inputs.

    Args:
        explainer ([`DiffMaskModel`]): An untrained explainer that holds its base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        texts (`list`): Texts or pairs.
        args ([`DiffMaskTrainingArguments`]): See [`ablate`].
        validation (`int`, *optional*, defaults to 0): Number of validation texts, of about the same lengths.

    Returns:
        [`Cost`]: As if the output folder were empty.

    Raises:
        DiffMaskError: If the number of masks is odd or below 2, or the folder holds something else.
    """
    masks = args.masks
    check_masks(masks)
    existing(str(args.output_dir))
    dataset = inputs_of(explainer, tokenizer, texts, for_training=True)
    lengths = np.asarray(dataset.lengths)
    order = np.argsort(lengths, kind="stable")
    replacements, size = replacements_for(explainer), args.eval_batch_size
    drawn = min(masks, 2 * len(replacements))
    seconds, measured, tokens, first = 0.0, 0.0, 0, True
    for third in np.array_split(order, 3):
        if not len(third):
            continue
        middle = max(0, (len(third) - size) // 2)
        rows = third[middle : middle + size].tolist()
        collated = collate(tokenizer, [dataset[row] for row in rows])
        batch = explainer.batch(**{name: value.to(args.device) for name, value in collated.items()})
        assert batch.example_ids is not None
        for _ in range(1 + first):  # the first pass of all is slow
            begun = time.perf_counter()
            given = draw_masks(args.seed, batch.example_ids, batch.maskable, drawn)
            run_masks(explainer, record_first(explainer, batch), given, replacements, size).cpu()
            took = time.perf_counter() - begun
        first = False
        seconds += took / (len(rows) * (drawn + 1)) * len(third) * (masks + 1)
        measured, tokens = measured + took, tokens + batch.maskable.numel() * (drawn + 1)
    passes, processes = len(dataset) * (masks + 1), max(1, args.world_size)
    beside = min(validation, VALIDATED) * (VALIDATION_MASKS + 1)
    seconds *= 1 + beside / passes
    passes += beside
    learned = args.baseline_steps * BATCH_SIZE * _STEP if has_gradients(explainer) else BATCH_SIZE
    # Each process learns the whole baseline, from batches of mixed lengths, which have more padding.
    mixed = lengths[np.random.default_rng(args.seed).permutation(len(lengths))]
    longest = np.mean([mixed[start : start + BATCH_SIZE].max() for start in range(0, len(mixed), BATCH_SIZE)])
    seconds = seconds / processes + learned * longest * measured / tokens
    special = np.asarray([sum(item.get("special_tokens_mask", [])) for item in dataset.items])
    units = lengths if explainer.config.mask_special_tokens else lengths - special
    outputs = explainer.task.choices(explainer.config) if explainer.task.has_choices else 1
    stored = int(bytes_for(units, masks).sum()) + len(dataset) * (masks * outputs * 4 + _ROW)
    stored = int(stored * passes / (passes - beside))
    stored += shard_count(len(dataset)) * _SHARD + _FOLDER + 4 * explainer.baseline.numel()
    return Cost(len(dataset), passes + learned, float(seconds) / 60, stored)
