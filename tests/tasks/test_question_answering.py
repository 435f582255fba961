"""Explanations of question answering: answers, windows, training."""

import json
import math

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.data.encoding import encode
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.data.windows import windows
from hf_diffmask.display.page import to_html
from hf_diffmask.display.terminal import to_text
from hf_diffmask.explainer.masking import Masking
from hf_diffmask.methods.gradients import integrated_gradients
from hf_diffmask.methods.leave_one_out import leave_one_out
from hf_diffmask.methods.per_example import per_example
from hf_diffmask.tasks.question_answering import QuestionAnswering
from hf_diffmask.training.recipes.registry import recipe_config
from hf_diffmask.training.validation import measure
from tests.helpers import CONTEXT, OTHERS, QUESTION, masked_output, recorded_of


@pytest.fixture
def explainer(answerer, tokenizer):
    model = DiffMaskModel.from_base_model(answerer, tokenizer, margin=1.0).eval()
    with torch.no_grad():
        model.probes.out_weight.normal_(std=0.05)
        model.probes.out_bias.fill_(1.0)
    return model


@pytest.fixture
def explain(explainer, tokenizer):
    return pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer)


def test_padding_and_batches_change_nothing(explainer, pairs):
    together = explainer(**pairs)
    mask = together.keep_probability[..., -1] > 0.5
    features = {name: value for name, value in pairs.items() if name != "special_tokens_mask"}
    masked = masked_output(explainer, mask, **features)
    assert together.target.shape == (4, 2, pairs["input_ids"].shape[1])
    for row, length in enumerate(pairs["attention_mask"].sum(-1).tolist()):
        single = {name: value[row : row + 1, :length] for name, value in pairs.items()}
        alone = explainer(**single)
        torch.testing.assert_close(together.target[row, :, :length], alone.target[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            together.keep_probability[row, :length], alone.keep_probability[0], atol=1e-4, rtol=1e-4
        )
        single.pop("special_tokens_mask")
        alone_masked = masked_output(explainer, mask[row : row + 1, :length], **single)
        torch.testing.assert_close(masked[row, :, :length], alone_masked[0], atol=1e-4, rtol=1e-4)


def test_answer_is_the_best_span_by_brute_force(explain, answerer, tokenizer):
    result = explain({"question": QUESTION, "context": CONTEXT}, top_k=3, max_answer_length=5)
    encoding = tokenizer(QUESTION, CONTEXT, return_offsets_mapping=True, return_tensors="pt")
    offsets, parts = encoding.pop("offset_mapping")[0].tolist(), encoding.sequence_ids()
    with torch.no_grad():
        output = answerer(**encoding)
    start, end = (output[name][0].softmax(-1).double() for name in ("start_logits", "end_logits"))
    spans = [
        ((start[i] * end[j]).item(), offsets[i][0], offsets[j][1])
        for i in range(len(parts))
        for j in range(i, min(i + 5, len(parts)))
        if parts[i] == parts[j] == 1
    ]
    spans.sort(reverse=True)
    for found, (score, first, last) in zip(result["answers"], spans, strict=False):
        assert found["score"] == pytest.approx(score, rel=1e-4)
        assert (found["start"], found["end"], found["answer"]) == (first, last, CONTEXT[first:last])
    assert result["answer"] == result["answers"][0]["answer"] and "label" not in result
    assert {token["segment"] for token in result["tokens"]} == {0, 1, None}
    for token in result["tokens"]:
        if token["segment"] is not None:
            text = (QUESTION, CONTEXT)[token["segment"]]
            assert text[token["start"] : token["end"]].lower() == token["token"].removeprefix("##")
    # The check by hand: the hard mask applied to the embeddings.
    keep = torch.tensor([token["states"][-1] > 0.5 for token in result["tokens"]])[None]
    p = QuestionAnswering().target(output).double()
    q = masked_output(explain.model, keep, **encoding).double()
    assert result["divergence"] == pytest.approx((p.exp() * (p - q)).sum().item(), abs=1e-3)
    assert "answers" not in explain({"question": QUESTION, "context": CONTEXT})
    assert json.loads(json.dumps(result)) == result


def test_everything_kept_leaves_the_answer(explain, explainer):
    with torch.no_grad():
        explainer.probes.out_bias.fill_(20.0)
    result = explain({"question": QUESTION, "context": CONTEXT})
    assert result["same_prediction"] and result["within_margin"] and result["divergence"] < 1e-5
    assert result["kept_share"] == 1


def test_a_masked_output_of_no_numbers_never_holds(explain, explainer, monkeypatch):
    masked = type(explainer).masked
    monkeypatch.setattr(type(explainer), "masked", lambda *given: torch.full_like(masked(*given), float("nan")))
    result = explain({"question": QUESTION, "context": CONTEXT})
    assert math.isnan(result["divergence"]) and not result["within_margin"]
    assert result["certificate"] == "does not hold" and "cannot be compared" in to_text(result, color=False)


def test_long_contexts_are_read_in_windows(explain, answerer, tokenizer):
    long = " ".join(CONTEXT for _ in range(8))
    encoded = encode(tokenizer, (QUESTION, long))
    parts = list(windows(encoded, 64))
    assert len(parts) > 3
    result = explain({"question": QUESTION, "context": long})
    best = (0.0, 0, 0)
    for window in parts:
        features = {name: torch.tensor([values]) for name, values in window.features.items()}
        features.pop("special_tokens_mask")
        with torch.no_grad():
            output = answerer(**features)
        start, end = (output[name][0].softmax(-1).double() for name in ("start_logits", "end_logits"))
        for i, first in enumerate(window.units):
            for j in range(i, min(i + 30, len(window.units))):
                last = window.units[j]
                if encoded.segments[first] == encoded.segments[last] == 1:
                    score = (start[i] * end[j]).item()
                    best = max(best, (score, encoded.offsets[first][0], encoded.offsets[last][1]))
    assert result["score"] == pytest.approx(best[0], rel=1e-4)
    assert long[result["start"] : result["end"]] == result["answer"] == long[best[1] : best[2]]
    assert len(result["tokens"]) == len(encoded.tokens)
    batched = explain([{"question": QUESTION, "context": long}] * 2, batch_size=4)
    assert batched[1]["answer"] == result["answer"]
    assert batched[1]["divergence"] == pytest.approx(result["divergence"], abs=1e-4)


def test_no_answer(explain, answerer):
    with torch.no_grad():
        answerer.qa_outputs.weight.zero_()
    # All spans are as probable as no answer. No answer wins only if it is more probable.
    result = explain({"question": QUESTION, "context": CONTEXT}, handle_impossible_answer=True)
    assert result["answer"] != ""
    with torch.no_grad():
        answerer.qa_outputs.weight.normal_()
        hidden = answerer.bert(**explain.tokenizer(QUESTION, CONTEXT, return_tensors="pt"))[0][0, 0]
        answerer.qa_outputs.weight.copy_(hidden.expand(2, -1))  # the first token's own state scores highest
    result = explain({"question": QUESTION, "context": CONTEXT}, handle_impossible_answer=True)
    assert (result["answer"], result["start"], result["end"]) == ("", 0, 0)
    assert result["divergence"] >= 0
    assert "(no answer)" in to_text(result, color=False) and "(no answer)" in to_html([result])
    assert explain({"question": QUESTION, "context": CONTEXT})["answer"] != ""


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"question": QUESTION, "context": "  "}, "The input has an empty context"),
        ({"question": "", "context": CONTEXT}, "The input has an empty question"),
        ({"question": QUESTION}, "The input is no question with a context"),
        (QUESTION, "The input is no question with a context"),
        ({"question": "why " * 40, "context": CONTEXT}, r"begins with 'why why .*' takes 40 tokens, .* window of 64"),
    ],
)
def test_bad_questions(explain, item, message):
    with pytest.raises(DiffMaskError, match=message):
        explain(item)


