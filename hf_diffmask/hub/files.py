"""Selects the files of an explainer's folder to publish."""

import json
import os
from pathlib import Path
from typing import Any

from huggingface_hub.utils import filter_repo_objects
from transformers.utils import logging

from ..errors import DiffMaskError
from ..explainer.configuration_diffmask import DiffMaskConfig
from ..explainer.modeling_diffmask import DiffMaskModel

logger = logging.get_logger(__name__)

# An allow-list, because a folder can also hold checkpoints, logs and private files.
TOKENIZER_FILES = [
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
    "*.model", "chat_template.jinja", "preprocessor_config.json", "processor_config.json",
]  # fmt: skip


WEIGHTS = ["model.safetensors", "model-*.safetensors", "model.safetensors.index.json"]


PUBLISHED = [
    *WEIGHTS, *TOKENIZER_FILES, "*.png", ".eval_results/*.yaml", "explainer_results.json", "training_args.json",
    "trainer_state.json", "all_results.json", "eval_results.json",
]  # fmt: skip


BASE_FOLDER = "base_model"


def published(folder: Path, allowed: list[str] | None = None) -> dict[str, Path]:
    """
    The files of a folder that are pushed unchanged.

    Args:
        folder (`Path`): The folder.
        allowed (`list[str]`, *optional*): Patterns of names; by default `PUBLISHED`.

    Returns:
        `dict[str, Path]`: Paths by name in the repo.
    """
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    # Patterns also match in sub-folders, and checkpoints hold files with the same names.
    names = [name for name in names if "/" not in name or name.startswith(".eval_results/")]
    return {name: folder / name for name in sorted(filter_repo_objects(names, allow_patterns=allowed or PUBLISHED))}


def base_and_config(folder: Path, explainer: DiffMaskModel, with_base: bool) -> tuple[Path | None, dict[str, Any]]:
    """
    The folder of a local base model, and the config to publish, without local paths.

    Args:
        folder (`Path`): The explainer's folder.
        explainer ([`DiffMaskModel`]): The explainer.
        with_base (`bool`): Whether to push the base model as well.

    Returns:
        `tuple`: The folder (`None` if the base model is no local folder) and the config.

    Raises:
        DiffMaskError: If `with_base` is set and the base model is no local folder or has no safetensors.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    location = explainer.guest.location
    is_local = location is not None and (
        os.path.isdir(location) or location.startswith(".") or os.path.isabs(location)
    )
    base = Path(str(location)) if is_local else None
    if with_base and base is None:
        raise DiffMaskError("The base model is not a local folder: leave --with_base_model out.")
    if with_base and base is not None:
        if not (base / "model.safetensors").is_file() and not (base / "model.safetensors.index.json").is_file():
            raise DiffMaskError(f"The base model in {base} has no safetensors: save it with save_pretrained first.")
        config |= {"base_model_name_or_path": f"./{BASE_FOLDER}", "base_model_revision": None}
    elif is_local or location is None:
        config |= {"base_model_name_or_path": None, "base_model_revision": None}
        logger.warning(
            "The base model is a local folder, so nobody else can load this explainer: push the base model to the "
            "Hub and train with its id, or add --with_base_model."
        )
    elif config.get("base_model_revision") is None:
        logger.warning(f"The explainer names no revision of {location}: a later version of it will be refused.")
    # Same check as on loading: a published config must load.
    DiffMaskConfig.from_dict(dict(config))
    return base, config
