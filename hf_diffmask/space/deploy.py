"""Writes and pushes a Space: the app, its requirements, and this package as a wheel."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import yaml
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from ..data.writing import write_text
from ..errors import DiffMaskError
from ..hub.card_sections import front_matter
from ..hub.client import TIMEOUT, bounded, persist

PACKAGE = "hf-diffmask"
FILES = ("app.py", "README.md", "requirements.txt")
# Files that pip writes for itself.
_OF_THE_INSTALLER = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")


def push_space(
    repo_id: str,
    explainers: tuple[str, ...] = (),
    *,
    private: bool | None = None,
    token: str | None = None,
    timeout: float = TIMEOUT,
) -> str:
    """
    Creates or updates a Space in one commit.

    Args:
        repo_id (`str`): The Space, `user/name` or `organisation/name`; created if missing.
        explainers (`tuple[str, ...]`, *optional*): Hub ids for its menu; by default the bundled explainer.
        private (`bool`, *optional*): Whether a new Space is private.
        token (`str`, *optional*): By default from `hf auth login`.
        timeout (`float`, *optional*, defaults to 60): Seconds without a byte before a connection is given up.

    Returns:
        `str`: Address of the commit.

    Raises:
        DiffMaskError: If the wheel cannot be built, or the Hub refuses or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_space(folder, explainers)
        api = HfApi(token=token)

        def commit() -> str:
            try:
                head = api.repo_info(repo_id, repo_type="space").sha
            except RepositoryNotFoundError:
                api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
                head = api.repo_info(repo_id, repo_type="space").sha
            operations = [CommitOperationAdd(path.name, str(path)) for path in sorted(folder.iterdir())]
            found = api.create_commit(
                repo_id, operations, commit_message="Upload Space", repo_type="space", parent_commit=head
            )
            return str(found.commit_url)

        with bounded(timeout):
            return persist(commit, Path("the Space"), repo_id, token)


def write_space(folder: Path, explainers: tuple[str, ...] = ()) -> None:
    """
    Writes the files of a Space.

    Args:
        folder (`Path`): An existing folder to write to.
        explainers (`tuple[str, ...]`, *optional*): Hub ids for its menu; by default the bundled explainer.

    Raises:
        DiffMaskError: If the wheel cannot be built.
    """
    source = resources.files("hf_diffmask.spaces_app")
    for name in FILES:
        write_text(folder / name, (source / name).read_text(encoding="utf-8"))
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    front = {**front_matter(text), "models": list(explainers)}
    body = text.split("\n---\n", 1)[1]
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    write_text(readme, f"---\n{head}---\n{body}")
    build_wheel(folder)


def build_wheel(folder: Path) -> Path:
    """
    A wheel of the running package.

    Args:
        folder (`Path`): The folder to write to.

    Returns:
        `Path`: Path of the wheel. It holds the source of an editable installation, or else the installed files.

    Raises:
        DiffMaskError: If the wheel cannot be built, or the package is not installed.
    """
    # The metadata in a source folder is found as well, but has no RECORD of installed files.
    found = [one for one in importlib.metadata.distributions(name=PACKAGE) if one.read_text("RECORD")]
    if not found:
        raise DiffMaskError("hf-diffmask is not installed, so no wheel can be built: pip install it first.")
    installed = found[0]
    files = [file for file in installed.files or [] if ".." not in file.parts and "__pycache__" not in file.parts]
    if not any(file.as_posix() == "hf_diffmask/__init__.py" for file in files):
        return _built(installed, folder)
    path = folder / f"hf_diffmask-{installed.version}-py3-none-any.whl"
    record = []
    with ZipFile(path, "w", ZIP_DEFLATED) as wheel:
        for file in sorted(files):
            if file.name in _OF_THE_INSTALLER:
                continue
            content = Path(str(file.locate())).read_bytes()
            digest = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{file.as_posix()},sha256={digest},{len(content)}\n")
            # A fixed date: a wheel with the same content is the same file, and is not sent again.
            wheel.writestr(ZipInfo(file.as_posix()), content, ZIP_DEFLATED)
        name = next(file for file in files if file.name == "RECORD").as_posix()
        wheel.writestr(ZipInfo(name), "".join([*record, f"{name},,\n"]), ZIP_DEFLATED)
    return path


def _built(installed: importlib.metadata.Distribution, folder: Path) -> Path:
    """A wheel of the source of an editable installation."""
    where = json.loads(installed.read_text("direct_url.json") or "{}").get("url", "")
    source = Path(url2pathname(urlsplit(where).path))
    if not where.startswith("file:") or not (source / "pyproject.toml").is_file():
        raise DiffMaskError("The source that hf-diffmask was installed from is gone: install it again.")
    with tempfile.TemporaryDirectory() as name:
        # Built in a copy: a build leaves a folder in the source, and the next wheel would include its files.
        copy = Path(name) / "source"
        left = shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__", "tests", "benchmarks", "docs")
        shutil.copytree(source, copy, ignore=left)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(copy)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}  # 1980-01-01, the fixed date again
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        except subprocess.CalledProcessError as error:
            raise DiffMaskError(f"The wheel cannot be built ({error.stderr.strip()[-300:]}).") from None
    (wheel,) = folder.glob("hf_diffmask-*.whl")
    return wheel
