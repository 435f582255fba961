"""Trains explainers for base models of several tasks, and compares them with their rivals: results in docs/tasks.md.

    python benchmarks/task_targets.py multi-label --encoder FOLDER --output target
    python benchmarks/tasks.py multi-label --target target --output explainers     (10 minutes a seed on one core)

Trains one explainer a seed with the default recipe, on the first --inputs inputs of the target's training file in a
random order, without their labels; one that is in its folder is not trained again. Measures on the first --measured
inputs of the dev or trial file, which nothing is chosen by:

- comprehensiveness and sufficiency of the explained choice at 10, 20, 30 and 50 % of the tokens, in the mean over
  --replacements, beside Integrated Gradients, leave-one-out and random scores, with 95 % intervals over inputs of the
  difference to the explainer. For token classification also over the tokens outside of what is explained alone;
- the certificate: tokens kept by the mask, same prediction, and cost within the margin;
- where words are labelled in the data: AUPRC of the scores against the words that people would point at for the
  explained choice.

Results go to results/tasks.json.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from task_targets import DATA, TARGETS, Example, inputs_of_target
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, set_seed
from transformers.utils import logging

from hf_diffmask import DiffMaskModel, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.base.running import run
from hf_diffmask.data.batching import in_batches
from hf_diffmask.data.features import model_inputs
from hf_diffmask.data.sampling import train_validation_split
from hf_diffmask.evaluation.comparison import attribute, interval, measured, rankable
from hf_diffmask.evaluation.faithfulness import PRESETS
from hf_diffmask.evaluation.plausibility import auprc, rationale
from hf_diffmask.explainer.inputs import inputs_of
from hf_diffmask.methods.plain import plain_explainer
from hf_diffmask.methods.registry import Explainers
from hf_diffmask.tasks.registry import task_of
from hf_diffmask.training.run import train
from hf_diffmask.training.validation import measure, table_of_states

RESULTS = Path(__file__).parent / "results" / "tasks.json"
METHODS = ("diffmask", "ig", "loo", "random")
FIGURES = ("comprehensiveness", "sufficiency")
Items = list[dict[str, list[int]]]


def trained(args: argparse.Namespace, target: Any, tokenizer: PreTrainedTokenizerBase, seed: int) -> DiffMaskModel:
    """The explainer of a seed; trained if it is not in its folder."""
    folder = args.output / f"seed-{seed}"
    if not (folder / "minutes.json").is_file():
        examples, _ = inputs_of_target(tokenizer, TARGETS[args.task], args.data, True)
        order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
        texts = [examples[k].text for k in order[: args.inputs].tolist()]
        set_seed(seed)
        explainer = DiffMaskModel.from_base_model(target, tokenizer, **recipe_config(task=task_of(target).name))
        settings = DiffMaskTrainingArguments(output_dir=str(folder), seed=seed, overwrite_output_dir=True)
        begun = time.perf_counter()
        _, facts = train(explainer, tokenizer, *train_validation_split(texts, seed), settings)
        minutes = {"minutes": (time.perf_counter() - begun) / 60, "minutes_of": facts["minutes_of"]}
        (folder / "minutes.json").write_text(json.dumps({**minutes, "inputs": len(texts)}))
    return DiffMaskModel.from_pretrained(folder, base_model=target).eval()


def certificate(explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, items: Items) -> dict[str, float]:
    """Figures of the masks that are handed out."""
    last = len(explainer.config.columns) - 1

    def of_batch(batch: dict[str, Tensor]) -> list[Tensor]:
        return list(measure(explainer, explainer.record(explainer.batch(**batch)), [last]))

    found = torch.stack(in_batches(tokenizer, items, explainer.device, of_batch, 64))
    (row,) = table_of_states(explainer.config.columns[-1:], found)
    return row._asdict()


def explained_choices(explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, items: Items) -> list[str]:
    """Name of the choice that is explained for each input."""
    names = explainer.task.choice_names(explainer.config)

    @torch.no_grad()
    def of_batch(batch: dict[str, Tensor]) -> list[str]:
        target = explainer.task.target(run(explainer.base, model_inputs(batch)), batch["attention_mask"])
        return [names[k] for k in explainer.task.predicted(target).tolist()]

    return in_batches(tokenizer, items, explainer.device, of_batch, 64)


def agreement_with_words(
    tokenizer: PreTrainedTokenizerBase, examples: list[Example], scores: list[list[float]], choices: list[str]
) -> list[float]:
    """AUPRC of each input that has a word for its choice and one that is not."""
    found = []
    for example, of_input, choice in zip(examples, scores, choices, strict=True):
        marked = example.evidence.get(choice, [])
        if not any(marked) or all(marked):
            continue
        encoding = tokenizer(example.text, return_offsets_mapping=True)
        special = [segment is None for segment in encoding.sequence_ids()]
        words = [example.text[:start].count(" ") for start, _ in encoding["offset_mapping"]]
        marks = [marked[word] and not one for word, one in zip(words, special, strict=True)]
        if len({one for one, out in zip(of_input, special, strict=True) if not out}) > 1:
            found.append(auprc(rationale(of_input, marks, special)))
    return found


def compared(
    explainers: Explainers,
    tokenizer: PreTrainedTokenizerBase,
    items: Items,
    scores: dict[str, list[list[float]]],
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Comprehensiveness and sufficiency of each method, in the mean over replacements."""
    preset, figures = PRESETS["hf_diffmask"], {}
    there = [k for k, item in enumerate(items) if preset.takes_away(item["special_tokens_mask"].count(0))]
    items = [items[k] for k in there]
    for name, of_method in scores.items():
        ranks, _ = rankable(items, [of_method[k] for k in there], preset)
        ways = [
            measured(explainers, tokenizer, items, ranks, preset._replace(replacement=way))
            for way in args.replacements
        ]
        figures[name] = {figure: np.mean([way[figure] for way in ways], axis=0) for figure in FIGURES}
    first = figures["diffmask"]
    return {
        "inputs": len(items),
        **{
            name: {
                figure: {
                    "mean": float(of_method[figure].mean()),
                    "less_diffmask": interval(of_method[figure] - first[figure], explainers.seed),
                }
                for figure in FIGURES
            }
            for name, of_method in figures.items()
        },
    }


