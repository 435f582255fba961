"""Markup in texts is escaped."""

from hf_diffmask.display.markdown import emphasised, markdown, without_images


def test_nothing_in_a_text_is_markup():
    assert markdown("a|b <img src=x> `c` *d*\x1b[0m") == ("a\\|b &lt;img src=x&gt; \\`c\\` \\*d\\*\\\\x1b\\[0m")
    assert emphasised("a warm, dull film", [(2, 6), (6, 7), (13, 17)]) == "a **warm,** dull **film**"
    assert emphasised("x  y", [(0, 1), (3, 4)]) == "**x  y**" and emphasised("none", []) == "none"


def test_images_become_links():
    images = ["![x](u)", "!![x](u)", "!!!![x][r]", "![](u)", "![a]b](u)", "![![x](u)](u)", "\\![x](u)", "[![x](u)](u)"]
    for image in images:
        assert "![" not in without_images(f"a {image} b") and without_images(image).count("[") == image.count("[")
    assert without_images("!![x](u)") == "[x](u)" and without_images("! [x](u) no!") == "! [x](u) no!"
    assert without_images("```mermaid\na\n```") == "```text\na\n```"
