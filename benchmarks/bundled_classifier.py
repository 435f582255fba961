r"""Trains the small sentiment classifier that is bundled with the package.

A BERT classifier with 2.6 million parameters is trained from random initialisation on SST-2 phrases, distilled from a
MiniLM teacher (distillation with data augmentation: Tang et al., 2019, https://arxiv.org/abs/1903.12136). The teacher
labels four kinds of input, once:

- every phrase, unchanged (target: the mean of the teacher's distribution and the gold label);
- every phrase with 10 to 60 % of its pieces replaced: three times in four by `[MASK]`, as explainers do, else by
  random pieces;
- phrases joined to texts of up to 256 pieces, to train every position; half of these texts have replaced pieces;
- every single piece of the vocabulary.

The vocabulary is part of the teacher's: the pieces in the training texts, the most frequent pieces and all single
characters. Training texts are thus tokenized as by the teacher. Settings were chosen on sentences held out from the
training split; the development split is only reported. Weights are saved in half precision and load in float32.

    python benchmarks/bundled_classifier.py --shared ../shared

(the first half of bundled.py) takes about 25 minutes on one core of a server CPU, half of it for the teacher.
The teacher's outputs are cached.
"""

import argparse
import gzip
import json
import os
import platform
import random
import tempfile
import time
import zlib
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
)

MAX_LENGTH = 256
FREQUENT_PIECES = 8000  # the teacher's WordPiece ids are sorted by frequency
HELD_OUT_SENTENCES = 400
JOINED_TEXTS = 1600
DRAWS = 2
BATCH_SIZE = 64
LEARNING_RATE = 1e-3


def read_jsonl(path: Path) -> list[dict]:
    """Rows of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def prune_tokenizer(teacher: PreTrainedTokenizerBase, texts: list[str]) -> tuple[PreTrainedTokenizerBase, list[int]]:
    """A tokenizer with part of the teacher's vocabulary, and the teacher's id for each piece."""
    used = {i for ids in teacher(texts)["input_ids"] for i in ids} | set(teacher.all_special_ids)
    kept = {}
    for piece, i in sorted(teacher.get_vocab().items(), key=lambda item: item[1]):
        is_character = len(piece.removeprefix("##")) == 1
        is_frequent = i < FREQUENT_PIECES and not piece.startswith("[unused")
        if i in used or is_character or is_frequent:
            kept[piece] = i
    vocab = {piece: n for n, piece in enumerate(kept)}
    return BertTokenizer(vocab=vocab, do_lower_case=True, model_max_length=MAX_LENGTH), list(kept.values())


def hold_out(records: list[dict], rng: random.Random) -> tuple[list[dict], list[dict]]:
    """Training records without phrases (4 words or more) that overlap held-out sentences; the held-out sentences."""
    sentences = [r for r in records if r["text"].endswith(" .") and len(r["text"].split()) >= 10]
    held_out = rng.sample(sentences, HELD_OUT_SENTENCES)
    texts = [r["text"] for r in held_out]
    joined = "\n".join(texts)

    def overlaps(text: str) -> bool:
        return len(text.split()) >= 4 and (text in joined or any(t in text for t in texts))

    return [r for r in records if not overlaps(r["text"])], held_out


def corrupt(ids: list[int], tokenizer: PreTrainedTokenizerBase, rng: random.Random) -> list[int]:
    """The ids with 10 to 60 % of inner pieces replaced: by `[MASK]` three times in four, else by random pieces."""
    rate = rng.uniform(0.1, 0.6)
    mask = rng.random() < 0.75
    inner = [
        i if rng.random() >= rate else tokenizer.mask_token_id if mask else rng.randrange(len(tokenizer))
        for i in ids[1:-1]
    ]
    return [ids[0], *inner, ids[-1]]


def augment(phrases: list[list[int]], tokenizer: PreTrainedTokenizerBase, rng: random.Random) -> list[list[int]]:
    """The inputs that only the teacher labels: corrupted phrases, joined phrases, single pieces."""
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    inputs = [corrupt(ids, tokenizer, rng) for ids in phrases]
    for n in range(JOINED_TEXTS):
        length = rng.randrange(32, MAX_LENGTH - 1)
        inner: list[int] = []
        while len(inner) < length:
            inner += rng.choice(phrases)[1:-1]
        ids = [cls, *inner[:length], sep]
        inputs.append(corrupt(ids, tokenizer, rng) if n % 2 else ids)
    return inputs + [[cls, i, sep] for i in range(len(tokenizer))]


def pad(inputs: list[list[int]]) -> dict[str, torch.Tensor]:
    """`input_ids`, padded with 0 (the id of `[PAD]`), and `attention_mask`, both of shape `(B, T)`."""
    length = max(map(len, inputs))
    input_ids = torch.tensor([ids + [0] * (length - len(ids)) for ids in inputs])
    attention_mask = torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids in inputs])
    return {"input_ids": input_ids, "attention_mask": attention_mask}


@torch.inference_mode()
def predict(model: PreTrainedModel, inputs: list[list[int]]) -> torch.Tensor:
    """The model's output distributions, of shape `(N, 2)`."""
    order = sorted(range(len(inputs)), key=lambda n: len(inputs[n]))
    probs = torch.empty(len(inputs), 2)
    for start in tqdm(range(0, len(order), BATCH_SIZE), desc="predict", mininterval=10):
        batch = order[start : start + BATCH_SIZE]
        probs[batch] = model(**pad([inputs[n] for n in batch])).logits.float().softmax(-1)
    return probs


