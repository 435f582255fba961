"""`hf-diffmask list` shows explainers on the Hub; text from cards cannot control the terminal."""

import json

import huggingface_hub
import pytest

from hf_diffmask_entry import main
from tests.helpers import refused

CARD = """---
library_name: hf-diffmask
tags: [diffmask]
base_model: acme/base
---
# A card
"""


@pytest.fixture
def here(hub, monkeypatch):
    """Points this process at the test Hub."""
    for name, value in (("ENDPOINT", hub.url), ("HF_HUB_OFFLINE", False)):
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    hub.commit("acme/one", {"README.md": CARD.encode()})
    hub.commit("acme/two", {"README.md": CARD.replace("acme/base", "acme/other").encode()})
    hub.commit("acme/none", {"README.md": CARD.replace("diffmask", "bert").encode()})
    return hub


def test_explainers_with_their_base_models(here, capsys):
    assert main(["list"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["acme/one  acme/base  0", "acme/two  acme/other  0"]
    assert main(["list", "--base_model", "acme/other", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"id": "acme/two", "base_model": "acme/other", "downloads": 0}
    assert main(["list", "--limit", "1"]) == 0 and len(capsys.readouterr().out.splitlines()) == 1


def test_where_there_are_none(here, capsys):
    assert main(["list", "--base_model", "acme/rare"]) == 0
    assert capsys.readouterr().out == "There are no explainers for acme/rare yet.\n"
    assert main(["list", "--base_model", "acme/rare", "--json"]) == 0 and capsys.readouterr().out == ""


def test_a_card_cannot_steer_the_terminal(here, capsys):
    here.commit("acme/one", {"README.md": CARD.replace("acme/base", '"a\\e[2Jb"').encode()})
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "a\\x1b[2Jb" in printed


def test_a_malformed_card_does_not_spoil_the_list(here, capsys):
    for number, line in enumerate(("self: 3", "ignore_metadata_errors: false\nmodel-index: 5", "base_model: {a: b}")):
        here.commit(f"acme/odd-{number}", {"README.md": CARD.replace("base_model: acme/base", line).encode()})
    assert main(["list"]) == 0
    names = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert names == {"acme/one", "acme/two", "acme/odd-0", "acme/odd-1", "acme/odd-2"}


def test_without_a_hub_one_sentence_says_so(capsys):
    refused(capsys, ["list"], "The Hub cannot be searched (")
    refused(capsys, ["list", "--limit", "0"], "--limit must be at least 1, but is 0")
