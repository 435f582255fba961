"""Trains an explainer: `transformers.Trainer` with our objective, cache and validation."""

import json
import os
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import TrainOutput
from transformers.utils import logging

from . import heads
from .data import LengthGroupedSampler, TextFeatures, collate
from .errors import DiffMaskError
from .gates import gate_noise
from .modeling_diffmask import DiffMaskModel
from .objective import OBJECTIVES, FastObjective, PaperObjective, keep_at, mean_over_units, violations
from .recorded_cache import RecordedCache
from .training_args import DiffMaskTrainingArguments
from .validation import StateRow, measure, table_of_states

logger = logging.get_logger(__name__)

OBJECTIVE_FILE = "objective.safetensors"
ARGUMENTS_FILE = "training_args.json"


class _MultiplierStep(TrainerCallback):
    """Moves the multipliers along with every optimiser step; see [`DiffMaskTrainer`]."""

    def __init__(self, trainer: "DiffMaskTrainer"):
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.check_finite()
        self.trainer.update_multipliers()

    def on_optimizer_step(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.objective.clamp()


class DiffMaskTrainer(Trainer):
    """
    Trains the probes and the baseline of an explainer; no labels are needed.

    A [`~transformers.Trainer`]: `accelerate launch`, mixed precision, accumulation, checkpoints and resuming,
    trackers and callbacks work as they do there. The state drawn and the noise of the gates are functions of (seed,
    step, example), and the constraint is reduced over processes before one update of the multipliers, so that a run
    does not depend on how a batch is split over processes.

    Args:
        model ([`DiffMaskModel`]): The explainer, holding its base model.
        args ([`DiffMaskTrainingArguments`]): Settings.
        train_dataset ([`~hf_diffmask.data.TextFeatures`], *optional*): What to train on.
        eval_dataset ([`~hf_diffmask.data.TextFeatures`], *optional*): What to choose the best checkpoint with.
        processing_class ([`~transformers.PreTrainedTokenizerBase`], *optional*): Saved along with the explainer.
        callbacks (`list[TrainerCallback]`, *optional*): Passed on.
    """

    model: DiffMaskModel
    args: DiffMaskTrainingArguments
    optimizer: Any
    control: Any

    def __init__(
        self,
        model: DiffMaskModel,
        args: DiffMaskTrainingArguments,
        train_dataset: TextFeatures | None = None,
        eval_dataset: TextFeatures | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        callbacks: list[TrainerCallback] | None = None,
    ):
        args.remove_unused_columns = False
        if eval_dataset is None:
            args.eval_strategy, args.load_best_model_at_end = "no", False
        super().__init__(
            model=model,
            args=args,
            data_collator=lambda items: collate(processing_class, items),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=[*(callbacks or []), _MultiplierStep(self)],
        )
        self.model_accepts_loss_kwargs = False
        objective = OBJECTIVES[args.recipe](model.config.num_states, args.margin, args.multiplier_learning_rate)
        self.objective: FastObjective | PaperObjective = objective.to(args.device)
        self.violations = torch.zeros(4, model.config.num_states, device=args.device)
        self.rows: list[StateRow] = []
        self.cache: RecordedCache | None = None

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """
        Trains; see [`~transformers.Trainer.train`].

        Raises:
            DiffMaskError: If the loss is no longer finite. Checkpoints saved before stay as they are.
        """
        self.cache = self._make_cache()
        return super().train(*args, **kwargs)

    def _make_cache(self) -> RecordedCache | None:
        """A cache, where examples are met again: half a data set more than once pays for filling it."""
        lengths = self._lengths()
        met = self.args.max_steps * self._global_batch_size()
        if self.args.max_steps <= 0:
            met = int(self.args.num_train_epochs * len(lengths))
        if self.args.cache_memory <= 0 or met < 1.5 * len(lengths):
            return None
        return RecordedCache(lengths, self.args.cache_memory)

    def _lengths(self) -> list[int]:
        return [len(item["input_ids"]) for item in self.train_dataset.items]

    def _global_batch_size(self) -> int:
        return self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size

    def _get_train_sampler(self, train_dataset: TextFeatures | None = None) -> Sampler:
        return LengthGroupedSampler(self._lengths(), self._global_batch_size(), self.args.seed)

    def _get_eval_sampler(self, eval_dataset: TextFeatures) -> list[int]:
        # Results are sums: any order will do, and that of length needs the least padding.
        return sorted(range(len(eval_dataset)), key=lambda index: len(eval_dataset.items[index]["input_ids"]))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """One optimiser, with a learning rate each for probes, baseline and the multipliers that have a gradient."""
        if self.optimizer is None:
            model = self.model if model is None else model
            baseline = [value for name, value in model.named_parameters() if name.endswith("baseline")]
            probes = [value for name, value in model.named_parameters() if not name.endswith("baseline")]
            groups = [
                {"params": probes, "lr": self.args.learning_rate},
                {"params": baseline, "lr": self.args.baseline_learning_rate},
            ]
            self.optimizer = self.objective.optimizer(groups, self.args)
        return self.optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """
        The Lagrangian of a batch; sums of its violations are kept for the multipliers' update.

        Args:
            model (`nn.Module`): The explainer, as Accelerate has wrapped it.
            inputs (`dict[str, torch.Tensor]`): A batch from [`~hf_diffmask.data.collate`].
            return_outputs (`bool`, *optional*, defaults to `False`): Whether to return the explainer's output, too.

        Returns:
            `torch.Tensor` or a tuple of it and a [`DiffMaskOutput`].
        """
        inputs = dict(inputs)
        example_ids = inputs.pop("example_ids")
        seed, step = self.args.seed, self.state.global_step
        count = self.model.config.num_states
        states = self.objective.draw(seed, step, example_ids)
        recorded = None
        if self.cache is not None:
            features = {name: value for name, value in inputs.items() if name != "special_tokens_mask"}
            recorded = self.cache.record(self.model, example_ids, features)
        noise = gate_noise(seed, step, example_ids, inputs["input_ids"].shape[1], count)
        output = model(**inputs, recorded=recorded, states=states, noise=noise)
        divergence = heads.divergence(output.target, output.masked)
        loss = self.objective.loss(output.log_keep, output.maskable, states, divergence)
        agreement = output.masked.argmax(-1) == output.target.argmax(-1)
        kept = mean_over_units(keep_at(output.log_keep, states).exp(), output.maskable)
        self.violations += violations(states, divergence, agreement, kept, count)
        return (loss, output) if return_outputs else loss

    def check_finite(self) -> None:
        """
        Checks the gradients before they are applied.

        Raises:
            DiffMaskError: If one is not finite.
        """
        if self.accelerator.scaler is not None:
            return  # fp16 looks for infinities itself, and skips such steps
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            raise DiffMaskError(
                f"The loss is not finite at step {self.state.global_step}: training stops, and the checkpoints in "
                f"{self.args.output_dir} stay as they are. Try a lower --learning_rate, or full precision."
            )

    def update_multipliers(self) -> None:
        """Reduces the violations of a step over all processes and updates the multipliers, alike on each."""
        sums = self.accelerator.reduce(self.violations, reduction="sum")
        self.objective.update(sums)
        self.violations = torch.zeros_like(self.violations)

    @torch.no_grad()
    def evaluate(
        self, eval_dataset: TextFeatures | None = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """
        Measures hard masks at every state.

        Args:
            eval_dataset ([`~hf_diffmask.data.TextFeatures`], *optional*): Defaults to the trainer's own.
            ignore_keys (*optional*): Without effect; here for the signature.
            metric_key_prefix (`str`, *optional*, defaults to `"eval"`): Begins the name of each metric.

        Returns:
            `dict[str, float]`: For the last state, and for each state under its name, `kept_share`, `divergence` in
            nats, `agreement` and `within_margin`. `selection` is what checkpoints are compared by, lower is better:
            the share kept where the divergence at the last state is within the margin, else 1 plus the divergence.
            `rows` of the trainer holds the same as a table.
        """
        loader = self.get_eval_dataloader(eval_dataset)
        self.model.eval()
        measured = []
        for batch in loader:
            measured.append(self.accelerator.gather_for_metrics(measure(self.model, self._features(batch))).cpu())
        self.rows = table_of_states(list(self.model.config.state_names), torch.cat(measured))
        last = self.rows[-1]
        met = last.divergence <= self.model.config.margin
        metrics = {f"{metric_key_prefix}_selection": last.kept_share if met else 1 + last.divergence}
        for name, row in [("", last), *((f"{row.state}_", row) for row in self.rows)]:
            for column, value in zip(row._fields[1:], row[1:], strict=True):
                metrics[f"{metric_key_prefix}_{name}{column}"] = value
        self.log({name: value for name, value in metrics.items() if "block" not in name and "embeddings" not in name})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _features(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch of the collator without what only training needs, on the device."""
        return {name: value for name, value in self._prepare_inputs(batch).items() if name != "example_ids"}

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Saves explainer, tokenizer and what resuming needs, all of it as safetensors or JSON."""
        if not self.args.should_save:
            return
        output_dir = output_dir if output_dir is not None else self.args.output_dir
        os.makedirs(output_dir, exist_ok=True)
        self.model.save_pretrained(output_dir, state_dict=state_dict)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(output_dir)
        save_model(self.objective, os.path.join(output_dir, OBJECTIVE_FILE))
        with open(os.path.join(output_dir, ARGUMENTS_FILE), "w") as file:
            json.dump(self.args.settings(), file, indent=2)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        load_model(self.objective, os.path.join(resume_from_checkpoint, OBJECTIVE_FILE), device=str(self.args.device))
