"""Invalid limits are refused."""

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.hub.find import find
from hf_diffmask.hub.push import push


def test_limits_that_cannot_be(folder):
    with pytest.raises(DiffMaskError, match="--limit must be at least 1, but is 0"):
        find(limit=0)
    with pytest.raises(DiffMaskError, match="--timeout must be greater than 0, but is 0"):
        push(folder, "acme/explainer", timeout=0)
