"""Labels of which any number hold, checked by hand, on a model with known log-odds, and with every command."""

import json
import math

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.display.terminal import to_text
from hf_diffmask.methods.plain import plain_explainer
from hf_diffmask.methods.registry import METHODS, Explainers
from hf_diffmask.tasks.multi_label import MultiLabelClassification
from hf_diffmask.tasks.registry import TASKS, task_of
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.recipes.ablation import Labels, residuals
from hf_diffmask.training.recipes.calibration import calibrate
from hf_diffmask_entry import main
from tests.helpers import batches_of, masked_output

NAMES = ["praises", "criticises", "anything"]
TASK = "multi-label-classification"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The bundled classifier with three labels: the log-odds of `POSITIVE`, their negative less 1, and 3."""
    two = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    three = AutoModelForSequenceClassification.from_pretrained(
        hf_diffmask.BUNDLED_CLASSIFIER, num_labels=3, ignore_mismatched_sizes=True,
        problem_type="multi_label_classification",
    )  # fmt: skip
    negative, positive = (two.config.label2id[name] for name in ("NEGATIVE", "POSITIVE"))
    with torch.no_grad():
        weight = two.classifier.weight[positive] - two.classifier.weight[negative]
        bias = two.classifier.bias[positive] - two.classifier.bias[negative]
        three.classifier.weight.copy_(torch.stack([weight, -weight, torch.zeros_like(weight)]))
        three.classifier.bias.copy_(torch.stack([bias, -bias - 1, torch.tensor(3.0)]))
    three.config.id2label = dict(enumerate(NAMES))
    three.config.label2id = {name: number for number, name in enumerate(NAMES)}
    folder = tmp_path_factory.mktemp("base")
    three.save_pretrained(folder)
    AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """An explainer after a short training, saved with its tokenizer."""
    folder = tmp_path_factory.mktemp("explainer")
    train(base, folder, max_steps=200, masks=8, per_device_train_batch_size=16)
    return folder


def train(base, folder, texts=400, masking="input", recipe="ablation", **settings):
    """Trains and saves an explainer. Returns its trainer."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    explainer = DiffMaskModel.from_base_model(model, tokenizer, **recipe_config(recipe, masking, TASK))
    args = DiffMaskTrainingArguments(
        output_dir=str(folder), recipe=recipe, use_cpu=True, disable_tqdm=True, report_to="none", save_strategy="no",
        eval_strategy="no", load_best_model_at_end=False, **settings,
    )  # fmt: skip
    data = TextFeatures(tokenizer, sentences(texts), 64), TextFeatures(tokenizer, sentences(60, seed=1), 64)
    trainer = DiffMaskTrainer(explainer, args, *data, processing_class=tokenizer)
    trainer.train()
    trainer.save_model()
    return trainer


def test_the_task_is_told_by_the_problem_type(base):
    assert task_of(AutoModelForSequenceClassification.from_pretrained(base)) is MultiLabelClassification
    heads = ["BertForSequenceClassification"]
    for labels, kind, fits in ((1, True, True), (3, True, True), (3, False, False)):
        config = BertConfig(num_labels=labels, problem_type="multi_label_classification" if kind else None)
        assert MultiLabelClassification.fits(heads, config) == fits
    config = BertConfig(num_labels=3, problem_type="multi_label_classification")
    assert not MultiLabelClassification.fits(["BertForTokenClassification"], config)
    assert [name for name, task in TASKS.items() if task.fits(heads, config)] == [TASK]


def test_numbers_by_hand():
    task = MultiLabelClassification()
    target, masked = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([[-1.0, -2.0, 0.25]])
    expected = kl_divergence(Bernoulli(logits=target), Bernoulli(logits=masked)).sum().item()
    assert task.divergence(target, masked).item() == pytest.approx(expected, rel=1e-5)
    assert task.divergence(target, target).item() == 0
    # A label that surely holds, or surely not, costs nothing if it stays, and a finite number if it goes.
    sure = torch.tensor([[80.0, -80.0]])
    assert task.divergence(sure, sure).item() == 0 and task.divergence(sure, -sure).item() == pytest.approx(160)
    assert task.agreement(target, masked).tolist() == [False]
    assert task.agreement(target, torch.tensor([[9.0, -9.0, 9.0]])).tolist() == [True]
    assert task.predicted(target).tolist() == [0] and task.confidence(target).tolist() == [2.0]
    chance = [1 / (1 + math.exp(-odds)) for odds in (2.0, -1.0, 0.5)]
    assert task.choice_log_probabilities(target).exp()[0].tolist() == pytest.approx(chance)
    assert task.value(target, masked).tolist() == [-1.0]
    assert task.value(target, masked, torch.tensor([2])).tolist() == [0.25]
    assert task.drop(target, masked).item() == pytest.approx(chance[0] - 1 / (1 + math.e))
    torch.testing.assert_close(task.log_odds(task.kept(target, masked)), masked)
    far = torch.tensor([[40.0, -40.0, 5.5]])
    torch.testing.assert_close(task.log_odds(task.kept(far, far)), torch.tensor([[6.0, -6.0, 5.5]]))


