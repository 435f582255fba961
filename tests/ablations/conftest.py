"""Fixtures of ablations."""

import shutil

import pytest
from transformers import AutoModelForSequenceClassification

import hf_diffmask
from hf_diffmask import DiffMaskModel
from hf_diffmask.ablations.making import make_ablations
from hf_diffmask.ablations.store import Ablations
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.testbeds.grammar import sentences


@pytest.fixture(scope="session")
def dataset(tokenizer):
    """Inputs for three shards."""
    return TextFeatures(tokenizer, sentences(600), 64)


@pytest.fixture(scope="session")
def made_once(tokenizer, dataset, tmp_path_factory):
    """The folder of ablations by an explainer like the fixture `explainer`. Not to be changed."""
    base = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER).eval()
    folder = tmp_path_factory.mktemp("ablations") / "made"
    make_ablations(DiffMaskModel.from_base_model(base, tokenizer), tokenizer, dataset, folder, masks=4, quiet=True)
    return folder


@pytest.fixture
def made(made_once, tmp_path):
    """A folder of ablations, and what is read from it."""
    shutil.copytree(made_once, tmp_path / "made")
    return tmp_path / "made", Ablations(tmp_path / "made")
