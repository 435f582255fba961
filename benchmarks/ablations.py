"""The recipe `ablation` compared with its rivals and with the retired `path`: see docs/ablations.md and the README.

    python benchmarks/ablations.py train --folder FOLDER       (for each seed 12 minutes on 1 core)
    python benchmarks/ablations.py evaluate --folder FOLDER    (an hour on 1 core)
    python benchmarks/ablations.py compare --folder FOLDER     (seconds; reads the output of `evaluate`)
    python benchmarks/ablations.py few --folder FOLDER         (15 minutes on 1 core; with --bounds an hour)
    python benchmarks/ablations.py forwards --folder FOLDER    (5 minutes on 1 core)
    python benchmarks/ablations.py states --folder FOLDER      (seconds; reads the output of `train`)
    python benchmarks/ablations.py curve --folder FOLDER       (25 minutes; reads ablations that `train` made)

Base model: minilm-sst2, or another with --base_model, such as the model from llama_target.py (with --replacements
mask attention delete). Explainers: recipes `ablation` and `path`, seeds 0, 1 and 2, trained on sst2_sentences_train;
each seed draws masks, baseline and split. `train` trains `ablation`; explainers of `path` (FOLDER/path-SEED) come from
`train` of commit d7870d8. `ablation` sees its baseline and removed attention in training. Measured on
all of sst2_dev, with the preset hf_diffmask (tokens become the mask token) and with the other replacements.

- `evaluate` runs `hf-diffmask evaluate` for each explainer; for the first explainer also for its rivals.
- `compare` compares each explainer with each rival: means of both figures for each replacement, over all, and over
  those that no training used, and 95 % intervals of the paired difference, for each seed and for the seeds' mean.
- `few` compares all methods, with the costly ones, on the first 100 sentences; with --bounds also to the best rankings
  of a beam search, under the mask token.
- `forwards` times `model.forward` beside the bare base model, interleaved, on batches of 32 sentences.
- `states` collects R2 of each state, and the minutes that training took, and prints a sentence's evidence.
- `curve` fits explainers to a part of the inputs and masks of the first seed: R2 on the same validation ablations, and
  for some parts the means of both figures.
"""

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

from hf_diffmask import DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.ablations.store import Ablations
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.data.reading import load_texts
from hf_diffmask.data.sampling import train_validation_split
from hf_diffmask.errors import RETIRED
from hf_diffmask.evaluation.comparison import interval
from hf_diffmask.evaluation.stability import rank_correlation
from hf_diffmask.hub.training_results import add_training_results
from hf_diffmask.training.recipes import ablation
from hf_diffmask.training.recipes.registry import recipe_config
from hf_diffmask.training.run import train as fit

RESULTS = Path(__file__).parent / "results" / "ablations.json"
SEEDS = (0, 1, 2)
RECIPES = ("ablation", "path")
RIVALS = ("ig", "loo")
COSTLY = ("kernel_shap",)
REPLACEMENTS = ("mask", "pad", "unk", "attention", "delete")
PARTS = ((1500, 4), (1500, 16), (3000, 8), (6228, 4), (6228, 8))  # inputs and masks of `curve`
MEASURED = ((3000, 8), (6228, 8))  # parts whose faithfulness is measured, too
SEEN = ("attention",)  # by training; the learned baseline is no replacement here
SENTENCE = "The plot is thin, but the two leads are a joy to watch."
FIGURES = ("comprehensiveness", "sufficiency")


def run(args: argparse.Namespace, *arguments: str) -> None:
    """Runs a command in a process of its own; exits if it fails."""
    print("hf-diffmask", *arguments, flush=True)
    code = f"import sys, torch; torch.set_num_threads({args.threads}); from hf_diffmask_entry import main; "
    code += "sys.exit(main(sys.argv[1:]))"
    if subprocess.run([sys.executable, "-c", code, *arguments]).returncode:
        raise SystemExit(1)


