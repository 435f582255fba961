"""How close methods come to the smallest sufficient set of words, for a GRU on sentences from the SST.

    python benchmarks/sst5_target.py --output sst5-gru
    python benchmarks/optimality.py --target sst5-gru --output optimality.json     (10 minutes on 2 cores)

Trains an explainer for the base model on sst5_trees_train. Then searches the smallest subsets for sentences of
sst5_trees_dev: exhaustively up to 15 tokens, and for 16 to 25 tokens by increasing subset size until `--budget` is
spent. For each method: precision, recall and F1 against the nearest optimal subset (highest F1), the number of units
kept beyond the optimum, the share of sentences within the margin, and the time. Leave-one-out gives a ranking; its
mask is the shortest prefix within the margin.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
from transformers.utils import logging

from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.data.sst import load_trees
from hf_diffmask.explainer.masking import Masking
from hf_diffmask.masks.gates import hard_mask
from hf_diffmask.methods.erasure import smallest_subsets
from hf_diffmask.methods.leave_one_out import leave_one_out
from hf_diffmask.methods.per_example import per_example
from hf_diffmask.methods.reinforce import reinforce
from hf_diffmask.testbeds import gru  # noqa: F401  registers the base model's class
from hf_diffmask.training.recipes.registry import recipe_config

EXHAUSTIVE, LONGEST = 15, 25
LENGTH = 128  # tokens: no sentence is longer


@torch.no_grad()
def amortised(explainer: DiffMaskModel, features: dict[str, Tensor]) -> Tensor:
    """The explainer's hard mask at the last state."""
    return hard_mask(explainer(**features).keep_probability[..., -1])


def prefix(explainer: DiffMaskModel, features: dict[str, Tensor]) -> Tensor:
    """Mask of the shortest prefix of leave-one-out's ranking within the margin."""
    masking = Masking(explainer, features)
    scores = leave_one_out(explainer, features).masked_fill(~masking.maskable, -1)
    rank = scores.argsort(-1, descending=True).argsort(-1)
    mask = masking.maskable.clone()
    open_rows = torch.ones(len(mask), dtype=torch.bool)
    with torch.no_grad():
        for size in range(mask.shape[1]):
            candidate = (rank < size) & masking.maskable
            within = open_rows & (masking.divergence(candidate) <= masking.margin)
            mask[within] = candidate[within]
            open_rows &= ~within
    return mask


METHODS: dict[str, Callable[[DiffMaskModel, dict[str, Tensor]], Tensor]] = {
    "DiffMask, amortised": amortised,
    "DiffMask, per example": lambda explainer, features: hard_mask(per_example(explainer, features)),
    "DiffMask, REINFORCE": lambda explainer, features: hard_mask(reinforce(explainer, features)),
    "leave-one-out": prefix,
}


def score(mask: Tensor, optimal: Tensor) -> tuple[float, float, float]:
    """Precision, recall and F1 against the nearest optimal subset of `(K, T)`; all 1 if both are empty."""
    best = (-1.0, 0.0, 0.0)
    for subset in optimal:
        shared, kept, needed = ((mask & subset).sum().item(), mask.sum().item(), subset.sum().item())
        precision = shared / kept if kept else 1.0
        recall = shared / needed if needed else 1.0
        total = precision + recall
        best = max(best, (2 * precision * recall / total if total else 0.0, precision, recall))
    return best[1], best[2], best[0]


def train(target: Any, tokenizer: Any, texts: list[str], seed: int) -> DiffMaskModel:
    """An explainer trained with the recipe `paper`."""
    set_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        explainer = DiffMaskModel.from_base_model(target, tokenizer, **recipe_config("paper"))
        args = DiffMaskTrainingArguments(output_dir=folder, recipe="paper", seed=seed, use_cpu=True, report_to="none")
        DiffMaskTrainer(
            explainer,
            args,
            TextFeatures(tokenizer, texts[256:], LENGTH),
            TextFeatures(tokenizer, texts[:256], LENGTH),
            processing_class=tokenizer,
        ).train()
    return explainer.eval()


def optimal_subsets(
    explainer: DiffMaskModel, items: list[dict[str, Any]], tokenizer: Any, budget: int
) -> tuple[list[int], list[Tensor], float]:
    """Numbers of the sentences searched within the budget, their optimal subsets, and the seconds for all."""
    numbers, optimal = [], []
    begun = time.perf_counter()
    for number, item in enumerate(tqdm(items, desc="Exact search")):
        try:
            (subsets,) = smallest_subsets(Masking(explainer, batch_of([item], tokenizer)), budget=budget)
        except DiffMaskError:
            continue
        numbers.append(number)
        optimal.append(subsets)
    return numbers, optimal, time.perf_counter() - begun


