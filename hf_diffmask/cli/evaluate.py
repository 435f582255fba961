"""`hf-diffmask evaluate`."""

from dataclasses import dataclass, field
from pathlib import Path

from transformers.utils import logging

from ..base.removal import REPLACEMENTS, check_replacement
from ..data.files import is_file
from ..data.reading import is_on_hub
from ..data.units import maskable
from ..data.writing import writing
from ..display import plots
from ..errors import DiffMaskError
from ..evaluation.ablated import MASKS
from ..evaluation.attributions import read_attributions
from ..evaluation.faithfulness import PRESETS
from ..evaluation.run import RESULT_FILE, Plan, compare_methods
from ..evaluation.tables import table, table_of_more, table_of_random_masks, table_of_replacements
from ..evaluation.unseen import seen_replacements, unseen_beside
from ..explainer.inputs import inputs_of
from ..hub.card_folder import check_local, update_card
from ..methods.plain import plain_explainer
from ..methods.registry import COSTLY, METHODS, Explainers, check_refinable
from ..pipeline.loading import load_pipeline
from .arguments import output_folder, parse, parser_of
from .facts import about_run
from .inputs import DatasetArguments, load_inputs

DESCRIPTION = """Compares the faithfulness of an explainer and other methods on your model and data, in one run.

  hf-diffmask evaluate --model my-explainer --dataset traffic.csv --output_dir faithfulness
  hf-diffmask evaluate --model my-explainer --dataset traffic.csv --methods diffmask,ig,loo,random --output_dir out
  hf-diffmask evaluate --model my-explainer --dataset traffic.csv --attributions shap=shap.jsonl --output_dir out

Comprehensiveness (higher is better): the drop of the predicted class's probability when the top tokens are removed.
Sufficiency (lower is better): the drop when only the top tokens stay. Both have 95 % intervals, and are measured again
with other replacements (--held_out). Replacements that the explainer saw in training are marked. The cost of each
method is shown, too.

LDS (higher is better): rank correlation of the sum of the kept tokens' scores with the log-odds of the predicted
class, over {masks} random masks. R2 (higher is better), for scores in log-odds: the share of the variance over these
masks that the sums explain. Both are measured on the first --costly_limit inputs: {masks} passes for each input and
replacement, which all methods share.

OUTPUT_DIR/faithfulness.json holds all figures, faithfulness.png the plot. attributions/ holds each method's scores and
their figures under each replacement, one input per line. Scores from other libraries are read in the same format:
--attributions NAME=FILE.

Methods: {methods}. {costly} run only on the first --costly_limit inputs; the other methods are shown for these inputs,
too.""".format(methods=", ".join(METHODS), costly=" and ".join(COSTLY), masks=MASKS)

DEFAULT = "diffmask,ig,loo,gradient_norm,input_x_gradient,attention,random"


@dataclass(kw_only=True)
class EvaluateArguments(DatasetArguments):
    """What to measure, and where to write the results."""

    dataset: str = field(
        metadata={
            "help": "csv, tsv, txt, json, jsonl or parquet file (.gz allowed), or a data set id. Needs no labels."
        }
    )
    output_dir: str = field(metadata={"help": "Folder for faithfulness.json, faithfulness.png and attributions/."})
    model: str | None = field(default=None, metadata={"help": "Explainer: a folder or an id on the Hub."})
    hidden_model: str | None = field(
        default=None,
        metadata={"help": "A second explainer, with hidden masking for the same base model, for diffmask_hidden."},
    )
    methods: str = field(default=DEFAULT, metadata={"help": "Methods to compare, separated by commas."})
    attributions: list[str] = field(
        default_factory=list,
        metadata={
            "help": "NAME=FILE: attributions from elsewhere. One JSON object per input and line, in the order of "
            "--dataset, with input_ids and a list of scores."
        },
    )
    preset: str = field(default="hf_diffmask", metadata={"help": f"Protocol: {', '.join(PRESETS)}."})
    held_out: str | None = field(
        default=None,
        metadata={
            "help": "Another replacement for removed tokens, shown as a second result. With several, separated by "
            f"commas, means are shown, too. Of: {', '.join(REPLACEMENTS)}. Default: attention if training did not use "
            "it, else delete."
        },
    )
    limit: int = field(default=1000, metadata={"help": "Measure only the first N inputs."})
    costly_limit: int = field(
        default=100, metadata={"help": "Run costly methods, LDS and R2 only on the first N inputs."}
    )
    bounds: bool = field(
        default=False,
        metadata={
            "help": "Also search the best and the worst ranking for the first --costly_limit inputs, and place each "
            "method between the two. Thousands of passes per input."
        },
    )
    extended: bool = field(
        default=False,
        metadata={
            "help": "On the first --costly_limit inputs, also measure deletion and insertion curves, soft "
            "faithfulness, and stability when a tenth of the tokens is masked."
        },
    )
    batch_size: int = field(default=32, metadata={"help": "Inputs per batch."})
    seed: int = field(default=0, metadata={"help": "Seed for random scores, random masks and the bootstrap."})
    device: str | None = field(
        default=None, metadata={"help": "cpu, cuda, cuda:1, ... Default: the first GPU or cpu."}
    )
    update_card: bool = field(default=False, metadata={"help": "Write the table into the card of a local explainer."})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Write into a folder that is not empty."})


