"""Trains and measures explainers for base models of five-way sentiment, with input and with hidden masking.

    python benchmarks/sst5_target.py --output sst5-gru
    python benchmarks/sst5.py --target sst5-gru --output sst5-gru-diffmask     (a few minutes on 2 cores)

Trains explainers with the recipes `ablation` (input masking) and `paper` (hidden masking) on the sentences of
sst5_trees_train. Prints the table of states of each over the sentences of sst5_trees_dev, which take no part in any
choice. OUTPUT/input and OUTPUT/hidden hold the explainers, for

    hf-diffmask analyze --trees sst5_trees_dev.txt.gz --model OUTPUT/input --hidden_model OUTPUT/hidden \\
        --output_dir report
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
from transformers.utils import logging

from hf_diffmask import DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.data.encoding import max_length
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.data.sampling import train_validation_split
from hf_diffmask.data.sst import load_trees
from hf_diffmask.hub.training_results import add_training_results
from hf_diffmask.testbeds import gru  # noqa: F401  registers the base model's class
from hf_diffmask.training.recipes.registry import recipe_config
from hf_diffmask.training.run import train
from hf_diffmask.training.validation import format_table


def main() -> None:
    """Trains, measures and saves both explainers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, required=True, help="folder that sst5_target.py wrote")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--output", type=Path, required=True, help="folder for the two explainers and results.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(args.target)
    target = AutoModelForSequenceClassification.from_pretrained(args.target).eval()
    texts = [sentence.text for sentence in load_trees(args.data / "sst5_trees_train.txt.gz")]
    training, validation = train_validation_split(texts, args.seed)
    dev = [sentence.text for sentence in load_trees(args.data / "sst5_trees_dev.txt.gz")]
    features = TextFeatures(tokenizer, dev, max_length(target, tokenizer))
    result = {
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "threads": args.threads,
        "seed": args.seed,
        "sentences": len(dev),
    }
    for recipe, masking in (("ablation", "input"), ("paper", "hidden")):
        set_seed(args.seed)
        explainer = DiffMaskModel.from_base_model(target, tokenizer, **recipe_config(recipe, masking))
        begun = time.perf_counter()
        folder = str(args.output / masking)
        settings = DiffMaskTrainingArguments(output_dir=folder, recipe=recipe, seed=args.seed)
        trainer, facts = train(explainer, tokenizer, training, validation, settings)
        add_training_results(folder, explainer, tokenizer, facts, trainer.rows)
        minutes = (time.perf_counter() - begun) / 60
        trainer.evaluate(features)
        result[masking] = {"minutes": minutes, "rows": [row._asdict() for row in trainer.rows]}
        print(f"{masking} masking, {minutes:.1f} minutes:\n{format_table(trainer.rows)}\n")
        (args.output / "results.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
