"""Ablations of texts: the baseline is learned or the mean, constants are measured, and signals lose nothing."""

import os
import signal
from contextlib import nullcontext

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainingArguments
from hf_diffmask.ablations import making
from hf_diffmask.ablations.drawing import draw_masks
from hf_diffmask.ablations.store import Ablations
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.ablating import ablate, inputs_of
from hf_diffmask.training.baseline import fit_baseline, has_gradients
from hf_diffmask.training.checkpoints import sole_run
from hf_diffmask.training.interruption import Interrupted

TEXTS = sentences(70)


@pytest.fixture(autouse=True)
def _heard():
    """A shell starts background jobs, tests as well, with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def settings(folder, **more):
    return DiffMaskTrainingArguments(
        output_dir=str(folder), use_cpu=True, disable_tqdm=True, report_to="none", baseline_steps=3, **more
    )


def test_the_baseline_is_that_of_training_and_is_taken_again(classifier, tokenizer, tmp_path, monkeypatch):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer)
    args = settings(tmp_path / "out", masks=4)
    made = ablate(explainer, tokenizer, TEXTS, args)
    other = DiffMaskModel.from_base_model(classifier, tokenizer)
    fit_baseline(other, TextFeatures(tokenizer, TEXTS, 64), lambda items: collate(tokenizer, items), args, nullcontext)
    assert torch.equal(made.baseline, other.baseline) and torch.equal(made.baseline, explainer.baseline)
    assert made.description.seed == args.seed == 42 and len(made) == 70
    # A second run has nothing to learn and nothing to make.
    monkeypatch.setattr("hf_diffmask.training.ablating.learn_baseline", lambda *_: pytest.fail("it is there"))
    monkeypatch.setattr(making, "_ablated", lambda *_: pytest.fail("all is there"))
    again = ablate(DiffMaskModel.from_base_model(classifier, tokenizer), tokenizer, TEXTS, args)
    assert torch.equal(again.baseline, made.baseline)


def test_a_lost_baseline_is_learned_again(classifier, tokenizer, tmp_path):
    made = ablate(
        DiffMaskModel.from_base_model(classifier, tokenizer), tokenizer, TEXTS, settings(tmp_path / "out", masks=2)
    )
    (tmp_path / "out" / "baseline.safetensors").unlink()
    again = ablate(
        DiffMaskModel.from_base_model(classifier, tokenizer), tokenizer, TEXTS, settings(tmp_path / "out", masks=2)
    )
    assert torch.equal(again.baseline, made.baseline)


def test_ablations_of_another_base_are_refused(classifier, tokenizer, answerer, tmp_path):
    ablate(DiffMaskModel.from_base_model(classifier, tokenizer), tokenizer, TEXTS, settings(tmp_path / "out", masks=2))
    with torch.no_grad():
        classifier.classifier.weight.add_(1)
    with pytest.raises(DiffMaskError, match=r"those of another base model \("):
        ablate(
            DiffMaskModel.from_base_model(classifier, tokenizer), tokenizer, TEXTS, settings(tmp_path / "out", masks=2)
        )
    pairs = [("what is it ?", text) for text in TEXTS]
    with pytest.raises(DiffMaskError, match=r"another task \(text-classification instead of question-answering\)"):
        ablate(
            DiffMaskModel.from_base_model(answerer, tokenizer), tokenizer, pairs, settings(tmp_path / "out", masks=2)
        )


def without_gradients(classifier):
    """What layers with quantised activations do."""
    forward = classifier.classifier.forward
    classifier.classifier.forward = lambda hidden: forward(hidden.detach()).detach()
    return classifier


def test_a_base_without_gradients_takes_the_mean_of_its_embeddings(classifier, tokenizer, tmp_path, caplog):
    assert has_gradients(DiffMaskModel.from_base_model(classifier, tokenizer))
    base = without_gradients(classifier)
    explainer = DiffMaskModel.from_base_model(base, tokenizer)
    assert not has_gradients(explainer)
    made = ablate(explainer, tokenizer, TEXTS, settings(tmp_path / "out", masks=4))
    order = torch.randperm(70, generator=torch.Generator().manual_seed(42))[:32].tolist()
    table = base.get_input_embeddings().weight
    ids = torch.cat([torch.tensor(tokenizer(TEXTS[k])["input_ids"]) for k in order])
    torch.testing.assert_close(made.baseline, table[ids].mean(0), atol=1e-5, rtol=0)
    assert "gives no gradients, so the baseline is the mean of the embeddings" in caplog.text
    assert not made.left_out.any()


def test_the_constants_of_a_number_are_measured(tokenizer, tmp_path):
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        num_labels=1,
    )  # fmt: skip
    base = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        numbers = torch.cat([base(**tokenizer(text, return_tensors="pt")).logits[:, 0] for text in TEXTS]).double()
    made = ablate(
        DiffMaskModel.from_base_model(base, tokenizer), tokenizer, TEXTS, settings(tmp_path / "out", masks=2)
    )
    constants = made.description.task_constants
    assert constants["mean"] == pytest.approx(numbers.mean().item(), abs=1e-6)
    assert constants["variance"] == pytest.approx(numbers.var(correction=0).item(), rel=1e-4)


@pytest.mark.parametrize(("number", "status", "name"), [(signal.SIGINT, 130, "interrupted"),
                                                        (signal.SIGTERM, 143, "terminated")])  # fmt: skip
def test_a_signal_leaves_finished_shards_and_says_how_to_go_on(
    classifier, tokenizer, tmp_path, monkeypatch, number, status, name
):
    texts = sentences(300)
    write = making.write_shard

    def interrupted(path, *given):
        write(path, *given)
        os.kill(os.getpid(), number)

    folder = tmp_path / "out"
    with monkeypatch.context() as patched, pytest.raises(Interrupted) as error:
        patched.setattr(making, "write_shard", interrupted)
        ablate(DiffMaskModel.from_base_model(classifier, tokenizer), tokenizer, texts, settings(folder, masks=2))
    assert (error.value.status, str(error.value)) == (
        status, f"{name}: finished shards stay in {folder}, and the same command goes on from them.",
    )  # fmt: skip
    assert sorted(os.listdir(folder)) == ["ablations.json", "baseline.safetensors", "shard-00000.parquet"]
    made = ablate(DiffMaskModel.from_base_model(classifier, tokenizer), tokenizer, texts, settings(folder, masks=2))
    assert len(made) == 300


def test_a_run_that_ends_early_leaves_no_empty_folder(classifier, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_diffmask.training.ablating.learn_baseline", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        ablate(
            DiffMaskModel.from_base_model(classifier, tokenizer), tokenizer, TEXTS, settings(tmp_path / "out", masks=2)
        )
    assert not (tmp_path / "out").exists()


def test_two_runs_at_once_are_refused(explainer, tokenizer, tmp_path):
    with sole_run(str(tmp_path / "out")), pytest.raises(DiffMaskError, match=r"nother run .*out"):
        ablate(explainer, tokenizer, TEXTS, settings(tmp_path / "out", masks=2))
    assert len(ablate(explainer, tokenizer, TEXTS, settings(tmp_path / "out", masks=2))) == 70


def test_inputs_are_windows_as_in_training(explainer, tokenizer):
    found = inputs_of(explainer, tokenizer, ["a warm film " * 100, "dull"])
    assert [len(item["input_ids"]) for item in found.items] == [256, 256, 3]


def test_masks_are_over_units_without_special_tokens(explainer, tokenizer, tmp_path):
    made = ablate(explainer, tokenizer, TEXTS, settings(tmp_path / "out", masks=2))
    features = tokenizer(TEXTS[:3], padding=True, return_tensors="pt", return_special_tokens_mask=True)
    maskable = features["attention_mask"].bool() & ~features["special_tokens_mask"].bool()
    masks, _ = Ablations(tmp_path / "out").batch([0, 1, 2], maskable)
    assert torch.equal(masks, draw_masks(42, torch.arange(3), maskable, 2))
    assert made.description.masks == 2