def teacher_targets(path: Path, inputs: list[list[int]], cache_dir: Path) -> torch.Tensor:
    """The teacher's output distributions; cached for equal inputs."""
    cache = cache_dir / f"teacher_{path.name}_{zlib.crc32(json.dumps(inputs).encode()):08x}.pt"
    if not cache.exists():
        teacher = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
        # bfloat16 is precise enough here, and twice as fast on a CPU that has it.
        with torch.autocast("cpu", torch.bfloat16):
            torch.save(predict(teacher, inputs), cache)
    return torch.load(cache)


def train(model: PreTrainedModel, inputs: list[list[int]], targets: torch.Tensor, epochs: int, seed: int) -> None:
    """Minimises the cross-entropy to the targets; AdamW with linear warm-up and decay."""
    rng = random.Random(seed)
    steps = epochs * -(-len(inputs) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, fused=True)
    scheduler = get_linear_schedule_with_warmup(optimizer, steps // 20, steps)
    progress = tqdm(total=steps, desc="train", mininterval=10)
    model.train()
    for _ in range(epochs):
        # Batches of similar lengths need little padding; the noise changes the batches in every epoch.
        noise = [rng.random() * 2 for _ in inputs]
        order = sorted(range(len(inputs)), key=lambda n: len(inputs[n]) + noise[n])
        batches = [order[start : start + BATCH_SIZE] for start in range(0, len(order), BATCH_SIZE)]
        rng.shuffle(batches)
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(**pad([inputs[n] for n in batch])).logits
            loss = F.cross_entropy(logits.float(), targets[batch])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            progress.update()
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    model.eval()


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, output_dir: Path) -> None:
    """Writes weights in half precision, a config that loads them in float32, and the fast tokenizer."""
    model.half().save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    # Saved weights are readable only by their owner, and the package would keep these permissions.
    (output_dir / "model.safetensors").chmod(0o644)
    # `from_pretrained` loads in the config's dtype; half precision is slow on a CPU.
    config_file = output_dir / "config.json"
    config = json.loads(config_file.read_text())
    config_file.write_text(json.dumps(config | {"dtype": "float32"}, indent=2, sort_keys=True) + "\n")


