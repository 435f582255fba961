"""Faithfulness compared with other methods on a real classifier: results in docs/faithfulness.md.

    python benchmarks/faithfulness.py train --folder FOLDER       (35 minutes on 2 cores: six explainers)
    python benchmarks/faithfulness.py evaluate --folder FOLDER    (an hour)
    python benchmarks/faithfulness.py replacements --folder FOLDER
    python benchmarks/faithfulness.py parity --figures others/figures.json
    python benchmarks/faithfulness.py table

Base model: minilm-sst2. Explainers: recipe `paper` with input and with hidden masking, seeds 0, 1 and 2, trained on
sst2_sentences_train. Measured on all of sst2_dev; costly methods on its first 100 sentences.

- `evaluate` runs `hf-diffmask evaluate` for each seed. For the first seed, --extended adds more figures, --bounds
  searches the best and worst rankings, and --others others/attn_lrp.jsonl (from other_packages.py) adds AttnLRP.
- `replacements` measures the same attributions with every replacement.
- `parity` compares our figures with ferret's and time_interpret's own.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_diffmask.base.removal import REPLACEMENTS
from hf_diffmask.data.encoding import max_length
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.data.reading import load_texts
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.comparison import rankable
from hf_diffmask.evaluation.faithfulness import PRESETS, curves, mean_measures, measures
from hf_diffmask_entry import main as hf_diffmask

RESULTS = Path(__file__).parent / "results" / "faithfulness.json"
SEEDS = (0, 1, 2)
CHEAP = "diffmask,diffmask_hidden,ig,loo,gradient_norm,input_x_gradient,attention,random"
COSTLY = "diffmask_refined,kernel_shap,sequential_ig"
SHOWN = ("comprehensiveness", "sufficiency")
# These methods depend on the seed; the others run only for the first seed.
SEEDED = "diffmask,diffmask_hidden,random"
SEEDED_COSTLY = "diffmask_refined"


def run(*arguments: str) -> None:
    """Runs a command; exits if it fails."""
    print("hf-diffmask", *arguments, flush=True)
    if hf_diffmask(list(arguments)):
        raise SystemExit(1)


def save(name: str, value: Any) -> None:
    """Adds one part to the results file."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    RESULTS.write_text(json.dumps({**results, name: value}, indent=1))


def train(args: argparse.Namespace) -> None:
    """Trains the six explainers."""
    for seed in SEEDS:
        for masking in ("input", "hidden"):
            folder = args.folder / f"{masking}-{seed}"
            if (folder / "all_results.json").is_file():
                continue
            run(
                *("train", "--base_model", str(args.shared / "models" / "minilm-sst2"), "--masking", masking),
                *("--recipe", "paper"),
                *("--dataset", str(args.shared / "data" / "sst2_sentences_train.jsonl.gz"), "--seed", str(seed)),
                *("--output_dir", str(folder), "--overwrite_output_dir", "--report_to", "none"),
            )  # fmt: skip


def evaluate(args: argparse.Namespace) -> None:
    """Runs all methods for the first seed, and the methods that depend on the seed for the others."""
    for seed in args.seeds:
        folder, first = args.folder / f"faithfulness-{seed}", seed == SEEDS[0]
        methods = f"{CHEAP},{COSTLY}" if first else f"{SEEDED},{SEEDED_COSTLY}"
        others = ["--attributions", f"attn_lrp={args.others}"] if first and args.others else []
        run(
            *("evaluate", "--model", str(args.folder / f"input-{seed}"), "--methods", methods, *others),
            *("--hidden_model", str(args.folder / f"hidden-{seed}"), "--seed", str(seed), "--output_dir", str(folder)),
            *("--dataset", str(args.shared / "data" / "sst2_dev.jsonl.gz"), "--overwrite_output_dir"),
            *(f"--{name}" for name in ("extended", "bounds") if first and getattr(args, name)),
        )  # fmt: skip
        found = json.loads(RESULTS.read_text()).get("evaluate", {}) if RESULTS.is_file() else {}
        save("evaluate", {**found, str(seed): json.loads((folder / "faithfulness.json").read_text())})


def replacements(args: argparse.Namespace) -> None:
    """Measures the first seed's attributions with every replacement."""
    base, tokenizer, inputs = load(args.shared)
    folder = args.folder / f"faithfulness-{SEEDS[0]}" / "attributions"
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.jsonl")):
        scores = [json.loads(line)["scores"] for line in path.read_text().splitlines()]
        if len(scores) < len(inputs):
            continue
        scores, _ = rankable(inputs, scores, PRESETS["hf_diffmask"])
        for name in REPLACEMENTS:
            preset = PRESETS["hf_diffmask"]._replace(replacement=name)
            measured = mean_measures(measures(one) for one in curves(base, tokenizer, inputs, scores, preset))
            found.setdefault(path.stem, {})[name] = measured
        print(
            path.stem, {name: round(row["comprehensiveness"], 3) for name, row in found[path.stem].items()}, flush=True
        )
    save("replacements", found)


