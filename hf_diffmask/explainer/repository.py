"""Files of a model in a folder or on the Hub. They are checked before Transformers reads them."""

import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError, StrictDataclassError
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file, is_peft_available
from transformers.utils.hub import extract_commit_hash

from ..data.json_files import read_json
from ..errors import DiffMaskError, reason

# Errors that other libraries raise for files of others: missing, malformed or contradicting one another.
LOADING_ERRORS = (
    ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, SafetensorError,
    StrictDataclassError, TypeError, ValueError,
)  # fmt: skip
READING_OPTIONS = ("cache_dir", "force_download", "local_files_only", "proxies", "token")
# A path below the folder. No part begins with a full stop, and there are no wildcards, drives or backslashes.
SAFE_NAME = re.compile(r"(?:[\w-][\w. -]*/)*[\w-][\w. -]*\.safetensors")
# Transformers prefers files with such names to `model.safetensors`.
DISTRIBUTED = "shard-[0-9]*-model-[0-9]*-of-[0-9]*.safetensors"


class Repository:
    """
    A folder, or a repo on the Hub at one commit. Transformers must read it with the same `revision`.

    Args:
        name (`str` or `os.PathLike`): A folder, or an id on the Hub.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        subfolder (`str`, *optional*): Folder of the files.
        options: Options of `from_pretrained`; `READING_OPTIONS` are used, such as `token`.

    Attributes:
        revision (`str`, *optional*): The commit, since a branch may move between the check and reading.

    Raises:
        DiffMaskError: If `name` is a file.
        OSError: If there is no such folder, and no such repo can be reached.
    """

    def __init__(self, name: Any, revision: str | None = None, subfolder: str | None = None, **options: Any):
        self.name, self.revision = str(name), revision
        self._options = {key: options[key] for key in READING_OPTIONS if options.get(key) is not None}
        self._options["subfolder"] = subfolder or ""
        # Transformers would read the file as weights, a pickle as well.
        if os.path.isfile(os.path.join(subfolder or "", self.name)):
            raise DiffMaskError(f"{self.name} is a file: name the folder that holds it.")
        # Missing: `None`. Only this request tells a repo that cannot be reached from one without the file.
        self._config = self._fetched("config.json", revision=revision)
        if not os.path.isdir(self.name):
            self.revision = extract_commit_hash(self._config, None) or revision

    def file(self, name: str) -> Path | None:
        """
        A file, fetched from the Hub if needed.

        Args:
            name (`str`): Its name.

        Returns:
            `Path` or `None`: `None` if there is no such file.

        Raises:
            OSError: If the Hub cannot be reached.
        """
        found = self._fetched(name, revision=self.revision, _raise_exceptions_for_missing_entries=False)
        return None if found is None else Path(found)

    def _fetched(self, name: str, **options: Any) -> str | None:
        try:
            return cached_file(self.name, name, **self._options, **options)
        except OSError:
            raise
        except Exception as error:  # of the connection; Transformers turns it into an `OSError` as well
            raise OSError(f"{name} of {self.name} cannot be fetched ({reason(error)})") from error

    def json(self, name: str) -> dict[str, Any] | None:
        """
        The object in a JSON file.

        Args:
            name (`str`): The file's name.

        Returns:
            `dict` or `None`: `None` if there is no such file.

        Raises:
            DiffMaskError: If the file cannot be read as JSON, or holds no object.
        """
        path = self.file(name)
        return None if path is None else read_json(path, f"{name} of {self.name}")

    def config(self) -> dict[str, Any] | None:
        """
        The fields of `config.json`.

        Returns:
            `dict` or `None`: `None` if there is no such file.

        Raises:
            DiffMaskError: If the file cannot be read as JSON, or names other files to read in its place.
        """
        fields = None if self._config is None else read_json(self._config, f"config.json of {self.name}")
        if fields and "configuration_files" in fields:
            raise DiffMaskError(
                f"config.json of {self.name} names other files to read in its place (`configuration_files`), which "
                "are not checked: save the model again with save_pretrained."
            )
        return fields

    def weights(self, variant: str | None = None, named: Any = None) -> list[Path]:
        """
        The files that Transformers reads as weights: safetensors below the folder, and no others.

        Args:
            variant (`str`, *optional*): As for `from_pretrained`.
            named (`str`, *optional*): The field `transformers_weights` of the config.

        Returns:
            `list[Path]`: Empty if there are no safetensors; Transformers then says so.

        Raises:
            DiffMaskError: If an index or the config names other files, such as a pickle or a file elsewhere, a file is
                missing, or an adapter would be read.
        """
        if os.path.isdir(self.name) and any(Path(self.name, self._options["subfolder"]).glob(DISTRIBUTED)):
            raise DiffMaskError(
                f"{self.name} holds the shards of a distributed checkpoint, which are not read: save the model with "
                "save_pretrained."
            )
        # With PEFT installed, Transformers adds the adapter, which may be a pickle of another repo.
        if is_peft_available() and self.file("adapter_config.json") is not None:
            raise DiffMaskError(
                f"{self.name} holds an adapter (adapter_config.json), which is not read: merge it into its model, and "
                "save that with save_pretrained."
            )
        if named is not None:
            self._check_name(str(named).removesuffix(".index.json"), "config.json")
            single, index = (None, named) if str(named).endswith(".json") else (named, None)
        else:
            single, index = (_with_variant(one, variant) for one in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME))
        if single is not None and (path := self.file(single)) is not None:
            return [path]
        if index is None or (found := self.json(index)) is None:
            return []
        return [self._shard(name, index) for name in self._shard_names(found, index)]

    def _shard_names(self, index: dict[str, Any], what: str) -> list[str]:
        names, metadata = index.get("weight_map"), index.get("metadata")
        if not isinstance(names, dict) or not names or not isinstance(metadata, dict):
            raise DiffMaskError(
                f"{what} of {self.name} lacks `weight_map` or `metadata`, each an object: get it again from where it "
                "was published."
            )
        for name in names.values():
            self._check_name(name, what)
        return sorted(set(names.values()))

    def _check_name(self, name: Any, what: str) -> None:
        if not isinstance(name, str) or not SAFE_NAME.fullmatch(name):
            raise DiffMaskError(
                f"{what} of {self.name} names {str(name)[:80]!r} as weights: only safetensors below its own folder "
                "are read, so save the model with save_pretrained, and trust this copy no further."
            )

    def _shard(self, name: str, what: str) -> Path:
        path = self.file(name)
        if path is None:
            raise DiffMaskError(
                f"{self.name} lacks {name}, which {what} names: get the weights again from where they were published."
            )
        return path


def why_missing(name: str, error: Exception) -> str:
    """
    Why a model cannot be loaded.

    Args:
        name (`str`): The folder or id that was asked for.
        error (`Exception`): The error from loading it.

    Returns:
        `str`: The reason, without a full stop. The Hub's rules for ids are left out, since a path breaks them.
    """
    try:
        if not os.path.exists(name):
            validate_repo_id(name)
    except HFValidationError:
        return "there is no folder of this name, and no repository on the Hub can have it"
    return reason(error)


def _with_variant(name: str, variant: str | None) -> str:
    stem, _, ending = name.rpartition(".")
    return name if variant is None else f"{stem}.{variant}.{ending}"
