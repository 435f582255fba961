"""Trains an explainer: `transformers.Trainer` with our objective, cache and validation."""

import json
import os
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import TrainOutput, get_last_checkpoint
from transformers.utils import logging

from . import heads, hub
from .baseline import fit_baseline, start_at_mean_states
from .calibration import MOST, calibrate
from .data import Features, LengthGroupedSampler, collate
from .errors import DiffMaskError
from .gates import gate_noise
from .modeling_diffmask import DiffMaskModel
from .objective import PathObjective, mean_over_units, objective_of, violations
from .recorded_cache import RecordedCache
from .training_args import DiffMaskTrainingArguments, recipe_config
from .validation import StateRow, measure, measure_ranking, table_of_states

logger = logging.get_logger(__name__)

OBJECTIVE_FILE = "objective.safetensors"
ARGUMENTS_FILE = "training_args.json"


def check_output_dir(args: DiffMaskTrainingArguments, resume_from_checkpoint: str | bool | None) -> str | None:
    """
    Sees to it that training overwrites nothing unasked.

    Args:
        args ([`DiffMaskTrainingArguments`]): Settings; `output_dir` and `overwrite_output_dir` count.
        resume_from_checkpoint (`str` or `bool`, *optional*): A checkpoint, or whether to go on from the last one.

    Returns:
        `str` or `None`: The checkpoint to resume from.

    Raises:
        DiffMaskError: If the output folder holds something, or no checkpoint where one is to be resumed from.
    """
    folder = str(args.output_dir)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise DiffMaskError(f"{folder} is a file: name a folder with --output_dir.")
    if str(resume_from_checkpoint).lower() == "true":
        checkpoint = get_last_checkpoint(folder) if os.path.isdir(folder) else None
        if checkpoint is None:
            raise DiffMaskError(f"The folder {folder} holds no checkpoint to resume from.")
        return checkpoint
    is_empty = not os.path.isdir(folder) or not os.listdir(folder)
    if resume_from_checkpoint:
        if not os.path.isfile(os.path.join(str(resume_from_checkpoint), OBJECTIVE_FILE)):
            raise DiffMaskError(f"{resume_from_checkpoint} is no checkpoint: name a folder checkpoint-N of a run.")
        if os.path.realpath(os.path.dirname(os.path.abspath(str(resume_from_checkpoint)))) == os.path.realpath(folder):
            return str(resume_from_checkpoint)
        if is_empty or args.overwrite_output_dir:
            return str(resume_from_checkpoint)
    if not is_empty and not args.overwrite_output_dir:
        raise DiffMaskError(
            f"The folder {folder} is not empty: name another with --output_dir, write into it with "
            "--overwrite_output_dir, or go on with --resume_from_checkpoint True."
        )
    return None


def _length(item: dict[str, Any]) -> int:
    return len(item["input_ids"])


