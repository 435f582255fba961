"""The package connects publishing; without the package, publishing is refused."""

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.explainer import publishing
from hf_diffmask.hub import publisher


def test_the_package_connects_what_publishes():
    assert publishing.hub() is publisher
    assert all(callable(getattr(publisher, name)) for name in publisher.__all__)


def test_where_nothing_is_connected_publishing_is_refused(explainer, monkeypatch):
    monkeypatch.setattr(publishing, "_connect", [])
    with pytest.raises(DiffMaskError) as error:
        explainer.push_to_hub("acme/explainer")
    assert str(error.value) == "Publishing needs the package hf-diffmask, which is not installed here."


def test_the_last_connection_counts_and_is_made_when_it_is_needed(monkeypatch):
    made = []
    monkeypatch.setattr(publishing, "_connect", [])
    publishing.connect(lambda: made.append("first"))
    publishing.connect(lambda: made.append("second") or "the hub")
    assert made == [] and publishing.hub() == "the hub" and made == ["second"]
