"""Text for terminals marks dropped tokens; input texts cannot control the terminal."""

from hf_diffmask.display.terminal import to_text
from hf_diffmask.display.wording import visible
from tests.display.helpers import make


def test_text_cannot_steer_a_terminal():
    assert visible("a\x1b[31mb\u202ec\x00\ud800") == "a\\x1b[31mb\\u202ec\\x00\\ud800"
    shown = to_text(make([("\x1b[2J", [0.9, 0.8, 0.7])]), color=False)
    assert "\x1b" not in shown
    assert "\x1b[" in to_text(make([("film", [0.9, 0.8, 0.7])]), color=True)


def test_text_marks_what_is_dropped_without_colour():
    shown = to_text(make([("warm", [0.9, 0.8, 0.7]), ("the", [0.9, 0.4, 0.1])]), color=False)
    assert "warm (the)" in shown and "dropped at block.0.input" in shown and "kept to the end" in shown


def test_a_skipped_row_says_why():
    assert to_text({"row": 3, "error": "Input 3 is\x1b[2J empty."}, color=True) == "Input 3 is\\x1b[2J empty."
