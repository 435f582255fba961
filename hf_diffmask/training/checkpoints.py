"""Checkpoints: their files, which of them are whole, and the output folder that holds them."""

import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from transformers.utils import logging

from ..errors import DiffMaskError
from ..explainer.configuration_diffmask import DiffMaskConfig
from ..explainer.modeling_diffmask import DiffMaskModel
from .arguments import DiffMaskTrainingArguments
from .recipes.recipe import Objective

logger = logging.get_logger(__name__)

OBJECTIVE_FILE = "objective.safetensors"
ARGUMENTS_FILE = "training_args.json"
STATE_FILE = "trainer_state.json"
NEEDED = ("config.json", "model.safetensors", OBJECTIVE_FILE, STATE_FILE)
OPTIMIZER = ("optimizer.pt", "scheduler.pt")  # both, or neither with `save_only_model`
UNFINISHED = "unfinished-"  # begins the name of a checkpoint's folder while the checkpoint is written or deleted


def save_beside(folder: str, objective: Objective, args: DiffMaskTrainingArguments, config: DiffMaskConfig) -> None:
    """
    Saves objective and settings in a checkpoint, as safetensors and JSON.

    Args:
        folder (`str`): The checkpoint.
        objective ([`Objective`]): Its parameters and buffers are saved.
        args ([`DiffMaskTrainingArguments`]): Settings.
        config ([`DiffMaskConfig`]): The explainer's config.
    """
    save_model(objective, os.path.join(folder, OBJECTIVE_FILE))
    with open(os.path.join(folder, ARGUMENTS_FILE), "w") as file:
        json.dump(args.settings(config), file, indent=2)


def load_objective(folder: str, objective: Objective) -> None:
    """
    Loads an objective from a checkpoint.

    Args:
        folder (`str`): The checkpoint.
        objective ([`Objective`]): Changed in place.
    """
    load_model(objective, os.path.join(folder, OBJECTIVE_FILE))


@torch.no_grad()
def load_baselines(folder: str, explainer: DiffMaskModel) -> None:
    """
    Loads the baselines of a checkpoint. Labels need them before the run loads the other weights.

    Args:
        folder (`str`): The checkpoint.
        explainer ([`DiffMaskModel`]): Changed in place.
    """
    with safe_open(os.path.join(folder, "model.safetensors"), "pt") as file:
        for name, value in explainer.named_parameters():
            if name in ("baseline", "hidden_baselines"):
                value.copy_(file.get_tensor(name))


def damage(checkpoint: str) -> str | None:
    """
    The first file of a checkpoint that is missing or cut off.

    Checkpoints are renamed when they are whole. But earlier versions wrote them in place, and copies can break off.

    Args:
        checkpoint (`str`): The checkpoint.

    Returns:
        `str` or `None`: Name of the file; `None` if the checkpoint is whole.
    """
    names = sorted(os.listdir(checkpoint)) if os.path.isdir(checkpoint) else []
    optimizer = OPTIMIZER if any(name in names for name in OPTIMIZER) else ()
    for name in (*NEEDED, *optimizer, *names):
        path = os.path.join(checkpoint, name)
        try:
            if name.endswith(".safetensors"):
                with safe_open(path, "pt"):
                    pass
            elif name.endswith(".json"):
                with open(path, encoding="utf-8") as file:
                    json.load(file)
            elif name.endswith((".pt", ".pth")):
                zipfile.ZipFile(path).close()  # torch's format; the index is at the end of the file
        except (OSError, ValueError, zipfile.BadZipFile, SafetensorError):
            return name
    return None


def last_whole(args: DiffMaskTrainingArguments) -> str | None:
    """
    The last whole checkpoint in the output folder; warns of later ones that are damaged.

    Args:
        args ([`DiffMaskTrainingArguments`]): `output_dir` is used.

    Returns:
        `str` or `None`

    Raises:
        DiffMaskError: If there are checkpoints, and all are damaged.
    """
    folder = str(args.output_dir)
    numbered = sorted(_numbered(folder).items(), reverse=True)
    found = dict.fromkeys((checkpoint for _, checkpoint in numbered), "")
    for checkpoint in found:
        missing = damage(checkpoint)
        if missing is None:
            for later, file in found.items():
                if file and args.process_index == 0:
                    logger.warning_once(f"{later} is damaged ({file}): training goes on from {checkpoint}.")
            return checkpoint
        found[checkpoint] = missing
    if found:
        checkpoint, file = next(iter(found.items()))
        raise DiffMaskError(
            f"No checkpoint in {folder} is whole: {checkpoint} is damaged ({file}). Train again, with "
            "--overwrite_output_dir."
        )
    return None


