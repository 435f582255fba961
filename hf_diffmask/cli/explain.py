"""`hf-diffmask explain`."""

import codecs
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tqdm import tqdm
from transformers.utils import logging

from ..data.encoding import Text
from ..data.writing import is_stream, writing
from ..display.page import to_html
from ..display.terminal import to_text
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..pipeline.loading import load_pipeline
from ..pipeline.results import results_in
from ..tasks.task import Task
from .arguments import parse, parser_of
from .inputs import DatasetArguments, Place, lines_of_stdin, placed_inputs

DESCRIPTION = """Explains predictions: shows which tokens suffice to preserve the model's output.

  hf-diffmask explain "a warm and quietly funny film"
  hf-diffmask explain --model my-explainer --file traffic.csv --format json --output attributions.jsonl
  cat lines.txt | hf-diffmask explain --format html --output page.html
  hf-diffmask explain --model qa-explainer --text_pair "The mill was sold in 1902." "When was the mill sold?"

Without --model the small bundled sentiment classifier is explained. Without a text or --file, each line of stdin is
explained. Files of text are in UTF-8. Write -- before a text that begins with a dash."""


@dataclass
class ExplainArguments:
    """What to explain, and how to show it."""

    model: str | None = field(default=None, metadata={"help": "Explainer: a folder or an id on the Hub."})
    file: str | None = field(
        default=None,
        metadata={
            "help": "Texts: a csv, tsv, json, jsonl or parquet file (.gz allowed), or a text file with one per line. "
            "For question answering also a file in SQuAD format. Results in json name the line, from 1, or the row, "
            "from 0."
        },
    )
    trust_remote_code: bool = field(
        default=False, metadata={"help": "Run code of the base model's repo. Read it first."}
    )
    text_column: str | None = field(
        default=None,
        metadata={"help": "Column of --file with the text. Default: text; for question answering: question."},
    )
    text_pair_column: str | None = field(
        default=None,
        metadata={"help": "Column with the second text of a pair. Default: none; for question answering: context."},
    )
    text_pair: str | None = field(
        default=None, metadata={"help": "Second text, or the question's context, for typed texts."}
    )
    format: Literal["text", "json", "html"] = field(
        default="text",
        metadata={"help": "text for a terminal, json with one object per line, html for a browser."},
    )
    output: str | None = field(default=None, metadata={"help": "File to write to instead of stdout."})
    overwrite: bool = field(default=False, metadata={"help": "Overwrite --output if it exists."})
    state: str | None = field(default=None, metadata={"help": "Show the hard mask of this state. Default: the last."})
    aggregation: Literal["token", "word"] = field(default="token", metadata={"help": "word merges tokens into words."})
    on_violation: Literal["keep", "search", "refine", "abstain"] = field(
        default="keep",
        metadata={
            "help": "What to do with an explanation outside the margin. keep: show it and say so. abstain: show no "
            "explanation. search (not with --recipe paper): search the ranking of tokens, about ten passes a window. "
            "refine (with --recipe paper): search a mask within the margin, 260 passes per window."
        },
    )
    label: str | None = field(
        default=None,
        metadata={
            "help": "Class to explain; several, separated by commas, give an explanation each. predicted: those that "
            "hold. Default: the most probable."
        },
    )
    targets: str | None = field(
        default=None,
        metadata={
            "help": "For token classification, what is explained: entities, all (every token), or START:END in "
            "characters, several separated by commas. Default: entities."
        },
    )
    unit: str | None = field(
        default=None,
        metadata={
            "help": "What is masked together: token, word, sentence, or START:END in characters, several separated by "
            "commas. Default: as in training."
        },
    )
    candidate_labels: str | None = field(
        default=None,
        metadata={
            "help": "For entailment models: labels of zero-shot classification, separated by commas, each explained."
        },
    )
    hypothesis_template: str | None = field(
        default=None,
        metadata={"help": "The hypothesis with {} for a candidate label. Default: This example is {}."},
    )
    margin: float | None = field(
        default=None,
        metadata={"help": "Highest cost of an explanation, not with --recipe paper. Default: the explainer's margin."},
    )
    refine_steps: int | None = field(default=None, metadata={"help": "Retired: refused with the reason."})
    no_verify: bool = field(default=False, metadata={"help": "Skip the masked pass that verifies each explanation."})
    batch_size: int = field(default=8, metadata={"help": "Inputs per batch."})
    device: str | None = field(
        default=None, metadata={"help": "cpu, cuda, cuda:1, ... Default: the first GPU or cpu."}
    )


