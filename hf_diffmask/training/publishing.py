"""Publishes the explainer after a run and, if requested, checkpoints during the run."""

import os
from typing import Any

from transformers import Trainer
from transformers.utils import logging

from ..errors import DiffMaskError
from ..explainer.publishing import hub
from .arguments import DiffMaskTrainingArguments

logger = logging.get_logger(__name__)


class PublishingTrainer(Trainer):
    """A [`~transformers.Trainer`] that publishes explainers, see [`~hf_diffmask.hub.push.push`]."""

    args: DiffMaskTrainingArguments

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """
        Checks before a run that the Hub accepts its results, see [`~transformers.Trainer.init_hf_repo`].

        Args:
            token (`str`, *optional*): By default the settings' `hub_token`.
            private (`bool`, *optional*): By default the settings' `hub_private_repo`.

        Raises:
            DiffMaskError: If the Hub refuses or cannot be reached.
        """
        if not self.is_world_process_zero():
            return
        name = self.args.hub_model_id or os.path.basename(os.path.abspath(str(self.args.output_dir)))
        private = self.args.hub_private_repo if private is None else private
        self.hub_model_id = hub().check_writable(name, token or self.args.hub_token, private, self.args.hub_revision)
        self.push_in_progress = None

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> str | None:
        """
        Saves the explainer and publishes its folder in one commit, see [`~hf_diffmask.hub.push.push`].

        Args:
            commit_message (`str`, *optional*, defaults to `"End of training"`): Commit message.
            blocking (`bool`, *optional*, defaults to `True`): No effect; part of the `Trainer` interface.
            token (`str`, *optional*): By default the settings' `hub_token`.
            revision (`str`, *optional*): Branch; by default the settings' `hub_revision`.
            private (`bool`, *optional*): Whether a new repo is private.
            kwargs: Passed to [`~hf_diffmask.hub.push.push`], such as `with_base_model`.

        Returns:
            `str` or `None`: Address of the commit in the main process, `None` in others.

        Raises:
            DiffMaskError: If the Hub refuses or cannot be reached. The explainer is saved before.
        """
        if getattr(self, "hub_model_id", None) is None:
            self.init_hf_repo(token, private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        folder, repo = str(self.args.output_dir), str(self.hub_model_id)
        try:
            return hub().push(
                folder,
                repo,
                private=private,
                revision=revision or self.args.hub_revision,
                token=token or self.args.hub_token,
                message=commit_message or "End of training",
                **kwargs,
            )
        except DiffMaskError as error:
            raise DiffMaskError(
                f"{error} The explainer is trained and saved: `hf-diffmask push {folder} {repo}` publishes it."
            ) from error

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Publishes a checkpoint with `hub_strategy="checkpoint"`. Training continues if publishing fails."""
        strategy = getattr(self.args.hub_strategy, "value", self.args.hub_strategy)
        if not self.is_world_process_zero() or strategy != "checkpoint":
            return
        try:
            hub().push_checkpoint(checkpoint_folder, self.hub_model_id, self.args.hub_revision, self.args.hub_token)
        except DiffMaskError as error:
            logger.warning(f"{checkpoint_folder} is not on the Hub: {error}")
