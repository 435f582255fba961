"""`transformers.Trainer` whose checkpoints are whole or not there, and resume exactly."""

import os
import shutil
from typing import Any

from torch import nn
from transformers.trainer_utils import TrainOutput
from transformers.utils import logging

from ..explainer.modeling_diffmask import DiffMaskModel
from .checkpoints import (
    STATE_FILE,
    UNFINISHED,
    damage,
    finish_checkpoint,
    load_objective,
    rotate,
    save_beside,
)
from .publishing import PublishingTrainer
from .recipes.recipe import Objective
from .resuming import check_same_kind

logger = logging.get_logger(__name__)


class SavingTrainer(PublishingTrainer):
    """
    A [`~transformers.Trainer`] that writes a checkpoint beside the others and renames it when it is whole. Only then
    older checkpoints are deleted.
    """

    model: DiffMaskModel
    objective: Objective
    _unfinished: str | None = None  # folder of the checkpoint that is being written

    def _get_output_dir(self, trial: Any) -> str:
        return self._unfinished or super()._get_output_dir(trial)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Saves a checkpoint. `Trainer` writes it into a folder of another name, and finds nothing there to delete."""
        folder, name = super()._get_output_dir(trial), f"checkpoint-{self.state.global_step}"
        checkpoint, unfinished = os.path.join(folder, name), os.path.join(folder, UNFINISHED + name)
        best = self.state.best_model_checkpoint
        if self.state.best_global_step:
            found = os.path.join(folder, f"checkpoint-{self.state.best_global_step}")
            best = found if found == checkpoint or os.path.isdir(found) else best
        self._unfinished = unfinished
        try:
            super()._save_checkpoint(model, trial)
            self.state.best_model_checkpoint = best
            self.accelerator.wait_for_everyone()  # each process writes its random state
            if self.args.should_save:
                self.state.save_to_json(os.path.join(unfinished, name, STATE_FILE))
                finish_checkpoint(os.path.join(unfinished, name), checkpoint)
                rotate(folder, self.args.save_total_limit, {checkpoint, *([best] if best else [])})
            self.accelerator.wait_for_everyone()
        finally:
            self._unfinished = None
            if self.args.should_save:
                shutil.rmtree(unfinished, ignore_errors=True)
        if self.args.push_to_hub:
            self._push_from_checkpoint(checkpoint)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if self._unfinished is None:
            super()._push_from_checkpoint(checkpoint_folder)

    def _run_epoch(self, **given: Any) -> None:
        """Trains an epoch. `Trainer` takes one step too many if it resumes after the last step of a run."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(**given)

    def _finalize_training(self, *given: Any) -> TrainOutput:
        """Ends training. `Trainer` deletes the last checkpoint if it is not the best one and the limit is 1."""
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            return super()._finalize_training(*given)
        finally:
            self.args.save_total_limit = limit

    def find_best(self, resumed: str | None) -> None:
        """
        Finds the best checkpoint of a resumed run again if the run's folder was moved; leaves it out if it is damaged.

        Args:
            resumed (`str`, *optional*): The checkpoint that the run was resumed from.
        """
        if resumed is None or not self.state.best_global_step:
            return
        folder = os.path.dirname(os.path.abspath(resumed))
        best = self.state.best_model_checkpoint or os.path.join(folder, f"checkpoint-{self.state.best_global_step}")
        missing = damage(best)
        self.state.best_model_checkpoint = best if missing is None else None
        if missing is not None:
            logger.warning(f"The best checkpoint {best} is damaged ({missing}): the run goes on without it.")
            self.state.best_metric = self.state.best_global_step = None

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Saves explainer, tokenizer and the files for resuming, as safetensors or JSON."""
        if not self.args.should_save:
            return
        output_dir = output_dir if output_dir is not None else self.args.output_dir
        os.makedirs(output_dir, exist_ok=True)
        self.model.save_pretrained(output_dir, state_dict=state_dict)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(output_dir)
        save_beside(str(output_dir), self.objective, self.args, self.model.config)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        check_same_kind(resume_from_checkpoint, self.model.config)
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        load_objective(resume_from_checkpoint, self.objective)
