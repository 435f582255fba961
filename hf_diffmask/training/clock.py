"""Minutes that the parts of a run take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timed(minutes: dict[str, float], name: str) -> Iterator[None]:
    """
    Adds the minutes that a block takes to those of a part.

    Args:
        minutes (`dict[str, float]`): Minutes by part; changed in place, also if the block raises.
        name (`str`): The part.
    """
    begun = time.perf_counter()
    try:
        yield
    finally:
        minutes[name] = minutes.get(name, 0.0) + (time.perf_counter() - begun) / 60
