"""Settings of a training run."""

import os
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.utils import is_torch_xla_available

from ..errors import DiffMaskError
from ..explainer.configuration_diffmask import DiffMaskConfig
from .recipes.registry import DEFAULT_RECIPE, RECIPES, recipe_config, recipe_of

HUB_STRATEGIES = ("end", "checkpoint")


@dataclass
class DiffMaskTrainingArguments(TrainingArguments):
    """
    Settings of a run: [`~transformers.TrainingArguments`] with defaults and additional options for explainers.

    Args:
        recipe (`str`, *optional*, defaults to `"ablation"`):
            `"ablation"` fits evidence to the base model's outputs under random masks. `"paper"` trains masks for one
            margin, as the authors did. The recipe also sets defaults of `max_steps`, learning rates, schedule and
            other settings.
        margin (`float`, *optional*, defaults to `0.1`):
            The largest cost of a mask, see [`DiffMaskConfig`] (paper, equation 4).
        level_learning_rate (`float`, *optional*):
            Learning rate for the levels `c_l`; a level shifts all gates of a state.
        baseline_steps (`int`, *optional*):
            Steps that train the baseline on random masks, before the probes; then it is fixed. With 0, `paper`
            trains it together with the probes, as in the paper, and `ablation` keeps its initial value.
        baseline_learning_rate (`float`, *optional*): Learning rate for the baseline.
        multiplier_learning_rate (`float`, *optional*): Step size of the multipliers.
        cache_memory (`float`, *optional*, defaults to `4.0`):
            GiB of hidden states to keep in memory. A larger cache goes to disk. 0 turns the cache off.
        masks (`int`, *optional*, defaults to `16`):
            For `ablation`: random masks for each input, a mask and its complement in turn.
        ablations (`str`, *optional*):
            For `ablation`: a folder of ablations of the training inputs, from `hf-diffmask ablate` or from a run with
            the same inputs. By default training makes them in `output_dir`.
        overwrite_output_dir (`bool`, *optional*, defaults to `False`):
            Whether to write into a folder that is not empty.

    Raises:
        DiffMaskError: If the margin is not above 0, `baseline_steps` is negative, `recipe` or `hub_strategy` is
            unknown, `recipe` has been retired, or `ablations` are given to a recipe that does not use them.
    """

    recipe: str = field(
        default=DEFAULT_RECIPE,
        metadata={"help": "ablation: evidence and masks for any margin. paper: a set of tokens for one margin."},
    )
    margin: float = field(default=0.1, metadata={"help": "Largest cost of a mask: nats, or a drop in probability."})
    cache_memory: float = field(
        default=4.0, metadata={"help": "GiB of hidden states in memory; the rest goes to disk. 0: no cache."}
    )
    masks: int = field(default=16, metadata={"help": "With --recipe ablation: random masks for each input."})
    ablations: str | None = field(
        default=None,
        metadata={
            "help": "With --recipe ablation: a folder of ablations of the same inputs. Default: training makes them."
        },
    )
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Write into a folder that is not empty."})

    # None until __post_init__ fills in the recipe's value.
    max_steps: int = field(default=None, metadata={"help": "Training steps. Default: the recipe's."})  # type: ignore
    num_train_epochs: float = field(default=None, metadata={"help": "Epochs, instead of --max_steps."})  # type: ignore
    learning_rate: float = field(default=None, metadata={"help": "For the probes. Default: the recipe's."})  # type: ignore
    level_learning_rate: float = field(default=None, metadata={"help": "For the levels. Default: the recipe's."})  # type: ignore
    baseline_steps: int = field(default=None, metadata={"help": "Steps for the baseline. Default: the recipe's."})  # type: ignore
    baseline_learning_rate: float = field(default=None, metadata={"help": "Default: the recipe's."})  # type: ignore
    multiplier_learning_rate: float = field(default=None, metadata={"help": "Default: the recipe's."})  # type: ignore
    warmup_steps: float = field(default=None, metadata={"help": "Default: the recipe's."})  # type: ignore
    lr_scheduler_type: str = field(default=None, metadata={"help": "Default: the recipe's."})  # type: ignore
    per_device_train_batch_size: int = field(default=None, metadata={"help": "Default: the recipe's."})  # type: ignore
    weight_decay: float = field(default=None, metadata={"help": "Default: the recipe's."})  # type: ignore
    max_grad_norm: float = field(default=None, metadata={"help": "Default: the recipe's."})  # type: ignore
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Validation inputs per batch and device."})
    eval_strategy: str = field(default="steps", metadata={"help": "When to validate: no, steps or epoch."})
    eval_steps: float | None = field(default=0.2, metadata={"help": "Steps between validations, or a share of all."})
    eval_delay: float = field(default=None, metadata={"help": "First validation at this step. Default: half of all."})  # type: ignore
    save_strategy: str = field(default="steps", metadata={"help": "When to save: no, steps or epoch."})
    save_steps: float = field(default=0.2, metadata={"help": "Steps between checkpoints, or a share of all."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints to keep, with the best."})
    logging_steps: float = field(default=50, metadata={"help": "Steps between log lines."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the best checkpoint."})
    metric_for_best_model: str | None = field(default="selection", metadata={"help": "See DiffMaskTrainer.evaluate."})
    greater_is_better: bool | None = field(default=False, metadata={"help": "For metric_for_best_model."})
    hub_strategy: str = field(
        default="end",
        metadata={"help": "With --push_to_hub. end: push at the end. checkpoint: also push checkpoints."},
    )

    def __post_init__(self):
        recipe = recipe_of(self.recipe)
        if not self.margin > 0:
            raise DiffMaskError(f"The margin must be greater than 0, but is {self.margin}.")
        if self.num_train_epochs is not None and self.max_steps is None:
            self.max_steps = -1
        for name, value in recipe.settings.items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        if self.ablations is not None and not recipe.takes_ablations:
            raise DiffMaskError(f"The recipe {self.recipe!r} learns from no ablations: leave --ablations out.")
        if self.baseline_steps < 0:
            raise DiffMaskError(f"--baseline_steps must be 0 or more, but is {self.baseline_steps}.")
        if self.eval_delay is None:
            # Early on, multipliers still oscillate, and a checkpoint that masks too much could look best.
            self.eval_delay = max(0, self.max_steps // 2) if self.eval_strategy == "steps" else 0
        if str(getattr(self.hub_strategy, "value", self.hub_strategy)) not in HUB_STRATEGIES:
            raise DiffMaskError(
                f"--hub_strategy must be {' or '.join(HUB_STRATEGIES)}, but is {self.hub_strategy!r}: before training "
                "ends there is no explainer to publish."
            )
        # Accelerate joins launched processes on CPU only if it is told to use the CPU.
        is_launched = "LOCAL_RANK" in os.environ or "WORLD_SIZE" in os.environ
        if is_launched and not torch.accelerator.is_available() and not is_torch_xla_available():
            self.use_cpu = True
        super().__post_init__()
        # One device per process: nn.DataParallel would leave the base model on the first device.
        self._n_gpu = min(self.n_gpu, 1)

    def settings(self, config: DiffMaskConfig) -> dict[str, Any]:
        """
        Settings that reproduce a run, without file paths and access tokens.

        Args:
            config ([`DiffMaskConfig`]): The explainer's config.

        Returns:
            `dict`
        """
        recipe = RECIPES[self.recipe]
        names = ["recipe", "margin", *recipe.settings, "seed", "bf16", "fp16"]
        names.remove("num_train_epochs" if self.max_steps > 0 else "max_steps")
        names += recipe.own_settings
        return {
            **{name: getattr(value := getattr(self, name), "value", value) for name in names},
            **{name: getattr(config, name) for name in recipe_config(self.recipe, task=config.task)},
            "global_batch_size": self.train_batch_size * self.gradient_accumulation_steps * self.world_size,
        }
