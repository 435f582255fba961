"""Which checkpoint a run goes on from, and whether it may write into its output folder."""

import json
import os

from ..data.json_files import read_json
from ..errors import RETIRED, DiffMaskError, retired
from ..explainer.configuration_diffmask import DiffMaskConfig
from .arguments import DiffMaskTrainingArguments
from .checkpoints import ARGUMENTS_FILE, OBJECTIVE_FILE, damage, is_unfinished, last_whole
from .recipes.ablation_labels import own_folder

# Fields of the config that decide the shapes of weights, or what they are for.
KIND = ("task", "objective", "target", "masking", "state_names", "embedding_size", "hidden_size", "class_conditional")


def check_output_dir(args: DiffMaskTrainingArguments, resume_from_checkpoint: str | bool | None) -> str | None:
    """
    The checkpoint to resume from. Refuses an output folder that would be overwritten. A killed run's unfinished files
    and its ablations do not count: the next run goes on from the ablations.

    Args:
        args ([`DiffMaskTrainingArguments`]): `output_dir` and `overwrite_output_dir` are used.
        resume_from_checkpoint (`str` or `bool`, *optional*): A checkpoint, or `True` for the last one.

    Returns:
        `str` or `None`: The checkpoint; `None` for a new run, and for one that has only ablations to go on from.

    Raises:
        DiffMaskError: If the output folder is a file or is not empty, there is no whole checkpoint to resume from, or
            its recipe has been retired.
    """
    checkpoint = _checkpoint_of(args, resume_from_checkpoint)
    if checkpoint is not None:
        _check_recipe(checkpoint)
    return checkpoint


def _check_recipe(checkpoint: str) -> None:
    path = os.path.join(checkpoint, ARGUMENTS_FILE)
    recipe = read_json(path).get("recipe") if os.path.isfile(path) else None
    if recipe in RETIRED:
        raise retired(recipe, f"Going on from {checkpoint}")


def _checkpoint_of(args: DiffMaskTrainingArguments, resume_from_checkpoint: str | bool | None) -> str | None:
    folder = str(args.output_dir)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise DiffMaskError(f"{folder} is a file: name a folder with --output_dir.")
    ablations = own_folder(args)
    is_empty = not os.path.isdir(folder) or all(
        name == ablations.name or is_unfinished(name) for name in os.listdir(folder)
    )
    if str(resume_from_checkpoint).lower() == "true":
        checkpoint = last_whole(args)
        if checkpoint is None and not (is_empty and ablations.is_dir()):
            raise DiffMaskError(f"The folder {folder} holds no checkpoint to resume from.")
        return checkpoint
    if resume_from_checkpoint:
        if not os.path.isfile(os.path.join(str(resume_from_checkpoint), OBJECTIVE_FILE)):
            raise DiffMaskError(f"{resume_from_checkpoint} is no checkpoint: name a folder checkpoint-N of a run.")
        if (file := damage(str(resume_from_checkpoint))) is not None:
            raise DiffMaskError(
                f"{resume_from_checkpoint} is damaged ({file}): name another checkpoint, or go on from the last whole "
                "one with --resume_from_checkpoint True."
            )
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


def check_same_kind(checkpoint: str, config: DiffMaskConfig) -> None:
    """
    Refuses a checkpoint of an explainer of another kind, whose weights do not fit.

    Args:
        checkpoint (`str`): The checkpoint.
        config ([`DiffMaskConfig`]): Config of the explainer that goes on.

    Raises:
        DiffMaskError: If a field differs that decides the shapes of weights, or what they are for.
    """
    with open(os.path.join(checkpoint, "config.json"), encoding="utf-8") as file:
        saved = DiffMaskConfig.from_dict(json.load(file))
    for name in KIND:
        if getattr(saved, name) != getattr(config, name):
            raise DiffMaskError(
                f"{checkpoint} is of a run with {name}={getattr(saved, name)!r}, and this run has "
                f"{getattr(config, name)!r}: go on with that run's own settings, or train in another folder."
            )
