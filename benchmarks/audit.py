"""Audits of sound explainers and of three that are broken on purpose: results in docs/audit.md.

    python benchmarks/ablations.py train --recipes ablation --folder FOLDER
    python benchmarks/audit.py --explainers FOLDER --output audit        (40 minutes on 1 core)

FOLDER has explainers for minilm-sst2 with three seeds: ablation-0, ablation-1 and ablation-2. They explain the
prediction. The same weights, calibrated again, explain the whole output. This script trains two more on
sst2_sentences_train, for base models with random weights. Broken on purpose, all for the whole output:

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
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.data.reading import load_texts
from hf_diffmask.data.sampling import train_validation_split
from hf_diffmask.hub.training_results import add_training_results
from hf_diffmask.training.recipes.calibration import MOST, calibrate
from hf_diffmask.training.recipes.registry import RECIPES, recipe_config
from hf_diffmask.training.run import train

RESULTS = Path(__file__).parent / "results" / "audit_ablation.json"
MASKS, FEW_MASKS = 16, 4  # the explainer for the second random base model only has to be wrong


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


def arguments(folder: Path, margin: float, masks: int) -> DiffMaskTrainingArguments:
    """Training arguments for the recipe `ablation`."""
    return DiffMaskTrainingArguments(
        output_dir=str(folder), margin=margin, masks=masks, report_to=[], use_cpu=True, overwrite_output_dir=True
    )


def trained(base: Any, tokenizer: Any, texts: list, settings: DiffMaskTrainingArguments) -> DiffMaskModel:
    """An explainer trained with the recipe `ablation`; loaded if its folder has one."""
    folder = Path(str(settings.output_dir))
    if (folder / "all_results.json").is_file():
        return DiffMaskModel.from_pretrained(folder, base_model=base).eval()
    set_seed(settings.seed)
    explainer = DiffMaskModel.from_base_model(base, tokenizer, margin=settings.margin, **recipe_config("ablation"))
    trainer, facts = train(explainer, tokenizer, *split(texts, settings.seed), settings)
    add_training_results(str(folder), explainer, tokenizer, facts, trainer.rows)
    return explainer.eval()


def of_output(explainer: DiffMaskModel, tokenizer: Any, validation: list, margin: float = 0.1) -> DiffMaskModel:
    """The same weights for the whole output: calibrated on the third of the validation inputs that is for that."""
    fields = {"target": "distribution", "class_conditional": False, "margin": margin}
    found = DiffMaskModel(type(explainer.config)(**{**explainer.config.to_dict(), **fields}), explainer.base).eval()
    found.load_state_dict(explainer.state_dict())
    texts = [text for number, text in enumerate(validation) if number % 3 == 1][:MOST]
    items = TextFeatures(tokenizer, texts, max_length(found.base, tokenizer)).items
    batches = []
    for start in range(0, len(items), 64):
        batch = collate(tokenizer, [{**item, "example_ids": 0} for item in items[start : start + 64]])
        batches.append(found.batch(**batch))
    calibrate(found, batches)
    return found


def split(texts: list, seed: int) -> tuple[list, list]:
    """Training and validation texts, as `hf-diffmask train` splits them."""
    return train_validation_split(texts, seed, most=RECIPES["ablation"].validation_inputs)


def random_weights(base: Any, seed: int) -> Any:
    """A model with the same config and random weights."""
    set_seed(seed)
    return type(base)(base.config).eval()


def run_audits(
    args: argparse.Namespace, tokenizer: Any, inputs: list, audited: dict[str, tuple[DiffMaskModel, list, Any]]
) -> None:
    """Audits each explainer, with others of its kind and one on a random base model. Prints and saves the findings."""
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}",
        "inputs": len(inputs),
        "audits": {},
    }
    for name, (explainer, others, random_one) in audited.items():
        torch.manual_seed(0)
        findings = audit(explainer, tokenizer, inputs, None, others, random_one)
        result["audits"][name] = [one._asdict() for one in findings]
        print(f"\n{name}\n{format_findings(findings)}", flush=True)
        RESULTS.write_text(json.dumps(result, indent=1))


def main() -> None:
    """Trains, breaks and audits the explainers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", default="../shared", help="folder of models and data")
    parser.add_argument("--explainers", required=True, help="folder of ablation-0, ablation-1 and ablation-2")
    parser.add_argument("--output", required=True, help="folder for the explainers that are trained here")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sound_only", action="store_true", help="audit the sound explainers, without training any")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="explainers in --explainers; two or more"
    )
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

    validation = split(texts, 0)[1]

    def of_seed(seed: int) -> DiffMaskModel:
        return DiffMaskModel.from_pretrained(Path(args.explainers) / f"ablation-{seed}", base_model=base).eval()

    def scaled(explainer: DiffMaskModel, random: Any) -> float:
        """The margin for a random base model."""
        other = DiffMaskModel.from_base_model(random, tokenizer, target=explainer.config.target).eval()
        return margin_alike(explainer, other, tokenizer, texts, inputs, arguments(output, 0.1, MASKS))

    seeds = [of_seed(seed) for seed in args.seeds]
    outputs = [of_output(one, tokenizer, split(texts, k)[1]) for k, one in zip(args.seeds, seeds, strict=True)]
    if args.sound_only:
        sound = {"prediction": (seeds[0], seeds[1:], None), "output": (outputs[0], outputs[1:], None)}
        run_audits(args, tokenizer, inputs, sound)
        return
    random, other = random_weights(base, 0), random_weights(base, 1)
    on_random = trained(random, tokenizer, texts, arguments(output / "random", scaled(seeds[0], random), MASKS))
    output_on_random = of_output(on_random, tokenizer, validation, scaled(outputs[0], random))
    on_other = trained(other, tokenizer, texts, arguments(output / "other", scaled(seeds[0], other), FEW_MASKS))
    broken, telling, lost = (DiffMaskModel(outputs[0].config, base).eval() for _ in range(3))
    broken.load_state_dict(of_output(on_other, tokenizer, validation, scaled(outputs[0], other)).state_dict())
    for one, kind in ((telling, LabelInPattern), (lost, Random)):
        one.load_state_dict(outputs[0].state_dict())
        one.__class__ = kind
    audited = {
        "prediction": (seeds[0], seeds[1:], on_random),
        "output": (outputs[0], outputs[1:], output_on_random),
        "broken: prediction in the pattern": (telling, outputs[1:2], output_on_random),
        "broken: random": (lost, outputs[1:2], output_on_random),
        "broken: trained on a random base model": (broken, outputs[1:], output_on_random),
    }
    run_audits(args, tokenizer, inputs, audited)


if __name__ == "__main__":
    main()
