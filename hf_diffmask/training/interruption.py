"""How a run ends early: by Ctrl-C, by SIGTERM, or since another of its processes has died."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import DiffMaskError
from .arguments import DiffMaskTrainingArguments
from .checkpoints import is_last
from .recipes.ablation_labels import own_folder

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ENDED = "hf_diffmask_ended"  # counts the processes that have ended early, in the store that they share


class Interrupted(KeyboardInterrupt):
    """
    The end of a run by a signal; the message says how to go on.

    Args:
        number (`int`): The signal.
        message (`str`): What is saved, and how to go on.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.status = 128 + number
        """Exit status, as shells give it: 130 for Ctrl-C, 143 for SIGTERM."""


class Interruption:
    """
    Handles Ctrl-C, SIGTERM and the death of other processes during a run.

    While steps are trained, a signal waits until the step has ended and its checkpoint is saved. At other times, and
    at the second signal, the run ends at once. With several processes, launchers repeat signals, so a second one has
    no effect.

    Args:
        args ([`DiffMaskTrainingArguments`]): Settings of the run.
    """

    def __init__(self, args: DiffMaskTrainingArguments):
        self.args = args
        self.signal = 0
        """The signal that this process has received, or 0."""
        self.agreed = 0
        """The signal that any process had received before the current step, or 0."""
        self.waits = False
        """Whether a signal waits for the end of a step."""
        self.checkpoint: str | None = None
        """The last checkpoint of the run."""

    def begin(self, checkpoint: str | None) -> None:
        """
        Begins a run anew, after an earlier one of the same trainer.

        Args:
            checkpoint (`str`, *optional*): The checkpoint that the run is resumed from.
        """
        self.signal, self.agreed, self.waits, self.checkpoint = 0, 0, False, checkpoint

    @contextmanager
    def watched(self) -> Iterator[None]:
        """
        Handles signals and dead processes inside the context. May be nested.

        Raises:
            Interrupted: After a signal.
            DiffMaskError: If another process has died.
        """
        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # others cannot handle signals
            # An ignored signal stays ignored, as `nohup` and background jobs ask.
            numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            before = {number: signal.signal(number, self._receive) for number in numbers}
        try:
            yield
        except RuntimeError as error:
            if self.args.world_size > 1 and _is_lost(error):
                raise DiffMaskError(f"Another process of this run has died: {self._saved()}") from error
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)

    def _receive(self, number: int, frame: Any) -> None:
        again = self.signal != 0 and self.args.world_size == 1
        self.signal = number
        if again or not self.waits:
            raise self.ended()

    def ended(self) -> Interrupted:
        """
        The exception that ends the run.

        Returns:
            `Interrupted`
        """
        number = self.signal or self.agreed
        name = "interrupted" if number == signal.SIGINT else "terminated"
        return Interrupted(number, f"{name}: {self._saved()}")

    def _saved(self) -> str:
        if self.checkpoint is None:
            begun = own_folder(self.args).is_dir()
            return f"there is no checkpoint yet{', and the same command goes on from the ablations' if begun else ''}."
        is_here = os.path.dirname(os.path.abspath(self.checkpoint)) == os.path.abspath(str(self.args.output_dir))
        # `True` takes the highest number, which may be of an earlier run.
        asked = True if is_here and is_last(self.checkpoint) else self.checkpoint
        return f"{self.checkpoint} is saved, go on with --resume_from_checkpoint {asked}."


def _is_lost(error: RuntimeError) -> bool:
    """Whether an error says that the connection to another process is lost."""
    return isinstance(error, torch.distributed.DistError) or any(name in str(error) for name in ("gloo", "peer"))


def speaks_for_all() -> bool:
    """
    Whether this process is the first of its run to say why the run ends; the others stay silent.

    Returns:
        `bool`: `True` in a run of one process.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return int(os.environ.get("RANK", "0")) == 0
    try:
        return torch.distributed.distributed_c10d._get_default_store().add(ENDED, 1) == 1
    except RuntimeError:  # the process that holds the store has died
        return True