def finish_checkpoint(unfinished: str, checkpoint: str) -> None:
    """
    Gives a checkpoint its name, after all of its files are on the disk. An earlier one of this name is replaced.

    Args:
        unfinished (`str`): Folder that the checkpoint was written to, in the same file system.
        checkpoint (`str`): The checkpoint.
    """
    for entry in os.scandir(unfinished):
        if entry.is_file():
            with open(entry.path, "rb+") as file:
                os.fsync(file.fileno())
    if os.path.lexists(checkpoint):  # a file or a link as well
        os.rename(checkpoint, f"{unfinished}.replaced")
    os.rename(unfinished, checkpoint)


def rotate(folder: str, limit: int | None, kept: set[str]) -> None:
    """
    Deletes the oldest checkpoints above a limit.

    Args:
        folder (`str`): The output folder.
        limit (`int`, *optional*): Largest number of checkpoints.
        kept (`set[str]`): Checkpoints that stay in any case: the one just saved, and the best.
    """
    # By time, so that checkpoints of an earlier run, which may have higher numbers, go first.
    folders = [item for item in _numbered(folder).items() if os.path.isdir(item[1])]
    ordered = sorted(folders, key=lambda item: (os.path.getmtime(item[1]), item[0]))
    protected = {os.path.abspath(checkpoint) for checkpoint in kept}
    surplus = 0 if limit is None or limit <= 0 else max(0, len(ordered) - limit)
    free = [checkpoint for _, checkpoint in ordered if os.path.abspath(checkpoint) not in protected]
    for checkpoint in free[:surplus]:
        # Renamed first: a checkpoint that is half deleted must not bear the name of a whole one.
        aside = os.path.join(folder, UNFINISHED + os.path.basename(checkpoint))
        os.rename(checkpoint, aside)
        _remove(aside)


@contextmanager
def sole_run(folder: str) -> Iterator[None]:
    """
    Keeps other runs out of an output folder, and removes what a killed run left unfinished.

    Args:
        folder (`str`): The output folder; made if missing.

    Raises:
        DiffMaskError: If another run is writing into the folder.
    """
    os.makedirs(folder, exist_ok=True)
    handle = _lock(folder)
    try:
        for name in filter(is_unfinished, os.listdir(folder)):
            _remove(os.path.join(folder, name))
        yield
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def no_empty_folder(folder: str) -> Iterator[None]:
    """
    Removes a folder that was made inside the context and is empty when the context ends with an error.

    Args:
        folder (`str`): The folder. Its parents are treated alike.
    """
    made, path = [], os.path.abspath(folder)
    while not os.path.exists(path):
        made.append(path)
        path = os.path.dirname(path)
    try:
        yield
    except BaseException:
        for path in made:
            try:
                os.rmdir(path)
            except OSError:
                break
        raise


def is_last(checkpoint: str) -> bool:
    """
    Whether no checkpoint of a higher number is beside a checkpoint. An earlier run may have left some.

    Args:
        checkpoint (`str`): The checkpoint.

    Returns:
        `bool`
    """
    folder, name = os.path.split(os.path.abspath(checkpoint))
    number = int(name.rpartition("-")[2])
    return max(_numbered(folder), default=number) <= number


def _remove(path: str) -> None:
    """Removes a folder, a file or a link. A link's target stays."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(path)


def _numbered(folder: str) -> dict[int, str]:
    """The checkpoints in a folder by step."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = filter(None, (re.fullmatch(r"checkpoint-(\d+)", name) for name in names))
    return {int(match[1]): os.path.join(folder, match[0]) for match in found}


def _lock(folder: str) -> int | None:
    """A lock that ends with the process, however the process ends; `None` without locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise DiffMaskError(
            f"Another run is writing into {folder}: wait until it has ended, or name another folder with --output_dir."
        ) from None
    except OSError:
        pass  # a file system without locks
    return handle


def is_unfinished(name: str) -> bool:
    """
    Whether a name is that of a checkpoint that is being written or deleted, or that a killed run left so.

    Args:
        name (`str`): Name of a file or folder in the output folder.

    Returns:
        `bool`
    """
    return re.match(rf"{UNFINISHED}checkpoint-\d+", name) is not None
