"""`hf-diffmask audit`."""

import json
from collections import Counter
from dataclasses import dataclass, field

import torch
from transformers.utils import logging

from ..audit import thresholds
from ..audit.finding import format_findings
from ..audit.retraining import (
    arguments_like,
    check_comparable,
    retired_settings,
    settings_of,
    trained_alike,
    trained_on_random_weights,
)
from ..audit.run import audit
from ..data.writing import make_folder, write_text
from ..errors import DiffMaskError
from ..explainer.inputs import inputs_of
from ..hub.card_folder import check_local, update_card
from ..pipeline.loading import load_pipeline
from .arguments import output_folder, parse, parser_of
from .facts import about_run
from .inputs import DatasetArguments, load_inputs
from .saving import saving

DESCRIPTION = """Tests an explainer for the known faults of learned explanations, with a verdict for each.

  hf-diffmask audit --model my-explainer --dataset traffic.csv --output_dir audit
  hf-diffmask audit --model my-explainer --dataset traffic.csv --train_dataset train.csv --output_dir audit

Can the prediction be read from the pattern of the mask, or from the gates alone? Does the prediction hold under unseen
replacements? Are masked inputs far from real ones? How many explanations are outside the margin?

Two more tests need other explainers: Do explanations change with the base model's weights? Do explanations stay the
same with another seed? With --train_dataset these explainers are trained into OUTPUT_DIR, with the settings of
--model. Or name your own with --other_seeds and --random_base.

OUTPUT_DIR/audit.json holds the findings. docs/audit.md describes each test and the source of its threshold."""


@dataclass(kw_only=True)
class AuditArguments(DatasetArguments):
    """What to test, and where to write the findings."""

    dataset: str = field(
        metadata={
            "help": "csv, tsv, txt, json, jsonl or parquet file (.gz allowed), or a data set id. Needs no labels."
        }
    )
    output_dir: str = field(metadata={"help": "Folder for audit.json and newly trained explainers."})
    model: str | None = field(default=None, metadata={"help": "Explainer: a folder or an id on the Hub."})
    train_dataset: str | None = field(
        default=None, metadata={"help": "Texts for training the explainers to compare --model with."}
    )
    other_seeds: list[str] = field(
        default_factory=list,
        metadata={"help": "Explainers for the same base model, trained with other seeds."},
    )
    random_base: str | None = field(
        default=None,
        metadata={"help": "An explainer trained the same way for the base model with random weights."},
    )
    limit: int = field(default=1000, metadata={"help": "Test only the first N texts."})
    batch_size: int = field(default=32, metadata={"help": "Inputs per batch."})
    device: str | None = field(
        default=None, metadata={"help": "cpu, cuda, cuda:1, ... Default: the first GPU or cpu."}
    )
    update_card: bool = field(default=False, metadata={"help": "Write the table into the card of a local explainer."})
    overwrite_output_dir: bool = field(
        default=False,
        metadata={"help": "Write into a folder that is not empty. Explainers in it are not trained again."},
    )


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask audit`.

    Raises:
        DiffMaskError: If an explainer, the data or the output folder cannot be used.
    """
    (args,) = parse(parser_of(AuditArguments, "audit", DESCRIPTION), arguments)
    if min(args.limit, args.batch_size) < 1:
        raise DiffMaskError("--limit and --batch_size must be at least 1.")
    if args.update_card:
        check_local(args.model)
    settings = {} if args.train_dataset is None else settings_of(args.model)
    folder = output_folder(args.output_dir, args.overwrite_output_dir)
    logging.disable_progress_bar()
    explain = load_pipeline(args.model, device=args.device, trust_remote_code=args.trust_remote_code)
    explainer, tokenizer, base = explain.model, explain.tokenizer, explain.model.base
    if not explainer.task.has_choices:
        raise DiffMaskError("The audit tests what a mask tells about a class: this explainer is not for a classifier.")
    texts = load_inputs(args.dataset, explainer.task, args, limit=args.limit)
    if len(set(texts)) < 20:
        raise DiffMaskError(f"The audit needs at least 20 different texts, and there are {len(set(texts))}.")
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    made = inputs_of(explainer, tokenizer, texts)
    inputs, of_text = made.items, [numbers[texts[number]] for number in made.of_text]
    others = [
        load_pipeline(name, device=args.device, trust_remote_code=args.trust_remote_code).model
        for name in args.other_seeds
    ]
    for number, (name, other) in enumerate(zip(args.other_seeds, others, strict=True)):
        check_comparable(explainer, name, other, same_base=True)
        if any(torch.equal(other.probes.out_weight, earlier.probes.out_weight) for earlier in others[:number]):
            raise DiffMaskError(f"{name} is named twice, or the same as another: it tells nothing about seeds.")
    on_random = None
    if args.random_base is not None:
        on_random = load_pipeline(args.random_base, device=args.device, trust_remote_code=args.trust_remote_code).model
        check_comparable(explainer, args.random_base, on_random, same_base=False)
    refused = retired_settings(settings)
    if refused is not None:
        print(refused)
    elif args.train_dataset is not None:
        training, own = load_inputs(args.train_dataset, explainer.task, args), int(settings["seed"])
        with saving(folder):
            for seed in () if others else (own + 1, own + 2):
                print(f"Training an explainer with seed {seed}.")
                arguments_of_run = arguments_like(settings, folder / f"seed-{seed}", seed, base)
                others.append(trained_alike(explainer, base, tokenizer, training, arguments_of_run))
            if on_random is None:
                print("Training an explainer of the base model with random weights.")
                arguments_of_run = arguments_like(settings, folder / "random-base", own, base)
                on_random = trained_on_random_weights(explainer, tokenizer, training, inputs, arguments_of_run)
    findings = audit(explainer, tokenizer, inputs, of_text, others, on_random, args.batch_size, refused)
    result = {
        **about_run(explainer, args.model, args.dataset),
        "texts": len(texts),
        "inputs": len(inputs),
        "thresholds": {
            name.lower(): getattr(thresholds, name)
            for name in ("READABLE", "ENOUGH", "HOLDS", "RANDOM_BASE", "TYPICAL", "SEEDS", "OUTSIDE")
        },
        "class_conditional": explainer.config.class_conditional,
        "findings": [one._asdict() for one in findings],
    }
    make_folder(folder)
    write_text(folder / "audit.json", json.dumps(result, indent=1))
    print(f"\n{len(inputs)} inputs of {result['dataset']}\n{format_findings(findings)}")
    counts = Counter(one.verdict for one in findings)
    print(f"\n{', '.join(f'{count} {verdict}' for verdict, count in counts.items())}: {folder / 'audit.json'}")
    if args.update_card:
        known = {name: result[name] for name in ("texts", "dataset", "machine", "findings")}
        update_card(args.model, explainer, audit={**known, "table": format_findings(findings)})
