"""`hf-diffmask ablate`."""

import sys
from dataclasses import dataclass, field
from typing import Any

from transformers.utils import logging

from ..base.units import UNITS
from ..errors import DiffMaskError
from ..explainer.guest import load_base, load_tokenizer
from ..explainer.modeling_diffmask import DiffMaskModel
from ..tasks.registry import task_of
from ..training.ablating import ablate
from ..training.ablation_cost import cost_of_ablations
from ..training.arguments import DiffMaskTrainingArguments
from ..training.interruption import speaks_for_all
from ..training.processes import end_processes
from ..training.recipes.ablation import AblationRecipe
from ..training.recipes.registry import RECIPES, recipe_config
from .arguments import parse, parser_of
from .inputs import DatasetArguments, training_and_validation

DESCRIPTION = """Runs random masks of a data set once, and keeps what the base model says under each. Training learns
from these ablations in seconds.

  hf-diffmask ablate --base_model ./my-classifier --dataset traffic.csv --output_dir my-ablations
  hf-diffmask ablate --base_model ./my-classifier --dataset traffic.csv --output_dir my-ablations --dry_run
  hf-diffmask train --recipe ablation --ablations my-ablations --base_model ./my-classifier --dataset traffic.csv \\
    --output_dir my-explainer

Give train the same data, --max_samples and --seed: both set the same inputs aside for validation.

Several processes: torchrun --nproc_per_node 2 -m hf_diffmask.cli ablate ...
Several GPUs: accelerate launch --multi_gpu --num_processes 4 -m hf_diffmask.cli ablate ...
After Ctrl-C, SIGTERM or a crash, the same command goes on. Texts are not stored."""


@dataclass(kw_only=True)
class AblateArguments(DatasetArguments):
    """What to ablate, and how."""

    base_model: str = field(metadata={"help": "Model to explain: a folder or an id on the Hub."})
    dataset: str = field(
        metadata={
            "help": "csv, tsv, txt, json, jsonl or parquet file (.gz allowed), or a data set id. For question "
            "answering also a file in SQuAD format."
        }
    )
    output_dir: str = field(metadata={"help": "Folder of the ablations: new, or one to go on with."})
    validation_dataset: str | None = field(
        default=None,
        metadata={"help": "As for train: file or data set id for validation. Default: a part of --dataset."},
    )
    validation_split: str = field(default="validation", metadata={"help": "Split of --validation_dataset on the Hub."})
    masks: int = field(default=16, metadata={"help": "Masks for each input, an even number."})
    unit: str = field(
        default="token",
        metadata={"help": "What masks leave out together, as for train.", "choices": list(UNITS)},
    )
    seed: int = field(default=42, metadata={"help": "Seed of masks and baseline."})
    max_samples: int | None = field(default=None, metadata={"help": "Only the first N inputs."})
    baseline_steps: int | None = field(
        default=None, metadata={"help": "Steps that learn the baseline. Default: as in training."}
    )
    baseline_learning_rate: float | None = field(default=None, metadata={"help": "Default: as in training."})
    batch_size: int = field(default=64, metadata={"help": "Inputs in one forward pass."})
    base_model_revision: str | None = field(default=None, metadata={"help": "Revision of the base model on the Hub."})
    dtype: str = field(
        default="float32",
        metadata={
            "help": "Precision of the base model's weights. auto: that of its files.",
            "choices": ["float32", "bfloat16", "float16", "auto"],
        },
    )
    use_cpu: bool = field(default=False, metadata={"help": "Use no GPU."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bars."})
    dry_run: bool = field(default=False, metadata={"help": "Only say passes, minutes and bytes; write nothing."})


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask ablate`.

    Raises:
        DiffMaskError: If a setting, the base model, the data set or the folder cannot be used.
        Interrupted: After Ctrl-C or SIGTERM.
        SystemExit: In the place of both, if another process of the run has said why the run ends.
    """
    try:
        _ablate(arguments)
    except (DiffMaskError, KeyboardInterrupt) as error:
        if speaks_for_all():
            raise
        sys.exit(getattr(error, "status", 2))


def _ablate(arguments: list[str]) -> None:
    (options,) = parse(parser_of(AblateArguments, "ablate", DESCRIPTION), arguments)
    if options.batch_size < 1:
        raise DiffMaskError(f"--batch_size must be at least 1, but is {options.batch_size}.")
    args = _settings(options)
    base_model, revision = load_base(
        options.base_model, options.base_model_revision, options.dtype, options.trust_remote_code
    )
    tokenizer = load_tokenizer(options.base_model, revision, options.trust_remote_code)
    most = RECIPES[args.recipe].validation_inputs
    texts, validation = training_and_validation(options, task_of(base_model)(), options.seed, most)
    base_model.to(args.device)
    logging.disable_progress_bar()
    config = recipe_config(args.recipe, task=task_of(base_model).name, unit=options.unit)
    explainer = DiffMaskModel.from_base_model(base_model, tokenizer, base_model_revision=revision, **config).eval()
    if options.dry_run:
        found = cost_of_ablations(explainer, tokenizer, texts, args, len(validation))
        said = (
            f"{found.passes:,} forward passes of one input, about {_minutes(found.minutes)} and "
            f"{_size(found.bytes)}, for {options.masks} masks of {found.inputs:,} inputs; nothing is written."
        )
    else:
        made = ablate(explainer, tokenizer, texts, args, validation)
        said = (
            f"{made.masks_per_input} masks of {len(made):,} inputs are in {args.output_dir}; left-out tokens: "
            f"{', '.join(made.replacements)}."
        )
    if args.process_index == 0:
        print(said)
    end_processes(args.distributed_state, args.device)


def _settings(options: AblateArguments) -> DiffMaskTrainingArguments:
    given: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("baseline_steps", "baseline_learning_rate")
        if getattr(options, name) is not None
    }
    return DiffMaskTrainingArguments(
        output_dir=options.output_dir, seed=options.seed, use_cpu=options.use_cpu, report_to="none",
        masks=options.masks, recipe=AblationRecipe.name,
        per_device_eval_batch_size=options.batch_size, disable_tqdm=options.disable_tqdm, **given,
    )  # fmt: skip


def _minutes(minutes: float) -> str:
    return f"{minutes:.0f} minutes" if minutes >= 9.5 else f"{minutes:.1f} minutes"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
