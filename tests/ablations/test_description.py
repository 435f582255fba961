"""A description changes with what ablations are of, and with nothing else."""

import dataclasses
import json

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.ablations.description import Description, describe, read_description, write_description
from hf_diffmask.data.features import Features


def description(**changes):
    fields = {
        "base_model_fingerprint": "0a", "base_model_class": "BertForSequenceClassification",
        "base_model_dtype": "float32", "task": "text-classification", "task_constants": {"reads": "first"},
        "tokenizer": "0b", "data": "0c", "inputs": 10, "masks": 4, "seed": 0,
        "replacements": ["baseline", "attention"], "outputs": 2, "baseline": "0d", "versions": {"torch": "2"},
    }  # fmt: skip
    return Description(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_model_fingerprint": "1a"}, "another base model (0a instead of 1a)"),
        ({"task": "regression"}, "another task (text-classification instead of regression)"),
        ({"tokenizer": "1b"}, "another tokenizer (0b instead of 1b)"),
        ({"data": "1c"}, "another data set (0c instead of 1c)"),
        ({"seed": 7}, "another seed (0 instead of 7)"),
        ({"replacements": ["baseline"]}, "another set of replacements (baseline, attention instead of baseline)"),
        (
            {"baseline": "1d", "masks": 6},
            "another number of masks (4 instead of 6) and another baseline (0d instead of 1d)",
        ),
    ],
)
def test_what_differs_is_named(changes, words):
    with pytest.raises(DiffMaskError) as error:
        description().check(description(**changes), "out")
    assert str(error.value) == (
        f"The ablations in out are those of {words}: name another folder, or ask for the same."
    )
    assert description(**changes).digest != description().digest


def test_versions_and_last_digits_do_not_matter():
    description().check(description(versions={}, base_model_dtype="bfloat16"), "out")
    assert description(versions={}).digest == description().digest
    constants = {"mean": 0.5, "variance": 2.0}
    description(task_constants=constants).check(description(task_constants={**constants, "mean": 0.500001}), "out")
    for other in ({**constants, "mean": 0.51}, {"mean": 0.5}, {**constants, "reads": 1}):
        with pytest.raises(DiffMaskError, match="constants of the task"):
            description(task_constants=constants).check(description(task_constants=other), "out")


def test_it_comes_back_from_its_file(tmp_path):
    assert read_description(tmp_path) is None
    write_description(tmp_path, description())
    assert read_description(tmp_path) == description()


@pytest.mark.parametrize("content", [{}, {"schema": 1}, {"schema": 2, **dataclasses.asdict(description())}])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "ablations.json").write_text(json.dumps(content))
    with pytest.raises(DiffMaskError, match=r"ablations\.json describes no ablations of this version"):
        read_description(tmp_path)
    (tmp_path / "ablations.json").write_text("{")
    with pytest.raises(DiffMaskError, match=r"ablations\.json cannot be read as JSON"):
        read_description(tmp_path)


def test_it_follows_base_tokenizer_data_and_baseline(explainer, tokenizer, dataset):
    def of(explainer=explainer, tokenizer=tokenizer, items=dataset.items, masks=4, seed=0):
        return describe(explainer, tokenizer, Features(items), masks, seed)

    first = of()
    again = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER).eval()
    assert of(DiffMaskModel.from_base_model(again, tokenizer)) == first == of(items=[dict(i) for i in dataset.items])
    assert (first.inputs, first.outputs, first.replacements) == (600, 2, ["baseline", "attention"])

    def differing(other):
        return {name for name, value in dataclasses.asdict(other).items() if value != getattr(first, name)}

    assert differing(of(items=dataset.items[:5])) == {"inputs", "data"}
    assert differing(of(items=dataset.items[::-1])) == {"data"}
    special = [{**item, "special_tokens_mask": [0] * len(item["input_ids"])} for item in dataset.items]
    assert differing(of(items=special)) == {"data"}
    larger = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    larger.add_special_tokens({"additional_special_tokens": ["[x]"]})
    assert differing(of(tokenizer=larger)) == {"tokenizer"}
    assert differing(of(masks=6, seed=1)) == {"masks", "seed"}
    assert of(masks=2).replacements == ["baseline"]
    with torch.no_grad():
        explainer.baseline[0] += 1e-3
    assert differing(of()) == {"baseline"}
    with torch.no_grad():
        again.classifier.weight += 1
    assert differing(of(DiffMaskModel.from_base_model(again, tokenizer))) == {"base_model_fingerprint"}


def test_padding_of_the_tokenizer_does_not_matter(explainer, dataset):
    tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    first = describe(explainer, tokenizer, dataset, 4, 0)
    tokenizer(["a film", "dull"], padding=True, truncation=True, max_length=3)
    assert describe(explainer, tokenizer, dataset, 4, 0) == first


def test_no_text_and_no_path_is_written(explainer, tokenizer, dataset, tmp_path):
    write_description(tmp_path, describe(explainer, tokenizer, dataset, 4, 0))
    written = (tmp_path / "ablations.json").read_text()
    assert str(explainer.config.base_model_name_or_path) not in written and "/" not in written