def _others(args: EvaluateArguments) -> list[str]:
    """Replacements beside the preset's; none if they depend on the explainer."""
    return [] if args.held_out is None else list(dict.fromkeys(name.strip() for name in args.held_out.split(",")))


def _check(args: EvaluateArguments) -> tuple[Path, list[str], dict[str, Path]]:
    """Returns output folder, methods and files, after all options are checked."""
    methods = [name.strip() for name in args.methods.split(",") if name.strip()]
    for name in methods:
        if name not in METHODS:
            raise DiffMaskError(f"There is no method {name!r}: --methods takes {', '.join(METHODS)}.")
    if "diffmask_hidden" in methods and args.hidden_model is None:
        raise DiffMaskError("diffmask_hidden needs a second explainer: name one with --hidden_model.")
    if args.preset not in PRESETS:
        raise DiffMaskError(f"There is no preset {args.preset!r}: --preset takes {', '.join(PRESETS)}.")
    for name in _others(args):
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
        if not is_file(file):
            raise DiffMaskError(f"There is no file {file}.")
        files[name] = Path(file)
    if not methods and not files:
        raise DiffMaskError("There is nothing to measure: name --methods or --attributions.")
    if args.bounds and PRESETS[args.preset].positive:
        raise DiffMaskError(f"The preset {args.preset!r} leaves tokens out by their score and has no --bounds.")
    if args.update_card:
        check_local(args.model)
    plots.check_matplotlib()
    folder = output_folder(args.output_dir, args.overwrite_output_dir)
    return folder, methods, files


def _say(text: str) -> None:
    print(f"hf-diffmask: {text}")


