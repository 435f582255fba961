"""Regression, checked by hand, on a model with known numbers, and with every command."""

import json
import math

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.display.terminal import to_text
from hf_diffmask.methods.plain import plain_explainer
from hf_diffmask.methods.registry import METHODS, Explainers
from hf_diffmask.tasks.registry import TASKS, task_of
from hf_diffmask.tasks.regression import Regression
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask_entry import main
from tests.helpers import recorded_of


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The bundled classifier with one label: its number is the log-odds of `POSITIVE`."""
    two = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    one = AutoModelForSequenceClassification.from_pretrained(
        hf_diffmask.BUNDLED_CLASSIFIER, num_labels=1, ignore_mismatched_sizes=True
    )
    negative, positive = (two.config.label2id[name] for name in ("NEGATIVE", "POSITIVE"))
    with torch.no_grad():
        one.classifier.weight.copy_((two.classifier.weight[positive] - two.classifier.weight[negative])[None])
        one.classifier.bias.copy_((two.classifier.bias[positive] - two.classifier.bias[negative])[None])
    one.config.id2label = {0: "stars"}
    folder = tmp_path_factory.mktemp("base")
    one.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """An explainer after a short training, saved with its tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    tokenizer.save_pretrained(base)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    explainer = DiffMaskModel.from_base_model(model, tokenizer, **recipe_config(task="regression"))
    folder = tmp_path_factory.mktemp("explainer")
    args = DiffMaskTrainingArguments(
        output_dir=str(folder), max_steps=200, masks=8, per_device_train_batch_size=16, use_cpu=True,
        disable_tqdm=True, report_to="none", save_strategy="no", eval_strategy="no", load_best_model_at_end=False,
    )  # fmt: skip
    data = TextFeatures(tokenizer, sentences(400), 64), TextFeatures(tokenizer, sentences(60, seed=1), 64)
    trainer = DiffMaskTrainer(explainer, args, *data, processing_class=tokenizer)
    trainer.train()
    trainer.save_model()
    return folder


def test_the_task_is_told_by_the_labels(base):
    assert task_of(AutoModelForSequenceClassification.from_pretrained(base)) is Regression
    heads = ["BertForSequenceClassification"]
    for labels, kind, fits in (
        (1, None, True), (1, "regression", True), (2, "regression", False), (1, "multi_label_classification", False),
        (2, None, False),
    ):  # fmt: skip
        config = BertConfig(num_labels=labels, problem_type=kind)
        assert Regression.fits(heads, config) == fits
    assert not Regression.fits(["BertForTokenClassification"], BertConfig(num_labels=1))
    assert [name for name, task in TASKS.items() if task.fits(heads, BertConfig(num_labels=1))] == ["regression"]


def test_numbers_by_hand():
    task = Regression({"mean": 2.0, "variance": 4.0})
    target, masked = torch.tensor([[4.0], [1.0], [4.0]]), torch.tensor([[3.0], [2.5], [6.0]])
    assert task.divergence(target, masked).tolist() == [0.25, 0.5625, 1.0]
    assert task.agreement(target, masked).tolist() == [True, False, False], "half a standard deviation is 1"
    assert task.confidence(target).tolist() == [1.0, 0.5, 1.0]
    assert task.predicted(target).tolist() == [1, 0, 1], "up and down from the mean"
    # Against its direction the number moves by 1 and by 1.5; in its direction by 2.
    assert task.drop(target, masked).tolist() == [0.25, 0.5625, -1.0]
    assert task.drop(target, masked, torch.tensor([0, 0, 0])).tolist() == [-0.25, 0.5625, 1.0]
    # The margin is a square, so the square stands beside the change: 0.3 deviations are within 0.1.
    assert task.moved({"divergence": 0.09, "drop": 0.09}) == "the number by 0.300 standard deviations (squared: 0.090)"
    further = task.moved({"divergence": 1.0, "drop": -1.0})
    assert further == "the number by 1.000 standard deviations further in its direction (squared: 1.000)"
    up = task.choice_log_probabilities(target)[:, 1].exp().tolist()
    assert up == pytest.approx([1 / (1 + math.exp(-z)) for z in (1.0, -0.5, 1.0)])
    assert task.value(target, masked).tolist() == pytest.approx([0.5, -0.25, 2.0])
    evidence = torch.ones(3, 2, 1)
    assert task.signed(evidence, torch.tensor([1, 0, 1]))[..., 0].tolist() == [[1, 1], [-1, -1], [1, 1]]
    constants = task.measured_constants(lambda: torch.tensor([[1.0], [3.0], [5.0]]))
    assert constants == {"mean": 3.0, "variance": pytest.approx(8 / 3)}
    assert task.measured_constants(lambda: torch.full((4, 1), 2.0)) == {"mean": 2.0, "variance": 1.0}