def test_arguments_of_answers_are_for_answers(explain):
    bundled = pipeline(hf_diffmask.TASK)
    with pytest.raises(DiffMaskError, match="`top_k` is for question answering and fill mask"):
        bundled("a warm film", top_k=2)
    with pytest.raises(DiffMaskError, match="no argument best"):
        explain({"question": QUESTION, "context": CONTEXT}, best=2)
    with pytest.raises(DiffMaskError, match="`top_k` must be 0 or more"):
        explain({"question": QUESTION, "context": CONTEXT}, top_k=-1)
    with pytest.raises(DiffMaskError, match="`max_answer_length` must be at least 1"):
        explain({"question": QUESTION, "context": CONTEXT}, max_answer_length=0)


def test_other_explainers_take_start_and_end_together(explainer, pairs):
    masking = Masking(explainer, pairs)
    whole = masking.log_probability(masking.hidden)
    torch.testing.assert_close(whole, masking.target.max(-1).values.sum(-1))
    scores = leave_one_out(explainer, pairs)
    row, unit = 2, 4
    mask = torch.ones_like(pairs["attention_mask"]).bool()
    mask[row, unit] = False
    torch.testing.assert_close(scores[row, unit], masking.divergence(mask)[row], atol=1e-5, rtol=1e-4)
    for method in (integrated_gradients, per_example):
        scores = method(explainer, pairs, steps=10)
        assert scores.shape == pairs["input_ids"].shape and (scores[~masking.maskable] == 0).all()
        assert scores.isfinite().all()


