"""The page for an explainer of tokens, in a real browser: a visitor chooses which entity is explained."""

import shutil

import pytest

from hf_diffmask import DiffMaskModel, recipe_config
from tests.space.helpers import serving
from tests.tasks.tokens import marking_base

pytest.importorskip("gradio", reason="the page needs hf-diffmask[space]")

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: install Debian's package")


@pytest.fixture(scope="module")
def explainer(tokenizer, tmp_path_factory):
    """An untrained explainer for a base model that marks three words."""
    folder = tmp_path_factory.mktemp("explainer")
    base = marking_base(tokenizer, "plot", "cast")
    base.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    base.name_or_path = str(folder / "base")
    made = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config(task="token-classification"))
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_visitor_chooses_what_is_explained(explainer, tmp_path):
    wrong = []
    with (
        serving(tmp_path, DIFFMASK_EXPLAINERS=str(explainer), OMP_NUM_THREADS="1") as url,
        sync_api.sync_playwright() as started,
    ):
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        page.wait_for_selector("#explain")
        assert page.locator("#part").count() == 0 or not page.locator("#part").is_visible()
        page.fill("#text textarea", "the plot is dull and the cast is warm")
        page.click("#explain")
        page.wait_for_selector("#part label")
        assert [one.inner_text().strip() for one in page.locator("#part label").all()] == ["X: plot", "X: cast"]
        heading = page.locator("#explanation")
        page.wait_for_function("() => document.querySelector('#explanation').textContent.includes('X: \"plot\"')")
        page.locator("#part label").nth(1).click()
        page.wait_for_function("() => document.querySelector('#explanation').textContent.includes('X: \"cast\"')")
        assert heading.locator(".dm-certificate").count() == 1
        page.get_by_role("tab", name="What if", exact=True).click()
        page.locator("#tokens label").first.click()
        page.wait_for_function("() => document.querySelector('#claim').textContent.includes('Dropping 1 of 9 tokens')")
        page.get_by_role("tab", name="Explain", exact=True).click()
        assert 'X: "cast"' in heading.inner_text()
        page.fill("#text textarea", "nothing here")
        page.click("#explain")
        page.wait_for_selector("#explanation .refusal")
        assert "finds no entity in this text" in heading.inner_text()
        assert page.locator("#part label").count() == 0
        browser.close()
    assert wrong == []
