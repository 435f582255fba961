"""`hf-diffmask evaluate`."""

import json
import math
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import HfArgumentParser
from transformers.utils import logging

import hf_diffmask

from .. import heads, plots
from ..bounds import Bounds, bounds, reached
from ..comparison import (
    COSTLY,
    METHODS,
    Attributed,
    Explainers,
    attribute,
    extended,
    interval,
    measured,
    rankable,
    summary,
)
from ..data import TextFeatures, is_on_hub, max_length
from ..errors import DiffMaskError, reason
from ..faithfulness import PRESETS, Preset
from ..model_card import check_local, update_card
from ..modeling_diffmask import DiffMaskModel
from ..removal import REPLACEMENTS, check_replacement
from .arguments import output_folder, parse
from .explain import load_pipeline
from .inputs import DatasetArguments, load_inputs

DESCRIPTION = """Measures how faithful an explainer is, beside other methods, on your model and data, in one run.

  hf-diffmask evaluate --model my-explainer --dataset traffic.csv --output_dir faithfulness
  hf-diffmask evaluate --model my-explainer --dataset traffic.csv --methods diffmask,ig,loo,random --output_dir out
  hf-diffmask evaluate --model my-explainer --dataset traffic.csv --attributions shap=shap.jsonl --output_dir out

Comprehensiveness (higher is better): how far the predicted class's probability falls without the tokens that come
first. Sufficiency (lower is better): how far it falls on these alone. Both with 95 % intervals, beside what each
method costs, and again under replacements that no explainer was trained with (--held_out). OUTPUT_DIR holds all of it
in faithfulness.json, the plot in faithfulness.png, and in attributions/ the scores of each method and what each
replacement makes of them, one input a line: give scores of any other library like this, with --attributions NAME=FILE.

Methods: {methods}. {costly} are run on the first --costly_limit inputs, on which all others are shown, too.""".format(
    methods=", ".join(METHODS), costly=" and ".join(COSTLY)
)

DEFAULT = "diffmask,ig,loo,gradient_norm,input_x_gradient,attention,random"
SHOWN = ("comprehensiveness", "sufficiency")


@dataclass(kw_only=True)
class EvaluateArguments(DatasetArguments):
    """What to measure, and where to write it."""

    dataset: str = field(
        metadata={"help": "csv, json, jsonl or parquet file (.gz may follow), or a data set's id; no labels needed."}
    )
    output_dir: str = field(metadata={"help": "Folder for faithfulness.json, faithfulness.png and attributions/."})
    model: str | None = field(default=None, metadata={"help": "Explainer: a folder or an id on the Hub."})
    hidden_model: str | None = field(
        default=None,
        metadata={"help": "A second explainer for the same base model, with hidden masking, for diffmask_hidden."},
    )
    methods: str = field(default=DEFAULT, metadata={"help": "Methods to compare, with commas between them."})
    attributions: list[str] = field(
        default_factory=list,
        metadata={
            "help": "NAME=FILE: attributions made elsewhere, a JSON object a line and input, in the order of "
            "--dataset, with input_ids and a list of scores."
        },
    )
    preset: str = field(default="hf_diffmask", metadata={"help": f"Protocol: {', '.join(PRESETS)}."})
    held_out: str = field(
        default="attention",
        metadata={
            "help": "Another way to take tokens away, shown beside, or several with commas between them, whose mean "
            f"is shown: {', '.join(REPLACEMENTS)}."
        },
    )
    limit: int = field(default=1000, metadata={"help": "Inputs to measure: the first so many."})
    costly_limit: int = field(default=100, metadata={"help": "Inputs of costly methods: the first so many."})
    bounds: bool = field(
        default=False,
        metadata={
            "help": "Also search for the best and the worst ranking of the first --costly_limit inputs, and show how "
            "much of the way between them each method goes: thousands of passes an input."
        },
    )
    extended: bool = field(
        default=False,
        metadata={
            "help": "Also measure deletion and insertion curves, soft faithfulness, and stability where a tenth of "
            "the tokens is masked, on the first --costly_limit inputs."
        },
    )
    batch_size: int = field(default=32, metadata={"help": "Inputs that run through the model at once."})
    seed: int = field(default=0, metadata={"help": "Of random scores and of the bootstrap."})
    device: str | None = field(
        default=None, metadata={"help": "cpu, cuda, cuda:1, ... Default: the first GPU or cpu."}
    )
    update_card: bool = field(default=False, metadata={"help": "Put the table into the card of a local explainer."})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Write into a folder that is not empty."})


