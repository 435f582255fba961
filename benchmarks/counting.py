"""The counting task: every method compared with the known truth, at both states (paper, section 4).

    python benchmarks/counting.py --seeds 0,1,2 --output counting.json --plot counting.png     (15 minutes on 2 cores)

Trains a base model and explainers for each seed. Prints D_KL and D_JS between the truth and each method's attribution,
normalised to a distribution: the mean over seeds, the lowest and the highest. Examples are those of the validation
split with a digit of the query; slow methods use the first `--examples`. Methods that replace units use the baseline
learned by the explainer with hidden masking, except "Integrated Gradients from 0". The bar plot shows one example.
"""

import argparse
import copy
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed
from transformers.utils import logging

from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.methods.bottleneck import information_bottleneck
from hf_diffmask.methods.erasure import exact_erasure
from hf_diffmask.methods.gradients import input_x_gradient, integrated_gradients
from hf_diffmask.methods.kernel_shap import kernel_shap
from hf_diffmask.methods.leave_one_out import leave_one_out
from hf_diffmask.methods.max_entropy_noise import maximum_entropy_noise
from hf_diffmask.methods.per_example import per_example
from hf_diffmask.methods.reinforce import reinforce
from hf_diffmask.testbeds import counting
from hf_diffmask.training.recipes.registry import recipe_config

MARGIN = 0.05
SETTINGS: dict[str, Any] = {
    "max_steps": 2500,
    "per_device_train_batch_size": 128,
    "warmup_steps": 0,
    "learning_rate": 1e-3,
    "level_learning_rate": 1e-2,
    "multiplier_learning_rate": 0.1,
}


def train(
    target: counting.CountingForSequenceClassification,
    examples: counting.Counts,
    validation: counting.Counts,
    masking: str,
    seed: int,
) -> DiffMaskModel:
    """
    An explainer for both states.

    States have two numbers: normalised, only a sign would be left, so probes read them unchanged. The truth does not
    depend on the answer, so probes are not told the answer.
    """
    set_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        explainer = DiffMaskModel.from_base_model(
            target, states=counting.STATES, margin=MARGIN, **recipe_config("paper", masking)
        )
        args = DiffMaskTrainingArguments(
            output_dir=folder,
            recipe="paper",
            margin=MARGIN,
            seed=seed,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            **SETTINGS,
        )
        DiffMaskTrainer(
            explainer, args, examples.features(), validation.features(), processing_class=counting.digit_tokenizer()
        ).train()
    return explainer.eval()


def amortised(explainer: DiffMaskModel, features: dict[str, torch.Tensor], state: int) -> torch.Tensor:
    """The explainer's keep probabilities at a state."""
    with torch.no_grad():
        output = explainer(**features)
    return output.keep_probability[..., state] * output.maskable


def from_zero(explainer: DiffMaskModel, features: dict[str, torch.Tensor], state: int, **options: Any) -> torch.Tensor:
    """Integrated Gradients with a baseline of zeros, as in the authors' notebook."""
    explainer = copy.deepcopy(explainer)
    with torch.no_grad():
        for baseline in explainer.baselines():
            baseline.zero_()
    return integrated_gradients(explainer, features, state, **options)


# 500 steps and weight 1: as in the authors' notebook, not their paper, since we compare with the notebook's figures.
METHODS: dict[str, tuple[Callable[..., torch.Tensor], dict[str, Any]]] = {
    "exact erasure": (exact_erasure, {"budget": 10_000_000}),
    "leave-one-out": (leave_one_out, {}),
    "Integrated Gradients": (integrated_gradients, {"steps": 50}),
    "Integrated Gradients from 0": (from_zero, {"steps": 50}),
    "input x gradient": (input_x_gradient, {}),
    "KernelSHAP": (kernel_shap, {"samples": 100}),
    "Schulz et al. 2020": (information_bottleneck, {"steps": 500}),
    "Guan et al. 2019": (maximum_entropy_noise, {"steps": 500, "weight": 1.0}),
    "DiffMask, per example": (per_example, {}),
    "DiffMask, REINFORCE": (reinforce, {}),
    "DiffMask, hidden masking": (amortised, {}),
}


def row(method: str, state: str, truth: torch.Tensor, scores: torch.Tensor, seconds: float) -> dict[str, Any]:
    """A row of the table: a method at a state for one seed."""
    kl, js = counting.compare(truth, scores)
    return {
        "method": method, "state": state, "kl": kl.mean().item(), "js": js.mean().item(), "examples": len(truth),
        "milliseconds": 1000 * seconds / len(truth),
    }  # fmt: skip


