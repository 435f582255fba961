"""Trains an explainer on texts: the library behind `hf-diffmask train`."""

import os
import platform
import time
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from transformers import PreTrainedTokenizerBase

from ..about import VERSION
from ..data.encoding import Text
from ..data.reading import is_on_hub
from ..explainer.inputs import inputs_of
from ..explainer.modeling_diffmask import DiffMaskModel
from .arguments import DiffMaskTrainingArguments
from .checkpoints import no_empty_folder
from .clock import timed
from .energy import measured_energy
from .interruption import Interruption
from .resuming import check_output_dir
from .trainer import DiffMaskTrainer


def train(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    validation: Sequence[Text],
    args: DiffMaskTrainingArguments,
    dataset: str = "texts given in Python",
) -> tuple[DiffMaskTrainer, dict[str, Any]]:
    """
    Trains an explainer on texts and saves it with its tokenizer.

    Args:
        explainer ([`DiffMaskModel`]): An explainer that holds its base model; trained in place.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        texts (`list`): Training texts or pairs.
        validation (`list`): Validation texts or pairs, to select the best checkpoint.
        args ([`DiffMaskTrainingArguments`]): Settings.
        dataset (`str`, *optional*): Source of the texts for the card: a file or an id on the Hub.

    Returns:
        `tuple`: The [`DiffMaskTrainer`] after training, and facts about the run for the card (`dict`). The trainer's
        `rows` hold the table of states of the saved explainer.

    Raises:
        DiffMaskError: If the output folder is not empty, the loss is not finite, or another process has died. A new
            folder stays only if something is in it.
        Interrupted: After Ctrl-C or SIGTERM; see [`DiffMaskTrainer.train`].
    """
    check_output_dir(args, args.resume_from_checkpoint)
    interruption = Interruption(args)
    with no_empty_folder(str(args.output_dir)), interruption.watched():
        trainer = DiffMaskTrainer(
            explainer,
            args,
            train_dataset=inputs_of(explainer, tokenizer, texts, for_training=True),
            eval_dataset=inputs_of(explainer, tokenizer, validation, for_training=True),
            processing_class=tokenizer,
        )
        trainer.interruption = interruption
        begun = time.perf_counter()
        with measured_energy() as energy:
            trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        minutes = (time.perf_counter() - begun) / 60
        with timed(trainer.minutes, "report"):
            metrics = trainer.evaluate()
        trainer.save_model(_internal_call=True)  # pushed later, in one commit
        trainer.save_metrics("eval", metrics)
        trainer.save_state()
    training = {
        "dataset": os.path.basename(dataset) if os.path.exists(dataset) else dataset,
        "dataset_on_hub": is_on_hub(dataset),
        "inputs": len(trainer.train_dataset),
        "validation_inputs": len(trainer.eval_dataset),
        "reported_inputs": len(trainer.validation_numbers("report")),
        "pairs": not isinstance(texts[0], str),
        "minutes": minutes,
        "minutes_of": trainer.minutes,
        "machine": machine_of(args),
        "versions": {
            "hf-diffmask": VERSION,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "settings": args.settings(explainer.config),
        **energy,
    }
    return trainer, training


def machine_of(args: DiffMaskTrainingArguments) -> str:
    """
    A description of the machine that trains.

    Args:
        args ([`DiffMaskTrainingArguments`]): Settings.

    Returns:
        `str`: Machine, threads, device and processes.
    """
    threads = f"{platform.machine()}, {torch.get_num_threads()} threads"
    device = f", {torch.cuda.get_device_name(args.device)}" if args.device.type == "cuda" else ""
    return f"{threads}{device}" + (f", {args.world_size} processes" if args.world_size > 1 else "")
