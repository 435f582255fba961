"""`hf-diffmask train`."""

import sys
from dataclasses import dataclass, field

from transformers import set_seed
from transformers.utils import logging

from ..base.units import UNITS
from ..data.writing import check_folder
from ..errors import DiffMaskError
from ..explainer.guest import load_base, load_tokenizer
from ..explainer.modeling_diffmask import DiffMaskModel
from ..hub.training_results import add_training_results
from ..tasks.registry import task_of
from ..training.arguments import DiffMaskTrainingArguments
from ..training.interruption import speaks_for_all
from ..training.recipes.registry import RECIPES, recipe_config
from ..training.run import train
from ..training.validation import format_table
from .arguments import parse, parser_of
from .inputs import DatasetArguments, training_and_validation
from .saving import saving

DESCRIPTION = """Trains an explainer for a frozen classifier or question-answering model. Labels are not needed.

  hf-diffmask train --base_model ./my-classifier --dataset traffic.csv --text_column text --output_dir my-explainer
  hf-diffmask train --base_model ./my-qa-model --dataset squad.json --margin 1 --output_dir my-explainer

  hf-diffmask train --base_model org/classifier --dataset org/traffic --output_dir my-explainer \\
    --push_to_hub --hub_model_id org/my-explainer

Several GPUs: accelerate launch --multi_gpu --num_processes 4 -m hf_diffmask.cli train ...
Several processes without a GPU: torchrun --nproc_per_node 2 -m hf_diffmask.cli train ...
Ctrl-C and SIGTERM save a checkpoint; --resume_from_checkpoint True goes on from the last one.
All options of transformers.TrainingArguments work; the defaults are those of our benchmark."""


@dataclass(kw_only=True)
class DataArguments(DatasetArguments):
    """What to explain and what to train on."""

    base_model: str = field(metadata={"help": "Model to explain: a folder or an id on the Hub."})
    dataset: str = field(
        metadata={
            "help": "csv, tsv, txt, json, jsonl or parquet file (.gz allowed), or a data set id. For question "
            "answering also a file in SQuAD format."
        }
    )
    validation_dataset: str | None = field(
        default=None,
        metadata={"help": "File or data set id for choosing the best checkpoint. Default: a part of --dataset."},
    )
    validation_split: str = field(default="validation", metadata={"help": "Split of --validation_dataset on the Hub."})
    max_samples: int | None = field(default=None, metadata={"help": "Train only on the first N inputs."})
    masking: str = field(
        default="input",
        metadata={
            "help": "Where tokens are masked. input: at the embeddings. hidden (only with --recipe paper): at each "
            "state separately; the mask shows the tokens that the state still needs.",
            "choices": ["input", "hidden"],
        },
    )
    target: str | None = field(
        default=None,
        metadata={
            "help": "With --recipe ablation, what explanations preserve. prediction: the predicted class (default for "
            "classifiers). distribution: the whole output (default for other models).",
            "choices": ["prediction", "distribution"],
        },
    )
    unit: str = field(
        default="token",
        metadata={
            "help": "With --recipe ablation, what is masked together: evidence and masks are for these units.",
            "choices": list(UNITS),
        },
    )
    base_model_revision: str | None = field(default=None, metadata={"help": "Revision of the base model on the Hub."})
    dtype: str = field(
        default="float32",
        metadata={
            "help": "Precision of the base model's weights. auto: that of its files.",
            "choices": ["float32", "bfloat16", "float16", "auto"],
        },
    )
    with_base_model: bool = field(
        default=False, metadata={"help": "With --push_to_hub: also push a local base model."}
    )


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask train`.

    Raises:
        DiffMaskError: If a setting, the base model or the data set cannot be used, or training fails.
        Interrupted: After Ctrl-C or SIGTERM.
        SystemExit: In the place of both, if another process of the run has said why the run ends.
    """
    try:
        _train(arguments)
    except (DiffMaskError, KeyboardInterrupt) as error:
        if speaks_for_all():
            raise
        sys.exit(getattr(error, "status", 2))


def _train(arguments: list[str]) -> None:
    parser = parser_of((DataArguments, DiffMaskTrainingArguments), "train", DESCRIPTION)
    data, args = parse(parser, arguments)
    check_folder(str(args.output_dir))
    base_model, data.base_model_revision = load_base(
        data.base_model, data.base_model_revision, data.dtype, data.trust_remote_code
    )
    tokenizer = load_tokenizer(data.base_model, data.base_model_revision, data.trust_remote_code)
    task = task_of(base_model)()
    texts, validation = training_and_validation(data, task, args.seed, RECIPES[args.recipe].validation_inputs)
    set_seed(args.seed)
    base_model.to(args.device)
    config = recipe_config(args.recipe, data.masking, task.name, data.target, data.unit)
    explainer = DiffMaskModel.from_base_model(
        base_model, tokenizer, margin=args.margin, base_model_revision=data.base_model_revision, **config
    )
    logging.disable_progress_bar()
    with saving(str(args.output_dir), "then go on with --resume_from_checkpoint True"):
        trainer, training = train(explainer, tokenizer, texts, validation, args, data.dataset)
        if trainer.is_world_process_zero():
            with trainer.interruption.watched():  # a signal says how to go on here as well
                add_training_results(str(args.output_dir), explainer, tokenizer, training, trainer.rows)
    if args.push_to_hub:
        trainer.push_to_hub(with_base_model=data.with_base_model)
    if trainer.is_world_process_zero():
        print(f"\nHard masks on {training['reported_inputs']} validation inputs:\n{format_table(trainer.rows)}")
        print(f'\nThe explainer is in {args.output_dir}: hf-diffmask explain --model {args.output_dir} "some text"')
    trainer.end_training()
