"""The reason of an error is the first line of its innermost cause."""

import pytest

from hf_diffmask.errors import RETIRED, DiffMaskError, reason, retired


def test_an_error_can_be_caught_as_a_value_error():
    with pytest.raises(ValueError, match="put it right"):
        raise DiffMaskError("put it right")


@pytest.mark.parametrize("recipe", RETIRED)
def test_what_a_retired_recipe_was_for(recipe):
    rest = "trains no explainers any more, only its saved explainers still load: train with --recipe ablation."
    assert str(retired(recipe)) == f"The recipe '{recipe}' {rest}"
    assert str(retired(recipe, "A walk")) == f"A walk needs the recipe '{recipe}', which {rest}"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("No such file."), "No such file"),
        (ValueError("  first line...\nsecond line"), "first line"),
        (KeyError(), "KeyError"),
        (KeyError("added_tokens"), "there is no 'added_tokens'"),
        (RuntimeError("\n \n"), "RuntimeError"),
        (DiffMaskError("Wait. Then go."), "Wait. Then go"),
    ],
)
def test_one_line_without_a_full_stop(error, expected):
    assert reason(error) == expected


def test_the_innermost_cause_counts():
    try:
        try:
            try:
                raise OSError("disk full")
            except OSError as error:
                raise RuntimeError("could not save") from error
        except RuntimeError as error:
            raise ValueError("bad value") from error
    except ValueError as error:
        assert reason(error) == "disk full"
    try:
        try:
            raise OSError("by the way")
        except OSError:
            raise ValueError("what counts")  # noqa: B904
    except ValueError as error:
        assert reason(error) == "what counts", "a context is not a cause"
