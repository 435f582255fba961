"""Loads a base model from files that were checked first."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedModel

from ..errors import DiffMaskError
from .bounds import check_base
from .repository import Repository
from .weights import shapes, some

# A weight takes at least one bit of its file, however it is compressed.
WEIGHTS_PER_BYTE = 8


def read_base(
    auto_class: Any, name: str, dtype: str, trust_remote_code: bool = False, **options: Any
) -> tuple[PreTrainedModel, set[str], Repository]:
    """
    A base model from safetensors. No other file of weights is read, and no code of the repo is run unless allowed.

    Args:
        auto_class (`type`): The auto class of its task.
        name (`str`): A folder, or an id on the Hub.
        dtype (`str`): Its precision.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Whether to run code of the repo.
        options: Hub options, such as `revision`, `subfolder` and `token`.

    Returns:
        `tuple`: The model, names of tensors that its weights lack, and the [`Repository`] with its commit.

    Raises:
        DiffMaskError: If the model needs code that is not allowed. If files are malformed or damaged, do not fit the
            config or name other files than safetensors of their own folder, or a count in the config is out of bounds.
    """
    source, fields = checked_config(name, **options)
    check_code(fields, trust_remote_code, name)
    options = {**options, "revision": source.revision, "trust_remote_code": trust_remote_code}
    files = source.weights(named=fields.get("transformers_weights"))
    if files:
        shapes(files, f"the base model {name}")
        check_size(auto_class, AutoConfig.from_pretrained(name, **options), files, name, trust_remote_code)
    with without_report():
        base, loading = auto_class.from_pretrained(
            name, dtype=dtype, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    if loading["mismatched_keys"]:
        said = [f"{key} has the shape {[*found]} instead of {[*wanted]}" for key, found, wanted in sorted(
            loading["mismatched_keys"])]  # fmt: skip
        raise DiffMaskError(
            f"The weights of the base model {name} do not match its config: {some(said)}; get both again from where "
            "they were published."
        )
    return base, loading["missing_keys"], source


def checked_config(name: str, **options: Any) -> tuple[Repository, dict[str, Any]]:
    """
    The files of a base model, and the fields of its config, checked before anything is built from them.

    Args:
        name (`str`): A folder, or an id on the Hub.
        options: Hub options, such as `revision`, `subfolder` and `token`.

    Returns:
        `tuple`: The [`Repository`] and the fields, empty if there is no config.

    Raises:
        DiffMaskError: If the config is malformed, or a count in it is out of bounds.
    """
    source = Repository(name, **options)
    fields = source.config() or {}
    check_base(fields, f"the config of the base model {name}")
    return source, fields


def check_code(fields: dict[str, Any], trust_remote_code: bool, name: str) -> None:
    """
    Refuses a base model that Transformers does not know and that brings code of its own, unless that is allowed.

    Args:
        fields (`dict`): Fields of its config.
        trust_remote_code (`bool`): Whether to run code of the repo.
        name (`str`): A folder, or an id on the Hub.

    Raises:
        DiffMaskError: The message names the option.
    """
    if fields.get("auto_map") and fields.get("model_type") not in CONFIG_MAPPING and not trust_remote_code:
        raise DiffMaskError(
            f"The base model {name} needs code of its own repo, which is not run: read the code, then allow it with "
            "`trust_remote_code=True` (on the command line --trust_remote_code True)."
        )


def check_size(auto_class: Any, config: Any, files: list[Path], name: str, trust_remote_code: bool = False) -> None:
    """
    Refuses a config that asks for far more weights than the files hold: they would fill the memory with noise.

    Args:
        auto_class (`type`): The auto class of the task.
        config ([`~transformers.PreTrainedConfig`]): The config; changed by building.
        files (`list[Path]`): The files of weights.
        name (`str`): Name of the base model in an error.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Whether to run code of the repo.

    Raises:
        DiffMaskError: If the files are too small.
    """
    with torch.device("meta"):  # takes no memory
        model = auto_class.from_config(config, trust_remote_code=trust_remote_code)
    asked, size = sum(one.numel() for one in model.parameters()), sum(path.stat().st_size for path in files)
    if asked > WEIGHTS_PER_BYTE * size:
        raise DiffMaskError(
            f"The config of the base model {name} asks for {asked:,} weights, and its files have {size:,} bytes: get "
            "both again from where they were published."
        )


@contextmanager
def without_report() -> Iterator[None]:
    """Leaves out Transformers' table of missing and unknown weights: an error names those that matter."""
    logger = logging.getLogger("transformers.modeling_utils")

    def other(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)
