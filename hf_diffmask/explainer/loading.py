"""Loads an explainer by name; whatever is wrong with its files is one sentence."""

import os
from typing import Any

from ..errors import DiffMaskError
from .configuration_diffmask import DiffMaskConfig
from .modeling_diffmask import DiffMaskModel
from .repository import LOADING_ERRORS, Repository, why_missing

WHAT_TO_DO = "name a folder that `hf-diffmask train` wrote, or a Hub id that can be reached"


def load_explainer(name: str | os.PathLike, **options: Any) -> DiffMaskModel:
    """
    An explainer from a folder or the Hub. Code of the repo is never run.

    Args:
        name (`str` or `os.PathLike`): A folder, or an id on the Hub.
        options: Passed on to [`DiffMaskModel.from_pretrained`], such as `revision` and `token`.

    Returns:
        [`DiffMaskModel`], in eval mode.

    Raises:
        DiffMaskError: If there is no explainer of this name, or it cannot be loaded. The message says why.
    """
    name = os.fspath(name)
    try:
        source = Repository(name, **options)
        fields = source.config()
        if fields is None:
            raise FileNotFoundError("it holds no config.json")
        if fields.get("model_type") != DiffMaskConfig.model_type:
            raise DiffMaskError(
                f"{name} is a {_kind(fields)}, not an explainer: train an explainer for it with `hf-diffmask train "
                "--base_model ...`, then name its folder."
            )
        return DiffMaskModel.from_pretrained(name, **{**options, "revision": source.revision})
    except DiffMaskError:
        raise
    except LOADING_ERRORS as error:
        raise DiffMaskError(
            f"The explainer {name} cannot be loaded: {WHAT_TO_DO} ({why_missing(name, error)})."
        ) from error


def _kind(fields: dict[str, Any]) -> str:
    """The class of a model of another kind, as its config names it."""
    named = fields.get("architectures")
    if isinstance(named, list) and named and named[0] != DiffMaskModel.__name__:
        return str(named[0])[:100]
    return f"model of type {str(fields.get('model_type'))[:100]!r}"
