"""Fixtures of commands."""

import json

import pytest

from hf_diffmask.testbeds.grammar import sentences


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(60)))
    return path
