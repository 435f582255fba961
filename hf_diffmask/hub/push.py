"""Publishes an explainer's folder in one commit."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from ..errors import DiffMaskError, reason
from ..explainer.guest import HUB_OPTIONS
from ..explainer.loading import load_explainer
from ..explainer.modeling_diffmask import DiffMaskModel
from .card_folder import card_for
from .card_sections import front_matter, merge, outside, validate
from .client import TIMEOUT, bounded, persist
from .files import BASE_FOLDER, PUBLISHED, TOKENIZER_FILES, WEIGHTS, base_and_config, published
from .remote_code import AUTO_MAP, code_files

logger = logging.get_logger(__name__)


def push(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    message: str = "Upload explainer",
    with_base_model: bool = False,
    with_remote_code: bool = False,
    overwrite_card: bool = False,
    license: str | None = None,
    timeout: float = TIMEOUT,
) -> str:
    """
    Publishes an explainer's folder in one commit: weights, config, tokenizer, card, plots and training results.

    Unchanged files are not sent. Without changes there is no commit. If somebody else commits meanwhile, the push
    continues from that commit.

    Args:
        folder (`str` or `os.PathLike`): A folder that `hf-diffmask train` wrote.
        repo_id (`str`): The repo, `user/name` or `organisation/name`; created if missing.
        private (`bool`, *optional*): Whether a new repo is private.
        revision (`str`, *optional*): Branch to push to; created from the main branch if missing.
        token (`str`, *optional*): By default from `hf auth login`.
        message (`str`, *optional*): Commit message.
        with_base_model (`bool`, *optional*, defaults to `False`):
            Whether to push a base model from a local folder as well, into `base_model/`.
        with_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to push code that loads the explainer with `trust_remote_code=True`, without hf-diffmask. The
            code always comes from this package, not from the folder.
        overwrite_card (`bool`, *optional*, defaults to `False`):
            Whether the owner's text in the local card replaces the owner's text on the Hub.
        license (`str`, *optional*): Identifier of the licence; by default the card's licence.
        timeout (`float`, *optional*, defaults to 60): Seconds without a byte before a connection is given up.

    Returns:
        `str`: Address of the commit.

    Raises:
        DiffMaskError: If the explainer cannot be loaded, its card cannot be published, or the Hub refuses or cannot be
            reached. Earlier pushes and the folder stay intact.
    """
    if not timeout > 0:
        raise DiffMaskError(f"--timeout must be greater than 0, but is {timeout}.")
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise DiffMaskError(f"{folder} is no folder of an explainer: it holds no config.json.")
    explainer = load_explainer(folder)
    files = published(folder)
    base, config = base_and_config(folder, explainer, with_base_model)
    if with_base_model and base is not None:
        allowed = [*WEIGHTS, *TOKENIZER_FILES, "config.json"]
        files |= {f"{BASE_FOLDER}/{name}": path for name, path in published(base, allowed).items()}
    with_remote_code = with_remote_code or bool(config.get("auto_map"))
    code = code_files() if with_remote_code else {}
    if with_remote_code:
        config["auto_map"] = AUTO_MAP
    api = HfApi(token=token)
    settings: dict[str, Any] = {
        "base_model": None if base is not None else config["base_model_name_or_path"],
        "loadable": config["base_model_name_or_path"] is not None,
        "model_id": repo_id,
        "remote_code": with_remote_code,
    }
    generated = card_for(folder, explainer, license, **settings)
    readme = folder / "README.md"
    local = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    validate(merge(local, generated))  # before anything is sent

    def commit() -> str:
        head, remote = _remote(api, repo_id, revision, private)
        card = merged_card(local, remote, generated, overwrite_card)
        validate(card)
        if "license" not in front_matter(card):
            logger.warning_once(
                "The card names no licence, without which others may not use it: add --license, such as mit."
            )
        operations = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        operations += [CommitOperationAdd(name, text.encode()) for name, text in code.items()]
        operations.append(CommitOperationAdd("README.md", card.encode()))
        operations.append(CommitOperationAdd("config.json", json.dumps(config, indent=2).encode() + b"\n"))
        found = api.create_commit(
            repo_id, operations, commit_message=message, revision=revision or "main", parent_commit=head
        )
        return str(found.commit_url)

    with bounded(timeout):
        return persist(commit, folder, repo_id, token)


def push_model(
    explainer: DiffMaskModel, repo_id: str, tokenizer: PreTrainedTokenizerBase | None = None, **kwargs: Any
) -> str:
    """
    Publishes a loaded explainer with tokenizer, card and results from its folder or repo.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        repo_id (`str`): The repo.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): The base model's tokenizer.
        kwargs: Passed on to [`push`].

    Returns:
        `str`: Address of the commit.

    Raises:
        DiffMaskError: If there is no tokenizer, or the Hub refuses or cannot be reached.
    """
    origin, guest = explainer.config.name_or_path, explainer.guest
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if origin and not os.path.isdir(origin):
            options: dict[str, Any] = {key: guest.hub_options.get(key) for key in HUB_OPTIONS}
            origin = snapshot_download(
                origin, revision=guest.revision, allow_patterns=[*PUBLISHED, "README.md"], **options
            )
        if origin:
            for file, path in published(Path(origin), [*PUBLISHED, "README.md"]).items():
                (folder / file).parent.mkdir(exist_ok=True)
                shutil.copy(path, folder / file)
        for old in (path for pattern in WEIGHTS for path in folder.glob(pattern)):
            old.unlink()
        explainer.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        elif not (folder / "tokenizer_config.json").is_file():
            try:
                revision = explainer.config.base_model_revision
                AutoTokenizer.from_pretrained(guest.location, revision=revision).save_pretrained(folder)
            except (OSError, ValueError, TypeError) as error:
                raise DiffMaskError(
                    f"There is no tokenizer beside the base model ({reason(error)}): give it as `tokenizer=`."
                ) from error
        return push(folder, repo_id, **kwargs)


def push_checkpoint(
    folder: str | os.PathLike, repo_id: str, revision: str | None, token: str | None, timeout: float = TIMEOUT
) -> None:
    """
    Publishes a checkpoint as `last-checkpoint/` and replaces an earlier checkpoint.

    Args:
        folder (`str` or `os.PathLike`): The checkpoint.
        repo_id (`str`): The repo.
        revision (`str`, *optional*): Branch to push to.
        token (`str`, *optional*): By default from `hf auth login`.
        timeout (`float`, *optional*, defaults to 60): See [`push`].

    Raises:
        DiffMaskError: If the Hub refuses or cannot be reached.
    """
    api, folder = HfApi(token=token), Path(folder)

    def commit() -> str:
        head, _ = _remote(api, repo_id, revision, None)
        operations = [
            CommitOperationAdd(f"last-checkpoint/{path.name}", str(path))
            for path in sorted(folder.iterdir())
            if path.is_file() and path.name != "training_args.bin"
        ]
        message = f"Training in progress, {folder.name}"
        found = api.create_commit(
            repo_id, operations, commit_message=message, revision=revision or "main", parent_commit=head
        )
        return str(found.commit_url)

    with bounded(timeout):
        persist(commit, folder, repo_id, token)


def check_writable(repo_id: str, token: str | None, private: bool | None, revision: str | None = None) -> str:
    """
    The full id of a repo, checked for write access before training; the repo is created if missing.

    Args:
        repo_id (`str`): The repo; a name alone means the user's own repo.
        token (`str`, *optional*): By default from `hf auth login`.
        private (`bool`, *optional*): Whether a new repo is private.
        revision (`str`, *optional*): Branch; created if missing.

    Returns:
        `str`: The repo's full id.

    Raises:
        DiffMaskError: If the Hub refuses or cannot be reached.
    """
    api = HfApi(token=token)

    def check() -> str:
        name = repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"
        head, _ = _remote(api, name, revision, private)
        # The first request of a commit needs write access. The file itself is never sent.
        operation = CommitOperationAdd("explainer_results.json", b"{}")
        api.preupload_lfs_files(name, [operation], revision=revision or head)
        return name

    with bounded(TIMEOUT):
        return persist(check, Path("."), repo_id, token)


def merged_card(local: str, remote: str, generated: str, overwrite: bool = False) -> str:
    """
    The card to push: new generated sections, and the owner's text from the folder or the Hub.

    Args:
        local (`str`): The card in the folder, or an empty text.
        remote (`str`): The card in the repo, or an empty text.
        generated (`str`): See [`~hf_diffmask.hub.card.render`].
        overwrite (`bool`, *optional*, defaults to `False`): Whether the local text wins if the owner's texts differ.

    Returns:
        `str`

    Raises:
        DiffMaskError: If the owner's texts differ and `overwrite` is not set.
    """
    here, there = outside(local), outside(remote)
    if here and there and here != there and not overwrite:
        raise DiffMaskError(
            "The card in the folder and the card on the Hub both have text of yours and differ: copy what should "
            "stay into the folder's README.md, then push with --overwrite_card."
        )
    first, second = (local, remote) if here else (remote, local)
    return merge(first, generated, also=second)


def _remote(api: HfApi, repo_id: str, revision: str | None, private: bool | None) -> tuple[str, str]:
    """Head commit and card of the branch; repo and branch are created if missing."""
    try:
        head = str(api.repo_info(repo_id, revision=revision).sha)
    except RevisionNotFoundError:
        api.create_branch(repo_id, branch=str(revision), exist_ok=True)
        head = str(api.repo_info(repo_id, revision=revision).sha)
    except RepositoryNotFoundError:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        head = str(api.repo_info(repo_id, revision=revision).sha)
    try:
        return head, Path(api.hf_hub_download(repo_id, "README.md", revision=head)).read_text(encoding="utf-8")
    except EntryNotFoundError:
        return head, ""
