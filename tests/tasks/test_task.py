"""Shared parts of tasks, checked by hand with three classes."""

import math

import pytest
import torch
from transformers import BertConfig

from hf_diffmask import DiffMaskError
from hf_diffmask.tasks.registry import TASKS
from hf_diffmask.tasks.task import Task
from hf_diffmask.tasks.text_classification import TextClassification

TARGET = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]).log()
MASKED = torch.tensor([[0.2, 0.5, 0.3], [0.2, 0.0625, 0.7375]]).log()
OTHER = torch.tensor([1, 0])


def odds(probability):
    return math.log(probability / (1 - probability))


def test_value_is_the_log_odds_of_the_choice_of_the_whole_input():
    task = TextClassification()
    assert task.value(TARGET, MASKED).tolist() == pytest.approx([odds(0.2), odds(0.7375)], abs=1e-5)
    assert task.value(TARGET, MASKED, OTHER).tolist() == pytest.approx([odds(0.5), odds(0.2)], abs=1e-5)
    assert task.confidence(TARGET).tolist() == pytest.approx([odds(0.6), odds(0.7)], abs=1e-5)


def test_drop_is_of_the_probability_and_below_0_where_it_rises():
    task = TextClassification()
    assert task.drop(TARGET, MASKED).tolist() == pytest.approx([0.4, -0.0375], abs=1e-6)
    assert task.drop(TARGET, MASKED, OTHER).tolist() == pytest.approx([-0.2, -0.1], abs=1e-6)


def test_log_probability_of_what_is_predicted():
    found = TextClassification().log_probability(TARGET, MASKED).exp().tolist()
    assert found == pytest.approx([0.2, 0.7375], abs=1e-6)


def test_a_certain_choice_has_no_bound():
    certain = torch.tensor([[1.0, 0.0, 0.0]]).log()
    assert TextClassification().value(TARGET[:1], certain).item() == math.inf


def test_a_task_says_nothing_that_it_does_not_know():
    task, config = Task(), BertConfig()
    task.name = "guessing"
    assert task.constants == {} and Task({"mean": 2}).constants == {"mean": 2}
    assert task.choices(config) == 0 and task.choice_names(config) == []
    assert task.measured_constants(lambda: pytest.fail("nothing is run")) == {}
    evidence = torch.randn(2, 3, 1)
    assert task.signed(evidence, torch.zeros(2).long()) is evidence
    with pytest.raises(DiffMaskError) as error:
        task.choice_log_probabilities(TARGET)
    assert str(error.value) == "The task guessing has no choices: only the whole output can be explained."
    for missing in (
        lambda: task.target(None),
        lambda: task.divergence(TARGET, MASKED),
        lambda: task.agreement(TARGET, MASKED),
        lambda: task.confidence(TARGET),
        lambda: task.predicted(TARGET),
        lambda: task.positions(None),
    ):
        with pytest.raises(NotImplementedError):
            missing()


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_a_whole_one(name):
    task = TASKS[name]()
    assert (task.name, task.has_choices) == (name, task.choices(BertConfig(num_labels=2)) > 0)
    assert len(task.choice_names(BertConfig(num_labels=2))) == task.choices(BertConfig(num_labels=2))
    shape = (2, 2, 5) if task.by_unit else (2, 1) if name == "regression" else (2, 4)
    output = torch.randn(shape) if name == "regression" else torch.randn(shape).log_softmax(-1)
    assert task.divergence(output, output).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert task.agreement(output, output).tolist() == [True, True] and task.confidence(output).shape == (2,)
    if task.has_choices:
        assert task.drop(output, output).tolist() == [0, 0]
        chances = task.choice_log_probabilities(output).exp()
        if task.exclusive:
            torch.testing.assert_close(chances.sum(-1), torch.ones(2))
            assert task.holding(output).sum(-1).tolist() == [1, 1]
        assert torch.equal(chances.argmax(-1), task.predicted(output))


def test_ablations_keep_log_probabilities_of_choices_and_their_log_odds():
    task = TextClassification()
    assert torch.equal(task.kept(TARGET, MASKED), MASKED)
    expected = [[odds(0.2), odds(0.5), odds(0.3)], [odds(0.2), odds(0.0625), odds(0.7375)]]
    torch.testing.assert_close(task.log_odds(MASKED), torch.tensor(expected))
    torch.testing.assert_close(task.log_odds(MASKED[:, None].expand(2, 4, 3))[1, 2], torch.tensor(expected[1]))
    for choice in range(3):
        asked = torch.full((2,), choice)
        torch.testing.assert_close(task.log_odds(MASKED)[:, choice], task.value(TARGET, MASKED, asked))


def test_log_odds_are_precise_and_bounded():
    task = TextClassification()
    # 5.5 from the logits; the probability in float32 has lost half of the digits.
    assert task.log_odds(torch.tensor([5.5, 0.0]).log_softmax(-1)).tolist() == pytest.approx([5.5, -5.5], abs=1e-6)
    certain = torch.tensor([[1.0, 0.0], [0.5, 0.5]]).log()
    assert task.log_odds(certain).tolist() == [[6.0, -6.0], [0.0, 0.0]]
    assert task.log_odds(torch.full((2,), math.nan)).isnan().all()
