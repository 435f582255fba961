"""Requests that wait at the same time, run as one batch. Gradio's own batching fails all of a batch with one of it."""

import queue
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, NamedTuple

from ..errors import DiffMaskError


class _Waiting(NamedTuple):
    key: Hashable
    item: Any
    answer: Future


class Batcher:
    """
    Runs items one thread at a time, and as a batch those that came in meanwhile.

    Args:
        run (`Callable`): From a key and a list of items to a list of results. Items of one key run together.
        size (`int`, *optional*, defaults to 16): Most items of a batch.
        waiting (`int`, *optional*, defaults to 200): Most items that wait; more are refused.
    """

    def __init__(self, run: Callable[[Any, list[Any]], list[Any]], size: int = 16, waiting: int = 200):
        self.run, self.size = run, size
        self.batches: list[int] = []
        """Sizes of the latest batches."""
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._work, daemon=True, name="batcher")
        self._thread.start()

    def __call__(self, key: Hashable, item: Any, timeout: float) -> Any:
        """
        Runs an item.

        Args:
            key (`Hashable`): What it can be run together with.
            item (`Any`): The item.
            timeout (`float`): Seconds to wait.

        Returns:
            `Any`: Its result.

        Raises:
            DiffMaskError: If too many are waiting, or the time is over.
            Exception: What running it by itself raises.
        """
        answer: Future = Future()
        try:
            self._waiting.put_nowait(_Waiting(key, item, answer))
        except queue.Full:
            raise DiffMaskError("There are too many requests at once: try again in a moment.") from None
        try:
            return answer.result(timeout)
        except FutureTimeoutError:
            answer.cancel()
            raise DiffMaskError(
                f"This took longer than the limit of {timeout:g} seconds: try a shorter text."
            ) from None

    def close(self) -> None:
        """Ends the thread, once what waits has been run."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        held: list[_Waiting] = []
        while True:
            if not held:
                first = self._waiting.get()
                if first is None:
                    return
                held.append(first)
            while len(held) < 4 * self.size and not self._waiting.empty():
                one = self._waiting.get()
                if one is None:
                    self._waiting.put(None)  # what came before it is run first
                    break
                held.append(one)
            # The oldest first, and with it those of its key.
            taken = [number for number, one in enumerate(held) if one.key == held[0].key][: self.size]
            batch = [held[number] for number in taken]
            held = [one for number, one in enumerate(held) if number not in taken]
            self._answer([one for one in batch if one.answer.set_running_or_notify_cancel()])

    def _answer(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        self.batches = [*self.batches[-999:], len(batch)]
        try:
            for one, result in zip(batch, self.run(batch[0].key, [one.item for one in batch]), strict=True):
                one.answer.set_result(result)
        except Exception as error:  # whatever it is, it is the caller's
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for one in batch:  # each by itself: only those that cannot be run fail
                self._answer([one])
