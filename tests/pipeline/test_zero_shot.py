"""Zero-shot classification by an entailment model, beside Transformers' pipeline."""

import json

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel, recipe_config
from hf_diffmask.training.recipes.calibration import calibrate
from hf_diffmask_entry import main
from tests.helpers import batches_of, path_pipeline

TEXT = "the film is charming but the plot is dull ."
LABELS = ["film", "plot", "weather"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An explainer with random probes, for an entailment model: the bundled encoder with three other labels."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("entailment")
    tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    base = AutoModelForSequenceClassification.from_pretrained(
        hf_diffmask.BUNDLED_CLASSIFIER, num_labels=3, ignore_mismatched_sizes=True
    ).eval()
    with torch.no_grad():
        base.classifier.weight.mul_(40)  # labels differ
    base.config.id2label = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
    base.config.label2id = {name: number for number, name in base.config.id2label.items()}
    base.save_pretrained(path / "base")
    tokenizer.save_pretrained(path / "base")
    base = AutoModelForSequenceClassification.from_pretrained(path / "base").eval()
    explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config()).eval()
    calibrate(explainer, [explainer.batch(**one) for one in batches_of(tokenizer)])
    explainer.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def explain(folder):
    return pipeline("diffmask-attribution", model=str(folder))


def test_labels_and_scores_are_those_of_transformers(folder, explain):
    theirs = pipeline("zero-shot-classification", model=str(folder / "base"))
    texts = [TEXT, "dull", "a superb cast and a warm script ."]
    for template in (None, "It is about {} ."):
        given = {} if template is None else {"hypothesis_template": template}
        expected = theirs(texts, LABELS, multi_label=True, **given)
        for text, found, other in zip(texts, explain(texts, candidate_labels=LABELS, **given), expected, strict=True):
            assert [one["label"] for one in found] == other["labels"]
            assert [one["score"] for one in found] == pytest.approx(other["scores"], abs=1e-5)
            assert {one["explained_label"] for one in found} == {"ENTAILMENT"}
            assert explain(text, candidate_labels=LABELS, **given)[0]["label"] == other["labels"][0]


def test_each_label_is_the_explanation_of_a_pair(explain):
    passes = []
    handle = explain.model.base.register_forward_hook(lambda *_: passes.append(1))
    found = explain(TEXT, candidate_labels="film, plot,weather")
    handle.remove()
    assert len(passes) == 6, "a pass and a masked pass a label"
    for one in found:
        pair = {"text": TEXT, "text_pair": f"This example is {one['label']}."}
        alone = explain(pair, label="ENTAILMENT")
        assert [t["kept"] for t in one["tokens"]] == [t["kept"] for t in alone["tokens"]]
        assert one["drop"] == pytest.approx(alone["drop"], abs=1e-5)


def test_lists_streams_and_bad_rows(explain):
    stream = explain(iter([TEXT, "dull"]), candidate_labels=LABELS, batch_size=4)
    assert [[one["label"] for one in found] for found in stream] == [
        [one["label"] for one in explain(text, candidate_labels=LABELS)] for text in (TEXT, "dull")
    ]
    rows = explain([TEXT, "", "dull"], candidate_labels=LABELS, on_error="skip")
    assert [len(row) if isinstance(row, list) else row["error"][:15] for row in rows] == [3, "Input 1 is empt", 3]
    with pytest.raises(DiffMaskError, match="Input 1 is empty"):
        explain([TEXT, ""], candidate_labels=LABELS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidate_labels": []}, "holds no label"),
        ({"candidate_labels": ["a", " "]}, "or an empty one"),
        ({"candidate_labels": 3}, "must be a list of texts"),
        ({"candidate_labels": LABELS, "hypothesis_template": "no place"}, r"must hold \{\} for the label"),
        ({"candidate_labels": LABELS, "hypothesis_template": "{0.__class__} {"}, r"must hold \{\} for the label"),
        ({"hypothesis_template": "{}"}, "goes with `candidate_labels`"),
        ({"candidate_labels": LABELS, "label": "NEUTRAL"}, "leave `label` out"),
    ],
)
def test_what_does_not_fit_is_refused(explain, options, message):
    with pytest.raises(DiffMaskError, match=message):
        explain(TEXT, **options)


def test_other_models_and_pairs_are_refused(explain, classifier, tokenizer):
    with pytest.raises(DiffMaskError, match="is a pair of texts: candidate labels are for single texts"):
        explain({"text": TEXT, "text_pair": TEXT}, candidate_labels=LABELS)
    with pytest.raises(DiffMaskError, match="has the labels NEGATIVE, POSITIVE: none begins with"):
        path_pipeline(classifier, tokenizer)(TEXT, candidate_labels=LABELS)


def test_probabilities_of_all_labels(explain):
    result = explain(TEXT, probabilities=True)
    assert sum(result["probabilities"].values()) == pytest.approx(1)
    assert result["probabilities"][result["label"]] == pytest.approx(result["score"])
    assert "probabilities" not in explain(TEXT)


def test_on_the_command_line(folder, capsys):
    arguments = ["explain", "--model", str(folder), "--candidate_labels", "film,plot", "--format", "json", TEXT]
    assert main(arguments) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.strip().splitlines()]
    assert {line["label"] for line in lines} == {"film", "plot"} and lines[0]["score"] >= lines[1]["score"]
