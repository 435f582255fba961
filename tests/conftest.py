"""Fixtures: the real bundled classifier and explainers for it."""

import json
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoTokenizer

import hf_diffmask
from hf_diffmask import DiffMaskModel
from tests.helpers import base_on
from tests.hub.server import HubServer


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
    """An untrained explainer that keeps some units of a sentence and drops others."""
    model = DiffMaskModel.from_base_model(classifier, tokenizer).eval()
    with torch.no_grad():
        model.probes.out_weight.normal_(std=0.05)
        model.probes.out_bias.fill_(2.0)
    return model


@pytest.fixture
def batch(tokenizer):
    """Features of three sentences with different lengths, padded."""
    texts = ["a warm film", "the plot is dull and the cast looks tired of it", "not bad at all"]
    return dict(tokenizer(texts, padding=True, return_tensors="pt", return_special_tokens_mask=True))


@pytest.fixture
def hub(tmp_path):
    """A running Hub on loopback with one user, a write token and a read token."""
    with HubServer(tmp_path / "hub") as server:
        server.add_token("hf_test_write_token", "acme")
        server.add_token("hf_test_read_token", "acme", write=False)
        yield server
    assert server.errors == []


@pytest.fixture
def folder(tmp_path):
    """A copy of the bundled explainer, with its base model in a folder beside it."""
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "classifier")
    shutil.copytree(hf_diffmask.BUNDLED_EXPLAINER, tmp_path / "explainer")
    return tmp_path / "explainer"


@pytest.fixture
def named(folder, hub):
    """A copy of the bundled explainer with its base model on the Hub."""
    config = json.loads((folder / "config.json").read_text())
    config |= {"base_model_name_or_path": "acme/base", "base_model_revision": base_on(hub)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def answerer(tokenizer):
    """An untrained answerer with weights large enough to prefer some spans."""
    config = AutoConfig.for_model(
        "bert", vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(3)
    model = AutoModelForQuestionAnswering.from_config(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() == 2:
                value.mul_(6 if "embeddings" in name else 4)
    return model