def test_windows_of_sure_labels_lose_nothing_in_rounding():
    task, units = MultiLabelClassification(), range(3)
    config = BertConfig(num_labels=3, problem_type="multi_label_classification")
    sure = torch.tensor([[120.0, -120.0, 0.25]])
    torch.testing.assert_close(task.merged([{"units": units, "target": sure}], "target"), sure)
    # Two windows of one length: means of the chances. That of the last label is (0.75 + 0.25) / 2.
    log_odds = math.log(3)
    windows = [
        {"units": units, "target": torch.tensor([[120.0, -120.0, way * log_odds]]), "masked": sure}
        for way in (1, -1)
    ]  # fmt: skip
    torch.testing.assert_close(task.merged(windows, "target"), torch.tensor([[120.0, -120.0, 0.0]]))
    prediction, check = task.readable(windows, None, config, task.drop)
    assert prediction["labels"] == [{"label": "LABEL_0", "score": 1.0}], "0.5 is not above 0.5"
    chance = 1 / (1 + math.exp(-0.25))
    expected = 0.5 * math.log(0.5 / chance) + 0.5 * math.log(0.5 / (1 - chance))
    assert check.divergence == pytest.approx(expected, abs=1e-6) and check.cost == 0 and not check.same_prediction


def test_two_labels_have_evidence_of_their_own():
    """Of two exclusive classes only one column is fitted. Two labels have an error each."""
    task, masks = MultiLabelClassification(), torch.tensor([[[True, False], [False, True]]])
    log_odds = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])  # the first unit is for the first label; the second has none
    labels = Labels(masks, torch.nn.functional.logsigmoid(log_odds), torch.zeros(2, dtype=torch.long))
    evidence = torch.tensor([[[[1.0, 3.0]], [[-1.0, 0.0]]]])
    error, variance = residuals(task, evidence, labels)
    # Sums of the second label are 3 and 0, 1.5 from their mean; the mean over two masks and two labels.
    assert error.item() == pytest.approx((1.5**2 + 1.5**2) / 4) and variance.item() == pytest.approx(2 / 4)


def test_a_model_with_two_labels_has_two_columns_of_evidence(base, tokenizer):
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2, ignore_mismatched_sizes=True)
    explainer = DiffMaskModel.from_base_model(model, tokenizer, **recipe_config(task=TASK)).eval()
    evidence = explainer(**tokenizer("a warm film", return_tensors="pt")).evidence
    assert evidence.shape[-1] == 2 and not torch.allclose(evidence[..., 0], -evidence[..., 1])


def test_evidence_of_each_label(trained):
    explain = pipeline("diffmask-attribution", model=str(trained))
    text = "the film is charming but the plot is dull ."
    found = {name: {t["token"]: t["evidence"] for t in explain(text, label=name)["tokens"]} for name in NAMES}
    assert found["praises"]["charming"] > 0.5 > -0.5 > found["praises"]["dull"]
    assert found["criticises"]["dull"] > 0.5 > -0.5 > found["criticises"]["charming"]
    most = {name: max(map(abs, of_label.values())) for name, of_label in found.items()}
    assert most["anything"] < most["praises"] / 3, "its log-odds are always 3"
    with pytest.raises(DiffMaskError, match="no class 'moving': name one of praises, criticises, anything"):
        explain(text, label="moving")


def alike(one, other):
    """Whether two explanations are the same, up to rounding."""
    for a, b in zip(one["tokens"], other["tokens"], strict=True):
        assert a["evidence"] == pytest.approx(b["evidence"], abs=1e-5) and a["kept"] == b["kept"]
    for name in ("explained_label", "label", "certificate", "within_margin", "searched", "forwards"):
        assert one.get(name) == other.get(name), name
    assert one["drop"] == pytest.approx(other["drop"], abs=1e-5)


