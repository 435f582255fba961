"""The page in a real browser, served by another process: a visitor's actions, views and refusals."""

import functools
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

import hf_diffmask
from tests.helpers import TEXT
from tests.space.helpers import HOSTILE, serving

pytest.importorskip("gradio", reason="the page needs hf-diffmask[space]")

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: install Debian's package")


@pytest.fixture(scope="module")
def url(tmp_path_factory, hostile):
    explainers = f"{hf_diffmask.BUNDLED_EXPLAINER},{hostile}"
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, DIFFMASK_EXPLAINERS=explainers, DIFFMASK_ROWS="100", OMP_NUM_THREADS="1") as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, url):
    """Opens the page; the page must end without errors."""
    wrong, pages = [], []

    def open_it(width=1100, height=1000, theme="light"):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(f"{url}?__theme={theme}")
        page.wait_for_selector("#explain")
        pages.append(page)
        return page

    yield open_it
    hacked = [page.evaluate("window.hacked") for page in pages]
    for page in pages:
        page.close()
    assert wrong == [] and hacked == [None] * len(pages)


def explain(page, text):
    page.fill("#text textarea", text)
    page.click("#explain")
    page.wait_for_function(
        "text => document.querySelector('#explanation')?.textContent.includes(text)", arg=text.split()[-1]
    )
    page.wait_for_selector("#explanation .dm-certificate")


def tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def shoot(page, name):
    """Saves a picture for docs/space.md if DIFFMASK_SCREENSHOTS names a folder."""
    if folder := os.environ.get("DIFFMASK_SCREENSHOTS"):
        page.wait_for_timeout(500)
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_explain_choose_a_state_and_a_token(open_page):
    page = open_page()
    explain(page, TEXT)
    result = hf_diffmask_result(TEXT)
    grid = page.locator("#explanation")
    assert f"{result['label']} {result['score']:.3f}" in grid.inner_text()
    assert f"{100 * (1 - result['kept_share']):.0f} % of the tokens can go" in grid.inner_text()
    rows = grid.locator("tbody tr")
    assert rows.count() == len(result["tokens"])
    for row, token in zip(rows.all(), result["tokens"], strict=True):
        cells = row.locator("td").all_inner_texts()
        assert [float(cell) for cell in cells[1:-1]] == pytest.approx(token["states"], abs=0.0051)
        assert cells[-1] == ("kept" if token["kept"] else "dropped")
    shown = grid.locator(".dm-units:visible")
    assert shown.count() == 1 and shown.get_attribute("aria-label").endswith(result["states"][-1])
    # The slider is the one control for the state. The grid, the mask and both predictions follow.
    assert grid.locator("input").count() == 0
    # The keyboard works as well. Of quick moves the last one counts.
    page.locator("#state input[type=range]").focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    shows(page, TEXT, state=3)
    shown = grid.locator(".dm-units:visible")
    # A token links to its curve; hovering shows the exact value.
    token = shown.get_by_text("dull", exact=True)
    assert "score 0." in token.get_attribute("title")
    token.click()
    curve = grid.locator(".dm-curve:visible")
    values = next(token for token in result["tokens"] if token["token"] == "dull")["states"]
    assert curve.count() == 1 and f"embeddings {values[0]:.3f}" in curve.inner_text()
    assert curve.locator("circle").count() == len(values)
    shoot(page, "explain")


def shows(page, text, state):
    """Slider, sentence, tokens, mask and the What if tab all show the text at the state."""
    result = hf_diffmask_result(text, state)
    name, tokens = result["states"][state], result["tokens"]
    page.wait_for_function(
        "([text, label]) => document.querySelector('#explanation .dm-units')?.getAttribute('aria-label') === label"
        " && document.querySelector('#explanation .dm-units').textContent.includes(text)",
        arg=[text.split()[-1], f"Tokens at state {name}"],
    )
    assert page.locator("#state input[type=range]").input_value() == str(state)
    grid = page.locator("#explanation")
    sentence = page.locator("#explanation .dm-certificate")
    assert sentence.count() == 1 and f"at state {name}" in sentence.inner_text()
    assert sentence.get_attribute("data-state") == result["certificate"]
    kept = ["kept" if token["kept"] else "dropped" for token in tokens]
    assert grid.locator("tbody td:last-child").all_inner_texts() == kept
    dropped = grid.locator(".dm-dropped").all_inner_texts()
    assert dropped == [token["token"] for token in tokens if not token["kept"]]
    tab(page, "What if")
    page.wait_for_selector("#tokens label")
    ordinary = [token for token in tokens if not token["special"]]
    labels = page.locator("#tokens label")
    assert [label.strip() for label in labels.all_text_contents()] == [token["token"] for token in ordinary]
    boxes = page.locator("#tokens input").evaluate_all("boxes => boxes.map(box => box.checked)")
    assert boxes == [token["kept"] for token in ordinary]
    count = sum(not token["kept"] for token in ordinary)
    assert f"Dropping {count} of {len(ordinary)} tokens" in page.locator("#claim").text_content()
    share = round(100 * (len(ordinary) - count) / len(ordinary))
    assert page.locator("#budget input[type=range]").input_value() == str(share)
    assert page.locator("#changed-what-if").text_content().strip() == ""
    tab(page, "Explain")


