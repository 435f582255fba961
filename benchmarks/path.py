"""The mask path compared with Integrated Gradients and leave-one-out: results in docs/path.md and the README.

    python benchmarks/path.py train --folder FOLDER        (six explainers, each 8 minutes on 2 cores)
    python benchmarks/path.py evaluate --folder FOLDER     (an hour on 2 cores)
    python benchmarks/path.py compare --folder FOLDER      (seconds; reads the output of `evaluate`)
    python benchmarks/path.py few --folder FOLDER          (an hour)
    python benchmarks/path.py plot --folder FOLDER         (docs/faithfulness.png, from the results of `few`)
    python benchmarks/path.py masks --folder FOLDER        (5 minutes)
    python benchmarks/path.py refine --folder FOLDER       (20 minutes)
    python benchmarks/path.py decided --folder FOLDER      (20 minutes)
    python benchmarks/path.py audit --folder FOLDER        (half an hour)
    python benchmarks/path.py pattern --folder FOLDER      (20 minutes)
    python benchmarks/path.py other_class --folder FOLDER  (10 minutes)

Base model: minilm-sst2, or another with --base_model, such as the model from llama_target.py. Explainers: recipe
`path`, targets `prediction` and `distribution`, seeds 0, 1 and 2, trained on sst2_sentences_train. Training sees only
the learned baseline, none of the replacements. Measured on all of sst2_dev, with the preset hf_diffmask (tokens become
the mask token) and with four other replacements.

- `evaluate` runs `hf-diffmask evaluate` for each explainer; for the first explainer also for its rivals.
- `compare` compares each explainer with each rival: means of both figures for each replacement and over all five, and
  95 % intervals of the paired difference, for each seed and for the mean of the seeds.
- `few` compares all methods, with the costly ones, to the best rankings of a beam search, on the first 100 sentences.
- `plot` draws faithfulness over cost.
- `masks` measures the masks at the config's margin.
- `refine` measures faithfulness after gradient steps on single inputs, on the first 100 sentences.
- `decided` searches the smallest budgets at every state.
- `audit` audits the first seed of each target with the other seeds, and trains explainers for random base models.
- `pattern` repeats one test of the audit with other masks.
- `other_class` asks for the class that is not predicted; training never asks for this class.
"""

import argparse
import itertools
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_diffmask import DiffMaskModel
from hf_diffmask.analysis.decisions import decided_by_state, smallest_shares
from hf_diffmask.audit.readable import base_rate_of, pattern_features, readable
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.data.reading import load_texts
from hf_diffmask.display.plots import faithfulness_by_cost
from hf_diffmask.evaluation.comparison import Attributed, attribute, interval, measured, rankable
from hf_diffmask.evaluation.faithfulness import PRESETS, curves, mean_measures, measures
from hf_diffmask.evaluation.stability import rank_correlation
from hf_diffmask.masks.paths import top
from hf_diffmask.methods.budget_search import smallest_budget
from hf_diffmask.methods.gradients import integrated_gradients
from hf_diffmask.methods.path_refinement import REFINE_SAMPLES, forwards_of, refine_scores
from hf_diffmask.methods.registry import METHODS, Explainers
from hf_diffmask.training.validation import measure, table_of_states
from hf_diffmask_entry import main as hf_diffmask

RESULTS = Path(__file__).parent / "results" / "path.json"
SEEDS = (0, 1, 2)
TARGETS = ("prediction", "distribution")
RIVALS = ("ig", "ig_50", "loo")
REPLACEMENTS = ("mask", "pad", "unk", "attention", "delete")
CHEAP = ("gradient_norm", "input_x_gradient", "attention", "random")
COSTLY = ("diffmask_refined", "kernel_shap", "sequential_ig")
FIGURES = ("comprehensiveness", "sufficiency")
MARGINS = (0.03, 0.1, 0.3)
STEPS = (0, 5, 10, 20, 40)  # for `refine`


