"""`hf-diffmask evaluate`."""

from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser
from transformers.utils import logging

from ..base.removal import REPLACEMENTS, check_replacement
from ..data.encoding import max_length
from ..data.features import TextFeatures
from ..data.reading import is_on_hub
from ..display import plots
from ..errors import DiffMaskError
from ..evaluation.attributions import read_attributions
from ..evaluation.faithfulness import PRESETS
from ..evaluation.run import RESULT_FILE, Plan, compare_methods
from ..evaluation.tables import table, table_of_more, table_of_replacements
from ..explainer.modeling_diffmask import DiffMaskModel
from ..hub.card_folder import check_local, update_card
from ..methods.registry import COSTLY, METHODS, Explainers
from ..pipeline.loading import load_pipeline
from .arguments import output_folder, parse
from .facts import about_run
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


def _say(text: str) -> None:
    print(f"hf-diffmask: {text}")


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
    if not explainer.task.has_choices:
        raise DiffMaskError("Faithfulness is measured by a class's probability: this explainer is for no classifier.")
    for replacement in [PRESETS[args.preset].replacement, *_held_out(args)]:
        check_replacement(tokenizer, replacement)
    if "diffmask_refined" in names and explainer.masks.has_evidence and len(explainer.config.judged_states) > 1:
        raise DiffMaskError(
            "diffmask_refined is of one state's scores, and with hidden masking they are of all states."
        )
    plain = DiffMaskModel.from_base_model(explainer.base, tokenizer).eval()
    hidden = None if args.hidden_model is None else load_pipeline(args.hidden_model, device=args.device).model
    if hidden is not None and hidden.config.base_model_fingerprint != explainer.config.base_model_fingerprint:
        raise DiffMaskError("The two explainers are for different base models: compare two for the same.")
    explainers = Explainers(explainer, plain, hidden, args.seed)
    texts = load_inputs(args.dataset, explainer.task, args, limit=args.limit)
    preset = PRESETS[args.preset]
    every = TextFeatures(tokenizer, texts, max_length(explainer.base, tokenizer)).items
    read = {name: read_attributions(path, every) for name, path in files.items()}
    measurable = [k for k, one in enumerate(every) if preset.takes_away(one["special_tokens_mask"].count(0))]
    if not measurable:
        raise DiffMaskError(f"No input has enough tokens for the preset {args.preset!r} to take one away.")
    inputs = [every[k] for k in measurable]
    if len(inputs) < len(every):
        _say(f"{len(every) - len(inputs)} inputs have too few tokens to take one away: left out.")
    held_out = [preset._replace(replacement=name) for name in _held_out(args)]
    plan = Plan(
        names, {name: [scores[k] for k in measurable] for name, scores in read.items()}, preset, held_out,
        args.costly_limit, args.bounds, args.extended, args.batch_size,
    )  # fmt: skip
    facts = {
        **about_run(explainer, args.model, args.dataset),
        "texts": len(texts),
        "inputs": len(inputs),
        "left_out": len(every) - len(inputs),
        "preset": args.preset,
        "protocol": preset._asdict(),
        "held_out": ", ".join(_held_out(args)),
        "seed": args.seed,
    }
    result = compare_methods(explainers, tokenizer, inputs, plan, folder, facts, _say)
    few = inputs[: args.costly_limit]
    if preset.positive:
        without_sign = "attention, gradient_norm and random"
        if not explainer.masks.has_evidence:
            without_sign = f"diffmask, {without_sign}"
        _say(
            f"with the preset {args.preset!r} only scores above 0 count. Those of {without_sign} all "
            "are: compare methods whose scores have signs with one another."
        )
    shown = result["methods"] or result["on_few"]
    # Bounds are those of the first inputs alone.
    ends = result.get("bounds") if len(few) == len(inputs) else None
    drawn = plots.faithfulness_by_cost(shown, f"{args.preset}, {len(inputs)} inputs", ends)
    drawn.savefig(folder / "faithfulness.png")
    print(f"\n{len(inputs)} inputs, preset {args.preset}, held out: {result['held_out']}\n{table(result['methods'])}")
    if len(held_out) > 1 and result["methods"]:
        names_of_all = ", ".join([preset.replacement, result["held_out"]])
        print(f"\nMeans over {names_of_all}\n{table_of_replacements(result['methods'])}")
    if result["on_few"]:
        print(f"\nThe first {len(few)} inputs\n{table(result['on_few'])}")
    if result["extended"]:
        print(f"\nThe first {len(few)} inputs, further figures\n{table_of_more(result['extended'])}")
    if args.update_card:
        about = {name: result[name] for name in ("preset", "inputs", "dataset", "held_out", "machine")}
        about |= {"dataset_on_hub": is_on_hub(args.dataset), "dataset_config": args.dataset_config}
        figures = shown["diffmask"]["figures"] if "diffmask" in shown else {}
        on_hub = {"dataset_on_hub": is_on_hub(args.dataset), "dataset_config": args.dataset_config}
        update_card(args.model, explainer, faithfulness={**about, **on_hub, "figures": figures, "table": table(shown)})
    print(f"\n{folder / RESULT_FILE}")
