"""The base model that an explainer names: where it is, and whether a model is that one."""

import os
import re
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from transformers import PreTrainedModel
from transformers.utils import logging

from . import heads
from .base_model import fingerprint, names_of_blocks, state_names
from .configuration_diffmask import DiffMaskConfig
from .errors import DiffMaskError

logger = logging.get_logger(__name__)


def check_base(config: DiffMaskConfig, base: PreTrainedModel, allow_mismatch: bool = False) -> None:
    """
    Compares a base model with the one that an explainer was trained for, in the precision of that time.

    Args:
        config ([`DiffMaskConfig`]): The explainer's.
        base ([`~transformers.PreTrainedModel`]): The model.
        allow_mismatch (`bool`, *optional*, defaults to `False`): Whether other weights are warned of, not refused.

    Raises:
        DiffMaskError: If it is another one; with what differs.
    """
    found_task = heads.task_of(base)
    table = base.get_input_embeddings().weight
    expected_and_found: dict[str, tuple[Any, Any]] = {"task": (config.task, found_task)}
    if list(config.state_names) == names_of_blocks(config.num_states - 2):
        expected_and_found |= {
            "hidden size": (config.hidden_size, base.config.hidden_size),
            "number of states": (config.num_states, len(state_names(base))),
        }
    if config.state_names[0] == "embeddings":
        expected_and_found["embedding size"] = (config.embedding_size, table.shape[1])
    expected_and_found["vocabulary"] = (config.vocab_size, table.shape[0])
    if found_task == heads.CLASSIFICATION:
        expected_and_found["number of classes"] = (config.num_labels, base.config.num_labels)
    of_weights: dict[str, tuple[Any, Any]] = {}
    if config.base_model_fingerprint is not None:
        found = fingerprint(base, getattr(torch, config.base_model_dtype))
        of_weights["weights fingerprint"] = (config.base_model_fingerprint, found)
    if config.base_model_class is not None:
        of_weights["class"] = (config.base_model_class, type(base).__name__)
    shapes, weights = (
        [f"{what} {found} instead of {wanted}" for what, (wanted, found) in of_part.items() if wanted != found]
        for of_part in (expected_and_found, of_weights)
    )
    if weights and not shapes and allow_mismatch:
        logger.warning(
            f"This base model is not the one that the explainer was trained for ({', '.join(weights)}): what it "
            "says of it may be wrong. Verify every explanation."
        )
    elif shapes or weights:
        raise DiffMaskError(
            f"This base model is not the one that the explainer was trained for: {', '.join(shapes + weights)}. "
            "Use the base model it was trained for, or train an explainer for this one."
            + ("" if shapes else " For a later version of it, `allow_base_mismatch=True` goes on with a warning.")
        )


def commit_of(repo_id: str, revision: str | None = None, cache_dir: str | None = None) -> str | None:
    """
    The commit that a model was just loaded from, as the cache knows it.

    Args:
        repo_id (`str`): Id on the Hub, or a folder.
        revision (`str`, *optional*): Branch, tag or commit that was asked for.
        cache_dir (`str`, *optional*): The cache.

    Returns:
        `str` or `None`: Its full sha; `None` for a folder.
    """
    if not repo_id or os.path.isdir(repo_id):
        return None
    try:
        found = try_to_load_from_cache(repo_id, "config.json", cache_dir=cache_dir, revision=revision)
    except HFValidationError:  # a path that is no longer there
        return None
    match = re.search(r"snapshots[/\\]([0-9a-f]{40})[/\\]", found) if isinstance(found, str) else None
    return match[1] if match else None


def locate(base_model: str | None, explainer: str) -> str | None:
    """
    Resolves a base model's relative path against the folder of the explainer that names it. In a repo of the Hub it
    can only be beside the explainer.

    Args:
        base_model (`str`, *optional*): As the config names it.
        explainer (`str`): Folder of the explainer, or its id on the Hub.

    Returns:
        `str` or `None`: A folder, an id, or a path beside the explainer; `None` where it can be nothing of these.
    """
    if base_model is None or not base_model.startswith(("./", "../")):
        return base_model
    if os.path.isdir(explainer):
        return os.path.abspath(os.path.join(explainer, base_model))
    return base_model if base_model.startswith("./") and ".." not in base_model.split("/") else None