def run(*arguments: str) -> None:
    """Runs a command; exits if it fails."""
    print("hf-diffmask", *arguments, flush=True)
    if hf_diffmask(list(arguments)):
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
    """Trains an explainer for each target and seed."""
    for seed, target in itertools.product(args.seeds, args.targets):
        folder = args.folder / f"{target}-{seed}"
        if (folder / "all_results.json").is_file():
            continue
        run(
            *("train", "--base_model", str(base_model(args)), "--target", target),
            *("--recipe", "path"),
            *("--dataset", str(args.shared / "data" / "sst2_sentences_train.jsonl.gz"), "--seed", str(seed)),
            *("--output_dir", str(folder), "--overwrite_output_dir", "--report_to", "none"),
        )  # fmt: skip


def evaluate(args: argparse.Namespace) -> None:
    """Measures each explainer on sst2_dev with all replacements; the rivals once."""
    for seed, target in itertools.product(args.seeds, args.targets):
        first = (seed, target) == (SEEDS[0], TARGETS[0])
        output = args.folder / f"measured-{target}-{seed}"
        run(
            *("evaluate", "--model", str(args.folder / f"{target}-{seed}"), "--seed", str(seed)),
            *("--methods", ",".join(["diffmask", *RIVALS, *CHEAP] if first else ["diffmask"])),
            *("--dataset", str(args.shared / "data" / "sst2_dev.jsonl.gz"), "--overwrite_output_dir"),
            *("--held_out", ",".join(args.replacements[1:]), "--output_dir", str(output)),
        )  # fmt: skip


def lines_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """Rows that `hf-diffmask evaluate` wrote for a method."""
    return [json.loads(line) for line in (folder / "attributions" / f"{name}.jsonl").read_text().splitlines()]


def compare(args: argparse.Namespace) -> None:
    """Compares each explainer with each rival, paired by input."""
    first = args.folder / f"measured-{TARGETS[0]}-{SEEDS[0]}"

    tokenizer = AutoTokenizer.from_pretrained(base_model(args))
    # The unknown token replaces a word, so it is not special here.
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}

    def ordinary(line: dict[str, Any]) -> list[float]:
        """Scores of tokens that are not special."""
        return [score for score, token in zip(line["scores"], line["input_ids"], strict=True) if token not in special]

    def figures(lines: list[dict[str, Any]]) -> np.ndarray:
        """Array of shape `(N, 2, R)`: inputs, figures, replacements."""
        return np.array([[[line[name][way] for way in args.replacements] for name in FIGURES] for line in lines])

    rivals = {name: figures(lines_of(first, name)) for name in (*RIVALS, *CHEAP)}
    found: dict[str, Any] = {"replacements": args.replacements, "means": {}, "leads": {}, "rank_correlation": {}}
    for name, values in rivals.items():
        found["means"][name] = {figure: values[:, k].mean(0).tolist() for k, figure in enumerate(FIGURES)}
    for target in args.targets:
        of_seeds = [lines_of(args.folder / f"measured-{target}-{seed}", "diffmask") for seed in args.seeds]
        measured_ones = {f"{target}-{seed}": figures(lines) for seed, lines in zip(args.seeds, of_seeds, strict=True)}
        measured_ones[target] = np.mean(list(measured_ones.values()), axis=0)
        for name, values in measured_ones.items():
            found["means"][name] = {figure: values[:, k].mean(0).tolist() for k, figure in enumerate(FIGURES)}
            for rival in RIVALS:
                # Above 0 if the explainer is better, for both figures.
                lead = (values - rivals[rival]) * np.array([1, -1])[None, :, None]
                found["leads"][f"{name} over {rival}"] = {
                    figure: {
                        **{way: interval(lead[:, k, place]) for place, way in enumerate(args.replacements)},
                        "every": interval(lead[:, k].mean(-1)),
                    }
                    for k, figure in enumerate(FIGURES)
                }
        correlations = [
            [rank_correlation(ordinary(one), ordinary(other)) for one, other in zip(a, b, strict=True)
             if len(ordinary(one)) > 1]
            for a, b in itertools.combinations(of_seeds, 2)
        ]  # fmt: skip
        found["rank_correlation"][target] = [float(np.mean(pair)) for pair in correlations]
    of_first = json.loads((first / "faithfulness.json").read_text())
    found["machine_of_costs"] = of_first["machine"]
    found["forwards"] = {name: one["forwards"] for name, one in of_first["methods"].items()}
    for name, means in found["means"].items():
        every = [f"{np.mean(means[figure]):.3f}" for figure in FIGURES]
        ways = [" / ".join(f"{means[figure][k]:.3f}" for figure in FIGURES) for k in range(len(args.replacements))]
        print(f"| {name} | {' / '.join(every)} | {' | '.join(ways)} |")
    for name, leads in found["leads"].items():
        print(name, {figure: [round(end, 4) for end in leads[figure]["every"]] for figure in FIGURES})
        behind = [(figure, way) for figure in FIGURES for way in args.replacements if leads[figure][way][1] < 0]
        print("   behind under:", behind or "none")
    print("rank correlation of seeds", found["rank_correlation"])
    save(args, "compare", found)


