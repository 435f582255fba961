"""What can be read from masks is checked by hand."""

import numpy as np
import pytest

from hf_diffmask.audit.readable import pattern_features, readable
from hf_diffmask.errors import DiffMaskError


def test_what_can_be_read():
    classes, texts = [k % 2 for k in range(60)], range(60)
    noise = np.random.default_rng(0).normal(size=(60, 3))
    told = np.column_stack([noise, np.array(classes) + 0.1 * noise[:, 0]])
    assert readable(told, classes, texts) == 1.0
    assert 0.3 < readable(noise, classes, texts) < 0.7
    with pytest.raises(DiffMaskError, match=r"At least 20 texts are needed .*, and there are 19"):
        readable(noise, classes, [k % 19 for k in range(60)])


def test_windows_of_a_text_are_read_together():
    """A text's own mark on all its windows tells nothing of other texts, and would if they were split up."""
    generator = np.random.default_rng(0)
    texts = np.repeat(np.arange(40), 10)
    classes = (texts % 2).tolist()
    marks = generator.normal(size=(40, 30))[texts] + 0.01 * generator.normal(size=(400, 30))
    assert readable(marks, classes, texts.tolist()) < 0.75 < 0.95 < readable(marks, classes, range(400))


def test_features_of_a_pattern_by_hand():
    found = pattern_features([True, True, False, True])
    assert found[:4] == [3.0, 0.75, 1.0, 2], "three, of four; both odd places; two runs"
    tenths = found[4:14]
    # Places 0, 2, 5 and 7 of ten; the mean where there is none.
    assert [tenths[k] for k in (0, 2, 5, 7)] == [1.0, 1.0, 0.0, 1.0] and tenths[1] == 0.75
    assert found[14:18] == [1.0, 1.0, 0.0, 1.0] and found[22:26] == [1.0, 0.0, 1.0, 1.0] and found[18] == 0.0
    assert len(pattern_features([False])) == len(found) and not any(pattern_features([False]))
