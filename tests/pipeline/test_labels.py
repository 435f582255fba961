"""One label, several, or all that hold."""

import pytest
import torch

from hf_diffmask import DiffMaskError
from hf_diffmask.pipeline.labels import asked_labels, choices_of, numbers_of
from tests.helpers import path_of


@pytest.fixture
def path(classifier, tokenizer):
    return path_of(classifier, tokenizer)


def test_labels_by_name_and_by_number(path, explainer):
    assert [asked_labels(path, one) for one in ("NEGATIVE", "POSITIVE", 0, 1)] == [0, 1, 0, 1]
    for unknown in (2, -1, "positive", "1", True):
        with pytest.raises(DiffMaskError) as error:
            asked_labels(path, unknown)
        said = f"There is no class {unknown!r}: name one of NEGATIVE, POSITIVE, or its number."
        assert str(error.value) == said
    with pytest.raises(DiffMaskError, match="explains the whole output, not a class: leave `label` out"):
        asked_labels(explainer, 0)


def test_several_labels_each_once_in_their_order(path):
    assert asked_labels(path, ["POSITIVE", 0, "POSITIVE"]) == (1, 0) and asked_labels(path, (1,)) == (1,)
    assert asked_labels(path, "predicted") == "predicted"
    with pytest.raises(DiffMaskError, match="The list of labels is empty"):
        asked_labels(path, [])
    with pytest.raises(DiffMaskError, match="There is no class 'neutral'"):
        asked_labels(path, ["POSITIVE", "neutral"])


def test_a_label_of_that_name_comes_first(path, monkeypatch):
    monkeypatch.setattr(type(path.task), "choice_names", lambda self, config: ["predicted", "other"])
    assert asked_labels(path, "predicted") == 0


def test_as_many_choices_for_each_window_as_hold_in_one(path, monkeypatch):
    target = torch.tensor([[0.9, 0.1], [0.3, 0.7]]).log()
    assert choices_of(path, (1, 0), target, True).tolist() == [[1, 0], [1, 0]]
    assert choices_of(path, "predicted", target, True).tolist() == [[0], [1]]
    assert choices_of(path, "predicted", target, False).tolist() == [[0, 1], [1, 0]], "another window may hold it"
    monkeypatch.setattr(type(path.task), "holding", lambda self, target: target.exp() > 0.2)
    assert choices_of(path, "predicted", target, True).tolist() == [[0, 1], [1, 0]]


def test_labels_of_a_result(path):
    assert numbers_of(path, (1, 0), {"label": "NEGATIVE"}) == [1, 0]
    assert numbers_of(path, "predicted", {"label": "POSITIVE"}) == [1]