@functools.cache
def hf_diffmask_result(text, state=None):
    from transformers import pipeline

    return pipeline(hf_diffmask.TASK, model=hf_diffmask.BUNDLED_EXPLAINER)(text, state=state)


def test_what_if_flips_the_prediction(open_page):
    page = open_page()
    explain(page, TEXT)
    tab(page, "What if")
    page.wait_for_selector("#tokens label")
    assert "the prediction stays" in page.inner_text("#claim")
    own = page.inner_text("#whole h2, #whole [data-testid=label-output-value]")
    assert own == "NEGATIVE"
    kept = [one["token"] for one in hf_diffmask_result(TEXT)["tokens"] if one["kept"] and not one["special"]]
    for word in (*kept, "warm", "funny"):
        page.locator("#tokens label", has_text=word).click()
    page.wait_for_function("document.querySelector('#claim').textContent.includes('Dropping 10 of 12')")
    assert "the prediction changes" in page.inner_text("#claim")
    assert page.inner_text("#masked [data-testid=label-output-value]") == "POSITIVE"
    assert page.locator("#claim .dm-certificate").get_attribute("data-state") == "does not hold"
    assert page.locator("#budget input[type=range]").input_value() == "17", "2 of 12: the share follows the tokens"
    shoot(page, "what-if")
    # With every token kept, the output does not change.
    page.locator("#budget input[type=range]").fill("100")
    page.wait_for_function("document.querySelector('#claim').textContent.includes('Dropping 0 of 12')")
    assert page.inner_text("#masked [data-testid=label-output-value]") == own
    assert page.locator("#tokens input:checked").count() == 12
    # Another text is not explained yet: the views stay, and say so.
    other = "a warm and funny film"
    page.fill("#text textarea", other)
    says = (
        "document.querySelector('#changed-what-if').textContent.trim() === 'The text has changed: explain it again.'"
    )
    page.wait_for_function(says)
    page.locator("#tokens label", has_text="dull").click()
    page.wait_for_function("document.querySelector('#claim').textContent.includes('Dropping 1 of 12')")
    # The state moves under the old text, and stays where it is for the new one.
    tab(page, "Explain")
    assert "The text has changed: explain it again." in page.inner_text("#changed")
    page.locator("#state input[type=range]").fill("2")
    page.wait_for_selector("#explanation [aria-label='Tokens at state block.1.input']")
    assert page.locator("#tokens label").count() == 12 and "has changed" in page.inner_text("#changed")
    page.click("#explain")
    shows(page, other, state=2)
    # The old text again, typed back: what is shown for the new one is not for it.
    page.fill("#text textarea", TEXT)
    page.wait_for_function("document.querySelector('#changed').textContent.includes('has changed')")
    page.fill("#text textarea", other)
    page.wait_for_function("document.querySelector('#changed').textContent.trim() === ''")


def test_compare(open_page):
    page = open_page()
    page.fill("#text textarea", TEXT)
    tab(page, "Compare")
    page.click("#compare")
    page.wait_for_selector("#comparison h3")
    said = page.inner_text("#comparison")
    for method, passes in (("DiffMask", "1 pass of"), ("leave-one-out", "12 passes"), ("Integrated", "64 passes")):
        assert method in said and passes in said
    assert said.count("comprehensiveness") == 3
    assert page.locator("#changed-compare").text_content().strip() == ""
    shoot(page, "compare")
    page.fill("#text textarea", "another text")
    page.wait_for_function(
        "document.querySelector('#changed-compare').textContent.trim() === 'The text has changed: compare again.'"
    )
    assert page.locator("#changed").text_content().strip() == "", "nothing was explained"


