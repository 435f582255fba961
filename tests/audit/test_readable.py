"""Features of masks and the accuracy read from them, checked by hand."""

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
    with pytest.raises(DiffMaskError, match=r"The classifier on masks needs at least 20 texts, but there are 19"):
        readable(noise, classes, [k % 19 for k in range(60)])


def test_windows_of_a_text_are_read_together():
    """A mark shared by all windows of a text must not help: no text is in both training and test folds."""
    generator = np.random.default_rng(0)
    texts = np.repeat(np.arange(40), 10)
    classes = (texts % 2).tolist()
    marks = generator.normal(size=(40, 30))[texts] + 0.01 * generator.normal(size=(400, 30))
    assert readable(marks, classes, texts.tolist()) < 0.75 < 0.95 < readable(marks, classes, range(400))


def test_features_of_a_pattern_by_hand():
    found = pattern_features([True, True, False, True])
    assert found[:4] == [3.0, 0.75, 1.0, 2], "3 kept; 3 of 4; both odd positions; 2 runs"
    tenths = found[4:14]
    # Units fall into tenths 0, 2, 5 and 7. Empty tenths hold the mean.
    assert [tenths[k] for k in (0, 2, 5, 7)] == [1.0, 1.0, 0.0, 1.0] and tenths[1] == 0.75
    assert found[14:18] == [1.0, 1.0, 0.0, 1.0] and found[22:26] == [1.0, 0.0, 1.0, 1.0] and found[18] == 0.0
    assert len(pattern_features([False])) == len(found) and not any(pattern_features([False]))
