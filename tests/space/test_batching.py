"""Queued requests run together, and each gets its own answer."""

import threading
import time

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.space.batching import Batcher

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")


class Slow:
    """Slow runs, so other requests queue up."""

    def __init__(self):
        self.seen, self.go = [], threading.Event()

    def __call__(self, key, items):
        self.go.wait(10)
        self.seen.append((key, list(items)))
        if "bad" in items:
            raise ValueError(f"{len(items)} items, one of them bad")
        return [f"{key}-{item}" for item in items]


def answers(batcher, asked, timeout=10):
    """Answers to simultaneous requests, in the order of arrival."""
    found, threads = [None] * len(asked), []

    def ask(number, key, item):
        try:
            found[number] = batcher(key, item, timeout)
        except Exception as error:
            found[number] = error

    for number, (key, item) in enumerate(asked):
        threads.append(threading.Thread(target=ask, args=(number, key, item)))
        threads[-1].start()
        time.sleep(0.02)
    return found, threads


def test_what_queues_up_is_run_together_by_key_and_each_gets_its_own():
    slow = Slow()
    batcher = Batcher(slow, size=3)
    found, threads = answers(batcher, [("a", k) for k in range(6)] + [("b", 7), ("a", 8)])
    slow.go.set()
    for thread in threads:
        thread.join()
    assert found == [*(f"a-{k}" for k in range(6)), "b-7", "a-8"]
    assert slow.seen == [("a", [0]), ("a", [1, 2, 3]), ("a", [4, 5, 8]), ("b", [7])]
    assert batcher.batches == [1, 3, 3, 1]
    batcher.close()
    assert not batcher._thread.is_alive()


def test_one_that_cannot_be_run_fails_alone():
    slow = Slow()
    batcher = Batcher(slow)
    found, threads = answers(batcher, [("a", 0), ("a", 1), ("a", "bad"), ("a", 3)])
    slow.go.set()
    for thread in threads:
        thread.join()
    assert [found[0], found[1], found[3]] == ["a-0", "a-1", "a-3"]
    assert isinstance(found[2], ValueError) and str(found[2]) == "1 items, one of them bad"


def test_waiting_has_an_end():
    slow = Slow()
    batcher = Batcher(slow, size=1, waiting=1)
    found, threads = answers(batcher, [("a", k) for k in range(8)], timeout=0.3)
    for thread in threads:
        thread.join()
    said = [str(error) for error in found]
    assert all(isinstance(error, DiffMaskError) for error in found)
    assert "longer than the limit of 0.3 seconds" in said[0] and "too many requests at once" in said[-1]
    slow.go.set()
    time.sleep(0.2)
    # Requests after their time limit are not run.
    assert batcher("a", 99, 5) == "a-99" and len(slow.seen) <= 3


def test_time_that_is_over_counts():
    slow = Slow()
    batcher = Batcher(slow)
    for used in (7.0, 9.0):
        with pytest.raises(DiffMaskError, match="longer than the limit of 7 seconds"):
            batcher("a", 0, 7.0, used)
    slow.go.set()
    assert batcher("a", 1, 7.0, 1.0) == "a-1"
    batcher.close()