class _Steps(TrainerCallback):
    """Keeps sampler and multipliers in step with the optimiser; see [`DiffMaskTrainer`]."""

    def __init__(self, trainer: "DiffMaskTrainer"):
        self.trainer = trainer

    def on_epoch_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        # The data loader's own way down to the sampler is cut where a resumed epoch skips batches.
        self.trainer.sampler.set_epoch(int(state.epoch))

    def on_pre_optimizer_step(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.update_multipliers()

    def on_optimizer_step(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if not isinstance(self.trainer.objective, PathObjective):
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
        train_dataset ([`~hf_diffmask.data.Features`], *optional*): What to train on.
        eval_dataset ([`~hf_diffmask.data.Features`], *optional*): What to choose the best checkpoint with.
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
        train_dataset: Features | None = None,
        eval_dataset: Features | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        callbacks: list[TrainerCallback] | None = None,
    ):
        if processing_class is None or processing_class.pad_token_id is None:
            raise DiffMaskError("The tokenizer has no padding token: set `tokenizer.pad_token` (and save it) first.")
        needed = recipe_config(args.recipe, task=model.config.task)
        for name in ("objective", "path_gradient"):
            if getattr(model.config, name) != needed[name]:
                raise DiffMaskError(
                    f"The recipe {args.recipe!r} trains explainers with {name}={needed[name]}, and this one was made "
                    f"with {getattr(model.config, name)}: make it with DiffMaskModel.from_base_model(..., "
                    f"**recipe_config({args.recipe!r}, {model.config.masking!r}, {model.config.task!r}))."
                )
        if args.recipe == "path" and args.load_best_model_at_end and args.metric_for_best_model != "selection":
            raise DiffMaskError(
                "Of a path only `selection` is known in training: leave --metric_for_best_model out, or add "
                "--load_best_model_at_end False."
            )
        model.config.margin = args.margin
        # Done here, or the Trainer would do it with a warning that means nothing for an explainer.
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            if getattr(processing_class, name) is not None:
                setattr(model.config, name, getattr(processing_class, name))
        args.remove_unused_columns = False
        args.dataloader_pin_memory &= args.device.type != "cpu"
        if eval_dataset is None and args.recipe == "path":
            logger.warning("Without validation inputs a path has no thresholds: its masks will keep everything.")
        if eval_dataset is None:
            args.eval_strategy, args.load_best_model_at_end = "no", False
        super().__init__(
            model=model,
            args=args,
            data_collator=lambda items: collate(processing_class, items),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=[*(callbacks or []), _Steps(self)],
        )
        self.model_accepts_loss_kwargs = False
        self.objective = objective_of(model.config, args).to(args.device)
        self.violations = torch.zeros(4, model.config.num_states, device=args.device)
        self.rows: list[StateRow] = []
        self.cache: RecordedCache | None = None

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """
        Trains; see [`~transformers.Trainer.train`].

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*): A checkpoint, or whether to go on from the last one.
            kwargs: Passed on.

        Raises:
            DiffMaskError: If the output folder holds something else, or the loss is no longer finite; checkpoints
                saved before stay as they are.
        """
        checkpoint = check_output_dir(self.args, resume_from_checkpoint)
        self.cache = self._make_cache()
        if isinstance(self.objective, PathObjective):
            self.model.forget_calibration()  # of an earlier run
        for baseline in self.model.baselines():
            baseline.requires_grad_(True)  # not so where the explainer was trained before
        if checkpoint is None:
            start_at_mean_states(self.model, self.train_dataset, self.data_collator, self.args)
            if self.args.baseline_steps > 0:
                fit_baseline(
                    self.model,
                    self.train_dataset,
                    self.data_collator,
                    self.args,
                    self.accelerator.autocast,
                    self.cache,
                )
        for baseline in self.model.baselines():
            baseline.requires_grad_(self.args.baseline_steps == 0 and not isinstance(self.objective, PathObjective))
        result = super().train(resume_from_checkpoint=checkpoint, **kwargs)
        if isinstance(self.objective, PathObjective):
            if self.eval_dataset is not None:
                self.calibrate()
            return result
        by_last = self.model.config.masks_inputs  # else a mean over states, of which the table shows each
        if by_last and self.state.best_metric is not None and self.state.best_metric > 1:
            logger.warning(
                f"No checkpoint meets the margin of {self.args.margin:g}: the best has a divergence of "
                f"{self.state.best_metric - 1:.3f}. Train for longer with --max_steps, or allow a larger "
                "--margin."
            )
        return result

    def _make_cache(self) -> RecordedCache | None:
        """A cache, where examples are met again: half a data set more than once pays for filling it."""
        lengths = self._lengths()
        met = self.args.max_steps * self._global_batch_size()
        if self.args.max_steps <= 0:
            met = int(self.args.num_train_epochs * len(lengths))
        if self.args.cache_memory <= 0 or met < 1.5 * len(lengths):
            return None
        return RecordedCache(lengths, self.args.cache_memory / max(1, self.args.world_size))

    def _lengths(self) -> list[int]:
        return [len(item["input_ids"]) for item in self.train_dataset.items]

    def _global_batch_size(self) -> int:
        return self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size

    def _get_train_sampler(self, train_dataset: Features | None = None) -> Sampler:
        self.sampler = LengthGroupedSampler(self._lengths(), self._global_batch_size(), self.args.seed)
        return self.sampler

    def _get_eval_sampler(self, eval_dataset: Features) -> list[int]:
        # Results are sums: any order will do, and that of length needs the least padding.
        return sorted(range(len(eval_dataset)), key=lambda index: len(eval_dataset.items[index]["input_ids"]))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """One optimiser, with learning rates of their own for levels, baseline and multipliers."""
        if self.optimizer is None:
            model = self.model if model is None else model
            rates = {
                "baseline": self.args.baseline_learning_rate,
                "hidden_baselines": self.args.baseline_learning_rate,
                "out_bias": self.args.level_learning_rate,
            }
            grouped: dict[float, list[nn.Parameter]] = {}
            for name, value in model.named_parameters():
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
        recorded = None
        if self.cache is not None:
            features = {name: value for name, value in inputs.items() if name != "special_tokens_mask"}
            with self.accelerator.autocast():  # of the wrapped model it covers forward alone
                recorded = self.cache.record(self.model, example_ids, features)
        if isinstance(self.objective, PathObjective):
            states, shares = self.objective.draw(seed, step, example_ids)
            noise = gate_noise(seed, step, example_ids, inputs["attention_mask"], 3)
            output = model(**inputs, recorded=recorded, states=states, noise=noise, shares=shares)
            loss = self.objective.loss(output, states)
            return (loss, output) if return_outputs else loss
        states = self.objective.draw(seed, step, example_ids)
        noise = gate_noise(seed, step, example_ids, inputs["attention_mask"], max(count, 3))
        check = step % self.objective.CHECK_EVERY == 0
        output = model(**inputs, recorded=recorded, states=states, noise=noise, check=check)
        divergence = heads.divergence(output.target, output.masked)
        loss = self.objective.loss(output.logits, output.maskable, states, divergence)
        if check:
            checked = output.masked if output.masked_hard is None else output.masked_hard
            agreement = heads.agreement(output.target, checked)
            keep = output.keep_probability.gather(-1, states[:, None, None].expand(-1, noise.shape[1], 1))[..., 0]
            kept = mean_over_units(keep, output.maskable)
            self.violations += violations(states, heads.divergence(output.target, checked), agreement, kept, count)
        return (loss, output) if return_outputs else loss

    def update_multipliers(self) -> None:
        """
        Reduces the violations of a step over all processes and updates the multipliers, alike on each.

        Raises:
            DiffMaskError: If the violations or, but for fp16, which skips such steps itself, a gradient is not finite.
        """
        sums = self.accelerator.reduce(self.violations, reduction="sum")
        checked = [sums]
        if self.accelerator.scaler is None:
            checked += [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        if not all(bool(values.isfinite().all()) for values in checked):
            raise DiffMaskError(
                f"The loss is not finite at step {self.state.global_step}: training stops, and the checkpoints in "
                f"{self.args.output_dir} stay as they are. Try a lower --learning_rate, or full precision."
            )
        if isinstance(self.objective, PathObjective):
            return
        self.objective.update(sums)
        self.violations = torch.zeros_like(self.violations)

    def calibrate(self) -> None:
        """Measures what the masks of a path cost at many thresholds: every process the same, on validation inputs."""
        self.model.eval()
        items = sorted((self.eval_dataset[k] for k in range(min(MOST, len(self.eval_dataset)))), key=_length)
        size = self.args.eval_batch_size
        batches = [self.data_collator(items[start : start + size]) for start in range(0, len(items), size)]
        with self.accelerator.autocast():
            calibrate(self.model, [self._features(batch) for batch in batches])

    @torch.no_grad()
    def evaluate(
        self, eval_dataset: Features | None = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """
        Measures hard masks at every state.

        Args:
            eval_dataset ([`~hf_diffmask.data.Features`], *optional*): Defaults to the trainer's own.
            ignore_keys (*optional*): Without effect; here for the signature.
            metric_key_prefix (`str`, *optional*, defaults to `"eval"`): Begins the name of each metric.

        Returns:
            `dict[str, float]`: For the last state, and for each state under its name, `kept_share`, `divergence` in
            nats, `agreement` and `within_margin`. `selection` is what checkpoints are compared by, lower is better:
            the share kept where the divergence at the last state is within the margin, else 1 plus the divergence; its
            mean over all states where none of their masks is the one handed out, with hidden masking; of a path, what
            [`~hf_diffmask.validation.measure_ranking`] finds, which is all there is before it is calibrated. `rows`
            of the trainer holds the same as a table.
        """
        loader = self.get_eval_dataloader(eval_dataset)
        self.model.eval()
        of_path = isinstance(self.objective, PathObjective)
        # Before it is calibrated a path has a ranking, and no masks to measure.
        has_masks = not of_path or self.model.is_calibrated
        measured, ranked = [], []
        for batch in loader:
            features = self._features(batch)
            with self.accelerator.autocast():
                if has_masks:
                    measured.append(self.accelerator.gather_for_metrics(measure(self.model, features)).cpu())
                if of_path:
                    ranked.append(self.accelerator.gather_for_metrics(measure_ranking(self.model, features)).cpu())
        metrics, self.rows = {}, []
        if has_masks:
            self.rows = table_of_states(list(self.model.config.state_names), torch.cat(measured))
            last = self.rows[-1]
            for name, row in [("", last), *((f"{row.state}_", row) for row in self.rows)]:
                for column, value in zip(row._fields[1:], row[1:], strict=True):
                    metrics[f"{metric_key_prefix}_{name}{column}"] = value
        if ranked:
            selection = torch.cat(ranked).mean().item()
        else:
            counted = [last] if self.model.config.masks_inputs else self.rows
            shares = [
                row.kept_share if row.divergence <= self.model.config.margin else 1 + row.divergence for row in counted
            ]
            selection = sum(shares) / len(shares)
        metrics = {f"{metric_key_prefix}_selection": selection, **metrics}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """
        Sees to it that the run can be published, before it begins; see [`~transformers.Trainer.init_hf_repo`].

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
        self.hub_model_id = hub.check_writable(name, token or self.args.hub_token, private, self.args.hub_revision)
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
        Saves the explainer and publishes its folder in one commit, see [`~hf_diffmask.hub.push`].

        Args:
            commit_message (`str`, *optional*, defaults to `"End of training"`): Of the commit.
            blocking (`bool`, *optional*, defaults to `True`): Without effect; here for the signature.
            token (`str`, *optional*): By default the settings' `hub_token`.
            revision (`str`, *optional*): Branch; by default the settings' `hub_revision`.
            private (`bool`, *optional*): Whether a repo that is made is private.
            kwargs: Passed on, such as `with_base_model`.

        Returns:
            `str` or `None`: Address of the commit, in the main process.

        Raises:
            DiffMaskError: If the Hub refuses or cannot be reached; the explainer is saved by then.
        """
        if getattr(self, "hub_model_id", None) is None:
            self.init_hf_repo(token, private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        folder, repo = str(self.args.output_dir), str(self.hub_model_id)
        try:
            return hub.push(
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
        """Publishes a checkpoint, where that was asked for; training goes on where it fails."""
        strategy = getattr(self.args.hub_strategy, "value", self.args.hub_strategy)
        if not self.is_world_process_zero() or strategy != "checkpoint":
            return
        try:
            hub.push_checkpoint(checkpoint_folder, self.hub_model_id, self.args.hub_revision, self.args.hub_token)
        except DiffMaskError as error:
            logger.warning(f"{checkpoint_folder} is not on the Hub: {error}")

    def end_training(self) -> None:
        """
        Ends the process group of a launched run, and waits for its threads. The last call of a process: one whose
        threads live on at exit can abort there, after all is saved.
        """
        group = torch.distributed.group.WORLD if torch.distributed.is_initialized() else None
        # A backend waits for its threads as it is dropped, and they may wait for the interpreter's lock meanwhile:
        # only its own Python object, which is dropped without the lock, may be the last to hold it.
        backend = None if group is None else group._get_backend(self.args.device)
        del group
        self.accelerator.end_training()
        self.model_wrapped = self.model
        self.accelerator.free_memory()
        del backend

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
            json.dump(self.args.settings(self.model.config), file, indent=2)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        load_model(self.objective, os.path.join(resume_from_checkpoint, OBJECTIVE_FILE), device=str(self.args.device))
