"""Markup in texts is escaped."""

from hf_diffmask.display.markdown import emphasised, markdown


def test_nothing_in_a_text_is_markup():
    assert markdown("a|b <img src=x> `c` *d*\x1b[0m") == ("a\\|b &lt;img src=x&gt; \\`c\\` \\*d\\*\\\\x1b\\[0m")
    assert emphasised("a warm, dull film", [(2, 6), (6, 7), (13, 17)]) == "a **warm,** dull **film**"
    assert emphasised("x  y", [(0, 1), (3, 4)]) == "**x  y**" and emphasised("none", []) == "none"
