"""Makes the ablations of texts: learns the baseline, then runs the masks. The library behind `hf-diffmask ablate`."""

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext

import torch
from transformers import PreTrainedTokenizerBase

from ..ablations.description import Description
from ..ablations.making import check_masks, existing
from ..ablations.store import Ablations, read_baseline
from ..data.encoding import Text
from ..data.features import Features, collate
from ..errors import DiffMaskError
from ..explainer.inputs import inputs_of
from ..explainer.modeling_diffmask import DiffMaskModel
from .arguments import DiffMaskTrainingArguments
from .baseline import learn_baseline
from .checkpoints import no_empty_folder, sole_run
from .constants import measure_constants
from .interruption import Interruption
from .recipes.ablation_labels import training_ablations, validation_ablations


class _Ablating(Interruption):
    """Ends a run of ablations at once: finished shards are there."""

    def _saved(self) -> str:
        return f"finished shards stay in {self.args.output_dir}, and the same command goes on from them."


def ablate(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    args: DiffMaskTrainingArguments,
    validation: Sequence[Text] = (),
) -> Ablations:
    """
    Makes the ablations of training and validation texts, or those that the folder lacks.

    The baseline is learned first. A base model without gradients, such as a quantised one, takes the mean of its
    embeddings.

    Args:
        explainer ([`DiffMaskModel`]): An untrained explainer that holds its base model; its baseline is changed.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        texts (`list`): Training texts or pairs.
        args ([`DiffMaskTrainingArguments`]): `output_dir`, seed, `masks`, `baseline_steps`, `baseline_learning_rate`,
            `per_device_eval_batch_size`, device, precision and processes are used.
        validation (`list`, *optional*): Validation texts or pairs; see
            [`~hf_diffmask.training.recipes.ablation_labels.validation_ablations`].

    Returns:
        [`Ablations`]: Those of the training texts.

    Raises:
        DiffMaskError: See [`~hf_diffmask.ablations.making.make_ablations`]; or if another run writes into the folder.
        Interrupted: After Ctrl-C or SIGTERM. Finished shards stay.
    """
    folder = str(args.output_dir)
    check_masks(args.masks)
    found = existing(folder)
    with no_empty_folder(folder), _Ablating(args).watched(), ExitStack() as stack:
        if args.should_save:
            stack.enter_context(sole_run(folder))
        dataset = inputs_of(explainer, tokenizer, texts, for_training=True)
        prepare(explainer, tokenizer, dataset, args, found)
        made = training_ablations(explainer, tokenizer, dataset, folder, args, args.distributed_state)
        if validation:
            held = inputs_of(explainer, tokenizer, validation, for_training=True)
            validation_ablations(explainer, tokenizer, held, folder, args, args.distributed_state)
        return made


def prepare(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Features,
    args: DiffMaskTrainingArguments,
    found: Description | None,
) -> None:
    """
    Measures the constants of the task and sets the baseline, alike on all processes.

    Args:
        explainer ([`DiffMaskModel`]): Constants and baseline are changed in place.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        dataset ([`~hf_diffmask.data.features.Features`]): The inputs.
        args ([`DiffMaskTrainingArguments`]): See [`ablate`].
        found ([`Description`], *optional*): The ablations in the output folder; their baseline is taken.
    """

    def collator(items: list) -> dict:
        return collate(tokenizer, items)

    measure_constants(explainer, dataset, collator, args)
    try:
        kept = None if found is None else read_baseline(str(args.output_dir), found)
    except DiffMaskError:
        kept = None  # learned again, and then it is the same
    if kept is not None:
        if kept.shape == explainer.baseline.shape:  # otherwise it is refused, with all that differs
            with torch.no_grad():
                explainer.baseline.copy_(kept)
        return
    learn_baseline(explainer, dataset, collator, args, nullcontext)