def _held_out(args: EvaluateArguments) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in args.held_out.split(",")))


def _check(args: EvaluateArguments) -> tuple[Path, list[str], dict[str, Path]]:
    """Refuses what cannot be used before anything is computed; returns output folder, methods and files."""
    methods = [name.strip() for name in args.methods.split(",") if name.strip()]
    for name in methods:
        if name not in METHODS:
            raise DiffMaskError(f"There is no method {name!r}: --methods takes {', '.join(METHODS)}.")
    if "diffmask_hidden" in methods and args.hidden_model is None:
        raise DiffMaskError("diffmask_hidden needs a second explainer: name one with --hidden_model.")
    if args.preset not in PRESETS:
        raise DiffMaskError(f"There is no preset {args.preset!r}: --preset takes {', '.join(PRESETS)}.")
    for name in _held_out(args):
        if name not in REPLACEMENTS:
            raise DiffMaskError(f"There is no replacement {name!r}: --held_out takes {', '.join(REPLACEMENTS)}.")
        if name == PRESETS[args.preset].replacement:
            raise DiffMaskError(f"The preset {args.preset!r} uses {name!r} itself: name another --held_out.")
    if min(args.limit, args.costly_limit, args.batch_size) < 1:
        raise DiffMaskError("--limit, --costly_limit and --batch_size must be at least 1.")
    files = {}
    for entry in args.attributions:
        name, _, file = entry.partition("=")
        if not file or name in METHODS or not name.isidentifier():
            raise DiffMaskError(f"--attributions takes NAME=FILE with a new name of letters, but got {entry!r}.")
        if not Path(file).is_file():
            raise DiffMaskError(f"There is no file {file}.")
        files[name] = Path(file)
    if not methods and not files:
        raise DiffMaskError("There is nothing to measure: name --methods or --attributions.")
    if args.bounds and PRESETS[args.preset].positive:
        raise DiffMaskError(f"The preset {args.preset!r} leaves tokens out by their score and has no --bounds.")
    if args.update_card:
        check_local(args.model)
    plots.check_matplotlib()
    return output_folder(args.output_dir, args.overwrite_output_dir), methods, files


