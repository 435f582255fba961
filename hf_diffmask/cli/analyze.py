"""`hf-diffmask analyze`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers.utils import logging

from ..about import VERSION
from ..analysis import tokens
from ..analysis.figures import (
    decided_by_state_entry,
    fixed_by_state_entry,
    heat_map_entry,
    keep_by_state_entry,
    segments,
    states_kept_entry,
    tags_of,
)
from ..analysis.report import write
from ..analysis.tagging import Tag
from ..data.encoding import Text
from ..data.sst import LABELS, Sentence, load_trees
from ..display import plots
from ..errors import DiffMaskError
from ..pipeline.loading import load_pipeline
from ..pipeline.pipeline_diffmask import DiffMaskAttributionPipeline
from ..pipeline.results import results_in
from .arguments import output_folder, parse, parser_of
from .facts import name_of
from .inputs import DatasetArguments, load_inputs

DESCRIPTION = """Explains a data set and reports which tokens each state keeps: a page with figures, each also as data.

  hf-diffmask analyze --dataset traffic.csv --model my-explainer --output_dir report
  hf-diffmask analyze --dataset squad.json --model qa-explainer --output_dir report
  hf-diffmask analyze --trees sst5_trees_dev.txt.gz --hidden_model my-hidden-explainer --output_dir report

Figures (pip install 'hf-diffmask[plots]'): heat maps, tokens x states, for the first inputs; mean keep probability by
state; share of predictions fixed by state; except with --recipe paper, the verified share of its tokens that an input
needs, by state ("when was it decided?"); mean number of states that keep a token, by part of speech and by entity type
(pip install 'hf-diffmask[tagging]' and a spaCy model, else left out) and, with --trees, by the sentiment of the word.

Without --model the small bundled sentiment classifier is analysed."""


@dataclass(kw_only=True)
class AnalyzeArguments(DatasetArguments):
    """What to analyse, and where to write the report."""

    output_dir: str = field(metadata={"help": "Folder for the report: index.html, report.json and the figures."})
    model: str | None = field(default=None, metadata={"help": "Explainer: a folder or an id on the Hub."})
    hidden_model: str | None = field(
        default=None,
        metadata={"help": "A second explainer, trained with --masking hidden for the same base model, to compare."},
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "csv, tsv, txt, json, jsonl or parquet file (.gz allowed), or a data set id. Needs no labels. "
            "For question answering also a file in SQuAD format."
        },
    )
    trees: str | None = field(
        default=None,
        metadata={
            "help": "Instead of --dataset: trees of the Stanford Sentiment Treebank, one per line (.gz allowed). Each "
            "word has its own label."
        },
    )
    tagger: str = field(
        default="en_core_web_sm",
        metadata={"help": "spaCy model, in any language, for parts of speech and entity types."},
    )
    limit: int = field(default=500, metadata={"help": "Analyse only the first N inputs."})
    examples: int = field(default=3, metadata={"help": "Show heat maps for the first N inputs."})
    batch_size: int = field(default=8, metadata={"help": "Inputs per batch."})
    device: str | None = field(
        default=None, metadata={"help": "cpu, cuda, cuda:1, ... Default: the first GPU or cpu."}
    )
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Write into a folder that is not empty."})


def _check(args: AnalyzeArguments) -> Path:
    """Returns the output folder, after all options are checked."""
    if (args.dataset is None) == (args.trees is None):
        raise DiffMaskError("Name the inputs with either --dataset or --trees.")
    if args.trees is not None and args.text_pair_column is not None:
        raise DiffMaskError("Trees hold single sentences: leave --text_pair_column out, or name a --dataset.")
    if args.limit < 1 or args.batch_size < 1 or args.examples < 0:
        raise DiffMaskError("--limit and --batch_size must be at least 1, and --examples at least 0.")
    plots.check_matplotlib()
    folder = output_folder(args.output_dir, args.overwrite_output_dir)
    return folder


def _load_explainers(args: AnalyzeArguments) -> list[DiffMaskAttributionPipeline]:
    explainers = [load_pipeline(args.model, device=args.device, trust_remote_code=args.trust_remote_code)]
    if args.hidden_model is None:
        return explainers
    explainers.append(load_pipeline(args.hidden_model, device=args.device, trust_remote_code=args.trust_remote_code))
    first, second = (explain.model.config for explain in explainers)
    if (first.masking, second.masking) != ("input", "hidden"):
        raise DiffMaskError(
            "The two explainers must differ in masking: name one with input masking as --model and one with "
            f"hidden masking as --hidden_model, not {first.masking} and {second.masking}."
        )
    if first.base_model_fingerprint != second.base_model_fingerprint:
        raise DiffMaskError("The two explainers are for different base models: compare two for the same.")
    return explainers


def _explain(
    explain: DiffMaskAttributionPipeline, texts: Sequence[Text], batch_size: int
) -> tuple[list[dict[str, Any]], list[int]]:
    """The results of all texts, and the number of each result's text. A text may have several results."""
    inputs = (dict(zip(("text", "text_pair"), segments(text), strict=False)) for text in texts)
    results = explain(inputs, batch_size=1 if explain.tokenizer.pad_token_id is None else min(batch_size, len(texts)))
    kind = explain.model.config.masking
    every = tqdm(results, f"Explaining ({kind} masking)", len(texts), unit="text", disable=len(texts) < 20)
    of_each = [results_in(found) for found in every]
    return (
        [result for found in of_each for result in found],
        [number for number, found in enumerate(of_each) for _ in found],
    )


