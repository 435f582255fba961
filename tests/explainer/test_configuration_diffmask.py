"""Configurations are strict."""

import pytest
from huggingface_hub.errors import StrictDataclassClassValidationError

from hf_diffmask import DiffMaskConfig


def test_config_is_strict():
    with pytest.raises(Exception, match="margin"):
        DiffMaskConfig(margin=0.0)
    with pytest.raises(Exception, match="margin"):
        DiffMaskConfig(margin="much")
    with pytest.raises(Exception, match="masking"):
        DiffMaskConfig(masking="sideways")


def test_fields_that_do_not_go_together():
    for fields, message in (
        ({"objective": "walk"}, "must be one of lagrangian, path, ablation, but is 'walk'"),
        ({"objective": "path", "target": "label"}, "must be one of prediction, distribution, but is 'label'"),
        ({"target": "prediction"}, "is for masks with evidence and for tasks with choices"),
        ({"objective": "ablation", "masking": "hidden"}, "masks inputs: leave `masking` out"),
        ({"objective": "ablation", "read_flow": True}, "with `flow_blocks` and `flow_size`"),
        (
            {"objective": "path", "read_flow": True, "flow_blocks": 1, "flow_size": 4},
            '`read_flow` is for `objective="ablation"`',
        ),
        ({"temperature": 0.0}, "temperature must be greater than 0"),
    ):
        with pytest.raises(StrictDataclassClassValidationError, match=message):
            DiffMaskConfig(**fields)
