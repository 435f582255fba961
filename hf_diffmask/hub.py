"""Explainers on the Hub: a folder is pushed in one commit, and those for a base model are found."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from .configuration_diffmask import DiffMaskConfig
from .errors import DiffMaskError, reason
from .hub_client import TIMEOUT, bounded, persist, safe
from .model_card import card_for, front_matter, merge, outside, validate
from .modeling_diffmask import DiffMaskModel
from .remote_code import AUTO_MAP, code_files

logger = logging.get_logger(__name__)

# A list of what goes, not of what stays: a folder can hold checkpoints, logs, and files that are nobody's business.
TOKENIZER_FILES = [
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
    "*.model", "chat_template.jinja", "preprocessor_config.json", "processor_config.json",
]  # fmt: skip
WEIGHTS = ["model.safetensors", "model-*.safetensors", "model.safetensors.index.json"]
PUBLISHED = [
    *WEIGHTS, *TOKENIZER_FILES, "*.png", ".eval_results/*.yaml", "explainer_results.json", "training_args.json",
    "trainer_state.json", "all_results.json", "eval_results.json",
]  # fmt: skip
BASE_FOLDER = "base_model"


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
    Publishes an explainer's folder: weights, config, tokenizer, card, plots and what training left, in one commit.

    What has not changed is not sent again; where nothing has, there is no commit. A commit that somebody else makes
    meanwhile is taken in, and the push goes on from it.

    Args:
        folder (`str` or `os.PathLike`): A folder that `hf-diffmask train` wrote.
        repo_id (`str`): The repo, `user/name` or `organisation/name`; made where there is none.
        private (`bool`, *optional*): Whether a repo that is made is private.
        revision (`str`, *optional*): Branch to push to; made from the main one where there is none.
        token (`str`, *optional*): By default that of `hf auth login`.
        message (`str`, *optional*): Of the commit.
        with_base_model (`bool`, *optional*, defaults to `False`):
            Whether a base model from a local folder is pushed along, into `base_model/`.
        with_remote_code (`bool`, *optional*, defaults to `False`):
            Whether the code is pushed along that loads the explainer with `trust_remote_code=True` where hf-diffmask
            is not installed. It is this package's, whatever lies in the folder.
        overwrite_card (`bool`, *optional*, defaults to `False`):
            Whether what was written into the card on the Hub gives way to what was written into the local one.
        license (`str`, *optional*): Identifier of the licence; by default what the card names already.
        timeout (`float`, *optional*, defaults to 60): Seconds without a byte after which a connection is given up.

    Returns:
        `str`: Address of the commit.

    Raises:
        DiffMaskError: If the folder holds no explainer that can be loaded, its card cannot be published, or the Hub
            refuses or cannot be reached. What was published before is whole, and the folder is as it was.
    """
    if not timeout > 0:
        raise DiffMaskError(f"--timeout must be greater than 0, but is {timeout}.")
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise DiffMaskError(f"{folder} is no folder of an explainer: it holds no config.json.")
    try:
        explainer = DiffMaskModel.from_pretrained(folder)
    except OSError as error:
        raise DiffMaskError(f"The explainer in {folder} cannot be loaded ({reason(error)}).") from error
    files = published(folder)
    base, config = _base_and_config(folder, explainer, with_base_model)
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
    Publishes an explainer that is loaded, with what lies beside it where it came from: tokenizer, card, results.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        repo_id (`str`): The repo.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): The base model's.
        kwargs: Passed on to [`push`].

    Returns:
        `str`: Address of the commit.

    Raises:
        DiffMaskError: If there is no tokenizer, or the Hub refuses or cannot be reached.
    """
    origin = explainer.config.name_or_path
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if origin and not os.path.isdir(origin):
            options = {key: explainer._hub_options.get(key) for key in ("token", "cache_dir", "local_files_only")}
            origin = snapshot_download(
                origin, revision=explainer._revision, allow_patterns=[*PUBLISHED, "README.md"], **options
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
                AutoTokenizer.from_pretrained(explainer._base_location, revision=revision).save_pretrained(folder)
            except (OSError, ValueError, TypeError) as error:
                raise DiffMaskError(
                    f"There is no tokenizer beside the base model ({reason(error)}): give it as `tokenizer=`."
                ) from error
        return push(folder, repo_id, **kwargs)


def push_checkpoint(
    folder: str | os.PathLike, repo_id: str, revision: str | None, token: str | None, timeout: float = TIMEOUT
) -> None:
    """
    Publishes what training can be resumed from, as `last-checkpoint/`, in the place of an earlier one.

    Args:
        folder (`str` or `os.PathLike`): The checkpoint.
        repo_id (`str`): The repo.
        revision (`str`, *optional*): Branch to push to.
        token (`str`, *optional*): By default that of `hf auth login`.
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
    Makes a repo where there is none, so that a run which cannot be published is refused before it begins.

    Args:
        repo_id (`str`): The repo; a name alone is one of the user's own.
        token (`str`, *optional*): By default that of `hf auth login`.
        private (`bool`, *optional*): Whether a repo that is made is private.
        revision (`str`, *optional*): Branch, made where there is none.

    Returns:
        `str`: Its whole id.

    Raises:
        DiffMaskError: If the Hub refuses or cannot be reached.
    """
    api = HfApi(token=token)

    def check() -> str:
        name = repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"
        head, _ = _remote(api, name, revision, private)
        # What a commit asks first, of a file that is not sent.
        operation = CommitOperationAdd("explainer_results.json", b"{}")
        api.preupload_lfs_files(name, [operation], revision=revision or head)
        return name

    with bounded(TIMEOUT):
        return persist(check, Path("."), repo_id, token)


def published(folder: Path, allowed: list[str] | None = None) -> dict[str, Path]:
    """
    The files of a folder that are pushed as they are.

    Args:
        folder (`Path`): The folder.
        allowed (`list[str]`, *optional*): Patterns of names; by default those of an explainer.

    Returns:
        `dict[str, Path]`: Paths by name in the repo.
    """
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    # Patterns match across folders, and checkpoints hold files of the same names.
    names = [name for name in names if "/" not in name or name.startswith(".eval_results/")]
    return {name: folder / name for name in sorted(filter_repo_objects(names, allow_patterns=allowed or PUBLISHED))}


def merged_card(local: str, remote: str, generated: str, overwrite: bool = False) -> str:
    """
    The card to push: sections as they are generated now, and what its owner wrote, here or on the Hub.

    Args:
        local (`str`): The card in the folder, or nothing.
        remote (`str`): That in the repo, or nothing.
        generated (`str`): See [`~hf_diffmask.model_card.render`].
        overwrite (`bool`, *optional*, defaults to `False`): Whether the local text wins where both were written into.

    Returns:
        `str`

    Raises:
        DiffMaskError: If the two were written into differently, and `overwrite` is not set.
    """
    here, there = outside(local), outside(remote)
    if here and there and here != there and not overwrite:
        raise DiffMaskError(
            "Both the card in the folder and the one on the Hub were written into, and differ: take over into the "
            "folder's README.md what should stay of the other, then push with --overwrite_card."
        )
    first, second = (local, remote) if here else (remote, local)
    return merge(first, generated, also=second)


def find(base_model: str | None = None, token: str | None = None, limit: int = 100) -> list[Any]:
    """
    Finds explainers on the Hub.

    Args:
        base_model (`str`, *optional*): Id of the model that they explain; all by default.
        token (`str`, *optional*): By default that of `hf auth login`; shows private ones, too.
        limit (`int`, *optional*, defaults to 100): Most to return.

    Returns:
        `list[huggingface_hub.ModelInfo]`: Those downloaded most first.

    Raises:
        DiffMaskError: If `limit` is less than 1, or the Hub cannot be reached.
    """
    if limit < 1:
        raise DiffMaskError(f"--limit must be at least 1, but is {limit}.")
    tags = ["diffmask", *([] if base_model is None else [f"base_model:{base_model}"])]
    try:
        with bounded(TIMEOUT):
            return list(HfApi(token=token).list_models(filter=tags, sort="downloads", limit=limit, cardData=True))
    except (HfHubHTTPError, httpx2.TransportError, OfflineModeIsEnabled) as error:
        raise DiffMaskError(f"The Hub cannot be searched ({safe(reason(error), token)}).") from error


def _base_and_config(folder: Path, explainer: DiffMaskModel, with_base: bool) -> tuple[Path | None, dict[str, Any]]:
    """The folder of a local base model, and the config to publish: no path of this machine is in it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    location = explainer._base_location
    is_local = location is not None and (os.path.isdir(location) or location.startswith((".", "/")))
    base = Path(str(location)) if is_local else None
    if with_base and base is None:
        raise DiffMaskError("The base model is no local folder: it need not be pushed along.")
    if with_base and base is not None:
        if not (base / "model.safetensors").is_file() and not (base / "model.safetensors.index.json").is_file():
            raise DiffMaskError(f"The base model in {base} has no safetensors: save it with save_pretrained first.")
        config |= {"base_model_name_or_path": f"./{BASE_FOLDER}", "base_model_revision": None}
    elif is_local or location is None:
        config |= {"base_model_name_or_path": None, "base_model_revision": None}
        logger.warning(
            "The base model is a local folder, and nobody else could load this explainer without it: push the base "
            "model to the Hub and train on it there, or push it along with --with_base_model."
        )
    elif config.get("base_model_revision") is None:
        logger.warning(f"The explainer names no revision of {location}: a later version of it will be refused.")
    # As it is checked on loading: a field that is no longer there would be found out by users.
    DiffMaskConfig.from_dict(dict(config))
    return base, config


def _remote(api: HfApi, repo_id: str, revision: str | None, private: bool | None) -> tuple[str, str]:
    """Head and card of the branch, made where it is missing."""
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