def test_batch_upload_and_download(open_page, tmp_path):
    page = open_page()
    texts = [f"film number {number} is {word}" for number in range(25) for word in ("dull", "warm")]
    pd.DataFrame({"review": texts}).to_csv(tmp_path / "texts.csv", index=False)
    tab(page, "Batch")
    page.set_input_files("#file input[type=file]", tmp_path / "texts.csv")
    page.click("#run")
    page.wait_for_selector("#status .refusal")
    assert "no column 'text'; it has review" in page.inner_text("#status")
    page.fill("#column textarea, #column input", "review")
    page.click("#run")
    page.wait_for_function("document.querySelector('#status').textContent.includes('50 texts explained')")
    shoot(page, "batch")
    for kind in ("parquet", "jsonl", "html"):
        with page.expect_download() as loading:
            page.locator(f"#files a[download='attributions.{kind}']").first.click()
        loading.value.save_as(tmp_path / f"attributions.{kind}")
    table = pd.read_parquet(tmp_path / "attributions.parquet")
    results = [json.loads(line) for line in (tmp_path / "attributions.jsonl").read_text().splitlines()]
    assert table["text"].tolist() == texts and len(results) == 50
    expected = hf_diffmask_result(texts[7])
    for found in (results[7], table.iloc[7]):
        assert (found["label"], found["score"]) == (expected["label"], pytest.approx(expected["score"], abs=1e-5))
        assert found["drop"] == pytest.approx(expected["drop"], abs=1e-5)
    assert (tmp_path / "attributions.html").read_text().count("<section>") == 50


def test_bad_input_is_a_sentence(open_page):
    page = open_page()
    page.click("#explain")
    page.wait_for_selector("#explanation .refusal")
    assert "There is no text" in page.inner_text("#explanation .refusal")
    shoot(page, "bad-input")
    page.fill("#text textarea", "dull " * 1000 + "!")  # nothing is cut on the way
    page.click("#explain")
    page.wait_for_function("document.querySelector('#explanation').textContent.includes('5,001 characters, and the')")
    tab(page, "Batch")
    page.click("#run")
    page.wait_for_selector("#status .refusal")
    assert "There is no file" in page.inner_text("#status")
    # The page still works.
    tab(page, "Explain")
    explain(page, TEXT)


@pytest.mark.parametrize("theme, width", [("dark", 1100), ("light", 380), ("dark", 380)])
def test_dark_and_on_a_phone(open_page, theme, width):
    page = open_page(width=width, height=900, theme=theme)
    explain(page, TEXT)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    front, back = page.evaluate(
        """() => {
          const shown = document.querySelector('#explanation .dm-certificate');
          let behind = shown;
          while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
          const light = (color) => color.match(/[0-9.]+/g).slice(0, 3).reduce((sum, value) => sum + +value, 0) / 3;
          return [light(getComputedStyle(shown).color), light(getComputedStyle(behind).backgroundColor)];
        }"""
    )
    assert front - back > 120 if theme == "dark" else back - front > 120
    page.evaluate("document.querySelector('#explain').scrollIntoView()")
    shoot(page, f"{theme}-{width}")