def main() -> None:
    """Trains and measures explainers of one task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TARGETS)
    parser.add_argument("--target", type=Path, required=True, help="folder that task_targets.py wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for the explainers")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--inputs", type=int, default=1500, help="to train and validate on")
    parser.add_argument("--measured", type=int, default=200, help="inputs to measure on")
    parser.add_argument("--replacements", nargs="+", default=["mask", "pad", "unk", "attention", "delete"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(args.target)
    target = TARGETS[args.task].model.from_pretrained(args.target).eval()
    examples, _ = inputs_of_target(tokenizer, TARGETS[args.task], args.data, False)
    examples = examples[: args.measured]
    every: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    result = every.setdefault(args.task, {})
    result["machine"] = f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}"
    result["target"] = json.loads((args.target / "figures.json").read_text())
    result["replacements"] = args.replacements
    for seed in args.seeds:
        explainer = trained(args, target, tokenizer, seed)
        found: dict[str, Any] = json.loads((args.output / f"seed-{seed}" / "minutes.json").read_text())
        items = inputs_of(explainer, tokenizer, [example.text for example in examples]).items
        explainers = Explainers(explainer, plain_explainer(explainer, tokenizer), None, seed)
        methods = {name: attribute(explainers, tokenizer, items, name) for name in METHODS}
        scores = {name: one.scores for name, one in methods.items()}
        found["forwards"] = {name: one.forwards for name, one in methods.items()}
        found["certificate"] = certificate(explainer, tokenizer, items)
        found["all tokens"] = compared(explainers, tokenizer, items, scores, args)
        if explainer.task.at_positions:
            outside = [
                {
                    **item,
                    "special_tokens_mask": [
                        int(a or b) for a, b in zip(item["special_tokens_mask"], item["explained_mask"], strict=True)
                    ],
                }
                for item in items
            ]
            found["tokens outside"] = compared(explainers, tokenizer, outside, scores, args)
        if any(example.evidence for example in examples):
            choices = explained_choices(explainer, tokenizer, items)
            words = {
                name: agreement_with_words(tokenizer, examples, of_method, choices)
                for name, of_method in scores.items()
            }
            found["auprc"] = {name: float(np.mean(values)) for name, values in words.items()}
            found["auprc_inputs"] = len(words["random"])
        result[f"seed-{seed}"] = found
        RESULTS.write_text(json.dumps(every, indent=1) + "\n")
        print(f"\n{args.task}, seed {seed}, {found['minutes']:.1f} minutes, {found['certificate']}")
        for part in ("all tokens", "tokens outside"):
            for name in METHODS if part in found else ():
                means = " / ".join(f"{found[part][name][figure]['mean']:.3f}" for figure in FIGURES)
                known = f"   AUPRC {found['auprc'][name]:.3f}" if "auprc" in found else ""
                print(f"{part:<15} {name:<9} {means}{known}")


if __name__ == "__main__":
    main()
