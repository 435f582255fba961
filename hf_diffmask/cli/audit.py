"""`hf-diffmask audit`."""

import contextlib
import copy
import json
import platform
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from transformers import HfArgumentParser, PreTrainedModel, set_seed
from transformers.utils import cached_file, logging

import hf_diffmask

from .. import audit as tests
from .. import heads
from ..audit import ROUNDING, audit, format_findings
from ..base_model import state_names
from ..baseline import fit_baseline, start_at_mean_states
from ..data import Text, TextFeatures, collate, encode, is_on_hub, max_length, train_validation_split, windows
from ..errors import DiffMaskError, reason
from ..explained import masking_everything
from ..model_card import check_local, update_card
from ..modeling_diffmask import DiffMaskModel
from ..trainer import ARGUMENTS_FILE
from ..training_args import DiffMaskTrainingArguments, recipe_config
from .arguments import output_folder, parse
from .explain import load_pipeline
from .inputs import DatasetArguments, load_inputs
from .train import train

DESCRIPTION = """Tests an explainer for the known faults of learned explanations, with a verdict for each.

  hf-diffmask audit --model my-explainer --dataset traffic.csv --output_dir audit
  hf-diffmask audit --model my-explainer --dataset traffic.csv --train_dataset train.csv --output_dir audit

Can the prediction be read from the mask's pattern, or from the gates alone? Does it hold when another replacement
comes in the place of the learned baseline? Are masked inputs far from real ones? How many are outside the margin? And,
with other explainers to compare with: do explanations change with the base model's weights, and stay with the seed?
Those are trained into OUTPUT_DIR where --train_dataset names the texts, with the settings of --model; or name yours
with --other_seeds and --random_base.

OUTPUT_DIR/audit.json holds what was found. docs/audit.md tells each test and the source of its threshold."""


@dataclass(kw_only=True)
class AuditArguments(DatasetArguments):
    """What to test, and where to write it."""

    dataset: str = field(
        metadata={"help": "csv, json, jsonl or parquet file (.gz may follow), or a data set's id; no labels needed."}
    )
    output_dir: str = field(metadata={"help": "Folder for audit.json and the explainers that are trained."})
    model: str | None = field(default=None, metadata={"help": "Explainer: a folder or an id on the Hub."})
    train_dataset: str | None = field(
        default=None, metadata={"help": "Texts to train the explainers on that --model is compared with."}
    )
    other_seeds: list[str] = field(
        default_factory=list,
        metadata={"help": "Explainers for the same base model that were trained with other seeds."},
    )
    random_base: str | None = field(
        default=None,
        metadata={"help": "An explainer that was trained the same way for the base model with random weights."},
    )
    limit: int = field(default=1000, metadata={"help": "Texts to test on: the first so many."})
    batch_size: int = field(default=32, metadata={"help": "Inputs that run through the model at once."})
    device: str | None = field(
        default=None, metadata={"help": "cpu, cuda, cuda:1, ... Default: the first GPU or cpu."}
    )
    update_card: bool = field(default=False, metadata={"help": "Put the table into the card of a local explainer."})
    overwrite_output_dir: bool = field(
        default=False,
        metadata={"help": "Write into a folder that is not empty; explainers that it holds are not trained again."},
    )