def test_several_labels_cost_one_pass_and_a_masked_pass_each(trained):
    explain = pipeline("diffmask-attribution", model=str(trained))
    texts = ["the film is charming but the plot is dull .", "dull", "a superb cast and a warm script ."]
    passes = []
    explain.model.base.register_forward_hook(lambda *_: passes.append(1))
    both = explain(texts[0], label=["criticises", "praises"])
    assert len(passes) == 3, "the whole input, and one mask for each label"
    assert [one["explained_label"] for one in both] == ["criticises", "praises"]
    for options in ({}, {"on_violation": "search"}, {"curve": True}, {"state": 0, "verify": False}):
        found = explain(texts, label=["criticises", "praises"], batch_size=3, **options)
        for text, of_text in zip(texts, found, strict=True):
            for one in of_text:
                expected = explain(text, label=one["explained_label"], **options)
                if options.get("verify", True):
                    alike(one, expected)
                if "curve" in options:
                    drops = [[point["drop"] for point in result["curve"]] for result in (one, expected)]
                    assert drops[0] == pytest.approx(drops[1], abs=1e-5)


def test_all_labels_that_hold(trained):
    explain = pipeline("diffmask-attribution", model=str(trained))
    texts = ["the film is charming but the plot is dull .", "dull", "a superb cast and a warm script ."]
    for size in (1, 3):
        for text, found in zip(texts, explain(texts, label="predicted", batch_size=size), strict=True):
            alone = explain(text)
            assert [one["explained_label"] for one in found] == [one["label"] for one in alone["labels"]]
            for one in found:
                alike(one, explain(text, label=one["explained_label"]))
    explain.length = 24  # several windows: labels of the whole text
    found = explain(" ".join(sentences(8)), label="predicted")
    assert [one["explained_label"] for one in found] == [one["label"] for one in found[0]["labels"]]
    with torch.no_grad():
        explain.model.base.classifier.bias.sub_(100)
    assert explain("dull", label="predicted") == []
    assert "no label (nearest: " in to_text(explain("dull"), color=False)


def test_masks_are_calibrated_for_every_label_that_holds(trained, tokenizer):
    """The mean cost of a threshold, by hand: one drop for each label above 0.5, or for the nearest one."""
    explainer = DiffMaskModel.from_pretrained(trained)
    batches = batches_of(tokenizer)
    calibrate(explainer, [explainer.batch(**one) for one in batches])
    for number in (3, 5, 8):
        cut, drops = float(explainer.thresholds[-1, number]), []
        for features in batches:
            for label in range(3):
                output = explainer(**features, classes=torch.full([len(features["input_ids"])], label))
                inputs = {name: value for name, value in features.items() if name != "special_tokens_mask"}
                mask = (output.logits[..., -1] > cut) | ~output.maskable
                whole, masked = output.target.sigmoid(), masked_output(explainer, mask, -1, None, **inputs).sigmoid()
                holds = (whole[:, label] > 0.5) | ((whole <= 0.5).all(-1) & (whole.argmax(-1) == label))
                drops.append((whole - masked)[holds, label])
        assert len(torch.cat(drops)) > 60, "more labels than inputs"
        assert explainer.costs[-1, number, 0].item() == pytest.approx(torch.cat(drops).mean().item(), abs=1e-5)


def test_the_prediction_names_the_labels_that_hold(trained, tokenizer):
    explain = pipeline("diffmask-attribution", model=str(trained))
    result = explain("the music is superb .", label="praises")
    with torch.no_grad():
        logits = explain.model.base(**tokenizer("the music is superb .", return_tensors="pt")).logits[0]
    chances = dict(zip(NAMES, logits.sigmoid().tolist(), strict=True))
    assert {one["label"]: one["score"] for one in result["labels"]} == pytest.approx(
        {name: chance for name, chance in chances.items() if chance > 0.5}
    )
    scores = [one["score"] for one in result["labels"]]
    assert scores == sorted(scores, reverse=True) and result["score"] == scores[0]
    assert result["label"] == result["labels"][0]["label"] and result["explained_label"] == "praises"
    assert "praises, anything" in to_text(result, color=False) or "anything, praises" in to_text(result, color=False)


def test_the_masked_pass_is_checked_by_hand(trained, tokenizer):
    explain = pipeline("diffmask-attribution", model=str(trained))
    text = "the acting is not bad , and the room was full ."
    result = explain(text, label="criticises")
    encoding = tokenizer(text, return_tensors="pt")
    kept = torch.tensor([[token["kept"] for token in result["tokens"]]])
    base, baseline = explain.model.base, explain.model.baseline
    with torch.no_grad():
        whole = base(**encoding).logits
        embedded = base.get_input_embeddings()(encoding.pop("input_ids"))
        masked = base(inputs_embeds=torch.where(kept[..., None], embedded, baseline), **encoding).logits
    expected = kl_divergence(Bernoulli(logits=whole), Bernoulli(logits=masked)).sum().item()
    assert result["divergence"] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert result["drop"] == pytest.approx((whole.sigmoid() - masked.sigmoid())[0, 1].item(), abs=1e-5)
    assert result["same_prediction"] == bool(((whole > 0) == (masked > 0)).all())


