"""Fixtures: the real bundled classifier and explainers for it."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from hub_server import HubServer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import hf_diffmask
from hf_diffmask import DiffMaskModel


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tokenizer():
    return AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)


@pytest.fixture
def classifier():
    return AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER).eval()


@pytest.fixture
def explainer(classifier, tokenizer):
    """Untrained, but with probes spread wide enough that some units of a sentence are kept and others are not."""
    model = DiffMaskModel.from_base_model(classifier, tokenizer).eval()
    with torch.no_grad():
        model.probes.out_weight.normal_(std=0.05)
        model.probes.out_bias.fill_(2.0)
    return model


@pytest.fixture
def batch(tokenizer):
    """Three sentences of different length, padded."""
    texts = ["a warm film", "the plot is dull and the cast looks tired of it", "not bad at all"]
    return dict(tokenizer(texts, padding=True, return_tensors="pt", return_special_tokens_mask=True))


@pytest.fixture
def hub(tmp_path):
    """A running Hub on loopback with one user, who has a token to write with and another to read with."""
    with HubServer(tmp_path / "hub") as server:
        server.add_token("hf_test_write_token", "acme")
        server.add_token("hf_test_read_token", "acme", write=False)
        yield server
    assert server.errors == []
