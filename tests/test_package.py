"""The wheel: it carries what the package needs, and works where the repository is not."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # A copy of what git tracks: setuptools leaves a build folder beside the sources, which must not be this one.
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_carries_weights_and_templates(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        "hf_diffmask/py.typed",
        "hf_diffmask/bundled/classifier/model.safetensors",
        "hf_diffmask/bundled/explainer/model.safetensors",
        "hf_diffmask/bundled/explainer/config.json",
        "hf_diffmask/bundled/explainer/README.md",
        "hf_diffmask/model_cards/explainer.md",
        "hf_diffmask/metrics/divergence/divergence.py",
        "hf_diffmask/metrics/sparsity/sparsity.py",
        "hf_diffmask/cli/train.py",
    }
    assert expected <= names
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)
    assert wheel.stat().st_size < 11_000_000


def test_wheel_works_without_the_repository(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    data = tmp_path / "texts.csv"
    data.write_text("text\n" + "a warm film\na dull plot\n" * 10)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_CURRENT_TEST", None)

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-P", "-m", "hf_diffmask.cli", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    explained = run("explain", "--format", "json", "a warm film")
    assert explained.returncode == 0, explained.stderr[-2000:]
    assert json.loads(explained.stdout)["within_margin"] in (True, False)
    base = tmp_path / "site" / "hf_diffmask" / "bundled" / "classifier"
    trained = run(
        "train", "--base_model", str(base), "--dataset", str(data), "--output_dir", "out", "--max_steps", "2",
        "--use_cpu", "--per_device_train_batch_size", "4",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr[-2000:]
    assert "| block.0.input |" in (tmp_path / "out" / "README.md").read_text()
