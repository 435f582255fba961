"""Trains explainers like an audited one: with other seeds, and for a base model with random weights."""

import contextlib
import copy
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, set_seed
from transformers.utils import cached_file

from ..data.encoding import Text
from ..data.features import collate
from ..data.json_files import read_json
from ..data.sampling import train_validation_split
from ..data.writing import write_text
from ..errors import RETIRED, DiffMaskError, reason, retired
from ..explainer.from_base import named_states
from ..explainer.inputs import inputs_of
from ..explainer.loading import load_explainer
from ..explainer.modeling_diffmask import DiffMaskModel
from ..training.arguments import DiffMaskTrainingArguments
from ..training.baseline import fit_baseline, start_at_mean_states
from ..training.checkpoints import ARGUMENTS_FILE
from ..training.constants import measure_constants
from ..training.recipes.registry import recipe_config
from ..training.run import train
from .explained import masking_everything
from .thresholds import ROUNDING


def settings_of(model: str | None) -> dict[str, Any]:
    """
    Training settings of an explainer.

    Args:
        model (`str`, *optional*): Explainer's folder or id; `None` for the bundled one.

    Returns:
        `dict`: Settings, see [`DiffMaskTrainingArguments.settings`].

    Raises:
        DiffMaskError: If the explainer's training arguments are missing or cannot be read.
    """
    try:
        file = None if model is None else cached_file(model, ARGUMENTS_FILE)
        if file is None:
            raise FileNotFoundError("there is no such file")
    except OSError as error:
        raise DiffMaskError(
            f"The explainer has no {ARGUMENTS_FILE}, so no other can be trained the same way: name explainers with "
            f"--other_seeds and --random_base ({reason(error)})."
        ) from error
    return read_json(file, f"{ARGUMENTS_FILE} of {model}")


def retired_settings(settings: dict[str, Any]) -> str | None:
    """
    Why no explainer can be trained with some settings.

    Args:
        settings (`dict`): Result of [`settings_of`].

    Returns:
        `str` or `None`: One sentence if their recipe has been retired.
    """
    recipe = settings.get("recipe")
    return str(retired(recipe, "Training explainers to compare with")) if recipe in RETIRED else None


def arguments_like(
    settings: dict[str, Any], folder: Path, seed: int, base: PreTrainedModel
) -> DiffMaskTrainingArguments:
    """
    Training arguments with another run's settings, for one process.

    Args:
        settings (`dict`): Result of [`settings_of`].
        folder (`Path`): Output folder of the new run.
        seed (`int`): Seed of the new run.
        base ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        [`DiffMaskTrainingArguments`]

    Raises:
        DiffMaskError: If the settings give neither steps nor epochs, or cannot be used.
    """
    known = {one.name for one in fields(DiffMaskTrainingArguments)}
    try:
        if settings.get("max_steps", -1) <= 0 and "num_train_epochs" not in settings:
            raise DiffMaskError(f"{ARGUMENTS_FILE} does not say for how many epochs the explainer was trained.")
        own = {
            "output_dir": str(folder),
            "seed": seed,
            "gradient_accumulation_steps": max(
                1, settings["global_batch_size"] // settings["per_device_train_batch_size"]
            ),
            "use_cpu": base.device.type == "cpu",
            "overwrite_output_dir": True,
            "report_to": [],
        }
        return DiffMaskTrainingArguments(**{**{name: settings[name] for name in known & set(settings)}, **own})
    except DiffMaskError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DiffMaskError(
            f"The settings in {ARGUMENTS_FILE} cannot be used ({reason(error)}): name explainers with --other_seeds "
            "and --random_base."
        ) from error


def trained_alike(
    explainer: DiffMaskModel, base: PreTrainedModel, tokenizer: Any, texts: list[Text], args: DiffMaskTrainingArguments
) -> DiffMaskModel:
    """
    Trains an explainer with another explainer's settings, or loads it if it is already there.

    Args:
        explainer ([`DiffMaskModel`]): The explainer to imitate.
        base ([`~transformers.PreTrainedModel`]): Base model of the new explainer.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        texts (`list`): Texts to train on.
        args ([`DiffMaskTrainingArguments`]): Settings.

    Returns:
        [`DiffMaskModel`]

    Raises:
        DiffMaskError: If the folder holds an explainer with other settings.
    """
    folder, home = Path(str(args.output_dir)), base.device
    names = named_states(base, explainer.config.state_names)
    alike = recipe_config(args.recipe, task=explainer.config.task)
    config = {name: getattr(explainer.config, name) for name in alike}
    base.to(args.device)
    set_seed(args.seed)
    made = DiffMaskModel.from_base_model(base, tokenizer, names, margin=args.margin, **config)
    if (folder / "results.json").is_file():
        made = load_explainer(folder, base_model=base).to(base.device)
        saved = read_json(folder / ARGUMENTS_FILE)
        if saved != json.loads(json.dumps(args.settings(made.config))):
            raise DiffMaskError(f"{folder} holds an explainer with other settings: remove it, or name another folder.")
    else:
        trainer, _ = train(made, tokenizer, *train_validation_split(texts, args.seed), args)
        # Written last: a folder without it holds an unfinished run.
        write_text(folder / "results.json", json.dumps([row._asdict() for row in trainer.rows], indent=1))
    base.to(home)
    return made.to(home).eval()