def test_constants_are_measured_on_the_training_inputs_and_kept(trained, tokenizer):
    explainer = DiffMaskModel.from_pretrained(trained)
    config = json.loads((trained / "config.json").read_text())
    assert config["task"] == "regression" and config["task_constants"]["reads"] == "first"
    numbers = []
    with torch.no_grad():
        for text in sentences(400):
            numbers.append(explainer.base(**tokenizer(text, return_tensors="pt")).logits.item())
    numbers = torch.tensor(numbers, dtype=torch.float64)
    assert config["task_constants"]["mean"] == pytest.approx(numbers.mean().item(), abs=1e-3)
    assert config["task_constants"]["variance"] == pytest.approx(numbers.var(correction=0).item(), rel=1e-3)
    assert explainer.task.constants == explainer.probes.task.constants == config["task_constants"]
    assert explainer.probes.choices == 2, "evidence for up and for down"


def test_evidence_says_up_or_down(trained, tokenizer):
    explain = pipeline("diffmask-attribution", model=str(trained))
    # The number is below the mean: "dull" lowers it more than "charming" lifts it.
    text = "the film is charming but the plot is dull ."
    found = {token["token"]: token["evidence"] for token in explain(text)["tokens"]}
    assert found["charming"] > 0 > found["dull"] and found["dull"] == min(found.values())
    found = {token["token"]: token["evidence"] for token in explain("the music is superb .")["tokens"]}
    assert found["superb"] == max(found.values()) and found["superb"] > 1
    assert explain(text, label="up")["explained_label"] == explain(text, label=1)["explained_label"] == "up"
    with pytest.raises(DiffMaskError, match="no class 'sideways': name one of down, up"):
        explain(text, label="sideways")
    # By default, the explanation is for the direction of the number from the mean.
    for text in ("the music is superb .", "the script is lifeless ."):
        result = explain(text, curve=True)
        number = explain.model.base(**tokenizer(text, return_tensors="pt")).logits.item()
        assert result["score"] == pytest.approx(number, abs=1e-5) and result["label"] == "stars"
        assert result["direction"] == ("up" if "superb" in text else "down")
        by_name = explain(text, label=result["direction"])
        assert [t["evidence"] for t in by_name["tokens"]] == [t["evidence"] for t in result["tokens"]]
        assert result["divergence"] == pytest.approx(abs(result["drop"])), "squared change over the variance"
        assert result["within_margin"] == (result["drop"] <= 0.1)
        assert result["curve"][-1]["drop"] == pytest.approx(0, abs=1e-6)
        shown = to_text(result, color=False)
        assert f"stars ({result['direction']})" in shown
        moved = math.sqrt(result["divergence"])
        assert f"moves the number by {moved:.3f} standard deviations" in shown


