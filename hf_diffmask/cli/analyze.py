"""`hf-diffmask analyze`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm
from transformers import HfArgumentParser
from transformers.utils import logging

import hf_diffmask

from .. import analysis, plots
from ..data import Text
from ..errors import DiffMaskError
from ..pipeline_diffmask import DiffMaskAttributionPipeline
from ..report import Entry, write
from ..tagging import Tag, tag
from ..tasks.sst import LABELS, Sentence, load_trees
from ..wording import certificate, predicted
from .arguments import output_folder, parse
from .explain import load_pipeline
from .inputs import DatasetArguments, load_inputs

DESCRIPTION = """Explains a data set and sums up what is kept at which state: a page with figures, each also as data.

  hf-diffmask analyze --dataset traffic.csv --model my-explainer --output_dir report
  hf-diffmask analyze --dataset squad.json --model qa-explainer --output_dir report
  hf-diffmask analyze --trees sst5_trees_dev.txt.gz --hidden_model my-hidden-explainer --output_dir report

Figures (pip install 'hf-diffmask[plots]'): heat maps tokens x states of the first inputs; mean keep probability by
state; the share of predictions that are fixed by state; of a path, how much of its tokens an input needs by state,
verified ("when was it decided?"); the mean number of states at which a token is kept, by part of
speech and entity type (pip install 'hf-diffmask[tagging]' and a spaCy model; else these two are left out) and, with
--trees, by the sentiment of the word. Without --model the small bundled sentiment classifier is analysed."""


@dataclass(kw_only=True)
class AnalyzeArguments(DatasetArguments):
    """What to analyse, and where to write the report."""

    output_dir: str = field(metadata={"help": "Folder of the report: index.html, report.json, and the figures."})
    model: str | None = field(default=None, metadata={"help": "Explainer: a folder or an id on the Hub."})
    hidden_model: str | None = field(
        default=None,
        metadata={"help": "A second explainer for the same base model, trained with --masking hidden, to compare."},
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "csv, json, jsonl or parquet file (.gz may follow), or a data set's id; no labels needed. For "
            "question answering also a file in the format of SQuAD."
        },
    )
    trees: str | None = field(
        default=None,
        metadata={
            "help": "Instead of --dataset: a file of trees of the Stanford Sentiment Treebank, one a line (.gz may "
            "follow), whose words have labels of their own."
        },
    )
    tagger: str = field(
        default="en_core_web_sm",
        metadata={"help": "spaCy model for parts of speech and entity types, of any language."},
    )
    limit: int = field(default=500, metadata={"help": "Inputs to analyse: the first so many."})
    examples: int = field(default=3, metadata={"help": "Inputs to show a heat map of: the first so many."})
    batch_size: int = field(default=8, metadata={"help": "Inputs that run through the model at once."})
    device: str | None = field(
        default=None, metadata={"help": "cpu, cuda, cuda:1, ... Default: the first GPU or cpu."}
    )
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Write into a folder that is not empty."})


def _check(args: AnalyzeArguments) -> Path:
    """Refuses what cannot be used before anything is computed; returns the output folder, made."""
    if (args.dataset is None) == (args.trees is None):
        raise DiffMaskError("Name the inputs with either --dataset or --trees.")
    if args.trees is not None and args.text_pair_column is not None:
        raise DiffMaskError("Trees hold single sentences: leave --text_pair_column out, or name a --dataset.")
    if args.limit < 1 or args.batch_size < 1 or args.examples < 0:
        raise DiffMaskError("--limit and --batch_size must be at least 1, and --examples at least 0.")
    plots.check_matplotlib()
    return output_folder(args.output_dir, args.overwrite_output_dir)


def _load_explainers(args: AnalyzeArguments) -> list[DiffMaskAttributionPipeline]:
    explainers = [load_pipeline(args.model, device=args.device)]
    if args.hidden_model is None:
        return explainers
    explainers.append(load_pipeline(args.hidden_model, device=args.device))
    first, second = (explain.model.config for explain in explainers)
    if (first.masking, second.masking) != ("input", "hidden"):
        raise DiffMaskError(
            "Two explainers are compared by what they mask: name one with input masking as --model and one with "
            f"hidden masking as --hidden_model, not {first.masking} and {second.masking}."
        )
    if first.base_model_fingerprint != second.base_model_fingerprint:
        raise DiffMaskError("The two explainers are for different base models: compare two for the same.")
    return explainers


_DECIDED: tuple[tuple[str, Literal["lower", "median", "upper", "mean"]], ...] = (
    ("a quarter of the inputs, at most", "lower"),
    ("half of them, at most", "median"),
    ("three quarters, at most", "upper"),
    ("mean", "mean"),
)


def _segments(text: Text) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


def _tags(texts: Sequence[Text], model: str) -> list[list[list[Tag]]]:
    """Tags of each text, or of each of a pair."""
    flat = iter(tag([segment for text in texts for segment in _segments(text)], model))
    return [[next(flat) for _ in _segments(text)] for text in texts]


def _explain(explain: DiffMaskAttributionPipeline, texts: Sequence[Text], batch_size: int) -> list[dict[str, Any]]:
    inputs = (dict(zip(("text", "text_pair"), _segments(text), strict=False)) for text in texts)
    results = explain(inputs, batch_size=1 if explain.tokenizer.pad_token_id is None else min(batch_size, len(texts)))
    kind = explain.model.config.masking
    return list(tqdm(results, f"Explaining ({kind} masking)", len(texts), unit="text", disable=len(texts) < 20))


def _heat_map(number: int, text: Text, results: dict[str, dict[str, Any]]) -> Entry:
    data = analysis.heat_map({f"{masking} masking": result for masking, result in results.items()})
    first = next(iter(results.values()))
    states = [f"{state} ({masking})" for masking, result in results.items() for state in result["states"]]
    rows = zip(*(panel["keep_probability"] for panel in data["panels"]), strict=True)
    return Entry(
        f"heat_map_{number}",
        f"Input {number}",
        [
            *_segments(text),
            f"Prediction: {predicted(first)}, {first['score']:.3f}.",
            *(f"{masking.capitalize()} masking: {certificate(result)}" for masking, result in results.items()),
        ],
        f"Heat map of the keep probability of each of {len(data['tokens'])} tokens at each of {len(first['states'])} "
        f"states, by {' and by '.join(panel['title'] for panel in data['panels'])}.",
        data,
        [
            ["token", *states],
            *(
                [token, *(f"{keep:.2f}" for panel in row for keep in panel)]
                for token, row in zip(data["tokens"], rows, strict=True)
            ),
        ],
        plots.heat_map(data),
    )


def _keep_by_state(explain: DiffMaskAttributionPipeline, results: list[dict[str, Any]]) -> Entry:
    config = explain.model.config
    data = analysis.keep_by_state(results)
    title = "Mean keep probability by state"
    if config.votes_multiply:
        rule = "A token that a state drops stays dropped, so that no line rises."
    else:
        rule = "Each state decides for itself, so that a line may rise."
    ends = [f"{group['group']} {group['mean'][0]:.2f} to {group['mean'][-1]:.2f}" for group in data["groups"]]
    return Entry(
        f"{config.masking}_keep_by_state",
        title,
        [f"Mean over the tokens of each group. {rule} {_special(explain)}"],
        f"Lines of the mean keep probability over the states. From the first state to the last: {', '.join(ends)}.",
        data,
        [
            ["tokens", "count", *data["states"]],
            *([g["group"], str(g["count"]), *(f"{keep:.3f}" for keep in g["mean"])] for g in data["groups"]),
        ],
        plots.keep_by_state(data, f"{title}, {config.masking} masking"),
    )


def _special(explain: DiffMaskAttributionPipeline) -> str:
    if explain.model.config.mask_special_tokens:
        return ""
    return "This explainer never masks special tokens: they are kept at every state."


def _fixed_by_state(explain: DiffMaskAttributionPipeline, texts: Sequence[Text], batch_size: int) -> Entry:
    config = explain.model.config
    unchanged = analysis.unchanged_predictions(explain.model, explain.tokenizer, texts, batch_size)
    data = analysis.fixed_by_state(config.state_names, unchanged)
    title = "Share of predictions fixed by state"
    return Entry(
        f"{config.masking}_fixed_by_state",
        title,
        [
            "A prediction is fixed at a state if the hard masks of this state and of all above it leave it as it is: "
            "from there on up, what is kept is enough to decide. The other line asks it of each state's mask alone.",
        ],
        f"Two lines over the states. Fixed from the first state on: {data['fixed'][0]:.3f} of the "
        f"predictions; unchanged under the last state's mask: {data['unchanged'][-1]:.3f}.",
        data,
        [
            ["share of inputs", *data["states"]],
            ["unchanged", *(f"{share:.3f}" for share in data["unchanged"])],
            ["fixed", *(f"{share:.3f}" for share in data["fixed"])],
        ],
        plots.fixed_by_state(data, f"{title}, {config.masking} masking"),
    )


def _decided_by_state(explain: DiffMaskAttributionPipeline, texts: Sequence[Text], batch_size: int) -> Entry:
    config = explain.model.config
    shares = analysis.smallest_shares(explain.model, explain.tokenizer, texts, batch_size=batch_size)
    data = analysis.decided_by_state(config.state_names, shares, config.margin)
    cost = "the class's probability falls" if config.target == "prediction" else "the output diverges (in nats)"
    # Probes that are told the prediction do not say what the state alone holds.
    knows = "the state, given the prediction," if config.class_conditional or config.read_context else "the state"
    title = f"When it was decided: the smallest budget within a margin of {config.margin:g}"
    return Entry(
        f"{config.masking}_decided_by_state",
        title,
        [
            f"Of each input and state, the share of tokens in the smallest mask of its path under which {cost} by at "
            f"most {config.margin:g}; each such mask was run, or keeps everything. What is not in it is irrelevant to "
            f"the prediction, and {knows} tells that. A smaller mask between two that were run may do, too.",
        ],
        f"Lines of the quartiles of the share over the states. The median from the first state to the last: "
        f"{data['median'][0]:.2f} to {data['median'][-1]:.2f}.",
        data,
        [
            ["share of its tokens that an input needs", *data["states"]],
            *([name, *(f"{share:.3f}" for share in data[key])] for name, key in _DECIDED),
        ],
        plots.decided_by_state(data, f"{title}, {config.masking} masking"),
    )


def _states_kept(
    explain: DiffMaskAttributionPipeline,
    results: list[dict[str, Any]],
    spans: Sequence[Sequence[Sequence[analysis.Span]]],
    by: str,
    order: Sequence[str] = (),
) -> Entry:
    config = explain.model.config
    labels = [analysis.token_labels(result, of_text) for result, of_text in zip(results, spans, strict=True)]
    data = analysis.states_kept_by_label(results, labels, order)
    title = f"States at which a token is kept, by {by}"
    rows = [
        [g["label"], str(g["count"]), f"{g['mean']:.3f}", "" if (e := g["standard_error"]) is None else f"{e:.3f}"]
        for g in data["groups"]
    ]
    return Entry(
        f"{config.masking}_states_kept_by_{by.replace(' ', '_')}",
        title,
        [
            f"Mean number of states, of {data['num_states']}, whose hard mask keeps a token (in brackets how many "
            "tokens), with its standard error. A part of a word has the label of the word. Hatched: special tokens. "
            + _special(explain),
        ],
        f"Bars of means: {', '.join(f'{label} {mean}' for label, _, mean, _ in rows)}.",
        data,
        [[by, "tokens", "mean", "standard error"], *rows],
        plots.states_kept(data, f"{title}, {config.masking} masking"),
    )


def _name(location: str) -> str:
    """Of a file or folder its own name, which says something on other machines, too; of anything else all of it."""
    return Path(location).resolve().name if Path(location).exists() else location


def _described(explain: DiffMaskAttributionPipeline, model: str | None) -> dict[str, Any]:
    config = explain.model.config
    return {
        "model": "bundled with the package" if model is None else _name(model),
        "base_model": Path(config.base_model_name_or_path or "unnamed").name,
        "base_model_fingerprint": config.base_model_fingerprint,
        "masking": config.masking,
        "margin": config.margin,
        "mask_special_tokens": config.mask_special_tokens,
        "states": list(config.state_names),
    }


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): What follows `hf-diffmask analyze`.

    Raises:
        DiffMaskError: If matplotlib is missing, or an explainer, the inputs or the output folder cannot be used.
    """
    parser = HfArgumentParser(AnalyzeArguments, prog="hf-diffmask analyze", description=DESCRIPTION)
    (args,) = parse(parser, arguments)
    folder = _check(args)
    logging.disable_progress_bar()
    explainers = _load_explainers(args)
    sentences: list[Sentence] = [] if args.trees is None else load_trees(args.trees)
    task = explainers[0].model.config.task
    every: list[Text] = [sentence.text for sentence in sentences]
    if args.dataset is not None:
        # All of them are counted, but where that would read a whole stream.
        every = load_inputs(args.dataset, task, args, limit=args.limit if args.streaming else None)
    texts = every[: args.limit]
    notes = []
    tags: list[list[list[Tag]]] = []
    try:
        tags = _tags(texts, args.tagger)
    except DiffMaskError as error:
        notes.append(f"The analyses by part of speech and by entity type are left out. {error}")
        print(f"hf-diffmask: {notes[-1]}", file=sys.stderr)
    results = {explain.model.config.masking: _explain(explain, texts, args.batch_size) for explain in explainers}
    sections = {
        "Inputs one by one": [
            _heat_map(k + 1, text, {masking: of_all[k] for masking, of_all in results.items()})
            for k, text in enumerate(texts[: args.examples])
        ]
    }
    for explain in explainers:
        masking = explain.model.config.masking
        kept = results[masking]
        entries = [_keep_by_state(explain, kept), _fixed_by_state(explain, texts, args.batch_size)]
        if explain.model.config.objective == "path":
            entries.append(_decided_by_state(explain, texts, args.batch_size))
        if tags:
            pos = [[[(t.start, t.end, t.pos) for t in words if t.pos] for words in text] for text in tags]
            entity = [[[(t.start, t.end, t.entity or "no entity") for t in words] for words in text] for text in tags]
            entries += [
                _states_kept(explain, kept, pos, "part of speech"),
                _states_kept(explain, kept, entity, "entity type"),
            ]
        if sentences:
            sentiments = [[analysis.word_sentiments(sentence)] for sentence in sentences[: len(texts)]]
            entries.append(_states_kept(explain, kept, sentiments, "sentiment of the word", LABELS[::-1]))
        sections[f"All inputs, {masking} masking"] = entries
    facts = {
        "version": hf_diffmask.__version__,
        "explainers": [
            _described(explain, model)
            for explain, model in zip(explainers, (args.model, args.hidden_model), strict=False)
        ],
        "data": _name(args.trees or args.dataset),
        "inputs": len(texts),
        "available": len(every),
        "tagger": _name(args.tagger) if tags else None,
        "notes": notes,
    }
    write(folder, facts, sections)
    print(f"{len(texts)} inputs analysed: {folder / 'index.html'}")
