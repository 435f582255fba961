"""The ablations that a run learns from, and those that it is judged by."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from ...ablations.making import make_ablations
from ...ablations.store import VALIDATION_FOLDER, Ablations
from ...data.features import Features
from ...explainer.modeling_diffmask import DiffMaskModel

VALIDATED = 768  # validation inputs with ablations
VALIDATION_MASKS = 8  # masks of each


def own_folder(args: Any) -> Path:
    """The folder in which a run keeps its ablations (`Path`)."""
    return Path(args.output_dir) / "ablations"


def training_ablations(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Features,
    folder: str | os.PathLike,
    args: Any,
    processes: Any,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> Ablations:
    """
    The ablations of training inputs in a folder; those that it lacks are made.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baseline.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        dataset ([`~hf_diffmask.data.features.Features`]): The inputs.
        folder (`str` or `os.PathLike`): The folder.
        args ([`DiffMaskTrainingArguments`]): `masks`, seed, batch size and progress bars.
        processes: See [`~hf_diffmask.ablations.making.make_ablations`].
        autocast (`Callable`, *optional*): Makes the autocast context for the base model.

    Returns:
        [`Ablations`]
    """
    return make_ablations(
        explainer, tokenizer, dataset, folder, masks=args.masks, seed=args.seed, batch_size=args.eval_batch_size,
        autocast=autocast, processes=processes, quiet=args.disable_tqdm,
    )  # fmt: skip


def validation_ablations(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Features,
    folder: str | os.PathLike,
    args: Any,
    processes: Any,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> Ablations:
    """
    The ablations of the first `VALIDATED` validation inputs, with `VALIDATION_MASKS` masks each.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baseline.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        dataset ([`~hf_diffmask.data.features.Features`]): The inputs.
        folder (`str` or `os.PathLike`): The folder of the ablations of training inputs; they get a folder in it.
        args ([`DiffMaskTrainingArguments`]): Seed, batch size and progress bars.
        processes: See [`~hf_diffmask.ablations.making.make_ablations`].
        autocast (`Callable`, *optional*): Makes the autocast context for the base model.

    Returns:
        [`Ablations`]
    """
    return make_ablations(
        explainer, tokenizer, Features(dataset.items[:VALIDATED]), Path(folder) / VALIDATION_FOLDER,
        masks=VALIDATION_MASKS, seed=args.seed, batch_size=args.eval_batch_size, autocast=autocast,
        processes=processes, quiet=args.disable_tqdm,
    )  # fmt: skip
