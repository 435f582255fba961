"""Makes `saved/`: small explainers of every recipe and masking, checkpoints, and the numbers that they gave.

It ran once, with version 0.1.0 (commit da24bc7). Run it again only to add a case: what is there must keep loading.
Later versions do not train `path` and `fast`.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    pipeline,
)

from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments

try:  # as it was in version 0.1.0
    from hf_diffmask.data.features import TextFeatures
    from hf_diffmask.training.arguments import recipe_config
except ImportError:
    from hf_diffmask import recipe_config
    from hf_diffmask.data.features import TextFeatures

SAVED = Path(__file__).parent / "saved"
WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the a film plot cast was is not very warm dull funny bad and who when sold mill"
)
TEXTS = [
    "the film was warm and funny",
    "a dull plot",
    "the cast is not bad",
    "the plot was very dull and the cast bad",
]
QUESTIONS = [
    ("when was the mill sold", "the mill was sold and the film is funny"),
    ("who is dull", "the cast is dull"),
]
CASES = [
    (recipe, masking, target)
    for recipe in ("path", "fast", "paper")
    for masking in ("input", "hidden")
    for target in (("prediction", "distribution") if recipe == "path" else (None,))
]
# Arguments of the pipeline, by recipe: each is a call whose result is kept.
CALLS = {
    "path": [{}, {"margin": 0.02, "curve": True}, {"on_violation": "search", "state": 1}, {"aggregation": "word"}],
    "fast": [{}, {"on_violation": "abstain"}, {"state": 0}],
    "paper": [{}, {"on_violation": "refine"}],
}


def make_bases() -> None:
    """Writes a classifier and an answerer with random weights, and their tokenizer."""
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS.split())}, "[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=24, model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip
    config = BertConfig(
        vocab_size=len(WORDS.split()), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=24, initializer_range=0.4,
    )  # fmt: skip
    for name, kind in (("classifier", BertForSequenceClassification), ("answerer", BertForQuestionAnswering)):
        torch.manual_seed(0)
        config.num_labels = 2 if kind is BertForQuestionAnswering else 3
        kind(config).save_pretrained(SAVED / name)
        tokenizer.save_pretrained(SAVED / name)


def train(folder: Path, task: str, recipe: str, masking: str, target: str | None, **settings) -> DiffMaskTrainer:
    """Trains an explainer for a few steps, as any user would."""
    answers = task == "question-answering"
    base = SAVED / ("answerer" if answers else "classifier")
    auto_class = AutoModelForQuestionAnswering if answers else AutoModelForSequenceClassification
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    torch.manual_seed(0)
    explainer = DiffMaskModel.from_base_model(
        auto_class.from_pretrained(base), tokenizer, **recipe_config(recipe, masking, task, target)
    )
    args = DiffMaskTrainingArguments(
        output_dir=str(folder), overwrite_output_dir=True, recipe=recipe, use_cpu=True, disable_tqdm=True,
        report_to="none", max_steps=4, per_device_train_batch_size=4, warmup_steps=0, learning_rate=0.02,
        eval_strategy="no", load_best_model_at_end=False, logging_strategy="no",
        **{"save_strategy": "no", **settings},
    )  # fmt: skip
    texts = QUESTIONS if answers else TEXTS
    train_data, eval_data = TextFeatures(tokenizer, texts * 4, 24), TextFeatures(tokenizer, texts, 24)
    return DiffMaskTrainer(explainer, args, train_data, eval_data, processing_class=tokenizer)


def numbers(folder: Path, recipe: str, questions: bool) -> dict:
    """What a saved explainer says: of a padded batch, and through the pipeline."""
    explain = pipeline("diffmask-attribution", model=str(folder))
    explainer, tokenizer = explain.model, explain.tokenizer
    texts = QUESTIONS if questions else TEXTS
    batch = tokenizer(
        *(zip(*texts, strict=True) if questions else [texts]), padding=True, return_tensors="pt",
        return_special_tokens_mask=True,
    )  # fmt: skip
    with torch.no_grad():
        output = explainer(**batch)
    inputs = [dict(zip(("question", "context"), one, strict=True)) for one in texts] if questions else texts
    return {
        **{name: output[name].tolist() for name in ("logits", "keep_probability", "target")},
        "attribution": explainer.attribution(output).tolist(),
        "results": [{"arguments": call, "found": explain(inputs, **call)} for call in CALLS[recipe]],
    }


def _rounded(value):
    """Eight digits of each number: single precision has seven."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value


def main() -> None:
    """Makes what is not there yet."""
    if not SAVED.is_dir():
        make_bases()
    found_file = SAVED / "numbers.json"
    found = json.loads(found_file.read_text()) if found_file.is_file() else {}
    cases = [("text-classification", *case) for case in CASES]
    cases += [("question-answering", recipe, "input", None) for recipe in ("path", "fast")]
    for task, recipe, masking, target in cases:
        name = "-".join(part for part in (task.split("-")[0], recipe, masking, target) if part)
        if (SAVED / name).is_dir():
            continue
        trainer = train(SAVED / name, task, recipe, masking, target)
        trainer.train()
        trainer.model.save_pretrained(SAVED / name)
        trainer.processing_class.save_pretrained(SAVED / name)
        found[name] = numbers(SAVED / name, recipe, task == "question-answering")
    for recipe in ("path", "fast", "paper"):
        folder = SAVED / f"run-{recipe}"
        if not folder.is_dir():
            train(folder, "text-classification", recipe, "input", None, save_strategy="steps", save_steps=2).train()
            end = load_file(folder / "checkpoint-4" / "model.safetensors")
            found[folder.name] = {name: value.tolist() for name, value in end.items()}
            shutil.rmtree(folder / "checkpoint-4")
    found_file.write_text(json.dumps(_rounded(found), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    sys.exit(main())