def parity(args: argparse.Namespace) -> None:
    """Largest differences between our presets and the packages' own functions, for the same tokens and scores."""
    base, tokenizer, inputs = load(args.shared)
    rows = json.loads(args.figures.read_text())
    differences: dict[str, float] = {}
    refused: dict[str, int] = {}
    for preset in ("ferret", "time_interpret"):
        for row, one in zip(rows, inputs, strict=False):
            assert row["input_ids"] == one["input_ids"]
            try:
                (curve,) = curves(base, tokenizer, [one], [row["scores"]], preset, [row["target"]])
            except DiffMaskError:  # ferret returns 0 and 1 if no score is above 0
                refused[preset] = refused.get(preset, 0) + 1
                continue
            ours = measures(curve)
            for figure, theirs in row[preset].items():
                name = f"{preset}: {figure}"
                differences[name] = float(np.maximum(differences.get(name, 0.0), abs(ours[figure] - theirs)))
    for name, difference in differences.items():
        print(f"{name}: at most {difference:.1e} apart on {len(rows)} inputs")
    save("parity", {"inputs": len(rows), "largest_difference": differences, "refused": refused})


def load(shared: Path) -> tuple[Any, Any, list]:
    """Base model, tokenizer and the inputs from sst2_dev."""
    torch.set_num_threads(2)
    folder = shared / "models" / "minilm-sst2"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    base = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    texts = load_texts(str(shared / "data" / "sst2_dev.jsonl.gz"))
    return base, tokenizer, TextFeatures(tokenizer, texts, max_length(base, tokenizer)).items


def table(args: argparse.Namespace) -> None:
    """
    Prints the results as in the docs.

    Each figure is the mean over seeds, with half of the 95 % interval over sentences. With several seeds, the lowest
    and highest mean of a seed follow.
    """
    results = json.loads(RESULTS.read_text())
    runs = list(results["evaluate"].values())

    def figure(part: str, method: str, name: str) -> tuple[str, str]:
        of_seeds = [one[part][method]["figures"][name] for one in runs if method in one[part]]
        means = [of_seed["mean"] for of_seed in of_seeds]
        half = statistics.mean((of_seed["high"] - of_seed["low"]) / 2 for of_seed in of_seeds)
        spread = f"{min(means):.3f} to {max(means):.3f}" if len(means) > 1 else ""
        return f"{statistics.mean(means):.3f} ± {half:.3f}", spread

    def mean(part: str, method: str, *path: str) -> float | None:
        values = []
        for one in runs:
            value = one[part].get(method)
            for key in path:
                value = None if value is None else value.get(key)
            values += [] if value is None else [float(value)]
        return statistics.mean(values) if values else None

    for part, inputs in (("methods", runs[0]["inputs"]), ("on_few", 100)):
        print(f"\n{inputs} sentences; {runs[0]['machine']}")
        columns = ["comprehensiveness", "of seeds", "sufficiency", "of seeds", "attention removed: both"]
        columns += ["of the way to the best: both"] if part == "on_few" else []
        print(f"| method | {' | '.join([*columns, 'forwards'])} |\n|{'---|' * (len(columns) + 2)}")
        for method in runs[0][part]:
            cells = [cell for name in SHOWN for cell in figure(part, method, name)]
            for group in ("held_out", "reached") if part == "on_few" else ("held_out",):
                both = [mean(part, method, group, name, "mean") for name in SHOWN]
                cells.append(" / ".join(f"{value:.3f}" for value in both if value is not None))
            forwards = mean(part, method, "forwards")
            print(f"| {method} | {' | '.join(cells)} | {'' if forwards is None else f'{forwards:.1f}'} |")
    for method, of_seed in runs[0]["methods"].items():
        less = of_seed["less_the_first"]
        print(method, {name: [round(less[name][end], 3) for end in ("low", "high")] for name in SHOWN})
    print(json.dumps({name: value for name, value in results.items() if name != "evaluate"}, indent=1))


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["train", "evaluate", "replacements", "parity", "table"])
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder of models and data")
    parser.add_argument("--folder", type=Path, help="where explainers and measurements go")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="of `evaluate`")
    parser.add_argument("--others", type=Path, help="attn_lrp.jsonl, which other_packages.py wrote")
    parser.add_argument("--figures", type=Path, help="figures.json, which other_packages.py wrote")
    parser.add_argument("--extended", action="store_true", help="measure further figures, too: half an hour")
    parser.add_argument("--bounds", action="store_true", help="search for the bounds, too: half an hour")
    args = parser.parse_args()
    if args.folder is None and args.part in ("train", "evaluate", "replacements"):
        parser.error(f"{args.part} needs --folder")
    {"train": train, "evaluate": evaluate, "replacements": replacements, "parity": parity, "table": table}[args.part](
        args
    )


if __name__ == "__main__":
    main()
