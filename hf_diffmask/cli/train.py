"""`hf-diffmask train`."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, HfArgumentParser, PreTrainedModel, set_seed
from transformers.utils import logging

import hf_diffmask

from .. import heads, plots
from ..base_reference import commit_of
from ..data import Text, TextFeatures, is_on_hub, max_length, train_validation_split
from ..energy import measured_energy
from ..errors import DiffMaskError, reason
from ..examples import example_attributions
from ..model_card import PLOT, write_card
from ..modeling_diffmask import DiffMaskModel
from ..question_answering import with_room
from ..results import add_results
from ..trainer import DiffMaskTrainer, check_output_dir
from ..training_args import DiffMaskTrainingArguments, recipe_config
from ..validation import StateRow, cost_by_share, format_table
from .arguments import parse
from .inputs import DatasetArguments, load_inputs

logger = logging.get_logger(__name__)

DESCRIPTION = """Trains an explainer for a frozen classifier or question-answering model. No labels are needed.

  hf-diffmask train --base_model ./my-classifier --dataset traffic.csv --text_column text --output_dir my-explainer
  hf-diffmask train --base_model ./my-qa-model --dataset squad.json --margin 1 --output_dir my-explainer

  hf-diffmask train --base_model org/classifier --dataset org/traffic --output_dir my-explainer \\
    --push_to_hub --hub_model_id org/my-explainer