def machine() -> str:
    """Number of cores and name of the CPU."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} CPU cores, {names[0] if names else platform.machine()}"


def card(figures: dict) -> str:
    """The classifier's card: description and figures."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in figures.items() if not isinstance(value, dict))
    data, versions = figures["data"], figures["versions"]
    return f"""# The bundled classifier

A BERT of {figures["parameters"]:,} parameters for the sentiment of English sentences about films, small enough to
come with the package. Trained from random initialisation on {data["train"]} and distilled from {data["teacher"]};
weights in half precision. It is there to try the package with, not to be relied on: it often misses negation and
contrast.

Figures on {data["dev"]} are of what is stored here. Built by `benchmarks/bundled.py` with torch
{versions["torch"]} and
transformers {versions["transformers"]}.

| figure | value |
|---|---|
{rows}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder that holds data/ and models/")
    parser.add_argument("--output_dir", type=Path, default=Path("hf_diffmask/bundled/classifier"))
    parser.add_argument("--cache_dir", type=Path, default=Path(tempfile.gettempdir()), help="for teacher targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)

    records = read_jsonl(args.shared / "data" / "sst2_train.jsonl.gz")
    teacher_path = args.shared / "models" / "minilm-sst2"
    teacher_tokenizer = AutoTokenizer.from_pretrained(teacher_path)
    tokenizer, teacher_ids = prune_tokenizer(teacher_tokenizer, [r["text"] for r in records])

    def soft_targets(inputs: list[list[int]]) -> torch.Tensor:
        return teacher_targets(teacher_path, [[teacher_ids[i] for i in ids] for ids in inputs], args.cache_dir)

    def tokenize(rows: list[dict]) -> tuple[list[list[int]], torch.Tensor]:
        return tokenizer([r["text"] for r in rows])["input_ids"], torch.tensor([r["label"] for r in rows])

    train_records, held_out_records = hold_out(records, rng)
    phrases, labels = tokenize(train_records)
    inputs, targets = phrases, (soft_targets(phrases) + F.one_hot(labels, 2)) / 2
    for _ in range(DRAWS):
        augmented = augment(phrases, tokenizer, rng)
        inputs, targets = inputs + augmented, torch.cat([targets, soft_targets(augmented)])

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=MAX_LENGTH,
        id2label={0: "NEGATIVE", 1: "POSITIVE"},
        label2id={"NEGATIVE": 0, "POSITIVE": 1},
    )
    model = BertForSequenceClassification(config)
    print(f"{len(tokenizer)} pieces, {model.num_parameters()} parameters, {len(targets)} inputs", flush=True)
    started = time.perf_counter()
    train(model, inputs, targets, args.epochs, args.seed)
    training_seconds = time.perf_counter() - started
    save(model, tokenizer, args.output_dir)

    # Figures are measured on the saved model, loaded as a user would load it.
    model = AutoModelForSequenceClassification.from_pretrained(args.output_dir).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.output_dir)
    if {p.dtype for p in model.parameters()} != {torch.float32}:
        raise RuntimeError("The saved classifier did not load in float32.")
    figures: dict = {"seed": args.seed, "threads": args.threads, "epochs": args.epochs}
    for split, rows in [("held_out", held_out_records), ("dev", read_jsonl(args.shared / "data/sst2_dev.jsonl.gz"))]:
        inputs, labels = tokenize(rows)
        predicted = predict(model, inputs).argmax(-1)
        # The teacher uses its own tokenizer here: texts outside the training split may have pieces that we pruned.
        teacher_inputs = teacher_tokenizer([r["text"] for r in rows])["input_ids"]
        teacher_predicted = teacher_targets(teacher_path, teacher_inputs, args.cache_dir).argmax(-1)
        figures[f"accuracy_{split}"] = round((predicted == labels).float().mean().item(), 4)
        figures[f"teacher_accuracy_{split}"] = round((teacher_predicted == labels).float().mean().item(), 4)
        figures[f"agreement_{split}"] = round((predicted == teacher_predicted).float().mean().item(), 4)
    figures |= {
        "parameters": model.num_parameters(),
        "bytes": sum(f.stat().st_size for f in args.output_dir.iterdir() if f.name != "figures.json"),
        "training_seconds": round(training_seconds),
        "initialisation": "random",
        "machine": machine(),
        "versions": {"torch": version("torch"), "transformers": version("transformers")},
        "data": {"train": "sst2_train", "dev": "sst2_dev", "teacher": teacher_path.name},
    }
    (args.output_dir / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    (args.output_dir / "README.md").write_text(card(figures))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
