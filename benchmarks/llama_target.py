"""Fine-tunes a Llama classifier for SST-2: the second base model of ablations.py.

    python benchmarks/llama_target.py --output llama-sst2        (10 minutes on 2 cores)
    python benchmarks/ablations.py train --base_model llama-sst2 --folder FOLDER --replacements mask attention delete

All weights of stories260k are fine-tuned on sst2_train. stories260k is a Llama with 5 blocks, trained on stories for
children: causal attention, rotary positions, no token for the whole input, and pieces of few letters. It has no mask
token, so a mask token is added; in training it replaces a tenth of the tokens, to train its embedding. The padding
token is also the unknown token, and the classifier takes it for the end of the input. So only the replacements `mask`,
`attention` and `delete` of ablations.py work.
"""

import argparse
import gzip
import json
import platform
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
    set_seed,
)
from transformers.utils import logging

LEARNING_RATE, BATCH_SIZE, MASKED = 2e-3, 64, 0.1


def read(path: Path) -> tuple[list[str], list[int]]:
    """Texts and labels."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row["text"] for row in rows], [int(row["label"]) for row in rows]


def options(description: str | None) -> argparse.ArgumentParser:
    """The options of a script that trains a classifier."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder of models and data")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def begin(args: argparse.Namespace) -> None:
    """Sets threads and seed, before a model is made."""
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    set_seed(args.seed)


def main() -> None:
    """Fine-tunes and saves the classifier, with its accuracy."""
    args = options(__doc__).parse_args()
    begin(args)
    source = args.shared / "models" / "stories260k"
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    model = AutoModelForSequenceClassification.from_pretrained(
        source, id2label={0: "NEGATIVE", 1: "POSITIVE"}, label2id={"NEGATIVE": 0, "POSITIVE": 1}, dtype="float32"
    )
    model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = tokenizer.pad_token_id
    train(args, model, tokenizer, LEARNING_RATE)


def train(
    args: argparse.Namespace, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, learning_rate: float
) -> None:
    """Trains all weights of a classifier on sst2_train, measures it on sst2_dev, and saves it."""
    texts, labels = read(args.shared / "data" / "sst2_train.jsonl.gz")
    ids = tokenizer(texts, truncation=True, max_length=256)["input_ids"]
    order = sorted(range(len(ids)), key=lambda k: len(ids[k]))
    batches = [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, len(batches) // 5, args.epochs * len(batches))
    begun = time.perf_counter()
    model.train()
    for epoch in range(args.epochs):
        shuffled = torch.randperm(len(batches)).tolist()
        for number in tqdm(shuffled, desc=f"Epoch {epoch + 1} of {args.epochs}", mininterval=5):
            rows = batches[number]
            batch = tokenizer.pad({"input_ids": [ids[k] for k in rows]}, return_tensors="pt")
            there = batch["attention_mask"].bool()
            there[:, 0] = False
            gone = there & (torch.rand(there.shape) < MASKED)
            found = model(batch["input_ids"].masked_fill(gone, tokenizer.mask_token_id), batch["attention_mask"])
            cross_entropy(found.logits, torch.tensor([labels[k] for k in rows])).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    minutes = (time.perf_counter() - begun) / 60
    model.eval()
    texts, labels = read(args.shared / "data" / "sst2_dev.jsonl.gz")
    right = 0
    with torch.no_grad():
        for start in range(0, len(texts), BATCH_SIZE):
            batch = tokenizer(texts[start : start + BATCH_SIZE], padding=True, return_tensors="pt")
            predicted = model(batch["input_ids"], batch["attention_mask"]).logits.argmax(-1)
            right += int((predicted == torch.tensor(labels[start : start + BATCH_SIZE])).sum())
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    found = {"accuracy": right / len(texts), "minutes": minutes, "seed": args.seed, "epochs": args.epochs}
    found["machine"] = f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}"
    (args.output / "figures.json").write_text(json.dumps(found, indent=1))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
