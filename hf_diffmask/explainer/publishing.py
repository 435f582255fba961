"""The way from explainers and training to the Hub, which lies above them: the package's root connects it."""

from collections.abc import Callable
from typing import Any

from ..errors import DiffMaskError

_connect: list[Callable[[], Any]] = []


def connect(hub: Callable[[], Any]) -> None:
    """
    Names what publishes.

    Args:
        hub (`Callable`): Imports the module with `push`, `push_model`, `push_checkpoint`, `check_writable` and
            `add_code`, when it is first needed, and returns it.
    """
    _connect[:] = [hub]


def hub() -> Any:
    """
    What publishes.

    Returns:
        The module that [`connect`] named.

    Raises:
        DiffMaskError: If the package is not installed, and only its code for explaining came along.
    """
    if not _connect:
        raise DiffMaskError("Publishing needs the package hf-diffmask, which is not installed here.")
    return _connect[0]()