def test_the_masked_pass_is_checked_by_hand(trained, tokenizer):
    explain = pipeline("diffmask-attribution", model=str(trained))
    text = "the acting is not bad , and the room was full ."
    result = explain(text)
    encoding = tokenizer(text, return_tensors="pt")
    kept = torch.tensor([[token["kept"] for token in result["tokens"]]])
    base, baseline = explain.model.base, explain.model.baseline
    embedded = base.get_input_embeddings()(encoding.pop("input_ids"))
    with torch.no_grad():
        masked = base(inputs_embeds=torch.where(kept[..., None], embedded, baseline), **encoding).logits.item()
    variance = explain.model.config.task_constants["variance"]
    assert result["divergence"] == pytest.approx((masked - result["score"]) ** 2 / variance, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(("recipe", "masking"), [("ablation", "input"), ("paper", "input"), ("paper", "hidden")])
def test_every_recipe_trains_it(base, trained, tokenizer, tmp_path, recipe, masking):
    model = AutoModelForSequenceClassification.from_pretrained(base)
    config = recipe_config(recipe, masking, "regression")
    explainer = DiffMaskModel.from_base_model(model, tokenizer, **config)
    args = DiffMaskTrainingArguments(
        output_dir=str(tmp_path), recipe=recipe, max_steps=4, baseline_steps=2, masks=2, per_device_train_batch_size=8,
        use_cpu=True, disable_tqdm=True, report_to="none", save_strategy="no", eval_strategy="no",
        load_best_model_at_end=False,
    )  # fmt: skip
    data = TextFeatures(tokenizer, sentences(48), 64)
    trainer = DiffMaskTrainer(explainer, args, data, data, processing_class=tokenizer)
    trainer.train()
    metrics = trainer.evaluate()
    assert 0 <= metrics["eval_kept_share"] <= 1 and math.isfinite(metrics["eval_divergence"])
    again = pipeline("diffmask-attribution", model=explainer, tokenizer=tokenizer)(
        ["a warm film", "dull"], batch_size=2
    )
    assert [one["task"] for one in again] == ["regression"] * 2


@pytest.mark.parametrize("method", ["loo", "ig"])
def test_other_methods_use_the_trained_mean(base, tokenizer, method):
    """The number is far above 0 but below the mean. Dull words lower it, so they rank first."""
    model = AutoModelForSequenceClassification.from_pretrained(base)
    with torch.no_grad():
        model.classifier.bias.add_(30.0)
    explainer = DiffMaskModel.from_base_model(model, tokenizer)
    explainer.set_constants({"mean": 30.0, "variance": 4.0})
    plain = plain_explainer(explainer, tokenizer)
    features = dict(tokenizer("the plot is dull .", return_tensors="pt", return_special_tokens_mask=True))
    assert model(input_ids=features["input_ids"]).logits.item() < 30
    scores = METHODS[method](Explainers(explainer, plain, None, 0), features)[0]
    words = tokenizer.convert_ids_to_tokens(features["input_ids"][0])
    assert words[scores.argmax()] == "dull" and scores.max() > 0


@pytest.mark.parametrize("method", ["loo", "ig", "kernel_shap"])
def test_rivals_rank_for_the_direction_of_the_number(base, tokenizer, method):
    """The number is the log-odds of the classifier, so both models agree on the top token."""
    one = AutoModelForSequenceClassification.from_pretrained(base)
    two = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    for text in ("the plot is dull and lifeless .", "the cast is warm and superb ."):
        features = dict(tokenizer(text, return_tensors="pt", return_special_tokens_mask=True))
        found = []
        for model in (one, two):
            plain = DiffMaskModel.from_base_model(model, tokenizer).eval()
            found.append(METHODS[method](Explainers(plain, plain, None, 0), features)[0])
        assert found[0].argmax() == found[1].argmax() and found[0].max() > 0
        assert torch.corrcoef(torch.stack(found))[0, 1] > 0.9


def test_the_head_reads_the_first_position(trained, tokenizer):
    explainer = DiffMaskModel.from_pretrained(trained)
    batch = tokenizer(["a warm film", "dull"], padding=True, return_tensors="pt")
    weights = explainer.task.positions(recorded_of(explainer, **batch))
    assert weights.shape == (2, 1, batch["input_ids"].shape[1])
    assert weights[:, 0].argmax(-1).tolist() == [0, 0] and weights.sum().item() == 2


def test_through_every_command(trained, base, tmp_path, capsys):
    """Runs every command on pairs, as for rerankers, and on single texts."""
    pairs = [{"text": text, "text_pair": other} for text, other in zip(sentences(60), sentences(60, 2), strict=True)]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in pairs))
    folder = tmp_path / "explainer"
    arguments = [
        "train", "--base_model", str(base), "--dataset", str(data), "--text_pair_column", "text_pair", "--use_cpu",
        "True", "--max_steps", "2", "--masks", "2", "--per_device_train_batch_size", "8", "--disable_tqdm",
        "True", "--report_to", "none", "--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end",
        "False", "--output_dir", str(folder),
    ]  # fmt: skip
    assert main(arguments) == 0, capsys.readouterr().err
    card = (folder / "README.md").read_text()
    assert "squared change of the number over the variance of the output" in card
    assert "pipeline_tag: text-classification" in card and "| stars (" in card
    assert main(["card", str(folder), "--license", "mit"]) == 0
    said = ["explain", "--model", str(folder), "--text_pair", "A film.", "--format", "json", "a warm film"]
    assert main(said) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert {"task", "score", "direction", "drop"} <= json.loads(line).keys()
    single = tmp_path / "texts.csv"
    single.write_text("text\n" + "\n".join(f'"{text}"' for text in sentences(40)) + "\n")
    shared = ["--model", str(trained), "--dataset", str(single)]
    methods = ["--methods", "diffmask,loo,random", "--limit", "20"]
    assert main(["evaluate", *shared, *methods, "--output_dir", str(tmp_path / "faithfulness")]) == 0
    figures = json.loads((tmp_path / "faithfulness" / "faithfulness.json").read_text())["methods"]
    by_method = {name: one["figures"]["comprehensiveness"]["mean"] for name, one in figures.items()}
    assert by_method["diffmask"] > by_method["random"] + 0.05
    assert main(["audit", *shared, "--output_dir", str(tmp_path / "audit")]) == 0
    assert main(["analyze", *shared, "--limit", "5", "--output_dir", str(tmp_path / "report")]) == 0
    assert "number moves against its direction" in (tmp_path / "report" / "index.html").read_text()


def test_ablations_keep_the_standard_score_and_its_negative():
    task = Regression({"mean": 2.0, "variance": 4.0})
    kept = task.kept(torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0], [-20.0]]))
    torch.testing.assert_close(task.log_odds(kept), torch.tensor([[-1.5, 1.5], [6.0, -6.0]]))