def run(seed: int, count: int) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """Rows of the table for one seed, and the attributions of one example."""
    everything = counting.draw(10_000, seed)
    examples = counting.Counts(*(values[:9000] for values in everything))
    validation = counting.Counts(*(values[9000:] for values in everything))
    minutes = {}
    begun = time.perf_counter()
    target = counting.train_target(examples, seed)
    minutes["target"] = (time.perf_counter() - begun) / 60
    features = {name: value for name, value in validation._asdict().items() if name != "labels"}
    with torch.no_grad():
        accuracy = (target(**features).logits.argmax(-1) == validation.labels).double().mean().item()
    explainers = {}
    for masking in ("hidden", "input"):
        begun = time.perf_counter()
        explainers[masking] = train(target, examples, validation, masking, seed)
        minutes[masking] = (time.perf_counter() - begun) / 60
    truth = validation.truth()
    counts = torch.where(truth.sum(-1) > 0)[0]
    # The example to show: the first with eight digits, four of them from the query, and both of its digits present.
    both = (validation.input_ids[..., None] == validation.query_ids[:, None]).any(1).all(-1)
    wanted = both & (validation.attention_mask.sum(-1) == 8) & ((truth > 0).sum(-1) == 4)
    example = torch.where(wanted)[0][:1]
    rows: list[dict[str, Any]] = []
    shown: dict[str, list[float]] = {
        name: getattr(validation, name)[example[0]].tolist() for name in validation._fields[:2]
    }
    shown["truth"] = truth[example[0]].tolist()
    for name, (method, options) in METHODS.items():
        fast = method in (amortised, leave_one_out, input_x_gradient)
        picked = torch.cat([counts if fast else counts[:count], example])
        batch = {key: value[picked] for key, value in features.items()}
        for number, state in enumerate(counting.STATES):
            begun = time.perf_counter()
            scores = method(explainers["hidden"], batch, number, **options)
            rows.append(row(name, state, truth[picked[:-1]], scores[:-1], time.perf_counter() - begun))
            if state == "encoder":
                shown[name] = scores[-1].tolist()
    batch = {key: value[counts] for key, value in features.items()}
    begun = time.perf_counter()
    scores = amortised(explainers["input"], batch, 1)
    seconds = time.perf_counter() - begun
    rows.append(row("DiffMask, input masking", counting.STATES[1], truth[counts], scores, seconds))
    for entry in rows:
        entry |= {"seed": seed, "accuracy": accuracy, "minutes": minutes}
    return rows, shown


def table(rows: list[dict[str, Any]]) -> str:
    """The table: mean over seeds, lowest and highest."""
    lines = ["| method | state | D_KL | D_JS | ms an example |", "|---|---|---|---|---|"]
    for method, state in dict.fromkeys((entry["method"], entry["state"]) for entry in rows):
        found = [entry for entry in rows if (entry["method"], entry["state"]) == (method, state)]
        cells = []
        for key in ("kl", "js"):
            values = [entry[key] for entry in found]
            mean = sum(values) / len(values)
            cells.append("inf" if mean == float("inf") else f"{mean:.4f} ({min(values):.4f} to {max(values):.4f})")
        pace = sum(entry["milliseconds"] for entry in found) / len(found)
        lines.append(f"| {method} | {state} | {cells[0]} | {cells[1]} | {pace:.2f} |")
    return "\n".join(lines)


def plot(shown: dict[str, list[float]], path: str) -> None:
    """Saves a bar plot of each method's attribution for one example at the encoder's output."""
    from matplotlib.figure import Figure

    names = ["truth", *METHODS]
    digits = [int(digit) for digit in shown["input_ids"] if digit < counting.DIGITS]
    figure = Figure(figsize=(12, 7))
    axes = figure.subplots(3, 4, sharey=True)
    for axis, name in zip(axes.flat, names, strict=False):
        scores = torch.tensor(shown[name])[: len(digits)]
        axis.bar(range(len(digits)), scores / scores.sum().clamp(min=1e-9), color="#7c7b78")
        axis.set_xticks(range(len(digits)), [str(digit) for digit in digits])
        axis.set_title(name, fontsize=10)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    first, second = shown["query_ids"]
    figure.suptitle(f"Does {first} occur more often than {second}? What each method says matters")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Runs the seeds in turn and writes all results so far after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--examples", type=int, default=200, help="of the validation split, for the slow methods")
    parser.add_argument("--output", default="counting.json")
    parser.add_argument("--plot", help="file of the bar plot, of the first seed")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    rows: list[dict[str, Any]] = []
    for seed in (int(seed) for seed in args.seeds.split(",")):
        found, shown = run(seed, args.examples)
        if args.plot and not rows:
            plot(shown, args.plot)
        rows += found
        result = {"machine": platform.machine(), "threads": args.threads, "rows": rows}
        Path(args.output).write_text(json.dumps(result, indent=1))
        print(
            f"{table(rows)}\nseed {seed}: accuracy {found[0]['accuracy']:.4f}, minutes {found[0]['minutes']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
