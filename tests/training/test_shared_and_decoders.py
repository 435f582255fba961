"""Models with one block for all layers and encoder-decoders train, are saved, and explain like others."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.testbeds.grammar import sentences
from tests.base.test_decoders import FAMILIES
from tests.helpers import ARCHITECTURES, SMALL

CONFIGS = {"albert": {**SMALL, **ARCHITECTURES["albert"]}, "bart": FAMILIES["bart"], "t5": FAMILIES["t5"]}


@pytest.mark.parametrize(
    ("name", "recipe", "masking"),
    [("albert", "ablation", "input"), ("albert", "paper", "hidden"), ("bart", "ablation", "input"),
     ("bart", "paper", "input"), ("t5", "ablation", "input")],
)  # fmt: skip
def test_from_training_to_the_pipeline(name, recipe, masking, tokenizer, tmp_path):
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.sep_token_id}
    fields = {**CONFIGS[name], **special, "vocab_size": len(tokenizer), "decoder_start_token_id": 1}
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(name, **fields))
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    explainer = DiffMaskModel.from_base_model(model, tokenizer, **recipe_config(recipe, masking))
    args = DiffMaskTrainingArguments(
        output_dir=str(tmp_path / "explainer"), recipe=recipe, max_steps=4, baseline_steps=2, masks=2,
        per_device_train_batch_size=8, use_cpu=True, disable_tqdm=True, report_to="none", save_strategy="no",
        eval_strategy="no", load_best_model_at_end=False,
    )  # fmt: skip
    data = TextFeatures(tokenizer, sentences(32), 32)
    trainer = DiffMaskTrainer(explainer, args, data, data, processing_class=tokenizer)
    trainer.train()
    trainer.save_model()
    explain = pipeline(hf_diffmask.TASK, model=str(tmp_path / "explainer"))
    texts = ["the film is charming but the plot is dull .", "dull", "a warm script ."]
    alone, together = [explain(text) for text in texts], explain(texts, batch_size=3)
    for text, one, other in zip(texts, alone, together, strict=True):
        with torch.no_grad():
            logits = model.eval()(**tokenizer(text, return_tensors="pt")).logits[0]
        assert one["score"] == pytest.approx(logits.softmax(-1).max().item(), abs=1e-5)
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        for a, b in zip(one["tokens"], other["tokens"], strict=True):
            assert a["score"] == pytest.approx(b["score"], abs=1e-4)
