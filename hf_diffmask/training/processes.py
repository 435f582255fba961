"""Ends the processes of a launched run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def held_backend(device: torch.device) -> Iterator[None]:
    """
    A context in which a process group can be ended safely. At its end, the threads of the group have ended.

    Threads that still run at exit can abort the process, although everything is saved.

    Args:
        device (`torch.device`): The device of the run.
    """
    group = torch.distributed.group.WORLD if torch.distributed.is_initialized() else None
    # A backend waits for its threads when it is freed, and the threads may need the interpreter's lock. Only the
    # backend's Python object is freed without the lock, so this object must hold the last reference.
    backend = None if group is None else group._get_backend(device)
    del group
    yield
    del backend


def end_processes(processes: Any, device: torch.device) -> None:
    """
    Ends the process group of a launched run, and waits for its threads. Call it last.

    Args:
        processes ([`~accelerate.PartialState`], *optional*): The processes of the run.
        device (`torch.device`): The device of the run.
    """
    with held_backend(device):
        if processes is not None:
            processes.destroy_process_group()
