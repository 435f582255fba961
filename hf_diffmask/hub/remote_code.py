"""Copies the package's code beside an explainer, for `trust_remote_code=True` without the package."""

import ast
import re
from functools import partial
from pathlib import Path

from ..about import PACKAGE
from ..data.writing import write_text
from ..explainer.configuration_diffmask import DiffMaskConfig

# Entries (`file.class`) that `AutoConfig` and `AutoModel` look up.
ENTRY = "remote_diffmask"
AUTO_MAP = {"AutoConfig": "explainer_configuration_diffmask.DiffMaskConfig", "AutoModel": f"{ENTRY}.DiffMaskModel"}
ROOTS = ("explainer/modeling_diffmask", "pipeline/auto", "pipeline/pipeline_diffmask")

_IMPORT = re.compile(r"^(\s*from )(\.+)([\w.]*)( import )", re.MULTILINE)

_ENTRY = '''"""Loads the explainer of this repo, and registers its pipeline, where hf-diffmask is not installed.

This file and those that it imports are code of hf-diffmask. SPDX-License-Identifier: MIT
"""

import os
import shutil
import tempfile
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from transformers.pipelines import PIPELINE_REGISTRY

# All files by name: `transformers` fetches and saves only those that it finds in this form.
{imports}
from .explainer_modeling_diffmask import DiffMaskModel as _DiffMaskModel
from .pipeline_auto import AutoExplainer
from .pipeline_pipeline_diffmask import DiffMaskAttributionPipeline


class DiffMaskModel(_DiffMaskModel):
    """An explainer that takes its code along."""

    def push_to_hub(self, repo_id: str, *, private: Any = None, token: Any = None, **kwargs: Any) -> str:
        """Publishes the explainer, its code, and what lay beside it where it came from, in one commit."""
        origin = self.config.name_or_path
        with tempfile.TemporaryDirectory() as folder:
            if origin and not os.path.isdir(origin):
                origin = snapshot_download(origin, revision=self.guest.revision, token=token)
            if origin:
                shutil.copytree(origin, folder, dirs_exist_ok=True)
            self.save_pretrained(folder)
            api = HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, **kwargs).commit_url)


PIPELINE_REGISTRY.register_pipeline(
    "diffmask-attribution", pipeline_class=DiffMaskAttributionPipeline, pt_model=AutoExplainer, type="text"
)
'''


def code_files() -> dict[str, str]:
    """
    The code for loading and explaining, as one flat folder.

    `transformers` finds remote code by the form of its imports, and only in the importing file's folder. Folders
    therefore become name prefixes, and imports are rewritten to match.

    Returns:
        `dict[str, str]`: File texts by name.
    """
    files: dict[str, str] = {}
    waiting = [PACKAGE / f"{name}.py" for name in ROOTS]
    while waiting:
        path = waiting.pop()
        if _flat(path) in files:
            continue
        files[_flat(path)] = _IMPORT.sub(partial(_rewritten, path), path.read_text("utf-8"))
        waiting += _imported(path)
    roots = {f"{name.replace('/', '_')}.py" for name in ROOTS}
    others = sorted(Path(name).stem for name in files.keys() - roots)
    imports = "\n".join(f"from .{name} import __name__ as _{name}  # noqa: F401" for name in others)
    return {f"{ENTRY}.py": _ENTRY.replace("{imports}", imports), **dict(sorted(files.items()))}


def add_code(config: DiffMaskConfig, folder: Path) -> None:
    """
    Writes the code beside an explainer, and sets `auto_map` in the config.

    Args:
        config ([`DiffMaskConfig`]): The explainer's config.
        folder (`Path`): The explainer's folder; created if missing.
    """
    config.auto_map = dict(AUTO_MAP)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in code_files().items():
        write_text(folder / name, text)


def _flat(path: Path) -> str:
    return "_".join(path.relative_to(PACKAGE).parts)


def _target(level: int, module: str, path: Path) -> Path:
    """Path of the module or folder in a `from` import, without its ending."""
    folder = path.parents[level - 1]
    return folder.joinpath(*module.split(".")) if module else folder


def _rewritten(path: Path, match: re.Match) -> str:
    module = _target(len(match[2]), match[3], path)
    parts = module.relative_to(PACKAGE).parts
    return f"{match[1]}.{'_'.join(parts)}{match[4]}"


def _imported(path: Path) -> list[Path]:
    """The package's modules that a module imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            module = _target(node.level, node.module or "", path)
            names = [module] if node.module else [module / name.name for name in node.names]
            found += [name.with_suffix(".py") for name in names]
    return found
