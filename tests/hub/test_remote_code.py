"""Code published with an explainer runs without the installed package."""

import ast
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import transformers
from transformers.dynamic_module_utils import get_relative_import_files

from hf_diffmask import DiffMaskModel
from hf_diffmask.hub.remote_code import AUTO_MAP, code_files
from tests.helpers import TEXT, WRITE, command, scores


@pytest.fixture
def bare(hub, tmp_path):
    """Runs code in a process with every package of this environment except ours; returns its output."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(transformers.__file__).parents[1].iterdir():
        if not path.name.startswith(("hf_diffmask", "__editable__")) and path.suffix != ".pth":
            (packages / path.name).symlink_to(path)

    def run(code, home="bare", token=None, fails=False):
        environment = {**hub.environment(token, home), "PYTHONPATH": str(packages)}
        # -S: only the named site-packages.
        call = [sys.executable, "-S", "-c", textwrap.dedent(code)]
        done = subprocess.run(call, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    assert "No module named 'hf_diffmask'" in run("import hf_diffmask", fails=True)
    return run


def test_the_files_are_found_by_their_imports_and_stand_alone(tmp_path):
    files = code_files()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1 and "." not in (node.module or "")
                needed = [node.module] if node.module else [one.name for one in node.names]
                assert {f"{module}.py" for module in needed} <= files.keys(), name
            elif isinstance(node, ast.ImportFrom):
                assert not node.module.startswith("hf_diffmask")
    # `transformers` finds all files except the one where it starts.
    found = {Path(path).name for path in get_relative_import_files(str(tmp_path / "remote_diffmask.py"))}
    assert found == files.keys() - {"remote_diffmask.py"}
    assert "explainer_masking.py" in files and "training_trainer.py" not in files


def test_without_the_package_it_explains_and_goes_on_with_its_code(hub, named, bare):
    assert command(hub, "push", named, "acme/plain")[0] == 0
    assert not any(name.endswith(".py") for name in hub.files("acme/plain"))
    assert "auto_map" not in json.loads(hub.files("acme/plain")["config.json"])
    (named / "masks_gates.py").write_text("raise SystemExit('a file of the folder')")  # is not pushed
    status, said = command(hub, "push", named, "acme/coded", "--with_remote_code")
    assert status == 0, said
    files = hub.files("acme/coded")
    assert json.loads(files["config.json"])["auto_map"] == AUTO_MAP
    assert {name: files[name].decode() for name in code_files()} == code_files()
    # The card's example for remote code, unchanged.
    example = files["README.md"].decode().split("```python\n")[2].partition("```")[0]
    assert "trust_remote_code=True" in example and bare(example).startswith("{'label'")
    # Without the option, loading is refused.
    refused = """
    from transformers import AutoModel
    AutoModel.from_pretrained("acme/coded", trust_remote_code=False)
    """
    assert "trust_remote_code" in bare(refused, fails=True)
    explain = f"""
    import json
    from transformers import AutoModel, pipeline
    explainer = AutoModel.from_pretrained(REPO, trust_remote_code=True)
    explain = pipeline("diffmask-attribution", model=explainer, tokenizer=REPO, trust_remote_code=True)
    result = explain({TEXT!r})
    print(json.dumps([result["score"], result["drop"], *[token["evidence"] for token in result["tokens"]]]))
    """
    expected = pytest.approx(scores(hub, named), abs=1e-6)
    assert json.loads(bare(explain.replace("REPO", "'acme/coded'"))) == expected
    # Saving and pushing without the package keeps all files, even in a copy of a copy.
    again = """
    from transformers import AutoModel, AutoTokenizer
    explainer = AutoModel.from_pretrained("acme/coded", trust_remote_code=True)
    AutoTokenizer.from_pretrained("acme/coded", trust_remote_code=True).save_pretrained("twice")
    explainer.save_pretrained("saved")
    AutoModel.from_pretrained("saved", trust_remote_code=True).save_pretrained("twice")
    explainer.push_to_hub("acme/third")
    """
    bare(again, token=WRITE)
    third, twice = hub.files("acme/third"), named.parent / "twice"
    assert files.keys() <= third.keys()
    assert json.loads(third["config.json"])["auto_map"] == AUTO_MAP
    assert {name: third[name] for name in files if name.endswith(".py")} == {
        name: (twice / name).read_bytes() for name in code_files()
    }
    for repo in ("acme/third", str(twice)):
        assert json.loads(bare(explain.replace("REPO", repr(repo)), home="other")) == expected


def test_with_the_package_code_of_a_repo_is_never_run_and_goes_along(hub, named, tmp_path):
    assert command(hub, "push", named, "acme/coded", "--with_remote_code")[0] == 0
    trap = {name: b"raise SystemExit('run')" for name in code_files()}
    hub.commit("acme/coded", trap)
    assert scores(hub, "acme/coded", home="empty") == pytest.approx(scores(hub, named), abs=1e-6)
    hub.run(
        'from hf_diffmask import DiffMaskModel\nDiffMaskModel.from_pretrained("acme/coded").push_to_hub("acme/b")',
        WRITE,
    )
    files = hub.files("acme/b")
    assert {name: files[name].decode() for name in code_files()} == code_files()
    # An explainer loaded with code is saved with code.
    config = json.loads((named / "config.json").read_text())
    (named / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "org/other--x.Y"}}))
    explainer = DiffMaskModel.from_pretrained(named)
    explainer.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved/remote_diffmask.py").read_text() == code_files()["remote_diffmask.py"]
    assert json.loads((tmp_path / "saved/config.json").read_text())["auto_map"] == AUTO_MAP
    shutil.rmtree(tmp_path / "saved")
