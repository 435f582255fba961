"""A token classifier with a known truth: what a text says of its subjects."""

import random

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForTokenClassification,
    ModernBertConfig,
    ModernBertForTokenClassification,
    PreTrainedTokenizerFast,
)

LABELS = ["O", "B-GOOD", "I-GOOD", "B-BAD", "I-BAD"]
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
GOOD = ("superb", "warm", "clever", "fresh", "funny", "smart", "moving")
BAD = ("dull", "flat", "silly", "weak", "tired", "messy", "boring")
NOUNS = ("film", "plot", "cast", "music", "script", "ending", "story", "acting")
BETWEEN = ("and", "but", ",")
WORDS = (*GOOD, *BAD, *NOUNS, *BETWEEN, "the", "is", "not", "very", ".")
LEARNING_RATE, BATCH_SIZE = 3e-3, 48


def texts(count, seed=0):
    """Texts of one to three clauses, such as "the plot is not very dull and the cast is warm ."."""
    draw = random.Random(seed)

    def clause():
        said = ["is", *(["not"] if draw.random() < 0.25 else []), *(["very"] if draw.random() < 0.3 else [])]
        return " ".join(["the", draw.choice(NOUNS), *said, draw.choice(GOOD + BAD)])

    made = []
    for _ in range(count):
        text = clause()
        for _ in range(draw.choice((0, 1, 1, 2))):
            text += f" {draw.choice(BETWEEN)} {clause()}"
        made.append(f"{text} .")
    return made


def subjects(text):
    """For each subject its start, its end, what is said of it, and start and end of the word that says so."""
    found, place, noun, turned = [], 0, None, False
    for word in text.split():
        if word in NOUNS:
            noun, turned = (place - len("the "), place + len(word)), False
        turned |= word == "not"
        if noun is not None and word in GOOD + BAD:
            found.append((*noun, "GOOD" if (word in GOOD) != turned else "BAD", place, place + len(word)))
            noun = None
        place += len(word) + 1
    return found


def small_tokenizer():
    """A tokenizer whose tokens are words."""
    made = Tokenizer(models.WordLevel({token: k for k, token in enumerate([*SPECIAL, *WORDS])}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=made, **names, model_max_length=128, model_input_names=["input_ids", "attention_mask"]
    )


def save_base(folder, steps=250):
    """Trains a token classifier that marks subjects as praised or blamed, and saves it with its tokenizer."""
    torch.manual_seed(0)
    tokenizer = small_tokenizer()
    model = ModernBertForTokenClassification(
        ModernBertConfig(
            vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=96, max_position_embeddings=128, num_labels=len(LABELS), pad_token_id=0, bos_token_id=1,
            eos_token_id=2, cls_token_id=1, sep_token_id=2,
            id2label=dict(enumerate(LABELS)), label2id={name: number for number, name in enumerate(LABELS)},
        )
    ).eval()  # fmt: skip
    every = texts(BATCH_SIZE * steps, seed=7)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    for start in range(0, len(every), BATCH_SIZE):
        some = every[start : start + BATCH_SIZE]
        batch = tokenizer(some, padding=True, return_tensors="pt", return_offsets_mapping=True)
        labels = torch.zeros_like(batch["input_ids"])
        for row, (text, offsets) in enumerate(zip(some, batch.pop("offset_mapping").tolist(), strict=True)):
            for begin, end, kind, *_ in subjects(text):
                for place, (first, last) in enumerate(offsets):
                    if begin <= first < last <= end:
                        labels[row, place] = LABELS.index(f"{'B' if first == begin else 'I'}-{kind}")
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, 10 * start / len(every), 1 - start / len(every))
        there = batch["attention_mask"].bool()
        F.cross_entropy(model(**batch).logits[there], labels[there]).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def marking_base(tokenizer, *words):
    """A token classifier that marks some words as "X" and others as "O": its block adds nothing to the embeddings."""
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        num_labels=2, id2label={0: "O", 1: "X"}, label2id={"O": 0, "X": 1},
    )  # fmt: skip
    base = BertForTokenClassification(config).eval()
    marked = tokenizer.convert_tokens_to_ids(list(words))
    with torch.no_grad():
        for parameter in base.bert.encoder.parameters():
            parameter.zero_()  # what the block adds to its input
        for module in base.bert.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.fill_(1.0)
        table = base.get_input_embeddings().weight
        table.zero_()
        table[:, 1], table[marked, 0] = 5.0, 5.0
        table[marked, 1] = 0.0
        base.bert.embeddings.position_embeddings.weight.zero_()
        base.bert.embeddings.token_type_embeddings.weight.zero_()
        base.classifier.weight.zero_()
        base.classifier.weight[1, 0] = 10.0
        base.classifier.bias.copy_(torch.tensor([0.0, -5.0]))
    return base
