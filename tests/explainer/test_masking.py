"""Every method refuses states that do not exist or have no baseline."""

import pytest

from hf_diffmask.errors import DiffMaskError
from tests.methods.helpers import MASK_OUT, METHODS


@pytest.mark.parametrize("method", METHODS)
def test_no_such_state(explainer, batch, method):
    with pytest.raises(DiffMaskError, match="There is no state 9: the base model has 5"):
        method(explainer, batch, 9)


@pytest.mark.parametrize("method", MASK_OUT)
def test_a_state_without_baseline(explainer, batch, method):
    with pytest.raises(DiffMaskError, match=r"has no baseline for the state 'block\.1\.input'"):
        method(explainer, batch, 2)