Several GPUs: accelerate launch --multi_gpu --num_processes 4 -m hf_diffmask.cli train ...
All options of transformers.TrainingArguments work as they do there; the defaults are those of our benchmark."""


@dataclass(kw_only=True)
class DataArguments(DatasetArguments):
    """What to explain and what to train on."""

    base_model: str = field(metadata={"help": "Model to explain: a folder or an id on the Hub."})
    dataset: str = field(
        metadata={
            "help": "csv, json, jsonl or parquet file (.gz may follow), or a data set's id. For question answering "
            "also a file in the format of SQuAD."
        }
    )
    validation_dataset: str | None = field(
        default=None,
        metadata={"help": "File, or id of a data set, to choose the best with. Default: a part of --dataset."},
    )
    validation_split: str = field(default="validation", metadata={"help": "Split of --validation_dataset on the Hub."})
    max_samples: int | None = field(default=None, metadata={"help": "Most inputs to train on: the first so many."})
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
    with_base_model: bool = field(
        default=False, metadata={"help": "With --push_to_hub: push a base model from a local folder along."}
    )


def train(
    explainer: DiffMaskModel,
    tokenizer,
    texts: Sequence[Text],
    validation: Sequence[Text],
    args: DiffMaskTrainingArguments,
    dataset: str = "texts given in Python",
    with_base_model: bool = False,
) -> DiffMaskTrainer:
    """
    Trains an explainer on texts and saves it with its tokenizer, its table of states and its card.

    Args:
        explainer ([`DiffMaskModel`]): An untrained explainer that holds its base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's.
        texts (`list`): Texts or pairs to train on.
        validation (`list`): Texts or pairs to choose the best checkpoint with.
        args ([`DiffMaskTrainingArguments`]): Settings.
        dataset (`str`, *optional*): Where the texts are from, for the card: a file, or an id on the Hub.
        with_base_model (`bool`, *optional*, defaults to `False`):
            With `push_to_hub`, whether a base model from a local folder is pushed along.

    Returns:
        [`DiffMaskTrainer`]: After training; its `rows` are the table of states of the explainer that was saved.

    Raises:
        DiffMaskError: If the output folder holds something else, the loss is no longer finite, or the explainer cannot
            be pushed; it is saved then.
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
    begun = time.perf_counter()
    with measured_energy() as energy:
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    minutes = (time.perf_counter() - begun) / 60
    metrics = trainer.evaluate()
    trainer.save_model(_internal_call=True)  # pushed once all of it is there, in one commit
    trainer.save_metrics("eval", metrics)
    trainer.save_state()
    if trainer.is_world_process_zero():
        training = {
            "dataset": os.path.basename(dataset) if os.path.exists(dataset) else dataset,
            "dataset_on_hub": is_on_hub(dataset),
            "inputs": len(trainer.train_dataset),
            "validation_inputs": len(trainer.eval_dataset),
            "pairs": not isinstance(texts[0], str),
            "minutes": minutes,
            "machine": _machine(args),
            "versions": {
                "hf-diffmask": hf_diffmask.__version__,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
            "settings": args.settings(explainer.config),
            **energy,
        }
        record(str(args.output_dir), explainer, tokenizer, training, trainer.rows)
    if args.push_to_hub:
        trainer.push_to_hub(with_base_model=with_base_model)
    return trainer


def record(
    folder: str, explainer: DiffMaskModel, tokenizer: Any, training: dict[str, Any], rows: list[StateRow]
) -> None:
    """
    Writes what is known of an explainer after training beside it, and the plot and the card that are made of it.

    Args:
        folder (`str`): The explainer's folder.
        explainer ([`DiffMaskModel`]): The explainer, holding its base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's.
        training (`dict`): What it was trained on, how and where.
        rows (`list[StateRow]`): Its table of states.
    """
    examples = example_attributions(explainer, tokenizer, training["pairs"])
    add_results(folder, training=training, states=[row._asdict() for row in rows], examples=examples)
    points = cost_by_share(explainer, rows)
    try:
        cost = "drop of the probability" if explainer.config.target == "prediction" else "divergence (nats)"
        if points:
            plots.sparsity_divergence(points, float(explainer.config.margin), cost).savefig(os.path.join(folder, PLOT))
    except DiffMaskError as error:  # no matplotlib: a card without a plot
        logger.info(f"The card has no plot: {error}")
    write_card(folder, explainer)


def _machine(args: DiffMaskTrainingArguments) -> str:
    """What trained, in words."""
    threads = f"{platform.machine()}, {torch.get_num_threads()} threads"
    device = f", {torch.cuda.get_device_name(args.device)}" if args.device.type == "cuda" else ""
    return f"{threads}{device}" + (f", {args.world_size} processes" if args.world_size > 1 else "")


def _load(data: DataArguments) -> tuple[Any, PreTrainedModel]:
    """The tokenizer and the base model, whose head must be among its weights."""
    named = {"revision": data.base_model_revision}
    try:
        architectures = AutoConfig.from_pretrained(data.base_model, **named).architectures or []
        # From here on of one commit, even if the branch moves on.
        data.base_model_revision = named["revision"] = commit_of(data.base_model, **named)
        tokenizer = AutoTokenizer.from_pretrained(data.base_model, **named)
        answers = any("ForQuestionAnswering" in name for name in architectures)
        auto_class = heads.AUTO_CLASSES[heads.QUESTION_ANSWERING if answers else heads.CLASSIFICATION]
        base_model, loading = auto_class.from_pretrained(
            data.base_model, **named, dtype="float32", use_safetensors=True, output_loading_info=True
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
    texts = load_inputs(data.dataset, task, data, limit=data.max_samples)
    if data.validation_dataset is not None:
        validation = load_inputs(data.validation_dataset, task, data, split=data.validation_split)
    else:
        texts, validation = train_validation_split(texts, args.seed)
    set_seed(args.seed)
    base_model.to(args.device)
    config = recipe_config(args.recipe, data.masking, task, data.target)
    explainer = DiffMaskModel.from_base_model(
        base_model, tokenizer, margin=args.margin, base_model_revision=data.base_model_revision, **config
    )
    logging.disable_progress_bar()
    trainer = train(explainer, tokenizer, texts, validation, args, data.dataset, data.with_base_model)
    if trainer.is_world_process_zero():
        print(f"\nHard masks on {len(trainer.eval_dataset)} validation inputs:\n{format_table(trainer.rows)}")
        print(f'\nThe explainer is in {args.output_dir}: hf-diffmask explain --model {args.output_dir} "some text"')
    trainer.end_training()
