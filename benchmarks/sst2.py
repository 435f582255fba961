"""Explainers for a real classifier on real text: results for `paper` in docs/recipe.md, costs in the README.

    python benchmarks/sst2.py paper              (about 40 minutes)
    python benchmarks/sst2.py cost
    python benchmarks/sst2.py memory
    python benchmarks/sst2.py table

Base model: minilm-sst2 (MiniLM-L6, 88 % on SST-2). Trains on sst2_sentences_train without labels; evaluates hard masks
on all of sst2_dev. Each part saves its figures in results/sst2.json beside this file; `table` prints them.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback, pipeline, set_seed
from transformers.utils import logging

import hf_diffmask
from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments, Recorded
from hf_diffmask.data.encoding import max_length
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.data.reading import load_texts
from hf_diffmask.data.sampling import train_validation_split
from hf_diffmask.training.recipes.registry import recipe_config
from hf_diffmask.training.validation import measure, table_of_states

RESULTS = Path(__file__).parent / "results" / "sst2.json"


class Course(TrainerCallback):
    """Measures the last state on the evaluation set every `every` steps; the clock pauses meanwhile."""

    def __init__(self, every: int, batches: list[dict[str, torch.Tensor]]):
        self.every, self.batches = every, batches
        self.points: list[dict[str, Any]] = []
        self.paused = 0.0
        self.start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step % self.every:
            return
        begun = time.perf_counter()
        last = model.config.num_states - 1
        measured = torch.cat([measure(model, recorded(model, batch), [last]) for batch in self.batches])
        row = table_of_states([model.config.state_names[last]], measured)[0]
        point = {"step": state.global_step, "seconds": begun - self.start - self.paused, **row._asdict()}
        self.points.append(point)
        print(json.dumps(point), flush=True)
        self.paused += time.perf_counter() - begun


def recorded(explainer: DiffMaskModel, batch: dict[str, torch.Tensor]) -> Recorded:
    """The base model's [`Recorded`] run on a batch."""
    return explainer.record(explainer.batch(**batch))


def load(shared: Path) -> tuple[Any, Any, list, list]:
    """Base model in float32, tokenizer, training texts and evaluation texts."""
    folder = shared / "models" / "minilm-sst2"
    base = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    texts = load_texts(str(shared / "data" / "sst2_sentences_train.jsonl.gz"))
    return base, AutoTokenizer.from_pretrained(folder), texts, load_texts(str(shared / "data" / "sst2_dev.jsonl.gz"))


def by_length(features: TextFeatures, tokenizer: Any, size: int) -> list[dict[str, torch.Tensor]]:
    """Batches of inputs with similar lengths."""
    items = sorted((features[k] for k in range(len(features))), key=lambda item: len(item["input_ids"]))
    batches = [collate(tokenizer, items[k : k + size]) for k in range(0, len(items), size)]
    return [{name: value for name, value in batch.items() if name != "example_ids"} for batch in batches]


def train(shared: Path, recipe: str, seed: int, every: int, **settings: Any) -> dict[str, Any]:
    """Figures of one training run, with its table of states on all of sst2_dev."""
    base, tokenizer, texts, dev = load(shared)
    length = max_length(base, tokenizer)
    # The default split of `hf-diffmask train`.
    texts, validation = train_validation_split(texts, seed)
    dev_features = TextFeatures(tokenizer, dev, length)
    course = Course(every, by_length(dev_features, tokenizer, 64))
    with tempfile.TemporaryDirectory() as folder:
        args = DiffMaskTrainingArguments(output_dir=folder, recipe=recipe, seed=seed, **settings)
        set_seed(seed)
        explainer = DiffMaskModel.from_base_model(base, tokenizer, margin=args.margin, **recipe_config(recipe))
        trainer = DiffMaskTrainer(
            explainer,
            args,
            train_dataset=TextFeatures(tokenizer, texts, length),
            eval_dataset=TextFeatures(tokenizer, validation, length) if args.eval_strategy != "no" else None,
            processing_class=tokenizer,
            callbacks=[course] if every else [],
        )
        course.start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - course.start - course.paused
        explainer.eval()
        measured = torch.cat([measure(explainer, recorded(explainer, batch)) for batch in course.batches])
        rows = table_of_states(list(explainer.config.state_names), measured)
        with torch.no_grad():
            predicted = torch.cat([explainer(**batch).target.argmax(-1) for batch in course.batches])
        by_class = {
            name: table_of_states(["last"], measured[predicted == k][:, -1:])[0].kept_share
            for k, name in base.config.id2label.items()
        }
        return {
            "seed": seed,
            "threads": torch.get_num_threads(),
            "steps": trainer.state.global_step,
            "chosen_step": trainer.state.best_global_step,
            "seconds": seconds,
            "settings": args.settings(explainer.config),
            "rows": [row._asdict() for row in rows],
            "kept_by_predicted_class": by_class,
            "course": course.points,
        }


