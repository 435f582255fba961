"""How a sentence-embedding model makes one vector of its last state, as Sentence Transformers saves it."""

import json
import os
from pathlib import PurePath
from typing import Any

from transformers.utils import cached_file

from ..errors import DiffMaskError

# Names of Sentence Transformers, and ours of `base.head`.
POOLING = {"mean": "mean", "mean_tokens": "mean", "cls": "first", "cls_token": "first", "lasttoken": "last"}
MODULES = ("Transformer", "Pooling", "Normalize")


def pooling_of(location: str) -> str:
    """
    The positions whose last state becomes the embedding.

    Args:
        location (`str`): Folder or Hub id of the model; empty for a model that was never saved.

    Returns:
        `str`: `"mean"`, `"first"` or `"last"`, see [`~hf_diffmask.base.head.head_weights`]; `"mean"` if the model does
        not come with files of Sentence Transformers.

    Raises:
        DiffMaskError: If the model has a module other than pooling and normalisation, or pools in another way, or if
            one of these files is damaged.
    """
    modules = _read(location, "modules.json", list) or []
    if not all(isinstance(one, dict) for one in modules):
        raise _damaged(location, "modules.json")
    kinds = {str(one.get("type", "")).rpartition(".")[2]: str(one.get("path", "")) for one in modules}
    if others := [kind for kind in kinds if kind not in MODULES]:
        raise DiffMaskError(
            f"{location} makes its embeddings with {', '.join(others)}: only models with a transformer, pooling and "
            "normalisation can be explained."
        )
    folder = kinds.get("Pooling") or "1_Pooling"
    if os.path.isabs(folder) or ".." in PurePath(folder).parts:  # a repo must not name files of this machine
        raise _damaged(location, "modules.json")
    config = _read(location, f"{folder}/config.json", dict) or {"pooling_mode": "mean"}
    named = config.get("pooling_mode")
    prefix = "pooling_mode_"
    chosen = [name.removeprefix(prefix) for name, value in config.items() if name.startswith(prefix) and value]
    modes = [named] if isinstance(named, str) else chosen
    if len(modes) != 1 or modes[0] not in POOLING:
        raise DiffMaskError(
            f"{location} pools its last state by {' and '.join(modes) or 'nothing'}: only the mean, the first and the "
            "last token can be explained."
        )
    return POOLING[modes[0]]


def _read(location: str, name: str, kind: type) -> Any:
    """The content of a JSON file of a model, or `None` if there is none."""
    if not location:
        return None
    path = cached_file(
        location, name, _raise_exceptions_for_gated_repo=False, _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )  # fmt: skip
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(location, name) from error
    if not isinstance(content, kind):
        raise _damaged(location, name)
    return content


def _damaged(location: str, name: str) -> DiffMaskError:
    return DiffMaskError(f"{name} of {location} is not as Sentence Transformers writes it: save the model again.")
