"""Makes the ablations of a data set, shard by shard."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from ..base.running import Batch, Recorded, record
from ..data.features import Features, collate
from ..data.writing import check_folder
from ..errors import DiffMaskError, reason
from ..explainer.modeling_diffmask import DiffMaskModel
from .description import Description, describe, read_description, write_description
from .drawing import draw_masks
from .running import run_masks
from .shards import DamagedShard, Shard, read_shard, shard_groups, shard_path, write_shard
from .store import BASELINE_FILE, VALIDATION_FOLDER, Ablations, read_baseline, write_baseline

logger = logging.get_logger(__name__)


def make_ablations(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Features,
    folder: str | os.PathLike,
    *,
    masks: int = 16,
    seed: int = 0,
    batch_size: int = 32,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
    processes: Any = None,
    quiet: bool = False,
) -> Ablations:
    """
    Makes the ablations of a data set, or those that a folder lacks.

    Shards that are there stay. A damaged one is made again, with a warning. Each process makes its part of the missing
    shards. The parts do not change what a shard holds. One shard is in memory at a time.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baseline, on its device.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        dataset ([`~hf_diffmask.data.features.Features`]): The inputs.
        folder (`str` or `os.PathLike`): The folder of the ablations: new, empty, or with ablations of the same kind.
        masks (`int`, *optional*, defaults to 16): Masks for each input, in pairs.
        seed (`int`, *optional*, defaults to 0): Seed of the masks.
        batch_size (`int`, *optional*, defaults to 32): Inputs in one forward pass.
        autocast (`Callable`, *optional*): Makes the autocast context for the base model.
        processes ([`~accelerate.PartialState`] or [`~accelerate.Accelerator`], *optional*):
            The processes that share the work; by default there is one.
        quiet (`bool`, *optional*, defaults to `False`): Whether to show no progress bar.

    Returns:
        [`Ablations`]: All of them, on each process.

    Raises:
        DiffMaskError: If the number of masks is odd or below 2, there are no inputs, the folder holds something else
            or cannot be written, or no output is finite.
    """
    check_masks(masks)
    if len(dataset) == 0:
        raise DiffMaskError("There is no input to make ablations of: give at least one.")
    is_main = processes is None or processes.is_main_process
    rank, count = (0, 1) if processes is None else (processes.process_index, processes.num_processes)
    asked = describe(explainer, tokenizer, dataset, masks, seed)
    if (found := existing(folder)) is not None:
        found.check(asked, folder)
    if is_main:
        _begin(folder, found or asked, explainer)
    _wait(processes)
    description = read_description(folder)
    if description is None:
        raise DiffMaskError(f"{folder} is not the same folder for all processes: name one on a disk that all share.")
    description.check(asked, folder)
    groups = shard_groups(dataset.lengths)
    missing = [number for number in range(len(groups)) if not _is_whole(folder, number, groups, description, is_main)]
    _wait(processes)  # all find the same shards missing, before the first is written
    mine = missing[rank::count]
    total = sum(len(groups[number]) for number in mine) * (masks + 1)
    explainer.eval()
    with tqdm(total=total, desc="Ablations", unit="pass", leave=False, disable=quiet or not is_main) as bar:
        for number in mine:
            inputs = groups[number]
            parts = []
            for start in range(0, len(inputs), batch_size):
                chosen = inputs[start : start + batch_size]
                parts.append(_ablated(explainer, tokenizer, dataset, chosen, description, batch_size, autocast))
                bar.update(len(chosen) * (masks + 1))
            write_shard(shard_path(folder, number), _joined(parts), description)
    _wait(processes)
    made = Ablations(folder)
    if is_main:
        made.warn_of_left_out()
    return made


def check_masks(masks: int) -> None:
    """
    Refuses a number of masks for an input that cannot be drawn.

    Args:
        masks (`int`): Masks for each input.

    Raises:
        DiffMaskError: If the number is odd or below 2.
    """
    if masks < 2 or masks % 2:
        raise DiffMaskError(
            f"The number of masks for each input must be even and at least 2, since a mask and its complement are "
            f"drawn together, but is {masks}."
        )


def existing(folder: str | os.PathLike) -> Description | None:
    """
    The description of ablations that are in an output folder already.

    Args:
        folder (`str` or `os.PathLike`): The folder. It need not exist.

    Returns:
        [`Description`] or `None`: `None` if the folder is new or empty.

    Raises:
        DiffMaskError: If the folder cannot be written, or holds something else.
    """
    check_folder(folder)
    found = read_description(folder)
    # The description is written after the baseline. Names with a dot are files that were not finished.
    names = [name for name in os.listdir(folder) if name[0] != "."] if os.path.isdir(folder) else []
    if found is None and set(names) - {BASELINE_FILE, VALIDATION_FOLDER}:
        raise DiffMaskError(f"The folder {folder} holds no ablations but something else: name another folder.")
    return found


def record_first(explainer: DiffMaskModel, batch: Batch) -> Recorded:
    """
    The base model's output and state 0 for whole inputs: what [`run_masks`] needs.

    Args:
        explainer ([`DiffMaskModel`]): Holds the base model.
        batch ([`Batch`]): The inputs.

    Returns:
        [`Recorded`]: With one state.
    """
    with torch.no_grad():
        output, states = record(explainer.base, batch.inputs, explainer.config.state_names[:1], batch.units)
    return Recorded(explainer.task.target(output, batch.inputs.get("attention_mask"), batch.explained), states, batch)


def _begin(folder: str | os.PathLike, description: Description, explainer: DiffMaskModel) -> None:
    """Writes baseline and description, where they are missing, and removes files that were not finished."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise DiffMaskError(f"{folder} cannot be made ({reason(error)}): name another folder.") from error
    for path in Path(folder).glob(".hf-diffmask-*"):
        path.unlink(missing_ok=True)
    try:
        read_baseline(folder, description)
    except DiffMaskError:
        write_baseline(folder, explainer.baseline_at(0))
    if read_description(folder) is None:
        write_description(folder, description)


