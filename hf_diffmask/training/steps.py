"""What happens at the epochs and steps of a run, beside the gradient."""

from typing import Any

from transformers import TrainerCallback, TrainingArguments


class Steps(TrainerCallback):
    """Updates sampler and objective at epochs and steps, and ends interrupted runs; see [`DiffMaskTrainer`]."""

    def __init__(self, trainer: Any):
        self.trainer = trainer

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.find_best(self.trainer.interruption.checkpoint)
        self.trainer.interruption.waits = True

    def on_epoch_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        # When a resumed epoch skips batches, the data loader's call does not reach the sampler.
        self.trainer.sampler.set_epoch(int(state.epoch))

    def on_pre_optimizer_step(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.update_objective()

    def on_optimizer_step(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.objective.clamp()

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save |= self.trainer.interruption.agreed > 0

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        interruption = self.trainer.interruption
        interruption.checkpoint = f"{args.output_dir}/checkpoint-{state.global_step}"
        if interruption.agreed:
            raise interruption.ended()

    def on_train_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        interruption = self.trainer.interruption
        interruption.waits = False
        if interruption.signal:
            raise interruption.ended()
