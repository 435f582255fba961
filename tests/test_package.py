"""The wheel holds all files of the package, and works without the repository."""

import json
import os
import subprocess
import sys
import textwrap
import zipfile

import pytest

import hf_diffmask
from tests.helpers import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # Builds from a copy of the tracked files, because setuptools leaves a build folder beside the sources.
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if not name or not (ROOT / name).exists():
            continue
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            (source / name).symlink_to(os.readlink(ROOT / name))
        else:
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
        "hf_diffmask/spaces_app/requirements.txt",
        "hf_diffmask/cli/train.py",
        "hf_diffmask_entry.py",
    }
    assert expected <= names
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)
    assert wheel.stat().st_size < 11_000_000


def test_every_module_of_the_wheel_can_be_imported(wheel, tmp_path):
    """setuptools searches for packages: importing a missing package fails here."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = """
    import importlib, json, pkgutil, sys
    import hf_diffmask
    found = [one.name for one in pkgutil.walk_packages(hf_diffmask.__path__, "hf_diffmask.")]
    found = [name for name in found if name not in ("hf_diffmask.cli.__main__", "hf_diffmask.spaces_app.app")]
    for name in found:
        assert importlib.import_module(name).__file__.startswith(sys.argv[1]), name
    print(json.dumps(found))
    """
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code), str(tmp_path)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    files = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "hf_diffmask").rglob("*.py")]
    names = {".".join(path.parts).removesuffix(".__init__") for path in files if "metrics" not in path.parts}
    assert names - {"hf_diffmask", "hf_diffmask.cli.__main__", "hf_diffmask.spaces_app.app"} == set(
        json.loads(done.stdout.splitlines()[-1])
    ) - {"hf_diffmask.model_cards", "hf_diffmask.spaces_app"}


def test_importing_the_package_imports_no_more_than_explaining_needs():
    code = """
    import sys
    from transformers import pipeline
    before = set(sys.modules)
    import hf_diffmask
    print(" ".join(sorted(set(sys.modules) - before)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    found = done.stdout.split()
    wings = {name.split(".")[1] for name in found if name.startswith("hf_diffmask.")}
    assert wings <= {
        "about",
        "base",
        "data",
        "display",
        "errors",
        "explainer",
        "masks",
        "methods",
        "pipeline",
        "tasks",
    }
    assert "hf_diffmask.display.plots" not in found
    assert not {"captum", "datasets", "evaluate", "gradio", "matplotlib", "pandas", "scipy"} & set(found)


def test_all_public_names_are_there():
    assert all(hasattr(hf_diffmask, name) for name in hf_diffmask.__all__)
    assert set(hf_diffmask.__all__) <= set(dir(hf_diffmask))
    with pytest.raises(AttributeError, match="no attribute 'explainers'"):
        _ = hf_diffmask.explainers


def test_a_model_of_the_test_beds_loads_after_importing_the_package_alone(tmp_path):
    """Transformers does not know the model type, so the explainer imports the test-bed."""
    make = """
    import sys
    from hf_diffmask import DiffMaskModel
    from hf_diffmask.testbeds.gru import GruConfig, GruForSequenceClassification, word_tokenizer
    tokenizer = word_tokenizer(["a warm film", "a dull plot"], 20)
    GruForSequenceClassification(GruConfig(vocab_size=len(tokenizer))).save_pretrained(sys.argv[1] + "/base")
    base = GruForSequenceClassification.from_pretrained(sys.argv[1] + "/base")
    DiffMaskModel.from_base_model(base, tokenizer).save_pretrained(sys.argv[1] + "/explainer")
    tokenizer.save_pretrained(sys.argv[1] + "/explainer")
    """
    load = """
    import sys
    import hf_diffmask
    from transformers import pipeline
    assert not any("testbeds" in name for name in sys.modules)
    print(pipeline("diffmask-attribution", model=sys.argv[1] + "/explainer")("a warm film")["label"])
    """
    for code in (make, load):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() in ("LABEL_0", "LABEL_1")


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
