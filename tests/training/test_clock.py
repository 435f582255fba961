"""Minutes of the parts of a run add up."""

import time

import pytest

from hf_diffmask.training.clock import timed


def test_minutes_add_up_also_of_a_block_that_raises():
    minutes = {"fit": 2.0}
    with timed(minutes, "fit"):
        time.sleep(0.02)
    with pytest.raises(KeyError), timed(minutes, "report"):
        raise KeyError
    assert minutes["fit"] >= 2 + 0.02 / 60 and list(minutes) == ["fit", "report"]