def test_hostile_texts_names_labels_and_cards_are_shown_and_never_run(open_page, tmp_path, hostile):
    page = open_page()
    page.get_by_text("Card of the explainer").click()
    for theirs in (False, True):
        if theirs:
            page.click("#explainer input")
            page.get_by_role("option").nth(1).click()
            page.wait_for_function("document.querySelector('#card')?.textContent.includes('Hostile card')")
            # Nothing of the other explainer is left.
            page.wait_for_function("document.querySelector('#explanation').textContent.trim() === ''")
            assert page.locator("#changed").text_content().strip() == ""
            assert page.locator("#card :is(img, iframe, svg:not(button svg))").count() == 0
            assert "<script>" in page.inner_text("#card") and page.locator("#card a", has_text="picture").count() == 5
        text = " ".join(HOSTILE) + " end"
        explain(page, text)
        page.wait_for_timeout(300)
        if theirs:  # the explanation shows the labels of the model
            assert any(label in page.inner_text("#explanation strong") for label in HOSTILE[:2])
        page.locator("#explanation .dm-unit:visible").first.hover()
        tab(page, "What if")
        page.wait_for_selector("#tokens label")
        page.locator("#tokens label").first.click()
        page.wait_for_timeout(500)
        tab(page, "Compare")
        page.click("#compare")
        page.wait_for_selector("#comparison h3")
        tab(page, "Explain")
    # A file with a malicious name, columns and rows; the page of results shows them.
    file = tmp_path / "<img src=x onerror=window.hacked=1>.csv"
    pd.DataFrame({HOSTILE[0]: HOSTILE[:12]}).to_csv(file, index=False)
    tab(page, "Batch")
    page.set_input_files("#file input[type=file]", file)
    for column in (HOSTILE[1], HOSTILE[0]):
        page.fill("#column textarea, #column input", column)
        page.click("#run")
        page.wait_for_function("document.querySelector('#status')?.textContent.length > 20")
        page.wait_for_timeout(500)
    page.wait_for_function("document.querySelector('#status').textContent.includes('12 texts explained')")
    with page.expect_download() as loading:
        page.locator("#files a[download='attributions.html']").first.click()
    loading.value.save_as(tmp_path / "attributions.html")
    assert page.evaluate("window.hacked") is None
    page.goto((tmp_path / "attributions.html").as_uri())
    assert page.locator("section").count() == 12 and page.evaluate("window.hacked") is None
    assert HOSTILE[0].split(">")[0].strip("<") in page.inner_text("body")


def test_cancel(open_page, tmp_path):
    page = open_page()
    pd.DataFrame({"text": ["a long and dull film . " * 60] * 100}).to_csv(tmp_path / "texts.csv", index=False)
    tab(page, "Batch")
    page.set_input_files("#file input[type=file]", tmp_path / "texts.csv")
    page.click("#run")
    page.wait_for_function("document.querySelector('#status').textContent.includes(' of 100')")
    page.click("#cancel")
    page.wait_for_function("document.querySelector('#status').textContent.includes('Cancelled')")
    page.wait_for_timeout(1500)
    assert "Cancelled" in page.inner_text("#status")


def test_first_paint_names_what_the_page_is(open_page):
    page = open_page()
    assert page.get_by_role("heading", level=1).inner_text() == "What does the model need?"
    assert page.title() == "Differentiable Masking"


def test_files_of_the_machine_cannot_be_read(url, hostile, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("text\nhidden\n")
    for path in (secret, "/etc/hostname", Path(hf_diffmask.BUNDLED_EXPLAINER, "config.json")):
        for address in (f"gradio_api/file={path}", f"file={path}", f"gradio_api/file={path}/../{Path(path).name}"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url + address)
            assert refused.value.code in (403, 404)
    # Claiming an upload is refused as well: calls the function for files, as the page does.
    config = json.load(urllib.request.urlopen(f"{url}config"))
    names = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
    (runs,) = [one for one in config["dependencies"] if [names[k] for k in one["outputs"]] == ["status", "files"]]
    for path in (secret, "/etc/hostname"):
        said = run_function(url, runs["id"], [file_data(path), "text", "", "bundled"])
        assert (
            "hidden" not in said and "texts explained" not in said and '"success": false' in said.replace(":f", ": f")
        )
    uploaded = upload(url, secret)
    assert "1 texts explained" in run_function(url, runs["id"], [file_data(uploaded), "text", "", "bundled"])


def file_data(path):
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def upload(url, path):
    """Sends a file, as the page does."""
    import httpx2

    return httpx2.post(f"{url}gradio_api/upload", files={"files": (path.name, path.read_bytes())}).json()[0]


def run_function(url, number, data):
    """Runs a function of the page by its number; returns all its messages."""
    session = f"s{time.time_ns()}"
    body = json.dumps({"data": data, "fn_index": number, "session_hash": session})
    headers = {"Content-Type": "application/json"}
    try:
        urllib.request.urlopen(urllib.request.Request(f"{url}gradio_api/queue/join", body.encode(), headers))
    except urllib.error.HTTPError as error:
        return error.read().decode()
    said = ""
    with urllib.request.urlopen(f"{url}gradio_api/queue/data?session_hash={session}") as stream:
        for line in stream:
            said += line.decode()
            if "process_completed" in said or "close_stream" in said:
                return said
    return said
