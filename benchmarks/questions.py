"""The recipe `ablation` for questions, compared with its rivals: results in docs/tasks.md.

    python benchmarks/squad_target.py --encoder FOLDER --output minilm-squad
    python benchmarks/squad.py --target minilm-squad --output minilm-squad-ablation --recipe ablation --masking input
    python benchmarks/questions.py --target minilm-squad --explainer minilm-squad-ablation     (20 minutes on 1 core)

Questions of squad_v1.1_dev that fit, with their context, into --length tokens. All methods explain the same answer,
the most probable start and end, and mask tokens by the same vector: the explainer's baseline, or the mask token.

- loss: the drop of the answer's probability when the top tenth of the tokens is kept.
- share for the answer: the smallest share of tokens, in steps of 0.05, with a drop of at most 0.1.
- share for the output: the same for a divergence of at most 1 nat of start and end together.

All have 95 % intervals of the paired difference to the explainer.
"""

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from hf_diffmask import DiffMaskModel
from hf_diffmask.base.running import Recorded
from hf_diffmask.data.encoding import encode
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.data.squad import load_squad
from hf_diffmask.evaluation.comparison import interval
from hf_diffmask.explainer.from_base import first_baseline
from hf_diffmask.masks.paths import top
from hf_diffmask.methods.gradients import integrated_gradients
from hf_diffmask.methods.leave_one_out import leave_one_out

RESULTS = Path(__file__).parent / "results" / "questions.json"
SHARES = np.arange(0, 21) / 20
TENTH = 2  # place in SHARES
DROP, DIVERGENCE = 0.1, 1.0
FIGURES = ("loss", "share for the answer", "share for the output")


def rankings(explainer: DiffMaskModel, features: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Scores of each method, `(1, T)`."""
    output = explainer(**features)
    return {
        "ablation": explainer.attribution(output),
        "ig": integrated_gradients(explainer, features, steps=32, signed=True, batch_size=16),
        "loo": leave_one_out(explainer, features, log_odds=True, batch_size=64),
        "random": torch.rand(output.maskable.shape, generator=generator),
    }


@torch.no_grad()
def curve(explainer: DiffMaskModel, recorded: Recorded, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Drop of the answer's probability and divergence of the output, at each of `SHARES`."""
    rows = torch.zeros(len(SHARES), dtype=torch.long)
    every, size = recorded.rows(rows, 0), recorded.batch.maskable.sum()
    budgets = torch.tensor(SHARES * size.item()).ceil().long()
    masked = explainer.masked(every, top(scores[rows], budgets, every.batch.maskable))
    log_probability = explainer.task.log_probability
    drop = log_probability(every.target, every.target).exp() - log_probability(every.target, masked).exp()
    return drop, explainer.task.divergence(every.target, masked)


def figures(drop: np.ndarray, divergence: np.ndarray) -> list[float]:
    """The figures of one question; the last share keeps everything, so there always is one."""
    within = (drop <= DROP, divergence <= DIVERGENCE)
    return [float(drop[TENTH]), *(float(SHARES[mask.argmax()]) for mask in within)]


def main() -> None:
    """Measures all methods, prints and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, required=True, help="folder that squad_target.py wrote")
    parser.add_argument("--explainer", type=Path, required=True, help="folder that squad.py wrote")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the SQuAD files")
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--length", type=int, default=160, help="tokens of the longest question and context")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.target)
    base = AutoModelForQuestionAnswering.from_pretrained(args.target).eval()
    explainer = DiffMaskModel.from_pretrained(args.explainer, base_model=base).eval()
    dev, _ = load_squad(args.data / "squad_v1.1_dev.json.gz")
    pairs = [(one.question, one.context) for one in dev]
    pairs = [pair for pair in pairs if len(encode(tokenizer, pair).tokens) <= args.length][: args.questions]
    items = TextFeatures(tokenizer, pairs, args.length).items
    generator = torch.Generator().manual_seed(0)
    found: dict[str, dict[str, list[list[float]]]] = {"baseline": {}, "mask token": {}}
    vectors = {"baseline": explainer.baseline.detach().clone(), "mask token": first_baseline(base, tokenizer)}
    for item in tqdm(items, desc="Questions", mininterval=5):
        features = collate(tokenizer, [{**item, "example_ids": 0}])
        features.pop("example_ids")
        scores = rankings(explainer, features, generator)
        recorded = explainer.record(explainer.batch(**features))
        for way, vector in vectors.items():
            explainer.baseline.data.copy_(vector)
            for name, of_name in scores.items():
                drop, divergence = curve(explainer, recorded, of_name)
                found[way].setdefault(name, []).append(figures(drop.numpy(), divergence.numpy()))
        explainer.baseline.data.copy_(vectors["baseline"])
    result = {
        "machine": f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}",
        "questions": len(items), "length": args.length,
        "target": json.loads((args.target / "results.json").read_text()),
        "training": json.loads((args.explainer / "results.json").read_text()),
        "found": {},
    }  # fmt: skip
    for way, of_way in found.items():
        own = np.array(of_way["ablation"])
        for name, values in of_way.items():
            rival = np.array(values)
            means = dict(zip(FIGURES, rival.mean(0).tolist(), strict=True))
            leads = {figure: interval(rival[:, k] - own[:, k]) for k, figure in enumerate(FIGURES)}
            result["found"].setdefault(way, {})[name] = {"means": means, "less_the_explainer": leads}
            print(way, name, {key: round(value, 3) for key, value in means.items()},
                  {key: [round(end, 3) for end in ends] for key, ends in leads.items()})  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
