"""`hf-diffmask train`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, HfArgumentParser, PreTrainedModel, set_seed
from transformers.utils import logging

from .. import heads
from ..data import Text, TextFeatures, max_length, train_validation_split
from ..errors import DiffMaskError, reason
from ..model_card import write_card
from ..modeling_diffmask import DiffMaskModel
from ..question_answering import with_room
from ..trainer import DiffMaskTrainer, check_output_dir
from ..training_args import DiffMaskTrainingArguments, recipe_config
from ..validation import format_table
from .arguments import parse
from .inputs import load_inputs

DESCRIPTION = """Trains an explainer for a frozen classifier or question-answering model. No labels are needed.

  hf-diffmask train --base_model ./my-classifier --dataset traffic.csv --text_column text --output_dir my-explainer
  hf-diffmask train --base_model ./my-qa-model --dataset squad.json --margin 1 --output_dir my-explainer

Several GPUs: accelerate launch --multi_gpu --num_processes 4 -m hf_diffmask.cli train ...
All options of transformers.TrainingArguments work as they do there; the defaults are those of our benchmark."""


@dataclass
class DataArguments:
    """What to explain and what to train on."""

    base_model: str = field(metadata={"help": "Model to explain: a folder or an id on the Hub."})
    dataset: str = field(
        metadata={
            "help": "csv, json, jsonl or parquet file (.gz may follow), or a data set's id. For question answering "
            "also a file in the format of SQuAD."
        }
    )
    text_column: str | None = field(
        default=None, metadata={"help": "Column of the text. Default: text; question for question answering."}
    )
    text_pair_column: str | None = field(
        default=None,
        metadata={"help": "Column of the second text of a pair. Default: none; context for question answering."},
    )
    validation_dataset: str | None = field(
        default=None,
        metadata={"help": "File, or id of a data set whose split `validation` is used. Default: a part of --dataset."},
    )
    masking: str = field(
        default="input",
        metadata={
            "help": "Where tokens are masked: input (at the embeddings; the mask shrinks from state to state) or "
            "hidden (at each state by itself: what it still needs).",
            "choices": ["input", "hidden"],
        },
    )
    target: str | None = field(
        default=None,
        metadata={
            "help": "With --recipe path, what is to be preserved: prediction (the predicted class; default for "
            "classifiers) or distribution (the whole output; default for others).",
            "choices": ["prediction", "distribution"],
        },
    )
    base_model_revision: str | None = field(default=None, metadata={"help": "Revision of the base model on the Hub."})


def train(
    explainer: DiffMaskModel,
    tokenizer,
    texts: Sequence[Text],
    validation: Sequence[Text],
    args: DiffMaskTrainingArguments,
) -> DiffMaskTrainer:
    """
    Trains an explainer on texts and saves it with its tokenizer and its table of states.

    Args:
        explainer ([`DiffMaskModel`]): An untrained explainer that holds its base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's.
        texts (`list`): Texts or pairs to train on.
        validation (`list`): Texts or pairs to choose the best checkpoint with.
        args ([`DiffMaskTrainingArguments`]): Settings.

    Returns:
        [`DiffMaskTrainer`]: After training; its `rows` are the table of states of the explainer that was saved.

    Raises:
        DiffMaskError: If the output folder holds something else, or the loss is no longer finite.
    """
    check_output_dir(args, args.resume_from_checkpoint)
    length = max_length(explainer.base, tokenizer)
    if explainer.config.task == heads.QUESTION_ANSWERING:
        texts, validation = (with_room(tokenizer, part, length) for part in (texts, validation))
    trainer = DiffMaskTrainer(
        explainer,
        args,
        train_dataset=TextFeatures(tokenizer, texts, length),
        eval_dataset=TextFeatures(tokenizer, validation, length),
        processing_class=tokenizer,
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    metrics = trainer.evaluate()
    trainer.save_model()
    trainer.save_metrics("eval", metrics)
    trainer.save_state()
    if trainer.is_world_process_zero():
        settings = args.settings(explainer.config)
        write_card(str(args.output_dir), explainer, trainer.rows, len(trainer.eval_dataset), settings)
    return trainer


def _load(data: DataArguments) -> tuple[Any, PreTrainedModel]:
    """The tokenizer and the base model, whose head must be among its weights."""
    named = {"revision": data.base_model_revision}
    try:
        tokenizer = AutoTokenizer.from_pretrained(data.base_model, **named)
        architectures = AutoConfig.from_pretrained(data.base_model, **named).architectures or []
        answers = any("ForQuestionAnswering" in name for name in architectures)
        auto_class = heads.AUTO_CLASSES[heads.QUESTION_ANSWERING if answers else heads.CLASSIFICATION]
        base_model, loading = auto_class.from_pretrained(
            data.base_model, **named, dtype="float32", output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise DiffMaskError(f"The base model {data.base_model} cannot be loaded ({reason(error)}).") from error
    if loading["missing_keys"]:
        raise DiffMaskError(
            f"The base model {data.base_model} is not trained: its weights lack "
            f"{', '.join(sorted(loading['missing_keys']))}. Fine-tune it first."
        )
    return tokenizer, base_model


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): What follows `hf-diffmask train`.

    Raises:
        DiffMaskError: If a setting, the base model or the data set cannot be used.
    """
    parser = HfArgumentParser(
        (DataArguments, DiffMaskTrainingArguments), prog="hf-diffmask train", description=DESCRIPTION
    )
    data, args = parse(parser, arguments)
    tokenizer, base_model = _load(data)
    task = heads.task_of(base_model)
    texts = load_inputs(data.dataset, task, data.text_column, data.text_pair_column)
    if data.validation_dataset is not None:
        columns = data.text_column, data.text_pair_column
        validation = load_inputs(data.validation_dataset, task, *columns, split="validation")
    else:
        texts, validation = train_validation_split(texts, args.seed)
    set_seed(args.seed)
    base_model.to(args.device)
    explainer = DiffMaskModel.from_base_model(
        base_model, tokenizer, margin=args.margin, **recipe_config(args.recipe, data.masking, task, data.target)
    )
    logging.disable_progress_bar()
    trainer = train(explainer, tokenizer, texts, validation, args)
    if trainer.is_world_process_zero():
        print(f"\nHard masks on {len(trainer.eval_dataset)} validation inputs:\n{format_table(trainer.rows)}")
        print(f'\nThe explainer is in {args.output_dir}: hf-diffmask explain --model {args.output_dir} "some text"')
    trainer.end_training()
