"""Fixtures of the Space."""

import json
import shutil

import pytest

import hf_diffmask
from tests.space.helpers import HOSTILE, PICTURES


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """An explainer with a malicious name, labels and card."""
    root = tmp_path_factory.mktemp("explainers")
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, root / "classifier")
    config = json.loads((root / "classifier/config.json").read_text())
    config |= {"id2label": {"0": HOSTILE[0], "1": HOSTILE[1]}, "label2id": {HOSTILE[0]: 0, HOSTILE[1]: 1}}
    (root / "classifier/config.json").write_text(json.dumps(config))
    folder = root / "<img src=x onerror=window.hacked=1>"
    shutil.copytree(hf_diffmask.BUNDLED_EXPLAINER, folder)
    card = "\n\n".join(
        ["---\nlicense: mit\n---\n\n# Hostile card", *PICTURES, *HOSTILE, "[x](javascript:window.hacked=1)"]
    )
    (folder / "README.md").write_text(card)
    return folder


@pytest.fixture(scope="session")
def service():
    """A service for the bundled explainer, with low limits."""
    pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")
    from hf_diffmask.space.service import Service
    from hf_diffmask.space.settings import Settings

    made = Service(Settings(rows=20, characters=300, upload_megabytes=0.01, tokens=40))
    yield made
    made.batcher.close()