def _settings(model: str | None) -> dict[str, Any]:
    """How an explainer was trained."""
    try:
        file = None if model is None else cached_file(model, ARGUMENTS_FILE)
        return json.loads(Path(str(file)).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DiffMaskError(
            f"The explainer holds no {ARGUMENTS_FILE} that says how it was trained, and none can be trained alike: "
            f"name explainers with --other_seeds and --random_base ({reason(error)})."
        ) from error


def _arguments(settings: dict[str, Any], folder: Path, seed: int, base: PreTrainedModel) -> DiffMaskTrainingArguments:
    """The settings of a run as this one's, in one process."""
    if settings["max_steps"] <= 0 and "num_train_epochs" not in settings:
        raise DiffMaskError(f"{ARGUMENTS_FILE} does not say for how many epochs the explainer was trained.")
    known = {one.name for one in fields(DiffMaskTrainingArguments)}
    batch_size = settings["per_device_train_batch_size"]
    own = {
        "output_dir": str(folder),
        "seed": seed,
        "gradient_accumulation_steps": max(1, settings["global_batch_size"] // batch_size),
        "use_cpu": base.device.type == "cpu",
        "overwrite_output_dir": True,
        "report_to": [],
    }
    return DiffMaskTrainingArguments(**{**{name: settings[name] for name in known & set(settings)}, **own})


def _trained(
    explainer: DiffMaskModel, base: PreTrainedModel, tokenizer: Any, texts: list[Text], args: DiffMaskTrainingArguments
) -> DiffMaskModel:
    """An explainer like another one, for a base model; read back where it is there."""
    folder, home = Path(str(args.output_dir)), base.device
    names = None if explainer.config.state_names == state_names_of(base) else explainer.config.state_names
    config = {name: getattr(explainer.config, name) for name in recipe_config(args.recipe)}
    base.to(args.device)
    set_seed(args.seed)
    made = DiffMaskModel.from_base_model(base, tokenizer, names, margin=args.margin, **config)
    if (folder / "results.json").is_file():
        made = DiffMaskModel.from_pretrained(folder, base_model=base).to(base.device)
        saved = json.loads((folder / ARGUMENTS_FILE).read_text(encoding="utf-8"))
        if saved != json.loads(json.dumps(args.settings(made.config))):
            raise DiffMaskError(f"{folder} holds an explainer with other settings: remove it, or name another folder.")
    else:
        trainer = train(made, tokenizer, *train_validation_split(texts, args.seed), args)
        # Written last: what is there without it was cut short.
        (folder / "results.json").write_text(json.dumps([row._asdict() for row in trainer.rows], indent=1))
    base.to(home)
    return made.to(home).eval()


def state_names_of(base: PreTrainedModel) -> list[str]:
    """Names of a model's states, none where it has no blocks."""
    try:
        return state_names(base)
    except DiffMaskError:
        return []


def margin_alike(
    explainer: DiffMaskModel,
    other: DiffMaskModel,
    tokenizer: Any,
    texts: list[Text],
    inputs: list[dict[str, list[int]]],
    args: DiffMaskTrainingArguments,
) -> float:
    """
    The margin that is as large a part of what there is to lose for one explainer as another's is for it.

    A base model with random weights hardly reacts to its input. With the margin of the real one its explainer could
    mask everything, and would have nothing to learn. What there is to lose depends on the baseline, too: it is learned
    here as it will be in training.

    Args:
        explainer ([`DiffMaskModel`]): The trained one.
        other ([`DiffMaskModel`]): An untrained one; its baseline is changed.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of both base models.
        texts (`list`): What the other one will be trained on.
        inputs (`list[dict]`): What masking everything is measured on.
        args ([`DiffMaskTrainingArguments`]): Of the training to come.

    Returns:
        `float`: In the terms of the explainer's margin, to three digits.
    """
    data = TextFeatures(tokenizer, texts, max_length(other.base, tokenizer))

    def collator(items: list[dict[str, Any]]) -> dict[str, Any]:
        return collate(tokenizer, items)

    start_at_mean_states(other, data, collator, args)
    fit_baseline(other, data, collator, args, contextlib.nullcontext)
    real, own = (masking_everything(one, tokenizer, inputs) for one in (explainer, other))
    if not real > 0:
        raise DiffMaskError("Masking everything costs the base model nothing: there is nothing to compare with.")
    # Where it is nothing but rounding there the comparison is not judged; a margin has to be above 0 all the same.
    return float(f"{explainer.config.margin * max(own, ROUNDING) / real:.3g}")


def _of_random_weights(
    explainer: DiffMaskModel, tokenizer: Any, texts: list[Text], inputs: list, args: DiffMaskTrainingArguments
) -> DiffMaskModel:
    """The same for the base model with random weights, and a margin that means the same there."""
    base = explainer.base
    set_seed(0)
    random = type(base)(copy.deepcopy(base.config)).to(base.device).eval()
    saved = Path(str(args.output_dir)) / ARGUMENTS_FILE
    if (Path(str(args.output_dir)) / "results.json").is_file() and saved.is_file():
        args.margin = json.loads(saved.read_text(encoding="utf-8"))["margin"]
    else:
        names = None if explainer.config.state_names == state_names_of(base) else explainer.config.state_names
        fields = {name: getattr(explainer.config, name) for name in ("masking", "objective", "target")}
        other = DiffMaskModel.from_base_model(random, tokenizer, names, **fields).eval()
        args.margin = margin_alike(explainer, other, tokenizer, texts, inputs, args)
    return _trained(explainer, random, tokenizer, texts, args)


def _check_named(explainer: DiffMaskModel, name: str, other: DiffMaskModel, same_base: bool) -> None:
    """Refuses an explainer that is nothing to compare with."""
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
        raise DiffMaskError(f"{name} is the same explainer as --model: it says nothing of seeds.")


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): What follows `hf-diffmask audit`.

    Raises:
        DiffMaskError: If an explainer, the data or the output folder cannot be used.
    """
    (args,) = parse(HfArgumentParser(AuditArguments, prog="hf-diffmask audit", description=DESCRIPTION), arguments)
    if min(args.limit, args.batch_size) < 1:
        raise DiffMaskError("--limit and --batch_size must be at least 1.")
    if args.update_card:
        check_local(args.model)
    settings = {} if args.train_dataset is None else _settings(args.model)
    folder = output_folder(args.output_dir, args.overwrite_output_dir)
    logging.disable_progress_bar()
    explain = load_pipeline(args.model, device=args.device)
    explainer, tokenizer, base = explain.model, explain.tokenizer, explain.model.base
    if explainer.config.task != heads.CLASSIFICATION:
        raise DiffMaskError("The audit asks what a mask tells of a class: this explainer is for no classifier.")
    texts = load_inputs(args.dataset, explainer.config.task, args, limit=args.limit)
    if len(set(texts)) < 20:
        raise DiffMaskError(f"The audit needs at least 20 different texts, and there are {len(set(texts))}.")
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    length = max_length(base, tokenizer)
    numbered = [(part.features, numbers[text]) for text in texts for part in windows(encode(tokenizer, text), length)]
    inputs, of_text = [one for one, _ in numbered], [number for _, number in numbered]
    others = [load_pipeline(name, device=args.device).model for name in args.other_seeds]
    for number, (name, other) in enumerate(zip(args.other_seeds, others, strict=True)):
        _check_named(explainer, name, other, same_base=True)
        if any(torch.equal(other.probes.out_weight, earlier.probes.out_weight) for earlier in others[:number]):
            raise DiffMaskError(f"{name} is named twice, or the same as another: it says nothing of seeds.")
    on_random = None
    if args.random_base is not None:
        on_random = load_pipeline(args.random_base, device=args.device).model
        _check_named(explainer, args.random_base, on_random, same_base=False)
    if args.train_dataset is not None:
        training, own = load_inputs(args.train_dataset, explainer.config.task, args), int(settings["seed"])
        for seed in () if others else (own + 1, own + 2):
            print(f"Training an explainer with seed {seed}.")
            arguments_of_run = _arguments(settings, folder / f"seed-{seed}", seed, base)
            others.append(_trained(explainer, base, tokenizer, training, arguments_of_run))
        if on_random is None:
            print("Training an explainer of the base model with random weights.")
            arguments_of_run = _arguments(settings, folder / "random-base", own, base)
            on_random = _of_random_weights(explainer, tokenizer, training, inputs, arguments_of_run)
    findings = audit(explainer, tokenizer, inputs, of_text, others, on_random, args.batch_size)
    result = {
        "version": hf_diffmask.__version__,
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "model": Path(args.model).resolve().name if args.model else "bundled with the package",
        "base_model_fingerprint": explainer.config.base_model_fingerprint,
        "dataset": args.dataset if is_on_hub(args.dataset) else Path(args.dataset).name,
        "texts": len(texts),
        "inputs": len(inputs),
        "thresholds": {
            name.lower(): getattr(tests, name)
            for name in ("READABLE", "ENOUGH", "HOLDS", "RANDOM_BASE", "TYPICAL", "SEEDS", "OUTSIDE")
        },
        "class_conditional": explainer.config.class_conditional,
        "findings": [one._asdict() for one in findings],
    }
    (folder / "audit.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(f"\n{len(inputs)} inputs of {result['dataset']}\n{format_findings(findings)}")
    counts = Counter(one.verdict for one in findings)
    print(f"\n{', '.join(f'{count} {verdict}' for verdict, count in counts.items())}: {folder / 'audit.json'}")
    if args.update_card:
        known = {name: result[name] for name in ("texts", "dataset", "machine", "findings")}
        update_card(args.model, explainer, audit={**known, "table": format_findings(findings)})
