"""Trains and measures an explainer for a question-answering base model: MiniLM-L6 on SQuAD v1.1.

    python benchmarks/squad_target.py --encoder FOLDER --output minilm-squad
    python benchmarks/squad.py --target minilm-squad --output minilm-squad-diffmask     (40 minutes on 2 cores)
    python benchmarks/squad.py --target minilm-squad --output minilm-squad-ablation --recipe ablation \\
        --masking input

Trains without answers, on questions of squad_v1.1_train_subset that fit into a window with their context. Prints the
table of states over the first 1,000 questions of squad_v1.1_dev, which takes no part in any choice.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, set_seed
from transformers.utils import logging

from hf_diffmask import DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.data.encoding import encode
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.data.sampling import train_validation_split
from hf_diffmask.data.squad import load_squad
from hf_diffmask.hub.training_results import add_training_results
from hf_diffmask.training.recipes.registry import recipe_config
from hf_diffmask.training.run import train
from hf_diffmask.training.validation import StateRow, format_table, measure, table_of_states

LENGTH = 256  # tokens of a window, as in the base model's training
# Smaller batches than the recipe's: a step takes a second or two.
SETTINGS: dict[str, Any] = {
    "margin": 1.0,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 16,
    "cache_memory": 8.0,
}


def table(explainer: DiffMaskModel, features: TextFeatures, tokenizer: Any) -> list[StateRow]:
    """Table of states for hard masks, over all windows."""
    items = sorted(features.items, key=lambda item: len(item["input_ids"]))
    measured = []
    for start in tqdm(range(0, len(items), 16), desc="Measuring"):
        batch = collate(tokenizer, [{**item, "example_ids": 0} for item in items[start : start + 16]])
        batch.pop("example_ids")
        measured.append(measure(explainer, explainer.record(explainer.batch(**batch))))
    return table_of_states(explainer.config.columns, torch.cat(measured))


def main() -> None:
    """Trains, measures and saves the explainer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, help="folder that squad_target.py wrote")
    parser.add_argument("--data", default="../shared/data", help="folder of the two SQuAD files")
    parser.add_argument("--output", required=True, help="folder to write the explainer and results.json to")
    parser.add_argument("--recipe", default="paper", choices=["ablation", "paper"])
    parser.add_argument("--masking", default="hidden", choices=["input", "hidden"])
    parser.add_argument("--train_length", type=int, default=LENGTH, help="tokens of the longest question and context")
    parser.add_argument("--inputs", type=int, help="train on the first N questions; by default on all")
    parser.add_argument("--max_steps", type=int, help="by default those of the recipe")
    parser.add_argument("--questions", type=int, default=1000, help="of the dev set, to measure on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(args.target)
    target = AutoModelForQuestionAnswering.from_pretrained(args.target).eval()
    questions, _ = load_squad(Path(args.data) / "squad_v1.1_train_subset.json.gz")
    pairs = [(question.question, question.context) for question in questions]
    pairs = [pair for pair in pairs if len(encode(tokenizer, pair).tokens) <= args.train_length]
    training, validation = train_validation_split(pairs, args.seed)
    training = training[: args.inputs]
    set_seed(args.seed)
    config = recipe_config(args.recipe, args.masking, "question-answering")
    explainer = DiffMaskModel.from_base_model(target, tokenizer, **{**config, "margin": SETTINGS["margin"]})
    begun = time.perf_counter()
    settings = DiffMaskTrainingArguments(
        output_dir=args.output, recipe=args.recipe, max_steps=args.max_steps, seed=args.seed, **SETTINGS
    )
    trainer, facts = train(explainer, tokenizer, training, validation, settings)
    add_training_results(args.output, explainer, tokenizer, facts, trainer.rows)
    minutes = (time.perf_counter() - begun) / 60
    dev, _ = load_squad(Path(args.data) / "squad_v1.1_dev.json.gz")
    dev_pairs = [(question.question, question.context) for question in dev[: args.questions]]
    rows = table(explainer.eval(), TextFeatures(tokenizer, dev_pairs, LENGTH), tokenizer)
    result = {
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "threads": args.threads,
        "seed": args.seed,
        "minutes": minutes,
        "training_inputs": len(training),
        "questions": len(dev_pairs),
        "target": json.loads((Path(args.target) / "results.json").read_text()),
        "settings": settings.settings(explainer.config),
        "rows": [row._asdict() for row in rows],
    }
    (Path(args.output) / "results.json").write_text(json.dumps(result, indent=1))
    print(format_table(rows))
    print(f"{minutes:.1f} minutes")


if __name__ == "__main__":
    main()
