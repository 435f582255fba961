"""Sentences agree with the numbers of a result."""

from hf_diffmask.display.page import to_html
from hf_diffmask.display.terminal import to_text
from hf_diffmask.display.wording import certificate, dropped_at
from tests.display.helpers import make
from tests.helpers import STATE_NAMES


def test_dropped_at_is_the_first_state_that_masks():
    token = make([("film", [0.9, 0.5, 0.1])])["tokens"][0]
    assert dropped_at(token, STATE_NAMES) == "block.0.input"
    assert dropped_at(make([("film", [0.9, 0.8, 0.51])])["tokens"][0], STATE_NAMES) is None


def test_certificate_says_what_was_checked():
    good = certificate(make([]))
    assert "64 % of the tokens" in good and "0.021 nats" in good and "within the margin of 0.1" in good
    bad = certificate(make([], same_prediction=False, within_margin=False))
    assert "outside the margin" in bad and "the prediction changes" in bad
    unchecked = {name: value for name, value in make([]).items() if name != "divergence"}
    assert "not verified" in certificate(unchecked)


def test_a_path_says_what_is_dropped_and_what_that_does_to_the_class():
    result = make([("film", [0.9, 0.2, 0.6]), ("warm", [0.1, 0.2, 0.3])])
    for token, kept in zip(result["tokens"], (True, False), strict=True):
        token |= {"evidence": 0.4, "kept": kept}
    result |= {"drop": 0.0314, "divergence": 0.5, "same_prediction": True, "within_margin": True, "kept_share": 0.5}
    assert "moves the probability of" in certificate(result) and "by -0.031, within" in certificate(result)
    result["explained_label"] = "<b>"
    assert "of <b> by" in certificate(result) and "&lt;b&gt;" in to_html([result]) and "<b>" not in to_html([result])
    text = to_text(result, False)
    assert text.count("dropped") == 1 and "dropped at" not in text
    assert "<td>kept</td>" in to_html([result]) and "<td>dropped</td>" in to_html([result])


def test_a_token_is_dropped_where_it_does_not_come_back():
    names = ["a", "b", "c"]
    found = [dropped_at({"states": states}, names) for states in ([0.1, 0.9, 0.9], [0.9, 0.1, 0.2], [0.1, 0.2, 0.3])]
    assert found == [None, "b", "a"]