def few(args: argparse.Namespace) -> None:
    """Measures all methods on the first 100 sentences, with bounds."""
    output = args.folder / "measured-few"
    names = ["diffmask", *RIVALS, *CHEAP, *COSTLY]
    if not (output / "attributions" / f"{names[-1]}.jsonl").is_file():
        run(
            *("evaluate", "--model", str(args.folder / f"{TARGETS[0]}-{SEEDS[0]}"), "--limit", "100", "--bounds"),
            *("--methods", ",".join(names), "--output_dir", str(output), "--overwrite_output_dir"),
            *("--dataset", str(args.shared / "data" / "sst2_dev.jsonl.gz")),
        )
    found = json.loads((output / "faithfulness.json").read_text())
    leads: dict[str, Any] = {}
    own = lines_of(output, "diffmask")
    for name in names[1:]:
        others = lines_of(output, name)
        for way, (figure, sign) in itertools.product(("mask", "attention"), zip(FIGURES, (1, -1), strict=True)):
            less = [sign * (a[figure][way] - b[figure][way]) for a, b in zip(own, others, strict=True)]
            leads.setdefault(name, {}).setdefault(figure, {})[way] = interval(np.array(less))
        print(name, leads[name])
    save(args, "few", {**{name: found[name] for name in ("inputs", "bounds", "on_few")}, "leads": leads})


def plot(args: argparse.Namespace) -> None:
    """Draws docs/faithfulness.png from the results of `few`."""
    found = json.loads(RESULTS.read_text())[base_model(args).name]["few"]["found"]
    title = f"{base_model(args).name}, first {found['inputs']} sentences of sst2_dev, tokens become the mask token"
    figure = faithfulness_by_cost(found["on_few"], title, found["bounds"])
    figure.savefig(RESULTS.parents[2] / "docs" / "faithfulness.png", dpi=110)


def masks(args: argparse.Namespace) -> None:
    """Measures what masks at the margin keep and cost at every state, on all of sst2_dev, and the training time."""
    base, tokenizer, texts = load(args)
    items = sorted(TextFeatures(tokenizer, texts, 512).items, key=lambda item: len(item["input_ids"]))
    found: dict[str, Any] = {}
    for target, seed in itertools.product(args.targets, args.seeds):
        folder = args.folder / f"{target}-{seed}"
        explainer = DiffMaskModel.from_pretrained(folder, base_model=base).eval()
        rows = []
        for start in range(0, len(items), 64):
            batch = collate(tokenizer, [{**item, "example_ids": 0} for item in items[start : start + 64]])
            del batch["example_ids"]
            rows.append(measure(explainer, explainer.record(explainer.batch(**batch))))
        table = table_of_states(list(explainer.config.state_names), torch.cat(rows))
        log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
        minutes = next(entry["train_runtime"] for entry in log if "train_runtime" in entry) / 60
        print(target, seed, f"{minutes:.1f} minutes", *table, sep="\n", flush=True)
        found[f"{target}-{seed}"] = {"minutes": minutes, "rows": [row._asdict() for row in table]}
    save(args, "masks", found)


