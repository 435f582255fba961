"""Batches waiting requests. In Gradio's own batching, one failing request fails the whole batch."""

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
    Runs items in one thread. Items that arrive during a run, with the same key, are run as a batch.

    Args:
        run (`Callable`): Maps a key and a list of items to a list of results. All items have this key.
        size (`int`, *optional*, defaults to 16): Largest number of items in a batch.
        waiting (`int`, *optional*, defaults to 200): Length of the queue; further items are refused.
    """

    def __init__(self, run: Callable[[Any, list[Any]], list[Any]], size: int = 16, waiting: int = 200):
        self.run, self.size = run, size
        self.batches: list[int] = []
        """Sizes of the last 1,000 batches."""
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._work, daemon=True, name="batcher")
        self._thread.start()

    def __call__(self, key: Hashable, item: Any, timeout: float, used: float = 0.0) -> Any:
        """
        Result of an item.

        Args:
            key (`Hashable`): Items with the same key can run together.
            item (`Any`): The item.
            timeout (`float`): The time limit of the request, in seconds.
            used (`float`, *optional*, defaults to 0): How many of them are over.

        Returns:
            `Any`: The result.

        Raises:
            DiffMaskError: If the queue is full, or the time is over.
            Exception: Error of this item. Other items of the batch do not fail with it.
        """
        answer: Future = Future()
        try:
            self._waiting.put_nowait(_Waiting(key, item, answer))
        except queue.Full:
            raise DiffMaskError("There are too many requests at once: try again in a moment.") from None
        try:
            return answer.result(max(0.0, timeout - used))
        except FutureTimeoutError:
            answer.cancel()
            raise DiffMaskError(
                f"This took longer than the limit of {timeout:g} seconds: try a shorter text."
            ) from None

    def close(self) -> None:
        """Runs the waiting items, then ends the thread."""
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
                    self._waiting.put(None)  # run earlier items first
                    break
                held.append(one)
            # The oldest item first, together with others of its key.
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
        except Exception as error:  # the caller gets any error
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for one in batch:  # run each item alone: only faulty items fail
                self._answer([one])