def margin_alike(
    explainer: DiffMaskModel,
    other: DiffMaskModel,
    tokenizer: Any,
    texts: list[Text],
    inputs: list[dict[str, list[int]]],
    args: DiffMaskTrainingArguments,
) -> float:
    """
    Margin for `other` that is the same share of its largest possible loss as the margin of `explainer`.

    The largest possible loss is the cost of masking everything. A base model with random weights hardly reacts to its
    input: with the real model's margin its explainer could mask everything and would learn nothing. The loss also
    depends on the baseline, so the baseline is learned here as in training.

    Args:
        explainer ([`DiffMaskModel`]): The trained explainer.
        other ([`DiffMaskModel`]): An untrained explainer; its baseline and task constants are changed.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The tokenizer of both base models.
        texts (`list`): Training texts of `other`.
        inputs (`list[dict]`): Inputs for measuring the cost of masking everything.
        args ([`DiffMaskTrainingArguments`]): Settings of the coming training.

    Returns:
        `float`: In units of the explainer's margin, with three digits.

    Raises:
        DiffMaskError: If masking everything costs nothing.
    """
    data = inputs_of(other, tokenizer, texts, for_training=True)

    def collator(items: list[dict[str, Any]]) -> dict[str, Any]:
        return collate(tokenizer, items)

    measure_constants(other, data, collator, args)
    start_at_mean_states(other, data, collator, args)
    fit_baseline(other, data, collator, args, contextlib.nullcontext)
    real, own = (masking_everything(one, tokenizer, inputs) for one in (explainer, other))
    if not real > 0:
        raise DiffMaskError("Masking everything costs the base model nothing: there is nothing to compare with.")
    # A margin must be above 0. If the cost is only rounding, the comparison is not judged.
    return float(f"{explainer.config.margin * max(own, ROUNDING) / real:.3g}")


def trained_on_random_weights(
    explainer: DiffMaskModel, tokenizer: Any, texts: list[Text], inputs: list, args: DiffMaskTrainingArguments
) -> DiffMaskModel:
    """
    Trains an explainer with another's settings, for its base model with random weights, with an equivalent margin.

    Args:
        explainer ([`DiffMaskModel`]): The explainer to imitate.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        texts (`list`): Texts to train on.
        inputs (`list[dict]`): Inputs for measuring the cost of masking everything.
        args ([`DiffMaskTrainingArguments`]): Settings; the margin is changed.

    Returns:
        [`DiffMaskModel`]
    """
    base = explainer.base
    set_seed(0)
    random = type(base)(copy.deepcopy(base.config)).to(base.device).eval()
    saved = Path(str(args.output_dir)) / ARGUMENTS_FILE
    if (Path(str(args.output_dir)) / "results.json").is_file() and saved.is_file():
        args.margin = read_json(saved).get("margin", args.margin)
    else:
        names = named_states(base, explainer.config.state_names)
        fields = {name: getattr(explainer.config, name) for name in ("masking", "objective", "target", "unit")}
        other = DiffMaskModel.from_base_model(random, tokenizer, names, **fields).eval()
        args.margin = margin_alike(explainer, other, tokenizer, texts, inputs, args)
    return trained_alike(explainer, random, tokenizer, texts, args)


def check_comparable(explainer: DiffMaskModel, name: str, other: DiffMaskModel, same_base: bool) -> None:
    """
    Refuses an explainer that cannot be compared.

    Args:
        explainer ([`DiffMaskModel`]): The audited explainer.
        name (`str`): Folder or id of the other explainer.
        other ([`DiffMaskModel`]): The other explainer.
        same_base (`bool`): Whether both must have the same base model.

    Raises:
        DiffMaskError: If the other explainer is of another kind, has the wrong base model, or is the same explainer.
    """
    ours, theirs = explainer.config, other.config
    if (ours.base_model_fingerprint == theirs.base_model_fingerprint) != same_base:
        what = (
            "another base model: compare seeds for the same" if same_base else "the same base model, and no random one"
        )
        raise DiffMaskError(f"{name} is an explainer for {what}.")
    if (ours.masking, ours.num_labels, ours.vocab_size, ours.state_names) != (
        theirs.masking, theirs.num_labels, theirs.vocab_size, theirs.state_names
    ):  # fmt: skip
        raise DiffMaskError(
            f"{name} is an explainer of another kind: it differs in masking, classes, words or states."
        )
    if same_base and torch.equal(explainer.probes.out_weight.cpu(), other.probes.out_weight.cpu()):
        raise DiffMaskError(f"{name} is the same explainer as --model: it tells nothing about seeds.")