def _inputs(args: ExplainArguments, given: list[str], task: Task) -> list[tuple[Place, Text]]:
    if given and args.file:
        raise DiffMaskError("Give texts or --file, not both.")
    if args.text_pair is not None and not given:
        raise DiffMaskError("--text_pair goes with texts that are typed: name a column with --text_pair_column.")
    if given:
        return [({}, text if args.text_pair is None else (text, args.text_pair)) for text in given]
    if args.file:
        which = DatasetArguments(text_column=args.text_column, text_pair_column=args.text_pair_column)
        found = placed_inputs(args.file, task, which)
    else:
        found = lines_of_stdin()
    if not found:
        raise DiffMaskError("There is no text to explain: the input is empty.")
    return found


def _labels(label: str | None, model: DiffMaskModel) -> str | list[str] | None:
    """A class, or several. The name of a class may hold commas."""
    if label is None or "," not in label or label in model.task.choice_names(model.base.config):
        return label
    return [name.strip() for name in label.split(",")]


def _spans(named: str | None) -> str | list[tuple[int, int]] | None:
    """Spans, if these are numbers; the rest is for the pipeline to check."""
    if named is None or not re.fullmatch(r"\d+:\d+(,\s*\d+:\d+)*", named):
        return named
    ends = [span.split(":") for span in named.split(",")]
    return [(int(start), int(end)) for start, end in ends]


def _each(of_each: Iterable[tuple[Place, Any]], empty: list[int]) -> Iterator[dict[str, Any]]:
    """The results with their places. Numbers of texts without any are added to `empty`."""
    for number, (place, found) in enumerate(of_each):
        if not results_in(found):
            empty.append(number)
        yield from ({**place, **result} for result in results_in(found))


def _write(results: Iterator[dict[str, Any]], args: ExplainArguments, color: bool) -> Iterator[str]:
    if args.format == "html":
        yield to_html(results)
    elif args.format == "json":
        for result in results:
            yield json.dumps(result) + "\n"
    else:
        for result in results:
            place = [f"{kind} {result[kind]}\n" for kind in ("line", "row") if kind in result]
            yield "".join(place) + to_text(result, color) + "\n\n"


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask explain`.

    Raises:
        DiffMaskError: If the explainer, an input or the output file cannot be used.
    """
    parser = parser_of(ExplainArguments, "explain", DESCRIPTION)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="Texts to explain.")
    args, given = parse(parser, arguments)
    if args.output:
        if os.path.isdir(args.output) or not os.path.isdir(os.path.dirname(args.output) or "."):
            raise DiffMaskError(f"{args.output} cannot be written: name a file in a folder that exists.")
        if os.path.exists(args.output) and not is_stream(args.output) and not args.overwrite:
            raise DiffMaskError(f"{args.output} exists: name another file with --output, or add --overwrite.")
    logging.disable_progress_bar()
    state: str | int | None = int(args.state) if re.fullmatch(r"-?\d+", args.state or "") else args.state
    explain = load_pipeline(args.model, state=state, device=args.device, trust_remote_code=args.trust_remote_code)
    places, texts = zip(*_inputs(args, given.texts, explain.model.task), strict=True)
    batch_size = 1 if explain.tokenizer.pad_token_id is None else min(args.batch_size, len(texts))
    inputs = (
        dict(zip(("text", "text_pair"), text, strict=True)) if isinstance(text, tuple) else {"text": text}
        for text in texts
    )
    results = explain(
        inputs,
        verify=not args.no_verify,
        aggregation=args.aggregation,
        on_violation=args.on_violation,
        margin=args.margin,
        label=_labels(args.label, explain.model),
        targets=_spans(args.targets),
        unit=_spans(args.unit),
        candidate_labels=args.candidate_labels,
        hypothesis_template=args.hypothesis_template,
        refine_steps=args.refine_steps,
        batch_size=batch_size,
    )
    results = tqdm(results, total=len(texts), unit="text", file=sys.stderr, disable=len(texts) < 20)
    empty: list[int] = []
    results = _each(zip(places, results, strict=True), empty)
    if args.output:
        with writing(args.output) as file:
            file.writelines(_write(results, args, color=False))
    else:
        # A page says that it is UTF-8. In another encoding it is right only in ASCII.
        in_ascii = args.format == "html" and codecs.lookup(sys.stdout.encoding).name != "utf-8"
        for piece in _write(results, args, color=sys.stdout.isatty()):
            print(piece.encode("ascii", "xmlcharrefreplace").decode() if in_ascii else piece, end="")
    if empty:
        what = f"In {len(empty)} of {len(texts)} texts the base model finds {explain.model.task.nothing}."
        print(f"hf-diffmask: {what}", file=sys.stderr)
