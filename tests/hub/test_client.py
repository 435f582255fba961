"""Messages of the Hub are passed on; a cut connection leaves no partial files."""

import json
from pathlib import Path

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.hub.client import persist
from tests.helpers import TEXT, command


@pytest.mark.parametrize("times", [1, 99])
def test_a_connection_cut_while_loading_leaves_nothing_half(hub, named, times):
    assert command(hub, "push", named, "acme/explainer")[0] == 0
    hub.fail("GET .*/resolve/.*model.safetensors", "cut", times=times)
    explain = ("explain", "--model", "acme/explainer", "--format", "json", TEXT)
    status, said = command(hub, *explain, home="empty")
    if times > 1:
        assert status == 2 and "Traceback" not in said and "acme/explainer" in said
        hub.faults.clear()
        # Cached files are complete, so the same command finishes.
        status, said = command(hub, *explain, home="empty")
    assert status == 0, said
    local = command(hub, "explain", "--model", named, "--format", "json", TEXT)[1]
    found, expected = (json.loads(text[text.index("{") :].splitlines()[0]) for text in (said, local))
    assert found["score"] == pytest.approx(expected["score"], abs=1e-6) and len(found["tokens"]) == 14


def test_what_the_hub_says_of_a_card_is_passed_on_without_the_token():
    def refuse():
        raise ValueError("Invalid metadata in README.md.\n- license must be one of ... (asked with hf_abc123, key-1)")

    with pytest.raises(DiffMaskError, match=r"license must be one of .* \(asked with hf_\.\.\., hf_\.\.\.\)"):
        persist(refuse, Path("explainer"), "acme/explainer", "key-1")
