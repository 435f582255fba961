"""A pushed Space runs from its wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.helpers import ROOT, command

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")


def test_a_space_is_pushed_and_runs_from_its_wheel(hub, tmp_path):
    push = ("push-space", "acme/space", "--explainers", "acme/one", "acme/two")
    status, said = command(hub, *push)
    assert status == 0, said
    files = hub.files("acme/space", repo_type="space")
    front = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert front["models"] == ["acme/one", "acme/two"] and (front["sdk"], front["app_file"]) == ("gradio", "app.py")
    assert len(front["short_description"]) <= 60
    head = hub.head("acme/space", repo_type="space")
    assert command(hub, *push)[0] == 0 and hub.head("acme/space", repo_type="space") == head  # nothing has changed
    assert "may not write" in command(hub, *push, token="hf_test_read_token")[1]
    # Runs the files of the repo without the installed package, from the wheel only.
    space = tmp_path / "space"
    space.mkdir()
    for name, content in files.items():
        (space / name).write_bytes(content)
    (wheel,) = space.glob("*.whl")
    assert {"hf_diffmask/space/app.py", "hf_diffmask/bundled/explainer/model.safetensors"} <= set(
        zipfile.ZipFile(wheel).namelist()
    )
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(pd.__file__).parents[1].iterdir():
        if not path.name.startswith(("hf_diffmask", "__editable__")) and path.suffix != ".pth":
            (packages / path.name).symlink_to(path)
    code = "import app, hf_diffmask; print(hf_diffmask.__file__, type(app.demo).__name__, app.settings.explainers)"
    (space / "README.md").write_text(
        (space / "README.md").read_text().replace("models:\n- acme/one\n- acme/two", "models: []")
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": f"{packages}:{space}", "OMP_NUM_THREADS": "1"},
        cwd=space, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(space / ".package") in done.stdout and "Blocks" in done.stdout


def test_requirements_are_those_that_were_tested():
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    needed = [line.split("==") for line in (ROOT / "spaces_app/requirements.txt").read_text().splitlines()]
    assert all(tested[name.partition("[")[0]] == version for name, version in needed)
    front = yaml.safe_load((ROOT / "spaces_app/README.md").read_text().split("---\n")[1])
    assert front["sdk_version"] == tested["gradio"]
