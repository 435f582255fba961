"""Configurations are strict."""

import pytest

from hf_diffmask import DiffMaskConfig


def test_config_is_strict():
    with pytest.raises(Exception, match="margin"):
        DiffMaskConfig(margin=0.0)
    with pytest.raises(Exception, match="margin"):
        DiffMaskConfig(margin="much")
    with pytest.raises(Exception, match="masking"):
        DiffMaskConfig(masking="sideways")
