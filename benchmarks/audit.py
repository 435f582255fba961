"""Audits of a sound explainer and three explainers that are broken on purpose: results in docs/audit.md.

    python benchmarks/audit.py --explainers FOLDER --output audit        (15 minutes on 2 cores)

FOLDER is the output of `python benchmarks/faithfulness.py train`: explainers for minilm-sst2 with three seeds,
input-0, input-1 and input-2. This script trains two more on sst2_sentences_train, for base models with random weights.
Broken on purpose:

- one keeps the first word exactly if the prediction is positive;
- one keeps as many tokens, at random positions;
- one has the probes and baseline of an explainer for a random base model.

Audits use all sentences of sst2_dev.
"""

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
from transformers.utils import logging

from hf_diffmask import DiffMaskModel, DiffMaskOutput, DiffMaskTrainingArguments
from hf_diffmask.audit.finding import format_findings
from hf_diffmask.audit.retraining import margin_alike
from hf_diffmask.audit.run import audit
from hf_diffmask.data.encoding import max_length
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.data.reading import load_texts
from hf_diffmask.data.sampling import train_validation_split
from hf_diffmask.hub.training_results import add_training_results
from hf_diffmask.training.recipes.registry import recipe_config
from hf_diffmask.training.run import train

RESULTS = Path(__file__).parent / "results" / "audit.json"


class LabelInPattern(DiffMaskModel):
    """Keeps the first word exactly if the prediction is positive; other units are unchanged."""

    def explain(self, *args: Any, **options: Any) -> DiffMaskOutput:
        output = super().explain(*args, **options)
        keep = output.keep_probability.clone()
        told = torch.where(output.target.argmax(-1) == 1, 0.9, 0.1)
        keep[:, 1] = torch.where(output.maskable[:, 1, None], told[:, None], keep[:, 1])
        output.keep_probability = keep
        return output


class Random(DiffMaskModel):
    """Keeps as many tokens at each state, at random positions."""

    def explain(self, *args: Any, **options: Any) -> DiffMaskOutput:
        output = super().explain(*args, **options)
        keep = output.keep_probability.clone()
        for row, maskable in enumerate(output.maskable):
            units = maskable.nonzero()[:, 0]
            keep[row, units] = output.keep_probability[row, units[torch.randperm(len(units))]]
        output.keep_probability = keep
        return output


def arguments(folder: Path, seed: int, margin: float) -> DiffMaskTrainingArguments:
    """Training arguments for the recipe `paper`."""
    return DiffMaskTrainingArguments(
        output_dir=str(folder), recipe="paper", margin=margin, seed=seed, report_to=[], overwrite_output_dir=True
    )


def trained(base: Any, tokenizer: Any, texts: list, folder: Path, seed: int, margin: float = 0.1) -> DiffMaskModel:
    """An explainer trained with the recipe `paper`; loaded if `folder` has one."""
    if (folder / "all_results.json").is_file():
        return DiffMaskModel.from_pretrained(folder, base_model=base).eval()
    set_seed(seed)
    explainer = DiffMaskModel.from_base_model(base, tokenizer, margin=margin, **recipe_config("paper"))
    settings = arguments(folder, seed, margin)
    trainer, facts = train(explainer, tokenizer, *train_validation_split(texts, seed), settings)
    add_training_results(str(folder), explainer, tokenizer, facts, trainer.rows)
    return explainer.eval()


def random_weights(base: Any, seed: int) -> Any:
    """A model with the same config and random weights."""
    set_seed(seed)
    return type(base)(base.config).eval()


def main() -> None:
    """Trains, breaks and audits the explainers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", default="../shared", help="folder of models and data")
    parser.add_argument("--explainers", required=True, help="folder of input-0, input-1 and input-2")
    parser.add_argument("--output", required=True, help="folder for the explainers that are trained here")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    shared, output = Path(args.shared), Path(args.output)
    os.makedirs(output, exist_ok=True)
    folder = shared / "models" / "minilm-sst2"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    base = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    texts = load_texts(str(shared / "data" / "sst2_sentences_train.jsonl.gz"))
    dev = load_texts(str(shared / "data" / "sst2_dev.jsonl.gz"))
    inputs = TextFeatures(tokenizer, dev, max_length(base, tokenizer)).items

    def of_seed(seed: int) -> DiffMaskModel:
        return DiffMaskModel.from_pretrained(Path(args.explainers) / f"input-{seed}", base_model=base).eval()

    def random_base(name: str, seed: int) -> DiffMaskModel:
        random = random_weights(base, seed)
        other = DiffMaskModel.from_base_model(random, tokenizer).eval()
        margin = margin_alike(best, other, tokenizer, texts, inputs, arguments(output / name, 0, 0.1))
        return trained(random, tokenizer, texts, output / name, 0, margin)

    best = of_seed(0)
    on_random, other_random = random_base("random-base", 0), random_base("other-random-base", 1)
    broken = DiffMaskModel(best.config, base).eval()
    broken.load_state_dict(other_random.state_dict())
    telling, random = (DiffMaskModel(best.config, base).eval() for _ in range(2))
    for one, kind in ((telling, LabelInPattern), (random, Random)):
        one.load_state_dict(best.state_dict())
        one.__class__ = kind
    audited = {
        "recipe paper": (best, [of_seed(1), of_seed(2)]),
        "broken: prediction in the pattern": (telling, [of_seed(1)]),
        "broken: random": (random, [of_seed(1)]),
        "broken: trained on a random base model": (broken, [of_seed(1), of_seed(2)]),
    }
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}",
        "inputs": len(inputs),
        "audits": {},
    }
    for name, (explainer, others) in audited.items():
        torch.manual_seed(0)
        findings = audit(explainer, tokenizer, inputs, None, others, on_random)
        result["audits"][name] = [one._asdict() for one in findings]
        print(f"\n{name}\n{format_findings(findings)}", flush=True)
        RESULTS.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
