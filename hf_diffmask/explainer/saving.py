"""Saving, loading and publishing of explainers."""

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import DiffMaskError, reason
from .configuration_diffmask import DiffMaskConfig
from .guest import HUB_OPTIONS, Guest, commit_of
from .publishing import hub


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
            DiffMaskError: If weights are missing, unknown, damaged or not finite, or the base model does not match.
            OSError: If the explainer does not exist, or has no safetensors; no other format is read.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        # Transformers copies keyword arguments, and a quantised model cannot be copied.
        base_model = kwargs.pop("base_model", None)
        try:
            options = {**kwargs, "use_safetensors": True, "output_loading_info": True}
            explainer, info = super().from_pretrained(pretrained_model_name_or_path, *args, **options)
        except SafetensorError as error:
            raise DiffMaskError(
                f"The weights of {pretrained_model_name_or_path} are damaged ({reason(error)}): get them again from "
                "where they were published."
            ) from error
        if wrong := sorted({*info["missing_keys"], *info["unexpected_keys"]}):
            raise DiffMaskError(
                f"The weights of {pretrained_model_name_or_path} do not match its config: "
                f"{', '.join(wrong)} missing or unknown."
            )
        # Minimum and maximum: a sum could overflow, and `isfinite` on all values would allocate a mask.
        if not all(bool(end.isfinite()) for values in explainer.state_dict().values() for end in values.aminmax()):
            raise DiffMaskError(f"The weights of {pretrained_model_name_or_path} are not all finite numbers.")
        if base_model is not None:
            explainer.guest.borrow(base_model)
        explainer.guest.hub_options.update(
            {name: kwargs[name] for name in HUB_OPTIONS if kwargs.get(name) is not None}
        )
        named = explainer.config.name_or_path
        explainer.guest.revision = commit_of(named, kwargs.get("revision"), kwargs.get("cache_dir"))
        return (explainer, info) if wants_info else explainer

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """
        Saves the explainer without its base model. An explainer that came with remote code is saved with code. The
        path of a local base model becomes relative to `save_directory`.

        Args:
            save_directory (`str` or `os.PathLike`): The folder.
            kwargs: Passed on to [`~transformers.PreTrainedModel.save_pretrained`].
        """
        named = self.config.base_model_name_or_path
        if self.guest.location is not None and os.path.isdir(self.guest.location):
            relative = Path(os.path.relpath(self.guest.location, save_directory)).as_posix()
            self.config.base_model_name_or_path = relative if relative.startswith("../") else f"./{relative}"
        if getattr(self.config, "auto_map", None) and self._auto_class is None:
            # The explainer came with remote code, but the installed package loaded it: save the package's code.
            hub().add_code(self.config, Path(save_directory))
        try:
            super().save_pretrained(save_directory, **kwargs)
        finally:
            self.config.base_model_name_or_path = named

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