def refine(args: argparse.Namespace) -> None:
    """Measures faithfulness by number of forward passes for refining, on the first 100 sentences."""
    base, tokenizer, texts = load(args)
    inputs = TextFeatures(tokenizer, texts[:100], 512).items
    trained = DiffMaskModel.from_pretrained(args.folder / f"{TARGETS[0]}-{SEEDS[0]}", base_model=base).eval()
    explainers = Explainers(trained, trained, None, 0)
    points = []
    for start, steps in [("path", steps) for steps in STEPS] + [("nothing", steps) for steps in STEPS[1:]]:

        def scores(explainers: Explainers, features: dict, start: str = start, steps: int = steps) -> torch.Tensor:
            recorded = trained.record(trained.batch(**features))
            with torch.no_grad():
                begun = trained.attribution(trained.explain(recorded))
            begun = begun if start == "path" else torch.zeros_like(begun)
            return refine_scores(trained, recorded, begun, steps=steps) if steps else begun

        METHODS["refining"] = scores
        found: Attributed = attribute(explainers, tokenizer, inputs, "refining")
        values: dict[str, list[float]] = {name: [] for name in FIGURES}
        ranks, _ = rankable(inputs, found.scores, PRESETS["hf_diffmask"])
        for way in args.replacements:
            of_way = measured(explainers, tokenizer, inputs, ranks, PRESETS["hf_diffmask"]._replace(replacement=way))
            for name in FIGURES:
                values[name].append(float(of_way[name].mean()))
        passes = forwards_of(steps, REFINE_SAMPLES)
        point = {"start": start, "steps": steps, "passes": passes, "forwards": found.forwards, **values}
        points.append(point)
        print({**point, **{name: [round(value, 3) for value in values[name]] for name in FIGURES}}, flush=True)
    save(args, "refine", points)


def decided(args: argparse.Namespace) -> None:
    """Measures the verified share of tokens that an input needs at each state, over sst2_dev."""
    base, tokenizer, texts = load(args)
    found = {}
    for target in args.targets:
        explainer = DiffMaskModel.from_pretrained(args.folder / f"{target}-{SEEDS[0]}", base_model=base).eval()
        shares = smallest_shares(explainer, tokenizer, texts, batch_size=32)
        found[target] = decided_by_state(explainer.config.state_names, shares, explainer.config.margin)
        print(
            target, {name: [round(share, 3) for share in found[target][name]] for name in ("lower", "median", "upper")}
        )
    save(args, "decided", found)


def audit(args: argparse.Namespace) -> None:
    """Runs `hf-diffmask audit` for each target."""
    found = {}
    for target in args.targets:
        first, *others = (str(args.folder / f"{target}-{seed}") for seed in SEEDS)
        output = args.folder / f"audit-{target}"
        run(
            *("audit", "--model", first, "--other_seeds", *others, "--output_dir", str(output)),
            *("--dataset", str(args.shared / "data" / "sst2_dev.jsonl.gz"), "--overwrite_output_dir"),
            *("--train_dataset", str(args.shared / "data" / "sst2_sentences_train.jsonl.gz")),
        )
        found[target] = json.loads((output / "audit.json").read_text())["findings"]
    save(args, "audit", found)


