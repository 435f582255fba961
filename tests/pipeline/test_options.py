"""Arguments go to the right step of the pipeline; a wrong argument is an error of one sentence."""

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.pipeline.options import check_together, sorted_options, state_index
from tests.helpers import path_config, path_of, path_pipeline


@pytest.fixture
def explain(classifier, tokenizer):
    return path_pipeline(classifier, tokenizer)


@pytest.fixture
def path(classifier, tokenizer):
    return path_of(classifier, tokenizer)


@pytest.fixture
def drops_most(explainer, tokenizer):
    """A pipeline of an explainer without a path. It drops most tokens."""
    with torch.no_grad():
        explainer.probes.out_bias.fill_(-0.5)
    return pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")


def test_what_is_not_given_is_left_out(path, explainer):
    assert sorted_options(path) == sorted_options(explainer) == ({}, {}, {})


def test_options_go_to_the_step_that_takes_them(path):
    before, forward, post = sorted_options(
        path, state="embeddings", verify=False, aggregation="word", method="amortised", on_violation="search",
        margin=1, label="POSITIVE", curve=True,
    )  # fmt: skip
    both = {"state": 0, "method": "amortised", "on_violation": "search", "margin": 1.0, "label": 1}
    assert (
        before == {}
        and forward == {**both, "verify": False, "curve": True}
        and post == {**both, "aggregation": "word"}
    )
    assert isinstance(post["margin"], float)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"margin": True}, "`margin` must be a number, but is True."),
        ({"margin": "0.1"}, "`margin` must be a number, but is '0.1'."),
        ({"margin": -0.5}, "`margin` must be greater than 0, but is -0.5."),
        ({"margin": float("nan")}, "`margin` must be greater than 0, but is nan."),
        ({"aggregation": "line"}, "`aggregation` must be one of token, word, but is 'line'."),
        ({"method": "shap"}, "`method` must be amortised, per_example or reinforce, but is 'shap'."),
        ({"on_violation": "cry"}, "`on_violation` must be one of keep, search, refine, abstain, but is 'cry'."),
        ({"tokens": 3, "colour": 1}, "There is no argument colour, tokens."),
    ],
)
def test_values_that_cannot_be(path, asked, message):
    with pytest.raises(DiffMaskError) as error:
        sorted_options(path, **asked)
    assert str(error.value) == message


def test_options_of_a_task_are_for_that_task(path, answerer, tokenizer):
    answers = DiffMaskModel.from_base_model(answerer, tokenizer, **path_config(target="distribution"))
    (name, *_) = answers.task.options
    assert sorted_options(answers, **{name: 5}) == ({}, {}, {name: 5})
    with pytest.raises(DiffMaskError) as error:
        sorted_options(path, **{name: 5})
    assert str(error.value) == f"`{name}` is for question answering and fill mask, which is not this explainer's task."


def test_states_by_name_and_by_number(explainer):
    names = list(explainer.config.state_names)
    for number, name in enumerate(names):
        assert state_index(explainer, name) == state_index(explainer, number) == number
        assert state_index(explainer, number - len(names)) == number
    for unknown in (len(names), -len(names) - 1, "block.9.input", "0"):
        with pytest.raises(DiffMaskError) as error:
            state_index(explainer, unknown)
        said = f"There is no state {unknown!r}: name one of {', '.join(names)}, or a number from 0."
        assert str(error.value) == said


def test_what_goes_together(path, explainer):
    for verify, method, on_violation, margin in (
        (True, "amortised", "search", 0.2), (False, "amortised", "keep", None), (True, "per_example", "abstain", None),
        (False, "reinforce", "keep", None),
    ):  # fmt: skip
        check_together(path, verify, method, on_violation, margin, label=None, curve=False)
    check_together(explainer, True, "amortised", "refine", None)
    with pytest.raises(DiffMaskError, match="trained without validation inputs and has no thresholds"):
        check_together(path, True, "amortised", "keep", 0.2)


def test_what_does_not_go_together_is_refused_wherever_it_is_said(explain, tokenizer):
    def anew(**settings):
        return pipeline(hf_diffmask.TASK, model=explain.model, tokenizer=tokenizer, device="cpu", **settings)

    for on_violation in ("search", "abstain"):
        with pytest.raises(DiffMaskError, match="needs the check: leave `verify` on"):
            anew(verify=False)("film", on_violation=on_violation)
    with pytest.raises(DiffMaskError, match="stays within the margin by itself"):
        anew(method="per_example")("film", on_violation="search")
    for asked in ({"margin": 0.2}, {"label": 0}, {"curve": True}):
        with pytest.raises(DiffMaskError, match=f"does not use the path: leave `{next(iter(asked))}` out"):
            anew(method="per_example")("film", **asked)
    assert "curve" in anew(curve=True)("film", verify=False)


def test_refusals_of_a_path(explain, explainer, tokenizer):
    with pytest.raises(DiffMaskError, match="must be greater than 0"):
        explain("film", margin=0)
    with pytest.raises(DiffMaskError, match="no class 'GREEN': name one of NEGATIVE, POSITIVE"):
        explain("film", label="GREEN")
    with pytest.raises(DiffMaskError, match="needs no refining"):
        explain("film", on_violation="refine")
    lagrangian = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")
    for asked in ({"margin": 0.2}, {"label": 1}, {"curve": True}, {"on_violation": "search"}):
        with pytest.raises(DiffMaskError, match="trained with --recipe ablation"):
            lagrangian("film", **asked)


@pytest.mark.parametrize("objective", ["path", "lagrangian", "ablation"])
@pytest.mark.parametrize("steps", [0, 3])
def test_no_scores_are_refined_any_more(classifier, tokenizer, objective, steps):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, objective=objective).eval()
    made = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")
    for ask in (
        lambda: made("film", refine_steps=steps),
        lambda: pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, refine_steps=steps),
    ):
        with pytest.raises(DiffMaskError) as error:
            ask()
        assert str(error.value) == (
            "`refine_steps` is gone with the recipe 'path', which no longer trains: leave it out; explainers are "
            "trained with --recipe ablation now."
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_violation": "retry"}, "must be one of keep, search, refine, abstain, but is 'retry'"),
        ({"on_violation": "refine", "verify": False}, "needs the check"),
        ({"on_violation": "refine", "method": "per_example"}, "stays within the margin by itself"),
    ],
)
def test_violations_that_cannot_be_handled(drops_most, options, message):
    with pytest.raises(DiffMaskError, match=message):
        drops_most("a warm film", **options)