def _described(explain: DiffMaskAttributionPipeline, model: str | None) -> dict[str, Any]:
    config = explain.model.config
    return {
        "model": "bundled with the package" if model is None else name_of(model),
        "base_model": Path(config.base_model_name_or_path or "unnamed").name,
        "base_model_fingerprint": config.base_model_fingerprint,
        "masking": config.masking,
        "margin": config.margin,
        "mask_special_tokens": config.mask_special_tokens,
        "states": config.columns,
    }


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask analyze`.

    Raises:
        DiffMaskError: If matplotlib is missing, or an explainer, the inputs or the output folder cannot be used.
    """
    parser = parser_of(AnalyzeArguments, "analyze", DESCRIPTION)
    (args,) = parse(parser, arguments)
    folder = _check(args)
    logging.disable_progress_bar()
    explainers = _load_explainers(args)
    sentences: list[Sentence] = [] if args.trees is None else load_trees(args.trees)
    task = explainers[0].model.task
    every: list[Text] = [sentence.text for sentence in sentences]
    if args.dataset is not None:
        # Read all inputs, to count them; a stream is read only up to the limit.
        every = load_inputs(args.dataset, task, args, limit=args.limit if args.streaming else None)
    texts = every[: args.limit]
    notes = []
    tags: list[list[list[Tag]]] = []
    try:
        tags = tags_of(texts, args.tagger)
    except DiffMaskError as error:
        notes.append(f"The analyses by part of speech and by entity type are left out. {error}")
        print(f"hf-diffmask: {notes[-1]}", file=sys.stderr)
    found = {explain.model.config.masking: _explain(explain, texts, args.batch_size) for explain in explainers}
    results = {masking: of_all for masking, (of_all, _) in found.items()}
    (numbers, *_) = (numbers for _, numbers in found.values())  # the base model decides: alike for both
    if not numbers:
        raise DiffMaskError(f"There is nothing to analyse: the base model finds {task.nothing} in {len(texts)} texts.")
    tags = [tags[number] for number in numbers] if tags else []
    sections = {
        "Inputs one by one": [
            heat_map_entry(k + 1, texts[number], {masking: of_all[k] for masking, of_all in results.items()})
            for k, number in enumerate(numbers[: args.examples])
        ]
    }
    for explain in explainers:
        masking = explain.model.config.masking
        kept = results[masking]
        entries = [keep_by_state_entry(explain, kept), fixed_by_state_entry(explain, texts, args.batch_size)]
        if explain.model.masks.any_margin:
            entries.append(decided_by_state_entry(explain, texts, args.batch_size))
        if tags:
            pos = [[[(t.start, t.end, t.pos) for t in words if t.pos] for words in text] for text in tags]
            entity = [[[(t.start, t.end, t.entity or "no entity") for t in words] for words in text] for text in tags]
            entries += [
                states_kept_entry(explain, kept, pos, "part of speech"),
                states_kept_entry(explain, kept, entity, "entity type"),
            ]
        if sentences:
            sentiments = [[tokens.word_sentiments(sentences[number])] for number in numbers]
            entries.append(states_kept_entry(explain, kept, sentiments, "sentiment of the word", LABELS[::-1]))
        sections[f"All inputs, {masking} masking"] = entries
    facts = {
        "version": VERSION,
        "explainers": [
            _described(explain, model)
            for explain, model in zip(explainers, (args.model, args.hidden_model), strict=False)
        ],
        "data": name_of(args.trees or args.dataset),
        "inputs": len(texts),
        "available": len(every),
        "tagger": name_of(args.tagger) if tags else None,
        "notes": notes,
    }
    write(folder, facts, sections)
    print(f"{len(texts)} inputs analysed: {folder / 'index.html'}")
