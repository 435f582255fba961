"""What a command's result file says of the run."""

import platform
from pathlib import Path
from typing import Any

import torch

from ..about import VERSION
from ..data.reading import is_on_hub
from ..explainer.modeling_diffmask import DiffMaskModel


def name_of(location: str) -> str:
    """
    What a file or folder is called on any machine.

    Args:
        location (`str`): A path, or an id on the Hub.

    Returns:
        `str`: The last part of a path; an id as it is.
    """
    return Path(location).resolve().name if Path(location).exists() else location


def about_run(explainer: DiffMaskModel, model: str | None, dataset: str) -> dict[str, Any]:
    """
    Version, machine, explainer and data.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        model (`str`, *optional*): What it was named as; `None` for the bundled one.
        dataset (`str`): What the data were named as.

    Returns:
        `dict`: Ready for JSON; no path of this machine is in it.
    """
    return {
        "version": VERSION,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "model": "bundled with the package" if model is None else name_of(model),
        "base_model_fingerprint": explainer.config.base_model_fingerprint,
        "dataset": dataset if is_on_hub(dataset) else Path(dataset).name,
    }