def pattern(args: argparse.Namespace) -> None:
    """Measures how well the class can be read from masks: at three margins, searched, and with one kept share."""
    base, tokenizer, texts = load(args)
    inputs = TextFeatures(tokenizer, texts, 512).items
    found: dict[str, Any] = {}
    for target, seed in itertools.product(args.targets, args.seeds):
        explainer = DiffMaskModel.from_pretrained(args.folder / f"{target}-{seed}", base_model=base).eval()
        masks: dict[str, list[list[bool]]] = {}
        classes: list[int] = []
        for start in tqdm(range(0, len(inputs), 32), desc=f"{target}-{seed}"):
            batch = collate(tokenizer, [{**one, "example_ids": 0} for one in inputs[start : start + 32]])
            del batch["example_ids"]
            with torch.no_grad():
                recorded = explainer.record(explainer.batch(**batch))
                kept = {}
                for margin in MARGINS:
                    output = explainer.explain(recorded, margin=margin)
                    kept[f"margin {margin}"] = output.keep_probability[..., -1] > 0.5
                scores, units = output.logits[..., -1], output.maskable
                kept["searched"] = smallest_budget(explainer, recorded, scores).kept
                kept["0.3 of the tokens"] = top(scores, (0.3 * units.sum(-1)).round().long().clamp(min=1), units)
            classes += output.target.argmax(-1).tolist()
            for name, of_batch in kept.items():
                pairs = zip(of_batch, units, strict=True)
                masks.setdefault(name, []).extend(row[there].tolist() for row, there in pairs)
        each = range(len(inputs))
        figures = {
            name: readable(np.array([pattern_features(mask) for mask in of_name]), classes, each)
            for name, of_name in masks.items()
        }
        found[f"{target}-{seed}"] = {"base_rate": base_rate_of(classes), **figures}
        print(f"{target}-{seed}", {name: round(value, 3) for name, value in found[f"{target}-{seed}"].items()})
    save(args, "pattern", found)


def other_class(args: argparse.Namespace) -> None:
    """Measures rankings for the class that is not predicted (of two), on all of sst2_dev."""
    base, tokenizer, texts = load(args)
    inputs = TextFeatures(tokenizer, texts, 512).items
    explainer = DiffMaskModel.from_pretrained(args.folder / f"{TARGETS[0]}-{SEEDS[0]}", base_model=base).eval()
    plain = DiffMaskModel.from_base_model(base, tokenizer).eval()
    scores: dict[str, list[list[float]]] = {
        name: [] for name in ("asked for", "own, negated", "ig, negated", "random")
    }
    classes = []
    noise = torch.Generator().manual_seed(0)
    for start in tqdm(range(0, len(inputs), 32), desc="Explaining"):
        batch = collate(tokenizer, [{**one, "example_ids": 0} for one in inputs[start : start + 32]])
        del batch["example_ids"]
        with torch.no_grad():
            own = explainer(**batch)
            other = 1 - own.target.argmax(-1)
            asked = explainer.attribution(explainer(**batch, classes=other))
        found = {
            "asked for": asked,
            "own, negated": -explainer.attribution(own),
            "ig, negated": -integrated_gradients(plain, batch, steps=32, signed=True),
            "random": torch.rand(asked.shape, generator=noise),
        }
        classes += other.tolist()
        for name, values in found.items():
            rows = zip(values, batch["attention_mask"].bool(), strict=True)
            scores[name] += [row[there].tolist() for row, there in rows]
    figures = {}
    for name, of_method in scores.items():
        found_curves = curves(base, tokenizer, inputs, of_method, "hf_diffmask", classes)
        means = mean_measures(measures(one) for one in found_curves)
        figures[name] = {figure: means[figure] for figure in FIGURES}
        print(name, figures[name], flush=True)
    save(args, "other_class", figures)


def load(args: argparse.Namespace) -> tuple[Any, Any, list]:
    """Base model, tokenizer and the sentences of sst2_dev."""
    folder = base_model(args)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    base = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    return base, tokenizer, load_texts(str(args.shared / "data" / "sst2_dev.jsonl.gz"))


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"train": train, "evaluate": evaluate, "compare": compare, "few": few, "plot": plot, "masks": masks}
    parts |= {"refine": refine, "decided": decided, "audit": audit, "pattern": pattern, "other_class": other_class}
    parser.add_argument("part", choices=parts)
    parser.add_argument("--folder", type=Path, required=True, help="where explainers and measurements go")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder of models and data")
    parser.add_argument("--base_model", type=Path, help="folder of another classifier of the same sentences")
    parser.add_argument("--replacements", nargs="+", default=list(REPLACEMENTS), help="the first is the preset's")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    parts[args.part](args)


if __name__ == "__main__":
    main()