def _is_whole(
    folder: str | os.PathLike, number: int, groups: list[list[int]], description: Description, warns: bool
) -> bool:
    path = shard_path(folder, number)
    try:
        read_shard(path, groups[number], description)
    except DamagedShard:
        if warns and path.exists():
            logger.warning(f"{path} is damaged or of other ablations, and is made again.")
        return False
    return True


def _ablated(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Features,
    inputs: list[int],
    description: Description,
    batch_size: int,
    autocast: Callable[[], AbstractContextManager],
) -> Shard:
    """The ablations of some inputs."""
    collated = collate(tokenizer, [dataset[number] for number in inputs])
    batch = explainer.batch(**{name: value.to(explainer.device) for name, value in collated.items()})
    assert batch.example_ids is not None
    drawn = draw_masks(description.seed, batch.example_ids, batch.maskable, description.masks)
    with autocast():
        recorded = record_first(explainer, batch)
        kept = run_masks(explainer, recorded, drawn, tuple(description.replacements), batch_size)
    finite = kept.isfinite().all(-1, keepdim=True)
    outputs = torch.where(finite, kept.float(), float("nan")).cpu().numpy()
    packed = [_packed(masks, maskable) for masks, maskable in zip(drawn.cpu(), batch.maskable.cpu(), strict=True)]
    units = batch.maskable.sum(-1).cpu().numpy().astype(np.int32)
    return Shard(np.asarray(inputs, dtype=np.int64), units, packed, outputs)


def _packed(masks: Tensor, maskable: Tensor) -> bytes:
    return np.packbits(masks[:, maskable].numpy().reshape(-1)).tobytes()


def _joined(parts: list[Shard]) -> Shard:
    return Shard(
        np.concatenate([part.inputs for part in parts]),
        np.concatenate([part.units for part in parts]),
        [packed for part in parts for packed in part.masks],
        np.concatenate([part.outputs for part in parts]),
    )


def _wait(processes: Any) -> None:
    if processes is not None:
        processes.wait_for_everyone()
