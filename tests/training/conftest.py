"""A run with checkpoints."""

import pytest

from tests.training.helpers import save


@pytest.fixture
def checkpoint(tmp_path):
    """The newer of two checkpoints of a run in `run`."""
    for number in (2, 10):
        save(folder := tmp_path / "run" / f"checkpoint-{number}")
    return folder