@pytest.mark.parametrize(("recipe", "cache_memory"), [("paper", 0.0), ("ablation", 1.0)])
def test_training_saving_and_loading(answerer, tokenizer, tmp_path, recipe, cache_memory):
    texts = [(QUESTION, CONTEXT), *OTHERS] * 4
    config = recipe_config(recipe, task="question-answering")
    explainer = DiffMaskModel.from_base_model(answerer, tokenizer, margin=1.0, **config)
    assert explainer.config.task == "question-answering" and explainer.config.class_conditional is False
    data = TextFeatures(tokenizer, texts, 64)
    args = DiffMaskTrainingArguments(
        output_dir=str(tmp_path / "run"), recipe=recipe, margin=1.0, max_steps=8, masks=2,
        per_device_train_batch_size=8, eval_strategy="no", save_strategy="no", load_best_model_at_end=False,
        use_cpu=True, disable_tqdm=True, report_to="none", cache_memory=cache_memory,
    )  # fmt: skip
    trainer = DiffMaskTrainer(explainer, args, data, data, processing_class=tokenizer)
    trainer.train()
    if cache_memory:
        batch = trainer.data_collator([data[k] for k in (0, 1, 2)])
        ids, features = batch.pop("example_ids"), batch
        features.pop("special_tokens_mask")
        # Recorded in another batch, so equal up to rounding.
        torch.testing.assert_close(
            trainer.cache.record(explainer, explainer.batch(example_ids=ids, **features)).target,
            recorded_of(explainer, **features).target,
        )
    metrics = trainer.evaluate()
    batch = trainer.data_collator([data[k] for k in trainer.validation_numbers("report")])
    batch.pop("example_ids")
    assert metrics["eval_divergence"] == pytest.approx(
        measure(explainer, recorded_of(explainer, **batch))[:, -1, 2].mean().item(), rel=1e-3
    )
    answerer.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    explainer = DiffMaskModel.from_base_model(
        AutoModelForQuestionAnswering.from_pretrained(tmp_path / "base"), tokenizer, **config
    )
    explainer.save_pretrained(tmp_path / "explainer")
    tokenizer.save_pretrained(tmp_path / "explainer")
    loaded = pipeline(hf_diffmask.TASK, model=str(tmp_path / "explainer"))
    assert type(loaded.model.base).__name__ == "BertForQuestionAnswering"
    assert loaded({"question": QUESTION, "context": CONTEXT})["answer"]
    with pytest.raises(DiffMaskError, match="task text-classification instead of question-answering"):
        DiffMaskModel.from_pretrained(tmp_path / "explainer", base_model=loaded_classifier())


def loaded_classifier():
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)


def test_ablations_keep_the_log_odds_of_the_predicted_answer():
    task = QuestionAnswering()
    target = torch.tensor([[[0.1, 0.9], [0.2, 0.8]]]).log()
    masked = torch.tensor([[[0.5, 0.5], [0.2, 0.8]]]).log()
    kept = task.kept(target, masked)
    assert kept.shape == (1, 1) and task.log_odds(kept).item() == pytest.approx(math.log(0.4 / 0.6), abs=1e-6)
    assert task.log_odds(torch.tensor([[-3e4], [30.0]])).tolist() == [[-8.0], [8.0]]
