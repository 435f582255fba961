"""Fixtures of tasks."""

import pytest

from tests.helpers import CONTEXT, OTHERS, QUESTION


@pytest.fixture
def pairs(tokenizer):
    return dict(
        tokenizer(
            [QUESTION, *(question for question, _ in OTHERS)], [CONTEXT, *(context for _, context in OTHERS)],
            padding=True, return_tensors="pt", return_special_tokens_mask=True,
        )
    )  # fmt: skip
