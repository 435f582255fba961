"""The module that publishes, for explainers and training: they cannot import `hub`. The package calls [`connect`]."""

from collections.abc import Callable
from typing import Any

from ..errors import DiffMaskError

_connect: list[Callable[[], Any]] = []


def connect(hub: Callable[[], Any]) -> None:
    """
    Sets the module that publishes.

    Args:
        hub (`Callable`): Imports and returns the module with `push`, `push_model`, `push_checkpoint`,
            `check_writable` and `add_code`. Called on first use.
    """
    _connect[:] = [hub]


def hub() -> Any:
    """
    The module that publishes.

    Returns:
        The module set by [`connect`].

    Raises:
        DiffMaskError: If the package is not installed: remote code can only explain.
    """
    if not _connect:
        raise DiffMaskError("Publishing needs the package hf-diffmask, which is not installed here.")
    return _connect[0]()
