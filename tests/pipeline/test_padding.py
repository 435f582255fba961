"""GPT-2 with a padding token in the tokenizer alone: batches, training and evaluation, on either side of padding."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.data.encoding import check_vocabulary
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.predictions import class_probabilities
from hf_diffmask.testbeds.grammar import sentences

TEXTS = ["a warm and quietly funny film", "the plot is dull", "not bad at all", "superb"]


@pytest.fixture(scope="module")
def made():
    """A byte-level tokenizer without a padding token, and a GPT-2."""
    known = Tokenizer(models.BPE())
    known.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    known.train_from_iterator(sentences(200), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=known, eos_token="<|endoftext|>")
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2, num_labels=2)
    model = GPT2ForSequenceClassification(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(3)
    return tokenizer, model


@pytest.fixture(params=["left", "right"])
def padding(made, request):
    tokenizer, model = made
    # What the message for a tokenizer without a padding token says.
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, request.param
    before = model.config.to_dict()
    yield tokenizer, model
    assert model.config.to_dict() == before and model.config.pad_token_id is None


def test_batches_explain_as_single_texts_do(padding):
    tokenizer, model = padding
    explainer = DiffMaskModel.from_base_model(model, tokenizer).eval()
    with torch.no_grad():
        explainer.probes.out_weight.normal_(std=0.05)
        explainer.probes.out_bias.fill_(2.0)
    explain = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")
    for text, result in zip(TEXTS, explain(TEXTS, batch_size=4), strict=True):
        with torch.no_grad():
            bare = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1).max().item()
        alone = explain(text)
        assert result["score"] == pytest.approx(bare, abs=1e-5) and result["label"] == alone["label"]
        assert result["divergence"] == pytest.approx(alone["divergence"], abs=1e-5)
        for token, same in zip(result["tokens"], alone["tokens"], strict=True):
            assert token["states"] == pytest.approx(same["states"], abs=1e-5)


def test_training_and_evaluation_run_in_batches(padding, tmp_path):
    tokenizer, model = padding
    explainer = DiffMaskModel.from_base_model(model, tokenizer, **recipe_config())
    args = DiffMaskTrainingArguments(
        output_dir=str(tmp_path), max_steps=2, baseline_steps=1, masks=2, per_device_train_batch_size=8,
        save_strategy="no", load_best_model_at_end=False, use_cpu=True, report_to="none", disable_tqdm=True,
    )  # fmt: skip
    data = [TextFeatures(tokenizer, sentences(16, seed), 64) for seed in (0, 1)]
    trainer = DiffMaskTrainer(explainer, args, *data, processing_class=tokenizer)
    trainer.train()
    inputs = [{**tokenizer(text), "special_tokens_mask": [0] * len(tokenizer(text)["input_ids"])} for text in TEXTS]
    keep = [[True] * len(one["input_ids"]) for one in inputs]
    # No token can see the last one of the first text. It stays in its position, where the model reads.
    keep[0][-1] = False
    found = class_probabilities(model, tokenizer, inputs, keep, "attention")
    for row, (one, stays) in enumerate(zip(inputs, keep, strict=True)):
        features = {"input_ids": torch.tensor([one["input_ids"]]), "attention_mask": torch.tensor([stays]).long()}
        with torch.no_grad():
            torch.testing.assert_close(found[row], model(**features).logits.softmax(-1)[0], atol=1e-5, rtol=0)


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(made, tmp_path):
    tokenizer, model = made
    larger = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]")
    assert len(larger) == model.config.vocab_size + 1
    message = f"has {len(larger)} tokens, and the base model has embeddings for {len(larger) - 1}"
    check_vocabulary(tokenizer, len(tokenizer))
    explainer = DiffMaskModel.from_base_model(model)
    args = DiffMaskTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    for refuse in (
        lambda: DiffMaskModel.from_base_model(model, larger),
        lambda: pipeline(hf_diffmask.TASK, model=explainer, tokenizer=larger, device="cpu"),
        lambda: DiffMaskTrainer(explainer, args, processing_class=larger),
    ):
        with pytest.raises(DiffMaskError, match=message):
            refuse()