def _read(path: Path, inputs: list[dict[str, list[int]]]) -> list[list[float]]:
    """Attributions made elsewhere, which must be of the same tokens."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DiffMaskError(f"{path} cannot be read as JSON lines ({reason(error)}).") from error
    if len(lines) != len(inputs):
        raise DiffMaskError(f"{path} holds {len(lines)} attributions for {len(inputs)} inputs: give one for each.")
    scores = []
    for number, (line, one) in enumerate(zip(lines, inputs, strict=True), 1):
        if not isinstance(line, dict) or not isinstance(line.get("scores"), list):
            raise DiffMaskError(f"Line {number} of {path} has no list `scores`.")
        if line.get("input_ids") != one["input_ids"]:
            raise DiffMaskError(
                f"Line {number} of {path} has other `input_ids` than input {number}: attributions must be of the "
                "tokens that the model reads, in the order of the data set."
            )
        if not all(isinstance(score, int | float) for score in line["scores"]):
            raise DiffMaskError(f"Line {number} of {path} has scores that are no numbers.")
        if len(line["scores"]) != len(one["input_ids"]):
            raise DiffMaskError(
                f"Line {number} of {path} has {len(line['scores'])} scores for {len(one['input_ids'])} tokens."
            )
        if not all(map(math.isfinite, line["scores"])):
            raise DiffMaskError(f"Line {number} of {path} has a score that is not finite.")
        scores.append([float(score) for score in line["scores"]])
    return scores


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _search(
    explainer: DiffMaskModel, tokenizer: Any, inputs: list[dict[str, list[int]]], preset: Preset, batch_size: int
) -> dict[str, list[Bounds]]:
    """The best and the worst that a ranking can do, of each figure that is shown and each input."""
    found: dict[str, list[Bounds]] = {figure: [] for figure in SHOWN}
    for one in tqdm(inputs, desc="bounds", leave=False):
        for figure in SHOWN:
            found[figure].append(bounds(explainer.base, tokenizer, one, preset, figure, batch_size=batch_size))
    return found


def _compared(
    values: dict[str, np.ndarray],
    held_out: dict[str, dict[str, np.ndarray]],
    first: dict[str, dict[str, np.ndarray]],
    within: dict[str, list[Bounds]],
    seed: int,
) -> dict[str, Any]:
    """A method's figures: with intervals, under other replacements, less those of the first method, in bounds."""
    mean_held_out, every = (
        {figure: np.mean([part[figure] for part in parts], axis=0) for figure in values}
        for parts in (list(held_out.values()), [values, *held_out.values()])
    )

    def less(of_method: dict[str, np.ndarray], of_first: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
        ends = {figure: interval(of_method[figure] - of_first[figure], seed) for figure in of_method}
        return {figure: {"low": low, "high": high} for figure, (low, high) in ends.items()}

    first.setdefault("values", values)
    first.setdefault("every", every)
    entry = {
        "figures": summary(values),
        "held_out": summary(mean_held_out),
        "less_the_first": less(values, first["values"]),
    }
    if len(held_out) > 1:
        entry["by_held_out"] = {name: summary(part) for name, part in held_out.items()}
        entry["every_replacement"] = {"figures": summary(every), "less_the_first": less(every, first["every"])}
    if within:
        of_bounds = {
            figure: np.array(
                [
                    reached(value, ends, lower_is_better=figure == "sufficiency")
                    for value, ends in zip(values[figure], of_figure, strict=True)
                ]
            )
            for figure, of_figure in within.items()
        }
        entry["reached"] = summary(of_bounds)
    return entry


def _table(methods: dict[str, Any]) -> str:
    """Comprehensiveness and sufficiency with their intervals, as markdown."""
    bounded = any("reached" in found for found in methods.values())
    header = ["method", *SHOWN, "held out: both", "cost in forwards", "seconds an input"]
    header += ["of the way to the best: both"] if bounded else []
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name, found in methods.items():
        figures = [
            f"{(value := found['figures'][figure])['mean']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
            for figure in SHOWN
        ]
        held_out = " / ".join(f"{found['held_out'][figure]['mean']:.3f}" for figure in SHOWN)
        cost = ["", ""] if found["forwards"] is None else [f"{found['forwards']:.1f}", f"{found['seconds']:.4f}"]
        if "reached" in found:
            cost.append(" / ".join(f"{found['reached'][figure]['mean']:.2f}" for figure in SHOWN))
        lines.append(f"| {name} | {' | '.join([*figures, held_out, *cost])} |")
    return "\n".join(lines)


def _table_of_replacements(methods: dict[str, Any]) -> str:
    """Means over all replacements with intervals, and those of the first method's lead, as markdown."""
    lead = [f"{figure}, less the first method's" for figure in SHOWN]
    lines = [f"| method | {' | '.join([*SHOWN, *lead])} |", "|---" * 5 + "|"]
    for name, found in methods.items():
        figures, less = found["every_replacement"]["figures"], found["every_replacement"]["less_the_first"]
        cells = [f"{(v := figures[name])['mean']:.3f} ({v['low']:.3f} to {v['high']:.3f})" for name in SHOWN]
        cells += [f"{less[name]['low']:.3f} to {less[name]['high']:.3f}" for name in SHOWN]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _table_of_more(methods: dict[str, Any]) -> str:
    """Further figures, as markdown."""
    figures = list(dict.fromkeys(figure for found in methods.values() for figure in found))
    lines = [f"| method | {' | '.join(figures)} |", "|---" * (1 + len(figures)) + "|"]
    for name, found in methods.items():
        cells = [f"{found[figure]['mean']:.3f}" if figure in found else "" for figure in figures]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): What follows `hf-diffmask evaluate`.

    Raises:
        DiffMaskError: If an explainer, the data, attributions or the output folder cannot be used, or matplotlib or,
            for gradients, Captum is missing.
    """
    parser = HfArgumentParser(EvaluateArguments, prog="hf-diffmask evaluate", description=DESCRIPTION)
    (args,) = parse(parser, arguments)
    folder, names, files = _check(args)
    logging.disable_progress_bar()
    explain = load_pipeline(args.model, device=args.device)
    explainer, tokenizer = explain.model, explain.tokenizer
    if explainer.config.task != heads.CLASSIFICATION:
        raise DiffMaskError("Faithfulness is measured by a class's probability: this explainer is for no classifier.")
    for replacement in [PRESETS[args.preset].replacement, *_held_out(args)]:
        check_replacement(tokenizer, replacement)
    if "diffmask_refined" in names and explainer.config.objective == "path" and not explainer.config.masks_inputs:
        raise DiffMaskError(
            "diffmask_refined is of one state's scores, and with hidden masking they are of all states."
        )
    plain = DiffMaskModel.from_base_model(explainer.base, tokenizer).eval()
    hidden = None if args.hidden_model is None else load_pipeline(args.hidden_model, device=args.device).model
    if hidden is not None and hidden.config.base_model_fingerprint != explainer.config.base_model_fingerprint:
        raise DiffMaskError("The two explainers are for different base models: compare two for the same.")
    explainers = Explainers(explainer, plain, hidden, args.seed)
    texts = load_inputs(args.dataset, explainer.config.task, args, limit=args.limit)
    preset = PRESETS[args.preset]
    every = TextFeatures(tokenizer, texts, max_length(explainer.base, tokenizer)).items
    read = {name: _read(path, every) for name, path in files.items()}
    measurable = [k for k, one in enumerate(every) if preset.takes_away(one["special_tokens_mask"].count(0))]
    if not measurable:
        raise DiffMaskError(f"No input has enough tokens for the preset {args.preset!r} to take one away.")
    inputs = [every[k] for k in measurable]
    if len(inputs) < len(every):
        print(f"hf-diffmask: {len(every) - len(inputs)} inputs have too few tokens to take one away: left out.")
    held_out = [preset._replace(replacement=name) for name in _held_out(args)]
    result: dict[str, Any] = {
        "version": hf_diffmask.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "model": Path(args.model).resolve().name if args.model else "bundled with the package",
        "base_model_fingerprint": explainer.config.base_model_fingerprint,
        "dataset": args.dataset if is_on_hub(args.dataset) else Path(args.dataset).name,
        "texts": len(texts),
        "inputs": len(inputs),
        "left_out": len(every) - len(inputs),
        "preset": args.preset,
        "protocol": preset._asdict(),
        "held_out": ", ".join(_held_out(args)),
        "seed": args.seed,
        "methods": {},
        "on_few": {},
        "extended": {},
    }
    few = inputs[: args.costly_limit]
    show_few = args.bounds or bool(set(COSTLY) & set(names))
    within: dict[str, list[Bounds]] = {}
    if args.bounds:
        within = _search(explainer, tokenizer, few, preset, args.batch_size)
        result["bounds"] = {
            figure: {end: float(np.mean([getattr(one, end) for one in ends])) for end in ("low", "high")}
            for figure, ends in within.items()
        }
    (folder / "attributions").mkdir(exist_ok=True)
    first: dict[str, dict[str, dict[str, np.ndarray]]] = {"methods": {}, "on_few": {}}
    for name in [*names, *read]:
        of_method = few if name in COSTLY else inputs
        if name in read:
            found = Attributed([read[name][k] for k in measurable], 0.0, 0.0)
        else:
            found = attribute(explainers, tokenizer, of_method, name, args.batch_size)
        lines = [
            {"input_ids": one["input_ids"], "scores": scores}
            for one, scores in zip(of_method, found.scores, strict=True)
        ]
        _write(folder / "attributions" / f"{name}.jsonl", lines)
        ranks, unranked = rankable(of_method, found.scores, preset)
        values = measured(explainers, tokenizer, of_method, ranks, preset, args.batch_size)
        others = {
            other.replacement: measured(explainers, tokenizer, of_method, ranks, other, args.batch_size)
            for other in held_out
        }
        for figure in SHOWN:
            of_replacements = {preset.replacement: values, **others}
            for k, line in enumerate(lines):
                line[figure] = {one: float(part[figure][k]) for one, part in of_replacements.items()}
        _write(folder / "attributions" / f"{name}.jsonl", lines)
        for where, count in (("methods", len(inputs)), ("on_few", len(few))):
            if count > len(of_method) or (where == "on_few" and not show_few):
                continue
            cut, *parts = (
                {figure: of_figure[:count] for figure, of_figure in part.items()}
                for part in (values, *others.values())
            )
            beside = dict(zip(others, parts, strict=True))
            result[where][name] = {
                **_compared(cut, beside, first[where], within if where == "on_few" else {}, args.seed),
                "seconds": None if name in read else found.seconds,
                "forwards": None if name in read else found.forwards,
                "unranked": rankable(of_method[:count], found.scores[:count], preset)[1],
            }
        # Saved after each method: what is done is not lost if the next one fails.
        (folder / "faithfulness.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        if args.extended:
            known = None if name in read else name
            more = extended(explainers, tokenizer, few, found.scores[: len(few)], preset, known, args.batch_size)
            result["extended"][name] = {
                figure: {**means, "inputs": len(more[figure])} for figure, means in summary(more).items()
            }
            (folder / "faithfulness.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        if unranked:
            print(f"hf-diffmask: {name} ranks no token of {unranked} inputs: the order of the text had to do.")
    if preset.positive:
        without_sign = "attention, gradient_norm and random"
        if explainer.config.objective == "lagrangian":
            without_sign = f"diffmask, {without_sign}"
        print(
            f"hf-diffmask: with the preset {args.preset!r} only scores above 0 count. Those of {without_sign} all "
            "are: compare methods whose scores have signs with one another."
        )
    shown = result["methods"] or result["on_few"]
    # Bounds are those of the first inputs alone.
    ends = result.get("bounds") if len(few) == len(inputs) else None
    drawn = plots.faithfulness_by_cost(shown, f"{args.preset}, {len(inputs)} inputs", ends)
    drawn.savefig(folder / "faithfulness.png")
    print(f"\n{len(inputs)} inputs, preset {args.preset}, held out: {result['held_out']}\n{_table(result['methods'])}")
    if len(held_out) > 1 and result["methods"]:
        names_of_all = ", ".join([preset.replacement, result["held_out"]])
        print(f"\nMeans over {names_of_all}\n{_table_of_replacements(result['methods'])}")
    if result["on_few"]:
        print(f"\nThe first {len(few)} inputs\n{_table(result['on_few'])}")
    if result["extended"]:
        print(f"\nThe first {len(few)} inputs, further figures\n{_table_of_more(result['extended'])}")
    if args.update_card:
        about = {name: result[name] for name in ("preset", "inputs", "dataset", "held_out", "machine")}
        about |= {"dataset_on_hub": is_on_hub(args.dataset), "dataset_config": args.dataset_config}
        figures = shown["diffmask"]["figures"] if "diffmask" in shown else {}
        on_hub = {"dataset_on_hub": is_on_hub(args.dataset), "dataset_config": args.dataset_config}
        update_card(
            args.model, explainer, faithfulness={**about, **on_hub, "figures": figures, "table": _table(shown)}
        )
    print(f"\n{folder / 'faithfulness.json'}")
