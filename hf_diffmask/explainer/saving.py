"""Saving, loading and publishing of explainers."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import DiffMaskError
from .configuration_diffmask import DiffMaskConfig
from .guest import HUB_OPTIONS, Guest, commit_of
from .publishing import hub
from .repository import Repository
from .weights import check_shapes, digest, read_weights, shapes


class SavedExplainer(PreTrainedModel):
    """A [`~transformers.PreTrainedModel`] that is saved without its base model and checked on loading."""

    config: DiffMaskConfig
    guest: Guest

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """
        An explainer from a folder or the Hub; see [`~transformers.PreTrainedModel.from_pretrained`].

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): A folder, or an id on the Hub.
            args: Passed on.
            kwargs: Passed on, such as `revision`. `base_model` and `allow_base_mismatch`: see the class. `token`,
                `cache_dir` and `local_files_only` apply to the base model as well.

        Returns:
            [`DiffMaskModel`], in eval mode.

        Raises:
            DiffMaskError: If the config or an index is malformed or out of bounds, weights are missing, unknown,
                damaged, not finite, or others than those that were saved with the config, or the base model does not
                match.
            OSError: If the explainer does not exist, or has no safetensors; no other format is read.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        # Transformers copies keyword arguments, and a quantised model cannot be copied.
        base_model = kwargs.pop("base_model", None)
        source = Repository(pretrained_model_name_or_path, **kwargs)
        kwargs["revision"] = source.revision
        files = cls._checked_files(source, kwargs)
        options = {**kwargs, "use_safetensors": True, "output_loading_info": True}
        explainer, info = super().from_pretrained(pretrained_model_name_or_path, *args, **options)
        saved, explainer.config.weights_digest = explainer.config.weights_digest, None  # it belongs to the files
        if saved is not None and saved != digest(read_weights(files, source.name)):
            raise DiffMaskError(
                f"The weights of {pretrained_model_name_or_path} are not those that were saved with its config: get "
                "both again from where they were published."
            )
        # Minimum and maximum: a sum could overflow, and `isfinite` on all values would allocate a mask.
        if not all(bool(end.isfinite()) for values in explainer.state_dict().values() for end in values.aminmax()):
            raise DiffMaskError(f"The weights of {pretrained_model_name_or_path} are not all finite numbers.")
        if base_model is not None:
            explainer.guest.borrow(base_model)
        explainer.guest.hub_options.update(
            {name: kwargs[name] for name in HUB_OPTIONS if kwargs.get(name) is not None}
        )
        explainer.guest.trust_remote_code = bool(kwargs.get("trust_remote_code"))
        named = explainer.config.name_or_path
        explainer.guest.revision = commit_of(named, kwargs.get("revision"), kwargs.get("cache_dir"))
        return (explainer, info) if wants_info else explainer

    @classmethod
    def _checked_files(cls, source: Repository, options: dict[str, Any]) -> list[Path]:
        """The files of weights. They and the config are checked before anything is built or read from them."""
        config, fields = options.get("config"), source.config()
        if (options.get("adapter_kwargs") or {}).get("_adapter_model_path"):  # `AutoModel` was led here by an adapter
            raise DiffMaskError(f"An adapter names {source.name}; explainers take none: name the explainer itself.")
        files = source.weights(options.get("variant"), named=(fields or {}).get("transformers_weights"))
        if not isinstance(config, DiffMaskConfig) and fields is not None:
            config = cls.config_class.from_dict({**fields, "name_or_path": source.name})
        if files and isinstance(config, DiffMaskConfig):
            with torch.device("meta"):  # takes no memory
                wanted = {name: tuple(one.shape) for name, one in cls(config).state_dict().items()}
            check_shapes(shapes(files, source.name), wanted, source.name)
        return files

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """
        Saves the explainer without its base model. The config holds a digest of the weights. An explainer that came
        with remote code is saved with code. The path of a local base model becomes relative to `save_directory`; on
        another drive it stays absolute.

        Args:
            save_directory (`str` or `os.PathLike`): The folder.
            kwargs: Passed on to [`~transformers.PreTrainedModel.save_pretrained`].
        """
        named = self.config.base_model_name_or_path
        if self.guest.location is not None and os.path.isdir(self.guest.location):
            self.config.base_model_name_or_path = _seen_from(save_directory, self.guest.location)
        if getattr(self.config, "auto_map", None) and self._auto_class is None:
            # The explainer came with remote code, but the installed package loaded it: save the package's code.
            hub().add_code(self.config, Path(save_directory))
        # Not kept in memory: the weights may change, and the config be saved without them.
        self.config.weights_digest = digest(kwargs.get("state_dict") or self.state_dict())
        try:
            super().save_pretrained(save_directory, **kwargs)
        finally:
            self.config.base_model_name_or_path, self.config.weights_digest = named, None
        config = Path(save_directory) / "config.json"
        if config.is_file():
            # safetensors makes its files private. Who may read the config may read the weights.
            for weights in Path(save_directory).glob("*.safetensors"):
                shutil.copymode(config, weights)

    def push_to_hub(self, repo_id: str, *, tokenizer: PreTrainedTokenizerBase | None = None, **kwargs: Any) -> str:
        """
        Publishes the explainer, its tokenizer, card and results in one commit.

        Args:
            repo_id (`str`): The repo, `user/name` or `organisation/name`; created if missing.
            tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*):
                The base model's tokenizer; by default the tokenizer saved with the explainer or its base model.
            kwargs: Passed on to [`~hf_diffmask.hub.push.push`], such as `private`, `revision` and `token`.

        Returns:
            `str`: Address of the commit.

        Raises:
            DiffMaskError: If there is no tokenizer, or the Hub refuses or cannot be reached.
        """
        return hub().push_model(self, repo_id, tokenizer, **kwargs)


def _seen_from(folder: str | os.PathLike, base: str) -> str:
    """Path of a base model's folder from an explainer's folder; absolute if there is no path between their drives."""
    # A path climbs from a folder's real place, not from a link to it. The base model's own link stays.
    parent, name = os.path.split(os.path.abspath(base))
    place = os.path.join(os.path.realpath(parent), name)
    try:
        relative = Path(os.path.relpath(place, os.path.realpath(folder))).as_posix()
    except ValueError:
        return place
    return f"{relative}/" if relative == ".." else relative if relative.startswith("../") else f"./{relative}"
