"""Weights in safetensors files: shapes, digest, and what is wrong with them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import DiffMaskError, reason

NAMED = 5  # tensors that an error names


def digest(tensors: Mapping[str, Tensor]) -> str:
    """
    Hash of names, types, shapes and all values of tensors, whatever file they are in.

    A config with the digest of its weights tells weights that were changed, exchanged, or mixed up with those of
    another version after saving. It is no signature: whoever writes new weights can write a new digest as well.

    Args:
        tensors (`Mapping[str, torch.Tensor]`): Tensors by name.

    Returns:
        `str`: SHA-256, 64 hexadecimal digits.
    """
    made = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous().reshape(-1)
        made.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        made.update(values.view(torch.uint8).numpy().data)
    return made.hexdigest()


def read_weights(files: list[Path], name: str) -> dict[str, Tensor]:
    """
    The tensors of safetensors files, in the precision of the file.

    Args:
        files (`list[Path]`): The files.
        name (`str`): Name of the model in an error.

    Returns:
        `dict[str, torch.Tensor]`

    Raises:
        DiffMaskError: If a file is damaged.
    """
    found: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as opened:
                found |= {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError) as error:
            raise damaged(path, name, error) from error
    return found


def shapes(files: list[Path], name: str) -> dict[str, tuple[int, ...]]:
    """
    Shapes of the tensors in safetensors files; reads only their headers.

    Args:
        files (`list[Path]`): The files.
        name (`str`): Name of the model in an error.

    Returns:
        `dict[str, tuple[int, ...]]`

    Raises:
        DiffMaskError: If a file is damaged.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as opened:
                found |= {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError) as error:
            raise damaged(path, name, error) from error
    return found


def damaged(path: Path, name: str, error: Exception) -> DiffMaskError:
    """
    The error for a file that is no whole safetensors file.

    Args:
        path (`Path`): The file.
        name (`str`): Name of the model.
        error (`Exception`): The error from reading it.

    Returns:
        `DiffMaskError`
    """
    return DiffMaskError(
        f"The weights of {name} are damaged ({path.name}: {reason(error)}): get them again from where they were "
        "published."
    )


def check_shapes(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], name: str) -> None:
    """
    Refuses weights that do not fit the model of the config.

    Args:
        found (`Mapping[str, tuple[int, ...]]`): Shapes of the tensors in the files.
        wanted (`Mapping[str, tuple[int, ...]]`): Shapes of the model's tensors.
        name (`str`): Name of the model in the error.

    Raises:
        DiffMaskError: If tensors are missing or unknown, or have other shapes.
    """
    wrong = [key for key in sorted(found.keys() | wanted.keys()) if found.get(key) != wanted.get(key)]
    absent = [key for key in wrong if key not in found or key not in wanted]
    if absent:
        raise DiffMaskError(
            f"The weights of {name} do not match its config: {some(absent)} missing or unknown; get both again from "
            "where they were published."
        )
    if wrong:
        said = some([f"{key} has the shape {list(found[key])} instead of {list(wanted[key])}" for key in wrong])
        raise DiffMaskError(
            f"The weights of {name} do not match its config: {said}; get both again from where they were published."
        )


def some(names: list[str]) -> str:
    """
    A list for an error, shortened.

    Args:
        names (`list[str]`): What to name.

    Returns:
        `str`: The first five, and how many more there are.
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(name[:100] for name in names[:NAMED]) + more
