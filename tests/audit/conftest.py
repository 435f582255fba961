"""Fixtures of the audit."""

import pytest

from hf_diffmask.data.features import TextFeatures
from tests.audit.helpers import TEXTS


@pytest.fixture
def inputs(tokenizer):
    return TextFeatures(tokenizer, TEXTS, 64).items