def batch_of(items: list[dict[str, Any]], tokenizer: Any) -> dict[str, Tensor]:
    """Padded features of sentences."""
    batch = collate(tokenizer, [{**item, "example_ids": 0} for item in items])
    batch.pop("example_ids")
    return batch


def compare(
    explainer: DiffMaskModel, items: list[dict[str, Any]], tokenizer: Any, budget: int, group: str
) -> list[dict[str, Any]]:
    """Rows of the table for one group of sentences."""
    numbers, optimal, seconds = optimal_subsets(explainer, items, tokenizer, budget)
    sizes = [int(subsets[0].sum()) for subsets in optimal]
    common = {"group": group, "sentences": len(items), "searched": len(numbers)}
    rows = [
        {**common, "method": "exact search", "precision": 1.0, "recall": 1.0, "f1": 1.0, "more": 0.0, "within": 1.0,
         "kept": sum(sizes) / len(sizes), "ties": sum(len(subsets) for subsets in optimal) / len(optimal),
         "seconds": seconds / len(items)}
    ]  # fmt: skip
    chosen = [items[number] for number in numbers]
    for name, method in METHODS.items():
        seconds, masks, costs = 0.0, [], []
        for start in range(0, len(chosen), 32):
            features = batch_of(chosen[start : start + 32], tokenizer)
            begun = time.perf_counter()
            batch_masks = method(explainer, features)
            seconds += time.perf_counter() - begun
            masking = Masking(explainer, features)
            batch_masks &= masking.maskable
            with torch.no_grad():
                costs += masking.divergence(batch_masks).tolist()
            masks += list(batch_masks)
        found = [score(mask[: subsets.shape[1]], subsets) for mask, subsets in zip(masks, optimal, strict=True)]
        count = len(found)
        precision, recall, f1 = (sum(column) / count for column in zip(*found, strict=True))
        more = sum(int(mask.sum()) - size for mask, size in zip(masks, sizes, strict=True)) / count
        within = sum(cost <= explainer.config.margin for cost in costs) / count
        rows.append(
            {**common, "method": name, "precision": precision, "recall": recall, "f1": f1, "more": more,
             "within": within, "seconds": seconds / count}
        )  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = [
        "| sentences | method | precision | recall | F1 | units more | within margin | ms a sentence |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in rows:
        values = " | ".join(f"{entry[key]:.3f}" for key in ("precision", "recall", "f1", "more", "within"))
        searched = f"{entry['group']}, {entry['searched']} of {entry['sentences']}"
        lines.append(f"| {searched} | {entry['method']} | {values} | {1000 * entry['seconds']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Trains an explainer, searches, and compares the methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, help="folder that sst5_target.py wrote")
    parser.add_argument("--data", default="../shared/data", help="folder of the trees")
    parser.add_argument("--output", default="optimality.json")
    parser.add_argument("--limit", type=int, default=200, help="sentences of each group")
    parser.add_argument("--budget", type=int, default=200_000, help="masked inputs for one sentence above 15 tokens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(args.target)
    target = AutoModelForSequenceClassification.from_pretrained(args.target).eval()
    texts = [sentence.text for sentence in load_trees(Path(args.data) / "sst5_trees_train.txt.gz")]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(args.seed)).tolist()
    explainer = train(target, tokenizer, [texts[k] for k in order], args.seed)
    dev = [sentence.text for sentence in load_trees(Path(args.data) / "sst5_trees_dev.txt.gz")]
    items = TextFeatures(tokenizer, dev, LENGTH).items
    short = [item for item in items if len(item["input_ids"]) <= EXHAUSTIVE][: args.limit]
    long = [item for item in items if EXHAUSTIVE < len(item["input_ids"]) <= LONGEST][: args.limit]
    rows = compare(explainer, short, tokenizer, 2**EXHAUSTIVE, "at most 15 tokens")
    rows += compare(explainer, long, tokenizer, args.budget, "16 to 25 tokens")
    result = {"machine": platform.machine(), "threads": args.threads, "seed": args.seed, "rows": rows}
    Path(args.output).write_text(json.dumps(result, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
