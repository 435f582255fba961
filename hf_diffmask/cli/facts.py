"""Facts about a run for a command's result file."""

import platform
from pathlib import Path
from typing import Any

import torch

from ..about import VERSION
from ..data.reading import is_on_hub
from ..explainer.modeling_diffmask import DiffMaskModel


def name_of(location: str) -> str:
    """
    Name of a file or folder without the path on this machine.

    Args:
        location (`str`): A path, or an id on the Hub.

    Returns:
        `str`: The last part of an existing path; else `location` unchanged.
    """
    return Path(location).resolve().name if Path(location).exists() else location


def about_run(explainer: DiffMaskModel, model: str | None, dataset: str) -> dict[str, Any]:
    """
    Version, machine, explainer and data set of a run.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        model (`str`, *optional*): Its folder or id; `None` for the bundled explainer.
        dataset (`str`): The data set's path or id.

    Returns:
        `dict`: Ready for JSON, without paths of this machine.
    """
    return {
        "version": VERSION,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "model": "bundled with the package" if model is None else name_of(model),
        "base_model_fingerprint": explainer.config.base_model_fingerprint,
        "dataset": dataset if is_on_hub(dataset) else Path(dataset).name,
    }
