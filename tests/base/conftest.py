"""Fixtures of base models."""

import pytest
import torch


@pytest.fixture
def features():
    return {"input_ids": torch.randint(3, 60, (2, 7)), "attention_mask": torch.ones(2, 7, dtype=torch.long)}