def run(arguments: list[str]) -> None:
    """
    Runs the command.

    Args:
        arguments (`list[str]`): Arguments after `hf-diffmask evaluate`.

    Raises:
        DiffMaskError: If an explainer, the data, attributions or the output folder cannot be used, or a package is
            missing: matplotlib, or Captum for gradients.
    """
    parser = parser_of(EvaluateArguments, "evaluate", DESCRIPTION)
    (args,) = parse(parser, arguments)
    folder, names, files = _check(args)
    logging.disable_progress_bar()
    explain = load_pipeline(args.model, device=args.device, trust_remote_code=args.trust_remote_code)
    explainer, tokenizer = explain.model, explain.tokenizer
    if not explainer.task.has_choices:
        raise DiffMaskError("Faithfulness needs a class's probability: this explainer is not for a classifier.")
    preset = PRESETS[args.preset]
    others = _others(args) or [unseen_beside(explainer, tokenizer, preset.replacement)]
    for replacement in (preset.replacement, *others):
        check_replacement(tokenizer, replacement)
    seen = seen_replacements(explainer, tokenizer)
    if "diffmask_refined" in names:
        check_refinable(explainer)
    plain = plain_explainer(explainer, tokenizer)
    hidden = (
        None
        if args.hidden_model is None
        else load_pipeline(args.hidden_model, device=args.device, trust_remote_code=args.trust_remote_code).model
    )
    if hidden is not None and hidden.config.base_model_fingerprint != explainer.config.base_model_fingerprint:
        raise DiffMaskError("The two explainers are for different base models: compare two for the same.")
    explainers = Explainers(explainer, plain, hidden, args.seed)
    texts = load_inputs(args.dataset, explainer.task, args, limit=args.limit)
    every = inputs_of(explainer, tokenizer, texts).items
    read = {name: read_attributions(path, every) for name, path in files.items()}
    measurable = [k for k, one in enumerate(every) if preset.takes_away(sum(maskable(one)))]
    if not measurable:
        raise DiffMaskError(f"No input has enough tokens for the preset {args.preset!r} to remove one.")
    inputs = [every[k] for k in measurable]
    if len(inputs) < len(every):
        _say(f"{len(every) - len(inputs)} inputs have too few tokens to remove one: left out.")
    plan = Plan(
        names, {name: [scores[k] for k in measurable] for name, scores in read.items()}, preset,
        [preset._replace(replacement=name) for name in others], seen, args.costly_limit, args.bounds, args.extended,
        args.batch_size,
    )  # fmt: skip
    facts = {
        **about_run(explainer, args.model, args.dataset),
        "texts": len(texts),
        "inputs": len(inputs),
        "left_out": len(every) - len(inputs),
        "preset": args.preset,
        "protocol": preset._asdict(),
        "held_out": ", ".join(others),
        **{group: plan.groups.get(group, []) for group in ("unseen", "seen")},
        "seed": args.seed,
    }
    result = compare_methods(explainers, tokenizer, inputs, plan, folder, facts, _say)
    few = inputs[: args.costly_limit]
    if preset.positive:
        without_sign = "attention, gradient_norm and random"
        if not explainer.masks.has_evidence:
            without_sign = f"diffmask, {without_sign}"
        _say(
            f"with the preset {args.preset!r} only scores above 0 count. All scores of {without_sign} are above 0: "
            "compare methods with signed scores only with each other."
        )
    shown = result["methods"] or result["on_few"]
    # The bounds hold for the first inputs only, and for the preset's replacement.
    ends = result.get("bounds") if len(few) == len(inputs) else None
    title = f"{args.preset}, {len(inputs if result['methods'] else few)} inputs"
    if ends is None and len(others) > 1:
        shown_in_plot = {name: {**found, **found["every_replacement"]} for name, found in shown.items()}
        title += f", mean over {', '.join([preset.replacement, *others])}"
    else:
        shown_in_plot = shown
    drawn = plots.faithfulness_by_cost(shown_in_plot, title, ends)
    with writing(folder / "faithfulness.png", "wb") as file:
        drawn.savefig(file, format="png")
    print(f"\n{len(inputs)} inputs, preset {args.preset}, tokens removed by {preset.replacement}")
    print(table(result["methods"], seen))
    if len(others) > 1 and result["methods"]:
        print(f"\nMeans over {', '.join([preset.replacement, *others])}\n{table_of_replacements(result['methods'])}")
        for group, of_group in plan.groups.items() if len(plan.groups) > 1 else ():
            print(f"\nMeans over {group} replacements: {', '.join(of_group)}")
            print(table_of_replacements(result["methods"], group))
    if result["on_few"]:
        print(f"\nThe first {len(few)} inputs\n{table(result['on_few'], seen)}")
    of_masks = table_of_random_masks(result["random_masks"], seen)
    print(f"\nThe first {len(few)} inputs, {MASKS} random masks\n{of_masks}")
    if result["extended"]:
        print(f"\nThe first {len(few)} inputs, further figures\n{table_of_more(result['extended'])}")
    if args.update_card:
        kept = ("preset", "inputs", "dataset", "held_out", "unseen", "seen", "machine")
        about = {name: result[name] for name in kept}
        about |= {"dataset_on_hub": is_on_hub(args.dataset), "dataset_config": args.dataset_config}
        about |= {"figures": shown["diffmask"]["figures"] if "diffmask" in shown else {}, "table": table(shown, seen)}
        about |= {"random_masks": {"inputs": len(few), "masks": MASKS, "table": of_masks}}
        update_card(args.model, explainer, faithfulness=about)
    print(f"\n{folder / RESULT_FILE}")