def cost(shared: Path, rounds: int = 15) -> dict[str, Any]:
    """Times of `forward`, with and without verification, and of the pipeline, over the bare model's time; paired."""
    base, tokenizer, _, dev = load(shared)
    base.eval()
    explainer, of_sets = (
        DiffMaskModel.from_base_model(base, tokenizer, **recipe_config(recipe)).eval()
        for recipe in ("ablation", "paper")
    )
    dev = dev[:512]
    batches = by_length(TextFeatures(tokenizer, dev, max_length(base, tokenizer)), tokenizer, 32)
    bare = [{name: value for name, value in batch.items() if name != "special_tokens_mask"} for batch in batches]

    def verified(batch: dict[str, torch.Tensor]) -> None:
        found = recorded(explainer, batch)
        explainer.masked(found, explainer.explain(found).keep_probability[..., -1] > 0.5)

    explain = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu", batch_size=32)
    texts = sorted(dev, key=len)

    def over_batches(run: Any) -> Any:
        return lambda: [run(batch, features) for batch, features in zip(batches, bare, strict=True)]

    ways = {
        "bare": over_batches(lambda batch, features: base(**features)),
        "forward": over_batches(lambda batch, features: explainer(**batch)),
        "forward_paper": over_batches(lambda batch, features: of_sets(**batch)),
        "forward_verified": over_batches(lambda batch, features: verified(batch)),
        "pipeline": lambda: explain(texts),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        for _ in range(rounds + 1):  # the first round warms up
            for name, way in ways.items():
                begun = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - begun)
    seconds = {name: values[1:] for name, values in seconds.items()}

    def ratio(over: str, under: str) -> dict[str, float]:
        ratios = [a / b for a, b in zip(seconds[over], seconds[under], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        return {"median": middle, "lower_quartile": low, "upper_quartile": high}

    overhead = [
        1000 * (a - b) / len(texts) for a, b in zip(seconds["pipeline"], seconds["forward_verified"], strict=True)
    ]
    return {
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "texts": len(texts),
        "bare_ms_per_text": 1000 * statistics.median(seconds["bare"]) / len(texts),
        "forward_over_bare": ratio("forward", "bare"),
        "forward_paper_over_bare": ratio("forward_paper", "bare"),
        "verified_over_bare": ratio("forward_verified", "bare"),
        "pipeline_over_bare": ratio("pipeline", "bare"),
        "pipeline_overhead_ms_per_text": statistics.median(overhead),
    }


def peak(shared: Path, what: str) -> float:
    """Peak resident memory in MiB of a fresh process that runs [`do`]."""
    command = [sys.executable, __file__, f"memory-{what}", "--shared", str(shared)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def do(shared: Path, what: str) -> None:
    """Runs the work named `what`; prints its peak memory in MiB."""
    base, tokenizer, texts, dev = load(shared)
    length = max_length(base, tokenizer)
    if what == "bare":
        with torch.no_grad():
            for batch in by_length(TextFeatures(tokenizer, dev, length), tokenizer, 64):
                base.eval()(**{name: value for name, value in batch.items() if name != "special_tokens_mask"})
    elif what == "explain":
        explainer = DiffMaskModel.from_base_model(base, tokenizer)
        pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu", batch_size=64)(dev)
    else:
        memory = {"train": 4.0, "train_on_disk": 0.001, "train_uncached": 0.0}[what]
        with tempfile.TemporaryDirectory() as folder:
            args = DiffMaskTrainingArguments(
                output_dir=folder,
                recipe="paper",
                num_train_epochs=2,
                cache_memory=memory,
                eval_strategy="no",
                save_strategy="no",
            )
            explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config("paper"))
            features = TextFeatures(tokenizer, texts[:1500], length)
            DiffMaskTrainer(explainer, args, train_dataset=features, processing_class=tokenizer).train()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def table(results: dict[str, Any]) -> str:
    """The results of all parts in Markdown."""
    lines = [f"Machine: {results['machine']}. All of sst2_dev (872 sentences), hard masks, last state.", ""]
    lines += [
        "| recipe | seed | steps | minutes | kept | by predicted class | mean KL | same prediction | within margin |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    runs = sorted(results.get("fast", {}).values(), key=lambda run: run["seed"])
    named = [("fast", run) for run in runs] + [("paper", run) for run in results.get("paper", {}).values()]
    for name, run in named:
        row = run["rows"][-1]
        by_class = ", ".join(f"{label} {share:.3f}" for label, share in run["kept_by_predicted_class"].items())
        lines.append(
            f"| {name} | {run['seed']} | {run['steps']} | {run['seconds'] / 60:.1f} | {row['kept_share']:.3f} | "
            f"{by_class} | "
            f"{row['divergence']:.3f} | {row['agreement']:.3f} | {row['within_margin']:.3f} |"
        )
    if runs:
        lines += [
            "",
            "Every state, `fast`, mean over seeds (range):",
            "",
            "| state | kept | mean KL | same prediction |",
        ]
        lines += ["|---|---|---|---|"]
        for rows in zip(*(run["rows"] for run in runs), strict=True):
            cells = []
            for column in ("kept_share", "divergence", "agreement"):
                values = [row[column] for row in rows]
                cells.append(f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
            lines.append(f"| {rows[0]['state']} | {' | '.join(cells)} |")
    for name in ("cost", "memory_mib", "pace", "race"):
        if name in results:
            lines += ["", f"{name}: {json.dumps(results[name], indent=1)}"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part")
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=100, help="Steps between points of the course on sst2_dev.")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--max_steps", type=int)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    if args.part.startswith("memory-"):
        return do(args.shared, args.part.removeprefix("memory-"))
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}"
    settings = {} if args.max_steps is None else {"max_steps": args.max_steps}
    if args.part == "paper":
        settings |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
        run = train(args.shared, "paper", args.seed, args.every, **settings)
        results.setdefault("paper", {})[str(args.seed)] = run
    elif args.part == "cost":
        results["cost"] = cost(args.shared)
    elif args.part == "memory":
        kinds = ("bare", "explain", "train", "train_on_disk", "train_uncached")
        results["memory_mib"] = {what: peak(args.shared, what) for what in kinds}
    elif args.part != "table":
        parser.error("the part is one of paper, cost, memory, table")
    RESULTS.parent.mkdir(exist_ok=True)
    latest = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, value in results.items():
        latest[name] = {**latest[name], **value} if name in ("fast", "paper") and name in latest else value
    RESULTS.write_text(json.dumps(latest, indent=1))
    print(table(latest))


if __name__ == "__main__":
    main()
