"""Builds the bundled models: the small classifier (see bundled_classifier.py) and its explainer.

    python benchmarks/bundled.py                      (about 30 minutes on one core)
    python benchmarks/bundled.py --keep_classifier    (only the explainer: 3 minutes on 2 cores)

The explainer is trained with the default recipe on sst2_sentences_train, without labels. Its card reports figures on
all of sst2_dev.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import hf_diffmask
from hf_diffmask import DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.data.reading import load_texts
from hf_diffmask.data.sampling import train_validation_split
from hf_diffmask.hub.training_results import add_training_results
from hf_diffmask.training.recipes.registry import recipe_config
from hf_diffmask.training.run import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--keep_classifier", action="store_true", help="Use the classifier that is there.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not options.keep_classifier:
        script = Path(__file__).parent / "bundled_classifier.py"
        arguments = ["--shared", str(options.shared), "--seed", str(options.seed), "--threads", str(options.threads)]
        subprocess.run(
            [sys.executable, str(script), "--output_dir", hf_diffmask.BUNDLED_CLASSIFIER, *arguments], check=True
        )
    torch.set_num_threads(options.threads)
    data = options.shared / "data"
    target = Path(hf_diffmask.BUNDLED_EXPLAINER)
    tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    base = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    texts = load_texts(str(data / "sst2_sentences_train.jsonl.gz"))
    texts, validation = train_validation_split(texts, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        args = DiffMaskTrainingArguments(output_dir=folder, seed=options.seed, use_cpu=True)
        transformers.set_seed(options.seed)
        explainer = DiffMaskModel.from_base_model(base, tokenizer, margin=args.margin, **recipe_config(args.recipe))
        trainer, training = train(explainer, tokenizer, texts, validation, args)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        explainer.save_pretrained(target)
        tokenizer.save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)
    config = json.loads((target / "config.json").read_text())
    assert config["dtype"] == "float32" and config["base_model_name_or_path"] == "../classifier"
    stored = DiffMaskModel.from_pretrained(target, base_model=base)
    dev = load_texts(str(data / "sst2_dev.jsonl.gz"))
    trainer.evaluate(type(trainer.eval_dataset)(tokenizer, dev, tokenizer.model_max_length))
    # The card reports sst2_dev; checkpoints were chosen on the validation split.
    training |= {
        "dataset": "sst2_sentences_train (figures: sst2_dev)",
        "validation_inputs": len(dev),
        "reported_inputs": len(dev),
    }
    add_training_results(str(target), stored, tokenizer, training, trainer.rows)
    print((target / "README.md").read_text())


if __name__ == "__main__":
    main()
