"""Checkpoints: the files besides the explainer that resuming needs, and the check of the output folder."""

import json
import os

from safetensors.torch import load_model, save_model
from transformers.trainer_utils import get_last_checkpoint

from ..errors import DiffMaskError
from ..explainer.configuration_diffmask import DiffMaskConfig
from .arguments import DiffMaskTrainingArguments
from .recipes.recipe import Objective

OBJECTIVE_FILE = "objective.safetensors"
ARGUMENTS_FILE = "training_args.json"


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


def load_objective(folder: str, objective: Objective, device: str) -> None:
    """
    Loads an objective from a checkpoint.

    Args:
        folder (`str`): The checkpoint.
        objective ([`Objective`]): Changed in place.
        device (`str`): Device for its tensors.
    """
    load_model(objective, os.path.join(folder, OBJECTIVE_FILE), device=device)


def check_output_dir(args: DiffMaskTrainingArguments, resume_from_checkpoint: str | bool | None) -> str | None:
    """
    The checkpoint to resume from. Refuses an output folder that would be overwritten.

    Args:
        args ([`DiffMaskTrainingArguments`]): `output_dir` and `overwrite_output_dir` are used.
        resume_from_checkpoint (`str` or `bool`, *optional*): A checkpoint, or `True` for the last one.

    Returns:
        `str` or `None`: The checkpoint; `None` for a new run.

    Raises:
        DiffMaskError: If the output folder is a file or is not empty, or there is no checkpoint to resume from.
    """
    folder = str(args.output_dir)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise DiffMaskError(f"{folder} is a file: name a folder with --output_dir.")
    if str(resume_from_checkpoint).lower() == "true":
        checkpoint = get_last_checkpoint(folder) if os.path.isdir(folder) else None
        if checkpoint is None:
            raise DiffMaskError(f"The folder {folder} holds no checkpoint to resume from.")
        return checkpoint
    is_empty = not os.path.isdir(folder) or not os.listdir(folder)
    if resume_from_checkpoint:
        if not os.path.isfile(os.path.join(str(resume_from_checkpoint), OBJECTIVE_FILE)):
            raise DiffMaskError(f"{resume_from_checkpoint} is no checkpoint: name a folder checkpoint-N of a run.")
        if os.path.realpath(os.path.dirname(os.path.abspath(str(resume_from_checkpoint)))) == os.path.realpath(folder):
            return str(resume_from_checkpoint)
        if is_empty or args.overwrite_output_dir:
            return str(resume_from_checkpoint)
    if not is_empty and not args.overwrite_output_dir:
        raise DiffMaskError(
            f"The folder {folder} is not empty: name another with --output_dir, write into it with "
            "--overwrite_output_dir, or go on with --resume_from_checkpoint True."
        )
    return None
