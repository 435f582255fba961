"""A grid shows the numbers of a result; input texts are escaped."""

import re
from html.parser import HTMLParser

from hf_diffmask.display.colors import paint
from hf_diffmask.display.grid import Attribution, grid, shown
from tests.display.helpers import make
from tests.helpers import STATE_NAMES

TOKENS = [("warm", [0.9, 0.8, 0.75]), ("soup", [0.7, 0.5, 0.2])]


class Grid(HTMLParser):
    """Tags with their attributes, the text, and the cells of the table."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.cells = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        self.text += data
        if self.cells:
            self.cells[-1] += data.strip()

    def of(self, tag, name):
        return [attributes[name] for one, attributes in self.tags if one == tag and name in attributes]


def test_the_table_holds_every_score():
    found = Grid(grid(make(TOKENS), "a"))
    assert found.cells == [
        "token", "score", *STATE_NAMES, "dropped at",
        "warm", "0.82", "0.90", "0.80", "0.75", "kept",
        "soup", "0.47", "0.70", "0.50", "0.20", "block.0.input",
    ]  # fmt: skip
    assert found.of("td", "style") == [paint(value) for _, states in TOKENS for value in states]


def test_a_line_for_each_state_marks_what_it_drops():
    page = grid(make(TOKENS), "a")
    found = Grid(page)
    assert len([one for one in found.of("p", "class") if one.startswith("dm-units")]) == len(STATE_NAMES)
    titles = found.of("button", "title")
    where = "characters 0 to 1"
    assert titles[:2] == [f"kept, score 0.900, {where}", f"kept, score 0.700, {where}"]
    assert titles[2:] == [
        f"kept, score 0.800, {where}", f"dropped, score 0.500, {where}", f"kept, score 0.750, {where}",
        f"dropped, score 0.200, {where}",
    ]  # fmt: skip
    assert page.count("dm-unit dm-dropped") == 2
    assert [one for _, one in found.tags if "checked" in one] == [
        {"type": "radio", "name": "a", "id": "a-s2", "checked": None}
    ], "the state of the result"


def test_evidence_is_said_at_the_state_of_the_result_alone():
    result = make(TOKENS)
    for token, evidence, kept in zip(result["tokens"], (1.25, -0.5), (False, True), strict=True):
        token |= {"evidence": evidence, "kept": kept}
    found = Grid(grid(result, "a"))
    titles = found.of("button", "title")
    assert [title.partition(", evidence ")[2] for title in titles] == ["", "", "", "", "+1.250", "-0.500"]
    assert titles[4].startswith("dropped, ") and titles[5].startswith("kept, "), "the title follows the searched mask"
    assert "mask" in found.cells and found.cells[-1].endswith("kept"), "the last of the three states"


def test_the_curve_of_a_token_by_hand():
    page = grid(make([("warm", [1.0, 0.5, 0.0])]), "a")
    assert 'points="0.0,0.0 180.0,45.0 360.0,90.0"' in page
    assert "warm: embeddings 1.000, block.0.input 0.500, block.0.output 0.000" in page
    one_state = make([("warm", [0.25])], states=["only"], state="only")
    assert 'points="0.0,67.5"' in grid(one_state, "a")


def test_ids_are_of_one_grid():
    result = make(TOKENS)
    first, second = (Grid(grid(result)) for _ in range(2))
    for page in (first, second):
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids)) and set(page.of("button", "popovertarget") + page.of("label", "for")) <= set(
            ids
        )
    ours, theirs = ({attributes.get("id") for _, attributes in page.tags} - {None} for page in (first, second))
    assert not ours & theirs


def test_an_abstention_has_no_tokens():
    result = make([], abstained=True, kept_share=None, divergence=0.3, within_margin=False)
    page = Grid(grid(result))
    assert "No explanation" in page.text and not page.of("p", "aria-label") and not page.cells


def test_markup_and_templates_stay_text():
    hostile = "</style><script>{{7*7}} ${x} `a` \x1b"
    assert re.search(r"[<>{}$`\x1b]", shown(hostile)) is None
    page = Grid(f"<p>{shown(hostile)}</p>")
    assert page.text == "</style><script>{{7*7}} ${x} `a` \\x1b" and [tag for tag, _ in page.tags] == ["p"]
    assert shown(5) == "5" and shown(None) == "None"
    found = Grid(grid(make([(hostile, [0.9, 0.8, 0.7])], label=hostile, states=["<a>", "b", "c"], state="c"), "a"))
    assert "script" not in {tag for tag, _ in found.tags} and "<a>" in found.cells


def test_notebooks_show_a_result_as_its_grid():
    result = Attribution(make(TOKENS))
    assert result == make(TOKENS) and "dm-grid" in result._repr_html_()


def of_state(page, number, tag):
    """Texts of the parts that are shown with a state."""
    return re.findall(rf'<{tag} class="dm-at dm-s{number}">(.*?)</{tag}>', page, re.DOTALL)


def test_sentence_tokens_score_and_mask_follow_the_chosen_state():
    result = make(TOKENS, state="block.0.input", searched=True, forwards=8)
    for token, kept in zip(result["tokens"], (False, True), strict=True):
        token |= {"evidence": 0.5, "kept": kept}  # by a search, at the state of the result
    page = grid(result, "a")
    for number, state in enumerate(STATE_NAMES):
        assert f"#a:has(#a-s{number}:checked) .dm-s{number} {{ display: block; }}" in page
        sentence, line = of_state(page, number, "div")
        assert f'aria-label="Tokens at state {state}"' in line
        assert sentence.startswith('<p class="dm-certificate" data-state="')
        assert ('data-state="holds"' in sentence) == (number == 1) and f"state {state}" in sentence
        cells = of_state(page, number, "span")
        words = [["kept", "kept"], ["dropped", "kept"], ["kept", "dropped"]][number]
        assert cells[1::2] == words
        assert cells[::2] == [f"{states[number]:.2f}" for _, states in TOKENS]
        assert [text.partition(",")[0] for text in Grid(line).of("button", "title")] == words
    assert ".dm-at { display: none; }" in page


def test_a_page_with_a_control_of_its_own_gets_one_state():
    result = make(TOKENS, state="block.0.input")
    page = grid(result, "a", states=False)
    found = Grid(page)
    assert "dm-at dm-s" not in page and ":has(" not in page and not found.of("input", "type")
    assert found.of("p", "aria-label") == ["Tokens at state block.0.input"]
    assert page.count('class="dm-certificate"') == 1 and len(found.of("td", "style")) == 6


def test_a_skipped_row_says_why():
    assert grid({"row": 3, "error": "Input 3 has <b> in it."}) == "<p>Input 3 has &lt;b&gt; in it.</p>"