def test_windows_of_a_long_text_have_one_prediction(trained, tokenizer):
    explain = pipeline("diffmask-attribution", model=str(trained))
    explain.length = 24
    text = " ".join(sentences(12))
    result = explain(text)
    parts = list(explain.preprocess(next(iter([hf_diffmask.data.encoding.encode(tokenizer, text)]))))
    assert len(parts) > 2
    chances, lengths = [], []
    with torch.no_grad():
        for part in parts:
            logits = explain.model.base(input_ids=part["input_ids"], attention_mask=part["attention_mask"]).logits
            chances.append(logits[0].sigmoid())
            lengths.append(len(part["units"]))
    weights = torch.tensor(lengths) / sum(lengths)
    mean = (weights[:, None] * torch.stack(chances)).sum(0)
    assert result["score"] == pytest.approx(mean.max().item(), abs=1e-5)
    held = {NAMES[k] for k in range(3) if mean[k] > 0.5}
    assert {one["label"] for one in result["labels"]} == held


@pytest.mark.parametrize(("recipe", "masking"), [("ablation", "input"), ("paper", "input"), ("paper", "hidden")])
def test_every_recipe_trains_it(base, tmp_path, recipe, masking):
    trainer = train(
        base, tmp_path, 48, masking, recipe, max_steps=4, baseline_steps=2, masks=2, per_device_train_batch_size=8
    )
    metrics = trainer.evaluate()
    assert 0 <= metrics["eval_kept_share"] <= 1 and math.isfinite(metrics["eval_divergence"])
    texts, tokenizer = ["a warm film", "dull"], AutoTokenizer.from_pretrained(base)
    again = pipeline("diffmask-attribution", model=trainer.model, tokenizer=tokenizer)
    alone, together = [again(text) for text in texts], again(texts, batch_size=2)
    for one, other in zip(alone, together, strict=True):
        assert one["label"] == other["label"] and one["score"] == pytest.approx(other["score"], abs=1e-5)
        assert [t["kept"] for t in one["tokens"]] == [t["kept"] for t in other["tokens"]]


@pytest.mark.parametrize("method", ["loo", "ig", "kernel_shap"])
def test_rivals_rank_for_the_most_probable_label(base, tokenizer, method):
    """Without the constant label, the most probable one has the log-odds of the two-class model."""
    three = AutoModelForSequenceClassification.from_pretrained(base)
    with torch.no_grad():
        three.classifier.bias[2] = -20.0
    two = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    features = dict(tokenizer("the cast is warm and superb .", return_tensors="pt", return_special_tokens_mask=True))
    found = []
    for model in (three, two):
        plain = plain_explainer(DiffMaskModel.from_base_model(model, tokenizer).eval(), tokenizer)
        found.append(METHODS[method](Explainers(plain, plain, None, 0), features)[0])
    assert found[0].argmax() == found[1].argmax() and found[0].max() > 0
    assert torch.corrcoef(torch.stack(found))[0, 1] > 0.9


def test_through_every_command(trained, base, tmp_path, capsys):
    """Runs every command on pairs and on single texts."""
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
    assert "summed over labels" in card and "pipeline_tag: text-classification" in card
    assert main(["card", str(folder), "--license", "mit"]) == 0
    said = ["explain", "--model", str(folder), "--text_pair", "A film.", "--format", "json", "a warm film"]
    assert main(said) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert {"task", "label", "labels", "score", "drop"} <= json.loads(line).keys()
    several = ["explain", "--model", str(trained), "--format", "json", "--label", "praises, anything", "dull", "warm"]
    assert main(several) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.strip().splitlines()]
    assert [line["explained_label"] for line in lines] == ["praises", "anything"] * 2
    assert main(["explain", "--model", str(trained), "dull", "--label", "predicted"]) == 0
    assert main(["explain", "--model", str(trained), "dull", "--label", "moving"]) == 2
    assert "no class 'moving'" in capsys.readouterr().err
    single = tmp_path / "texts.csv"
    single.write_text("text\n" + "\n".join(f'"{text}"' for text in sentences(40)) + "\n")
    shared = ["--model", str(trained), "--dataset", str(single)]
    methods = ["--methods", "diffmask,loo,random", "--limit", "20"]
    assert main(["evaluate", *shared, *methods, "--output_dir", str(tmp_path / "faithfulness")]) == 0
    assert main(["audit", *shared, "--output_dir", str(tmp_path / "audit")]) == 0
    assert main(["analyze", *shared, "--limit", "5", "--output_dir", str(tmp_path / "report")]) == 0
    assert "label" in (tmp_path / "report" / "index.html").read_text()
