"""Arguments of requests have the right type and are finite, or are refused by name."""

import pytest

from hf_diffmask import DiffMaskError

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")

from hf_diffmask.space.arguments import (
    check_kept,
    check_margin,
    check_on_violation,
    check_string,
    check_text,
)


def test_what_fits():
    assert check_text("a b", "", 3) == {"text": "a b"} == check_text("a b", " ", 4)
    assert check_text("a", "b", 2) == {"text": "a", "text_pair": "b"}
    for margin in (None, 1, 0.5, 1e-300, 1.7e308):
        check_margin(margin)
    for treatment in ("keep", "search", "refine", "abstain"):
        check_on_violation(treatment)
    check_kept([]), check_kept([0, 7, 7]), check_string("explainer", "")


@pytest.mark.parametrize(
    "check, says",
    [
        (lambda: check_text(5, "", 9), "`text` must be a string, but is a number."),
        (lambda: check_text("a", None, 9), "`pair` must be a string, but is null."),
        (lambda: check_text(" \n", "b", 9), "There is no text: give one with at least one visible character."),
        (lambda: check_text("a" * 6, "b" * 6, 11), "The text has 12 characters, and the limit is 11."),
        (lambda: check_text("a\udc80", "", 9), "`text` has half a character at 1: send the text as UTF-8."),
        (lambda: check_text("a", "\ud83d", 9), "`pair` has half a character at 0: send the text as UTF-8."),
        (lambda: check_string("explainer", {}), "`explainer` must be a string, but is an object."),
        (lambda: check_margin(True), "`margin` must be a number or null, but is true or false."),
        (lambda: check_margin("0.5"), "`margin` must be a number or null, but is a string."),
        (lambda: check_margin([0.5]), "`margin` must be a number or null, but is a list."),
        (lambda: check_margin(0), "`margin` must be greater than 0 and finite."),
        (lambda: check_margin(float("nan")), "`margin` must be greater than 0 and finite."),
        (lambda: check_margin(float("inf")), "`margin` must be greater than 0 and finite."),
        (lambda: check_margin(10**400), "`margin` must be greater than 0 and finite."),
        (lambda: check_on_violation(None), "`on_violation` must be a string, but is null."),
        (
            lambda: check_on_violation("x" * 5000),
            f"`on_violation` must be one of keep, search, refine, abstain, but is {'x' * 50!r}.",
        ),
        (lambda: check_kept("1"), "`kept` must be a list of the numbers of tokens, but is a string."),
        (lambda: check_kept([1, True]), "`kept` must be a list of the numbers of tokens, but one of them is true or"),
        (lambda: check_kept([1.5]), "`kept` must be a list of the numbers of tokens, but one of them is a fraction."),
        (lambda: check_kept([float("nan")]), "`kept` must be a list of the numbers of tokens, but one of them is no"),
        (lambda: check_kept([-1]), "`kept` must be a list of the numbers of tokens, counted from 0."),
        (lambda: check_kept([10**300]), "`kept` must be a list of the numbers of tokens, counted from 0."),
    ],
)
def test_what_does_not_fit(check, says):
    with pytest.raises(DiffMaskError) as refused:
        check()
    assert str(refused.value).startswith(says) and str(refused.value).endswith(".")
