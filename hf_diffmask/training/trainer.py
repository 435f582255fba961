"""`transformers.Trainer` for explainers: with a recipe's objective, a cache and validation."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_utils import TrainOutput
from transformers.utils import logging

from ..base.gradients import check_gradients
from ..base.running import Batch
from ..data.encoding import check_vocabulary
from ..data.features import Features, Selected, collate
from ..data.sampling import LengthGroupedSampler
from ..errors import DiffMaskError
from ..explainer.inputs import check_items
from ..explainer.modeling_diffmask import DiffMaskModel
from .arguments import DiffMaskTrainingArguments
from .baseline import learn_baseline
from .cache import RecordedCache
from .checkpoints import load_baselines, sole_run
from .clock import timed
from .constants import measure_constants
from .interruption import Interruption
from .processes import held_backend
from .recipes.calibration import MOST
from .recipes.recipe import TrainingData
from .recipes.registry import RECIPES
from .resuming import check_output_dir
from .saving import SavingTrainer
from .steps import Steps
from .validation import StateRow, measure, table_of_states

logger = logging.get_logger(__name__)


class DiffMaskTrainer(SavingTrainer):
    """
    Trains the probes and the baseline of an explainer; no labels are needed.

    A [`~transformers.Trainer`]: `accelerate launch`, mixed precision, accumulation, checkpoints, resuming, trackers
    and callbacks work as usual. What is drawn depends only on (seed, step, example), and multipliers get one update,
    from sums over processes. So the split of a batch over processes changes nothing.

    Args:
        model ([`DiffMaskModel`]): The explainer, holding its base model.
        args ([`DiffMaskTrainingArguments`]): Settings.
        train_dataset ([`~hf_diffmask.data.features.Features`], *optional*): Training inputs.
        eval_dataset ([`~hf_diffmask.data.features.Features`], *optional*): Inputs to select the best checkpoint.
        processing_class ([`~transformers.PreTrainedTokenizerBase`], *optional*): Saved with the explainer.
        callbacks (`list[TrainerCallback]`, *optional*): Passed to [`~transformers.Trainer`].
    """

    optimizer: Any
    control: Any

    def __init__(
        self,
        model: DiffMaskModel,
        args: DiffMaskTrainingArguments,
        train_dataset: Features | None = None,
        eval_dataset: Features | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        callbacks: list[TrainerCallback] | None = None,
    ):
        if processing_class is None or processing_class.pad_token_id is None:
            raise DiffMaskError("The tokenizer has no padding token: set `tokenizer.pad_token` (and save it) first.")
        recipe, config = RECIPES[args.recipe], model.config
        check_vocabulary(processing_class, config.vocab_size)
        for name, needed in ((name, recipe.fields[name]) for name in recipe.relied_on):
            if getattr(config, name) != needed:
                raise DiffMaskError(
                    f"The recipe {args.recipe!r} trains explainers with {name}={needed}, and this one was made "
                    f"with {getattr(config, name)}: make it with DiffMaskModel.from_base_model(..., "
                    f"**recipe_config({args.recipe!r}, {config.masking!r}, {config.task!r}))."
                )
        recipe.check(args, eval_dataset is not None)
        recipe.complete(args, len(train_dataset or ()))
        if recipe.needs_gradients:
            check_gradients(model.base, config.state_names[0])
        config.margin = args.margin
        # Otherwise the Trainer sets these, with a warning that does not apply to explainers.
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if getattr(processing_class, name) is not None:
                setattr(config, name, getattr(processing_class, name))
        args.remove_unused_columns = False
        args.dataloader_pin_memory &= args.device.type != "cpu"
        if eval_dataset is None:
            args.eval_strategy, args.load_best_model_at_end = "no", False
        super().__init__(
            model=model,
            args=args,
            data_collator=lambda items: collate(processing_class, items),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=[*(callbacks or []), Steps(self)],
        )
        check_items(model.task, [data.items for data in (train_dataset, eval_dataset) if data is not None])
        self.model_accepts_loss_kwargs = False
        self.objective = recipe.objective(config, args).to(args.device)
        self.rows: list[StateRow] = []
        self.minutes: dict[str, float] = {}
        self.cache: RecordedCache | None = None
        self.interruption = Interruption(args)
        self._losses = torch.zeros((), device=args.device)  # sum over the micro-batches of a step

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """
        Trains; see [`~transformers.Trainer.train`].

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*): A checkpoint, or `True` for the last one.
            kwargs: Passed to [`~transformers.Trainer.train`].

        Raises:
            DiffMaskError: If the output folder is not empty, another run writes into it, the loss is not finite, or
                another process has died. Saved checkpoints stay unchanged.
            Interrupted: After Ctrl-C or SIGTERM, when a checkpoint is saved; a `KeyboardInterrupt`.
        """
        with ExitStack() as stack:
            stack.enter_context(self.interruption.watched())
            if self.args.should_save:
                stack.enter_context(sole_run(str(self.args.output_dir)))
            return self._train(check_output_dir(self.args, resume_from_checkpoint), **kwargs)

    def _train(self, checkpoint: str | None, **kwargs: Any) -> TrainOutput:
        self._check_batch()
        self.interruption.begin(checkpoint)
        self.cache = self._make_cache()
        self.objective.begin(self.model)
        given = (self.model, self.train_dataset, self.data_collator, self.args)
        measure_constants(*given)
        for baseline in self.model.baselines():
            baseline.requires_grad_(True)  # False if the explainer was trained before
        if checkpoint is not None:
            load_baselines(checkpoint, self.model)
        elif not self.objective.brings_baseline(self.model, self.args):
            with timed(self.minutes, "baseline"):
                learn_baseline(*given, self.accelerator.autocast, self.cache)
        for baseline in self.model.baselines():
            baseline.requires_grad_(self.objective.learns_baseline(self.args))
        with timed(self.minutes, "preparation"):
            self.objective.prepare(self.model, self._training_data())
        with timed(self.minutes, "fit"):
            result = super().train(resume_from_checkpoint=checkpoint, **kwargs)
        self.model.eval()
        with self.accelerator.autocast(), timed(self.minutes, "calibration"):
            batches = None if self.eval_dataset is None else self._calibration_batches
            self.objective.finish(self.model, batches, self.state.best_metric)
        return result

    def _training_data(self) -> TrainingData:
        def some(most: int) -> Iterator[Batch]:
            order = torch.randperm(len(self.train_dataset), generator=torch.Generator().manual_seed(self.args.seed))
            numbers = sorted(order[:most].tolist(), key=self.train_dataset.lengths.__getitem__)
            for part in torch.tensor(numbers).split(self.args.eval_batch_size):
                yield self._batch(self.train_dataset, part.tolist())

        return TrainingData(
            self.train_dataset, self.eval_dataset, self.processing_class, self.args, self.accelerator.autocast,
            self.accelerator, some,
        )  # fmt: skip

    def _check_batch(self) -> None:
        """Refuses a data set that is smaller than a batch in several parts: the parts would have unequal weights."""
        count, size, each = len(self.train_dataset), self._global_batch_size(), self.args.train_batch_size
        if count < size and size > each:
            parts = f"{self.args.world_size} processes x {self.args.gradient_accumulation_steps} accumulated batches"
            raise DiffMaskError(
                f"A step takes {size} inputs ({parts} x {each}), and the data set has {count}: lower "
                "--per_device_train_batch_size or --gradient_accumulation_steps."
            )

    def _make_cache(self) -> RecordedCache | None:
        """A cache if the run has at least 1.5 epochs, enough to pay for filling the cache."""
        lengths = self.train_dataset.lengths
        met = self.args.max_steps * self._global_batch_size()
        if self.args.max_steps <= 0:
            met = int(self.args.num_train_epochs * len(lengths))
        if self.args.cache_memory <= 0 or met < 1.5 * len(lengths):
            return None
        limit = self.args.cache_memory / max(1, self.args.world_size)
        return RecordedCache(
            lengths, limit, lambda ids: self._batch(self.train_dataset, ids), self.args.eval_batch_size
        )

    def _batch(self, dataset: Features, ids: list[int]) -> Batch:
        """A batch of examples of a data set, on the device."""
        return self.model.batch(**self._prepare_inputs(self.data_collator([dataset[k] for k in ids])))

    def _global_batch_size(self) -> int:
        return self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size

    def _get_train_sampler(self, train_dataset: Features | None = None) -> Sampler:
        self.sampler = LengthGroupedSampler(self.train_dataset.lengths, self._global_batch_size(), self.args.seed)
        return self.sampler

    def get_eval_dataloader(self, eval_dataset: Features | None = None) -> Any:
        """See [`~transformers.Trainer`]: the inputs that are measured, in the order of their lengths."""
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        use = "report" if self.model.masks.is_calibrated else "select"
        numbers = self.validation_numbers(use) if data is self.eval_dataset else range(len(data))
        return super().get_eval_dataloader(Selected(data, numbers))

    def validation_numbers(self, use: str, most: int | None = None) -> list[int]:
        """
        Numbers of the validation inputs for one use; all, if a use would have none.

        Args:
            use (`str`): See [`Objective.part`].
            most (`int`, *optional*): Largest number of inputs.

        Returns:
            `list[int]`: In the order of their lengths.
        """
        lengths = self.eval_dataset.lengths
        picked = self.objective.part(torch.arange(len(lengths)), use).nonzero()[:, 0].tolist()
        return sorted(picked or range(len(lengths)), key=lengths.__getitem__)[:most]

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """One optimiser for probes, levels and baseline, with separate learning rates."""
        if self.optimizer is None:
            rates = {
                "baseline": self.args.baseline_learning_rate,
                "hidden_baselines": self.args.baseline_learning_rate,
                "out_bias": self.args.level_learning_rate,
            }
            grouped: dict[float, list[nn.Parameter]] = {}
            for name, value in (model or self.model).named_parameters():
                if value.requires_grad:
                    rate = rates.get(name.rpartition(".")[-1], self.args.learning_rate)
                    grouped.setdefault(rate, []).append(value)
            groups = [{"params": values, "lr": rate} for rate, values in grouped.items()]
            self.optimizer = self.objective.optimizer(groups, self.args)
        return self.optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """
        The loss of a batch, see [`Objective.step_loss`].

        Args:
            model (`nn.Module`): The explainer, wrapped by Accelerate.
            inputs (`dict[str, torch.Tensor]`): A batch from [`~hf_diffmask.data.features.collate`].
            return_outputs (`bool`, *optional*, defaults to `False`): Whether to also return the explainer's output.

        Returns:
            `torch.Tensor`, or a tuple of this tensor and a [`DiffMaskOutput`].
        """
        batch = self.model.batch(**inputs)
        with self.accelerator.autocast():  # the wrapped model's autocast covers only `forward`
            recorded = self.model.record(batch) if self.cache is None else self.cache.record(self.model, batch)
        drawn = self.objective.drawn(self.args.seed, self.state.global_step, batch)
        output = model(recorded=recorded, draw=drawn)
        loss = self.objective.step_loss(self.model, output, drawn)
        self._losses += loss.detach()
        return (loss, output) if return_outputs else loss

    def update_objective(self) -> None:
        """
        Updates the objective from a step, with sums over all processes; the update is the same on each process. Tells
        all processes of a signal that one has received.

        Raises:
            DiffMaskError: If the loss, these sums or a gradient are not finite. With fp16 gradients are not checked,
                because the scaler skips such steps. All processes find the same.
        """
        known = torch.stack([self._losses, self._losses.new_tensor(self.interruption.signal)])
        losses, signals = self.accelerator.gather(known).view(-1, 2).unbind(-1)
        self._losses = torch.zeros_like(self._losses)
        self.interruption.agreed = int(signals.max())
        checked = [losses, *self.objective.before_step(lambda sums: self.accelerator.reduce(sums, reduction="sum"))]
        if self.accelerator.scaler is None:
            checked += [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        if not all(bool(values.isfinite().all()) for values in checked):
            raise DiffMaskError(
                f"The loss is not finite at step {self.state.global_step}: training stops, and the checkpoints in "
                f"{self.args.output_dir} stay as they are. Try a lower --learning_rate, or full precision."
            )

    def _calibration_batches(self) -> list[Batch]:
        """Batches of validation inputs, sorted by length, the same on every process."""
        numbers = torch.tensor(self.validation_numbers("calibrate", MOST)).split(self.args.eval_batch_size)
        return [self._batch(self.eval_dataset, part.tolist()) for part in numbers]

    @torch.no_grad()
    def evaluate(
        self, eval_dataset: Features | None = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """
        Measures hard masks at every state.

        Args:
            eval_dataset ([`Features`], *optional*): Another data set; by default the reported validation inputs.
            ignore_keys (*optional*): No effect; part of the `Trainer` interface.
            metric_key_prefix (`str`, *optional*, defaults to `"eval"`): Prefix of each metric's name.

        Returns:
            `dict[str, float]`:
                - **kept_share**, **divergence** (in [`Task.measured_in`]), **agreement**, **within_margin** -- for the
                  last state, and for each state with its name as prefix; see [`StateRow`]. The recipe `ablation` has
                  these only after calibration. `rows` of the trainer holds the same figures as a table.
                - **selection** -- selects the best checkpoint; lower is better. For the recipe `ablation`, 1 minus
                  `r2`. For `paper`, the kept share if the divergence at the last state is within the margin, else 1
                  plus the divergence; with hidden masking the mean over all states.
                - **r2** -- for the recipe `ablation`: the share of the variance of log-odds over masks that the
                  evidence explains; for each state with its name as prefix.
        """
        self.model.eval()
        gather = self.accelerator.gather_for_metrics
        measured, ranked = [], []
        is_own = eval_dataset in (None, self.eval_dataset) or not self.objective.needs_labels
        for inputs in self.get_eval_dataloader(eval_dataset):
            with self.accelerator.autocast():
                recorded = self.model.record(self.model.batch(**self._prepare_inputs(inputs)))
                if self.model.masks.is_calibrated:
                    measured.append(gather(measure(self.model, recorded)).cpu())
                if is_own and (scores := self.objective.ranked(self.model, recorded)) is not None:
                    ranked.append(gather(scores).cpu())
        metrics, self.rows = {}, []
        if measured:
            self.rows = table_of_states(self.model.config.columns, torch.cat(measured))
            for name, row in [("", self.rows[-1]), *((f"{row.state}_", row) for row in self.rows)]:
                for column, value in zip(row._fields[1:], row[1:], strict=True):
                    metrics[f"{metric_key_prefix}_{name}{column}"] = value
        judged = torch.cat(ranked) if ranked else None
        for name, value in self.objective.figures(judged, self.model.config).items():
            metrics[f"{metric_key_prefix}_{name}"] = value
        selection = self.objective.selection(judged, self.rows, self.model.config)
        if selection is not None:
            metrics = {f"{metric_key_prefix}_selection": selection, **metrics}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def end_training(self) -> None:
        """
        Ends the process group of a launched run, and waits for its threads. Call it last; see
        [`~hf_diffmask.training.processes.held_backend`].
        """
        with held_backend(self.args.device):
            self.accelerator.end_training()
            self.model_wrapped = self.model
            self.accelerator.free_memory()
