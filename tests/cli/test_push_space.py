"""`hf-diffmask push-space` can write a Space into a new folder instead of pushing it."""

import pytest

from hf_diffmask_entry import main
from tests.helpers import refused

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")


def test_a_space_is_written_and_nothing_is_pushed(tmp_path, capsys):
    folder = tmp_path / "spaces" / "mine"
    assert main(["push-space", "acme/space", "--explainers", "acme/one", "acme/two", "--output_dir", str(folder)]) == 0
    assert capsys.readouterr().out == f"The Space is in {folder}: python {folder / 'app.py'}\n"
    assert {"app.py", "README.md", "requirements.txt"} <= {path.name for path in folder.iterdir()}
    assert len(list(folder.glob("*.whl"))) == 1
    readme = (folder / "README.md").read_text()
    assert "acme/one" in readme and "acme/two" in readme


def test_nothing_is_written_over(tmp_path, capsys):
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "thesis.txt").write_text("mine")
    folder = str(tmp_path / "space")
    refused(capsys, ["push-space", "a/b", "--output_dir", folder], f"{folder} exists: name another folder")
    assert [path.name for path in (tmp_path / "space").iterdir()] == ["thesis.txt"]


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["push-space", "--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0 and "hf-diffmask push-space org/name --explainers org/my-explainer" in printed


def test_a_half_space_is_not_left(tmp_path, capsys, monkeypatch):
    def build_wheel(folder):
        with open("/dev/full", "w") as file:
            file.write("a wheel")

    monkeypatch.setattr("hf_diffmask.space.deploy.build_wheel", build_wheel)
    arguments = ["push-space", "a/b", "--output_dir"]
    refused(capsys, [*arguments, str(tmp_path / "space")], "cannot be written (No space left on device)")
    (tmp_path / "file").write_text("mine")
    refused(capsys, [*arguments, str(tmp_path / "file" / "space")], "cannot be made (", "name a folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
