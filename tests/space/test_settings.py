"""Settings come from the README and the environment."""

import pytest

import hf_diffmask
from hf_diffmask import DiffMaskError
from hf_diffmask.space.settings import Settings
from tests.helpers import ROOT

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")


def test_settings(monkeypatch, tmp_path):
    (tmp_path / "README.md").write_text("---\nmodels: [org/a, org/b]\n---\n")
    assert Settings.from_environment(tmp_path / "README.md").explainers == ("org/a", "org/b")
    assert Settings.from_environment(ROOT / "spaces_app/README.md").explainers == (hf_diffmask.BUNDLED_EXPLAINER,)
    monkeypatch.setenv("DIFFMASK_EXPLAINERS", "org/c , org/d")
    monkeypatch.setenv("DIFFMASK_ROWS", "7")
    monkeypatch.setenv("DIFFMASK_SECONDS", "2.5")
    found = Settings.from_environment(tmp_path / "README.md", allowed=("me/*",))
    assert (found.explainers, found.rows, found.seconds) == (("org/c", "org/d"), 7, 2.5)
    assert found.allowed == ("me/*",) and found.characters == 5000
    monkeypatch.setenv("DIFFMASK_ROWS", "many")
    with pytest.raises(DiffMaskError, match="DIFFMASK_ROWS must be a number, but is 'many'"):
        Settings.from_environment()
    with pytest.raises(DiffMaskError, match="seconds must be greater than 0"):
        Settings(seconds=0)
    for value in (float("nan"), float("inf")):
        with pytest.raises(DiffMaskError, match="upload_megabytes must be greater than 0 and finite, but is"):
            Settings(upload_megabytes=value)