def save(args: argparse.Namespace, part: str, value: Any) -> None:
    """Adds one part to the base model's results."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    machine = f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}"
    of_model = {**results.get(base_model(args).name, {}), part: {"machine": machine, "found": value}}
    RESULTS.write_text(json.dumps({**results, base_model(args).name: of_model}, indent=1))


def base_model(args: argparse.Namespace) -> Path:
    """Folder of the base model."""
    return args.base_model or args.shared / "models" / "minilm-sst2"


def train(args: argparse.Namespace) -> None:
    """Trains an explainer for each recipe and seed. Recipes that have been retired are left out."""
    for seed, recipe in itertools.product(args.seeds, args.recipes):
        folder = args.folder / f"{recipe}-{seed}"
        if recipe not in RETIRED and not (folder / "all_results.json").is_file():
            run(
                args, "train", "--base_model", str(base_model(args)), "--recipe", recipe, "--seed", str(seed),
                "--dataset", str(args.shared / "data" / "sst2_sentences_train.jsonl.gz"), "--use_cpu",
                "--output_dir", str(folder), "--overwrite_output_dir", "--report_to", "none",
            )  # fmt: skip


def evaluate(args: argparse.Namespace) -> None:
    """Measures each explainer on sst2_dev with all replacements; the rivals once."""
    for seed, recipe in itertools.product(args.seeds, args.recipes):
        output = args.folder / f"measured-{recipe}-{seed}"
        methods = ["diffmask", *RIVALS] if (seed, recipe) == (SEEDS[0], RECIPES[0]) else ["diffmask"]
        if not (output / "attributions" / f"{methods[-1]}.jsonl").is_file():
            measure(args, args.folder / f"{recipe}-{seed}", output, methods, seed)


def measure(args: argparse.Namespace, explainer: Path, output: Path, methods: list[str], seed: int) -> None:
    """Measures an explainer and other methods on sst2_dev with all replacements; LDS only beside other methods."""
    run(
        args, "evaluate", "--model", str(explainer), "--seed", str(seed), "--methods", ",".join(methods),
        "--output_dir", str(output), "--overwrite_output_dir", "--device", "cpu",
        "--dataset", str(args.shared / "data" / "sst2_dev.jsonl.gz"), "--held_out", ",".join(args.replacements[1:]),
        "--costly_limit", "100" if len(methods) > 1 else "1",
    )  # fmt: skip


def lines_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """Rows that `hf-diffmask evaluate` wrote for a method."""
    return [json.loads(line) for line in (folder / "attributions" / f"{name}.jsonl").read_text().splitlines()]


def compare(args: argparse.Namespace) -> None:
    """Compares each explainer with each rival, paired by input."""
    first = args.folder / f"measured-{RECIPES[0]}-{SEEDS[0]}"
    tokenizer = AutoTokenizer.from_pretrained(base_model(args))
    # The unknown token replaces a word, so it is not special here.
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    unseen = [place for place, way in enumerate(args.replacements) if way not in SEEN]

    def ordinary(line: dict[str, Any]) -> list[float]:
        """Scores of tokens that are not special."""
        return [score for score, token in zip(line["scores"], line["input_ids"], strict=True) if token not in special]

    def figures(lines: list[dict[str, Any]]) -> np.ndarray:
        """Array of shape `(N, 2, R)`: inputs, figures, replacements."""
        return np.array([[[line[name][way] for way in args.replacements] for name in FIGURES] for line in lines])

    values = {name: figures(lines_of(first, name)) for name in RIVALS}
    correlations = {}
    for recipe in args.recipes:
        of_seeds = [lines_of(args.folder / f"measured-{recipe}-{seed}", "diffmask") for seed in args.seeds]
        for seed, lines in zip(args.seeds, of_seeds, strict=True):
            values[f"{recipe}-{seed}"] = figures(lines)
        values[recipe] = np.mean([values[f"{recipe}-{seed}"] for seed in args.seeds], axis=0)
        correlations[recipe] = [
            float(np.mean([rank_correlation(ordinary(one), ordinary(other)) for one, other in zip(a, b, strict=True)
                           if len(ordinary(one)) > 1]))
            for a, b in itertools.combinations(of_seeds, 2)
        ]  # fmt: skip
    found: dict[str, Any] = {"replacements": args.replacements, "seen": list(SEEN), "means": {}, "leads": {}}
    for name, of_name in values.items():
        found["means"][name] = {figure: of_name[:, k].mean(0).tolist() for k, figure in enumerate(FIGURES)}
        every = [f"{of_name[:, k].mean():.3f}" for k in range(2)]
        alone = [f"{of_name[:, k][:, unseen].mean():.3f}" for k in range(2)]
        ways = [
            " / ".join(f"{of_name[:, k, place].mean():.3f}" for k in range(2))
            for place in range(len(args.replacements))
        ]
        print(f"| {name} | {' / '.join(every)} | {' / '.join(alone)} | {' | '.join(ways)} |")
    own = [RECIPES[0], *(f"{RECIPES[0]}-{seed}" for seed in args.seeds)]
    for name, rival in itertools.product(own, [*RIVALS, *(one for one in args.recipes if one != RECIPES[0])]):
        # Above 0 if the explainer is better, for both figures.
        lead = (values[name] - values[rival]) * np.array([1, -1])[None, :, None]
        found["leads"][f"{name} over {rival}"] = {
            figure: {
                **{way: interval(lead[:, k, place]) for place, way in enumerate(args.replacements)},
                "every": interval(lead[:, k].mean(-1)),
                "unseen": interval(lead[:, k][:, unseen].mean(-1)),
            }
            for k, figure in enumerate(FIGURES)
        }
        ends = {
            figure: [[round(end, 4) for end in of_figure[which]] for which in ("every", "unseen")]
            for figure, of_figure in found["leads"][f"{name} over {rival}"].items()
        }
        print(f"{name} over {rival}", ends)
    found["rank_correlation"] = correlations
    print("rank correlation of seeds", correlations)
    of_first = json.loads((first / "faithfulness.json").read_text())
    found["machine_of_costs"] = of_first["machine"]
    found["forwards"] = {name: one["forwards"] for name, one in of_first["methods"].items()}
    what = f"{', '.join(args.recipes)}, seeds {', '.join(map(str, args.seeds))}"
    save(args, f"compare {what}", found)


def few(args: argparse.Namespace) -> None:
    """Measures all methods on the first 100 sentences, with bounds."""
    output = args.folder / "measured-few"
    names = ["diffmask", *RIVALS, *COSTLY]
    if not (output / "attributions" / f"{names[-1]}.jsonl").is_file():
        run(
            args, "evaluate", "--model", str(args.folder / f"{RECIPES[0]}-{args.seeds[0]}"), "--limit", "100",
            "--methods", ",".join(names), "--output_dir", str(output), "--overwrite_output_dir", "--device", "cpu",
            "--dataset", str(args.shared / "data" / "sst2_dev.jsonl.gz"),
            "--held_out", ",".join(args.replacements[1:]), *(["--bounds"] if args.bounds else []),
        )  # fmt: skip
    found = json.loads((output / "faithfulness.json").read_text())
    unseen = [way for way in args.replacements if way not in SEEN]
    groups = {way: [way] for way in args.replacements} | {"every": args.replacements, "unseen": unseen}
    leads: dict[str, Any] = {}
    own = lines_of(output, "diffmask")
    for name in names[1:]:
        others = lines_of(output, name)
        for (group, ways), (figure, sign) in itertools.product(groups.items(), zip(FIGURES, (1, -1), strict=True)):
            less = [
                sign * np.mean([a[figure][way] - b[figure][way] for way in ways])
                for a, b in zip(own, others, strict=True)
            ]
            leads.setdefault(name, {}).setdefault(figure, {})[group] = interval(np.array(less))
        print(name, leads[name])
    kept = ("inputs", "on_few", "random_masks", *(["bounds"] if args.bounds else []))
    save(args, f"few, seed {args.seeds[0]}", {**{name: found[name] for name in kept}, "leads": leads})


def forwards(args: argparse.Namespace) -> None:
    """Times passes interleaved on the same batches: medians of ratios to the bare base model."""
    torch.set_num_threads(1)
    folder = base_model(args)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    base = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    texts = load_texts(str(args.shared / "data" / "sst2_dev.jsonl.gz"))
    items = TextFeatures(tokenizer, texts, 512).items
    ours = {
        recipe: DiffMaskModel.from_base_model(base, tokenizer, **recipe_config(recipe)).eval()
        for recipe in args.recipes
        if recipe not in RETIRED
    }
    for explainer in ours.values():  # any thresholds: without calibration, masks are made as well
        explainer.thresholds.copy_(
            torch.linspace(-1, 1, explainer.thresholds.shape[1]).expand_as(explainer.thresholds)
        )

    def bare(batch: dict[str, torch.Tensor]) -> None:
        base(**{name: value for name, value in batch.items() if name != "special_tokens_mask"})

    runs: dict[str, Any] = {"bare": bare}
    for recipe, explainer in ours.items():
        runs[f"{recipe}, recorded"] = lambda batch, one=explainer: one.record(one.batch(**batch))
        runs[recipe] = lambda batch, one=explainer: one(**batch)
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    with torch.no_grad():
        for start in range(0, len(items) - 31, 32):
            batch = collate(tokenizer, [{**item, "example_ids": 0} for item in items[start : start + 32]])
            del batch["example_ids"]
            took: dict[str, list[float]] = {name: [] for name in runs}
            for _, (name, one) in itertools.product(range(4), runs.items()):
                begun = time.perf_counter()
                one(batch)
                took[name].append(time.perf_counter() - begun)
            for name in runs:  # the fastest of three: other work on the machine only adds
                ratios[name].append(min(took[name][1:]) / min(took["bare"][1:]))
    found = {name: statistics.median(values) for name, values in ratios.items()}
    print({name: round(value, 3) for name, value in found.items()})
    save(args, "forwards", found)


def states(args: argparse.Namespace) -> None:
    """Collects what training wrote: R2 of each state, minutes of each phase, the masks at the margin."""
    found = {}
    for seed in args.seeds:
        folder = args.folder / f"{RECIPES[0]}-{seed}"
        results = json.loads((folder / "all_results.json").read_text())
        r2 = {
            name.removeprefix("eval_").removesuffix("_r2"): value for name, value in results.items() if "_r2" in name
        }
        minutes = json.loads((folder / "explainer_results.json").read_text())["training"]["minutes_of"]
        of_masks = {
            name: results[f"eval_{name}"] for name in ("kept_share", "divergence", "agreement", "within_margin")
        }
        found[str(seed)] = {"r2": r2, "minutes": minutes, "masks": of_masks}
        print(seed, {name: round(value, 3) for name, value in (r2 | minutes | of_masks).items()})
    save(args, "states", found)
    folder = args.folder / f"{RECIPES[0]}-{SEEDS[0]}"
    explainer, tokenizer = DiffMaskModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    features = tokenizer(SENTENCE, return_tensors="pt", return_special_tokens_mask=True)
    with torch.no_grad():
        evidence = explainer(**features).logits[0]
    print("| token |", " | ".join(explainer.config.columns), "|")
    for token, row in zip(tokenizer.convert_ids_to_tokens(features["input_ids"][0]), evidence.tolist(), strict=True):
        print("|", token, "|", " | ".join(f"{value:.1f}" for value in row), "|")


class Part(Ablations):
    """The first masks of the first inputs."""

    def __init__(self, folder: str, masks: int):
        super().__init__(folder)
        self._outputs[:, masks:] = np.nan  # outputs that are not finite do not count

    def check(self, *args: Any, **kwargs: Any) -> None:
        """The data set is shorter here."""


def curve(args: argparse.Namespace) -> None:
    """Fits explainers to a part of the first seed's ablations."""
    folder, tokenizer = args.folder / f"{RECIPES[0]}-{SEEDS[0]}", AutoTokenizer.from_pretrained(base_model(args))
    base = AutoModelForSequenceClassification.from_pretrained(base_model(args), dtype=torch.float32)
    texts = load_texts(str(args.shared / "data" / "sst2_sentences_train.jsonl.gz"))
    texts, validation = train_validation_split(texts, SEEDS[0])
    found = []
    for inputs, masks in PARTS:
        vars(ablation)["Ablations"] = partial(Part, masks=masks)
        output = args.folder / f"part-{inputs}-{masks}"
        settings = DiffMaskTrainingArguments(
            output_dir=str(output), recipe=RECIPES[0], seed=SEEDS[0], use_cpu=True, report_to=[],
            ablations=str(folder / "ablations"), overwrite_output_dir=True,
        )  # fmt: skip
        set_seed(SEEDS[0])
        explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config(RECIPES[0]))
        trainer, facts = fit(explainer, tokenizer, texts[:inputs], validation, settings)
        add_training_results(str(output), explainer, tokenizer, facts, trainer.rows)
        r2 = json.loads((output / "all_results.json").read_text())["eval_r2"]
        found.append({"inputs": inputs, "masks": masks, "r2": r2, "minutes": facts["minutes_of"]})
        if (inputs, masks) in MEASURED:
            measure(args, output, args.folder / f"measured-{output.name}", ["diffmask"], SEEDS[0])
            lines = lines_of(args.folder / f"measured-{output.name}", "diffmask")
            every = {name: [[line[name][way] for way in args.replacements] for line in lines] for name in FIGURES}
            found[-1] |= {name: float(np.mean(of_lines)) for name, of_lines in every.items()}
        print(found[-1], flush=True)
    save(args, "curve", found)


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"train": train, "evaluate": evaluate, "compare": compare, "few": few, "forwards": forwards}
    parts |= {"states": states, "curve": curve}
    parser.add_argument("part", choices=parts)
    parser.add_argument("--folder", type=Path, required=True, help="where explainers and measurements go")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder of models and data")
    parser.add_argument("--base_model", type=Path, help="folder of another classifier of the same sentences")
    parser.add_argument("--replacements", nargs="+", default=list(REPLACEMENTS), help="the first is the preset's")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bounds", action="store_true", help="with `few`: search the best and the worst rankings")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    parts[args.part](args)


if __name__ == "__main__":
    main()
