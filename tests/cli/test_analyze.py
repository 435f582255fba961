"""`hf-diffmask analyze` as a user runs it: files, messages and refusals."""

import json
import sys
from html.parser import HTMLParser

import pytest
import torch
from transformers import BertForQuestionAnswering

import hf_diffmask
from hf_diffmask import DiffMaskModel
from hf_diffmask.analysis.decisions import smallest_shares
from hf_diffmask.analysis.tagging import Tag
from hf_diffmask.pipeline.loading import load_pipeline
from hf_diffmask_entry import main
from tests.helpers import HIDDEN, path_config, refused

SENTENCES = [
    "a warm and quietly funny film",
    "the plot is dull , and the second half is duller",
    "not bad at all",
    "<script>alert(1)</script> costs $x$ or \\frac{1}{0} $",
    'an "honest" & <b>bold</b> story',
    "my aunt slept through the ending",
    "superb",
    "it rains , it pours , and nobody smiles \u202e!",
    "a clever script with a tedious middle",
    "the cast is lovely",
    "forgettable from start to end",
    "i would watch it again tomorrow",
]
TREES = [
    "(3 (2 (2 My) (2 aunt)) (3 (2 wrote) (3 (2 a) (4 (4 lovely) (2 letter)))))",
    "(1 (2 It) (1 (2 was) (1 (1 drearily) (1 (0 awful) (2 ``)))))",
]
# A tagger that is never installed, with or without spaCy.
ABSENT = ["--tagger", "absent_tagger"]


class Page(HTMLParser):
    """Content of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]

    def handle_data(self, data):
        self.text += data

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "sentences.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES), encoding="utf-8")
    return str(path)


@pytest.fixture
def trees(tmp_path):
    path = tmp_path / "trees.txt"
    path.write_text("\n".join(TREES) + "\n", encoding="utf-8")
    return str(path)


def save(explainer, tokenizer, folder):
    explainer.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def hidden_model(classifier, tokenizer, tmp_path):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **HIDDEN)
    with torch.no_grad():
        explainer.probes.out_weight.normal_(std=0.05)
    return save(explainer, tokenizer, tmp_path / "hidden")


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_report_of_a_data_set(capsys, data, tmp_path):
    out = tmp_path / "reports" / "first"
    assert main(["analyze", "--dataset", data, "--examples", "4", *ABSENT, "--output_dir", str(out)]) == 0
    captured = capsys.readouterr()
    assert str(out / "index.html") in captured.out
    said = captured.err.strip().splitlines()[-1]
    assert said.startswith("hf-diffmask: ") and "left out" in said and "hf-diffmask[tagging]" in said

    report = load(out / "report.json")
    assert report["version"] == hf_diffmask.__version__ and report["data"] == "sentences.jsonl"
    assert report["inputs"] == report["available"] == 12 and report["tagger"] is None
    (explainer,) = report["explainers"]
    assert explainer["margin"] == 0.1 and explainer["masking"] == "input"
    assert len(explainer["states"]) == 6 and explainer["states"][-1] == "explanation"
    assert len(report["notes"]) == 1 and "spaCy" in report["notes"][0]
    names = [f"heat_map_{k}" for k in (1, 2, 3, 4)] + ["input_keep_by_state", "input_fixed_by_state"]
    names += ["input_decided_by_state"]
    assert [figure["image"] for figure in report["figures"]] == [f"{name}.png" for name in names]
    files = {f"{name}.{kind}" for name in names for kind in ("png", "json")} | {"index.html", "report.json"}
    assert {path.name for path in out.iterdir()} == files
    assert all((out / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in names)
    # The report holds no local path.
    assert str(tmp_path) not in (out / "report.json").read_text() + (out / "index.html").read_text()

    # The figures hold the results of the pipeline for all inputs.
    results = load_pipeline(None)(SENTENCES)
    assert load(out / "heat_map_2.json")["panels"][0]["keep_probability"] == [
        pytest.approx(token["states"], abs=1e-5) for token in results[1]["tokens"]
    ]
    ordinary = [token for result in results for token in result["tokens"] if not token["special"]]
    (group, special) = load(out / "input_keep_by_state.json")["groups"]
    assert group["count"] == len(ordinary) and special["count"] == 24
    assert group["mean"][-1] == pytest.approx(sum(token["states"][-1] for token in ordinary) / len(ordinary))
    fixed = load(out / "input_fixed_by_state.json")
    assert fixed["count"] == 12
    assert fixed["unchanged"][-1] == sum(result["same_prediction"] for result in results) / 12
    assert fixed["fixed"] == sorted(fixed["fixed"]) and fixed["fixed"][-1] == fixed["unchanged"][-1]


def test_of_a_path_the_report_says_when_it_was_decided(classifier, tokenizer, data, tmp_path):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **path_config(), margin=0.05)
    model = save(explainer, tokenizer, tmp_path / "path")
    out = tmp_path / "report"
    assert (
        main(["analyze", "--dataset", data, "--model", model, "--examples", "0", *ABSENT, "--output_dir", str(out)])
        == 0
    )
    found = load(out / "input_decided_by_state.json")
    shares = smallest_shares(explainer.eval(), tokenizer, SENTENCES).double()
    assert found["count"] == 12 and found["margin"] == 0.05 and len(found["states"]) == 5
    assert found["mean"] == pytest.approx(shares.mean(0).tolist(), abs=1e-5)
    assert (out / "input_decided_by_state.png").read_bytes().startswith(b"\x89PNG")
    page = Page(out / "index.html").text
    assert "the smallest budget within a margin of 0.05" in page and "given the prediction" in page
    assert f"{found['median'][-1]:.3f}" in page


def test_page_is_escaped_and_refers_to_nothing_but_its_own_files(capsys, data, tmp_path):
    out = tmp_path / "report"
    assert main(["analyze", "--dataset", data, "--examples", "12", *ABSENT, "--output_dir", str(out)]) == 0
    page = Page(out / "index.html")
    allowed = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "ul", "li", "a", "section",
               "figure", "figcaption", "img", "details", "summary", "div", "table", "thead", "tbody", "tr", "th",
               "td"}  # fmt: skip
    assert set(page.tags) <= allowed
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    linked = set(page.values("src") + page.values("href"))
    assert linked and all((out / name).is_file() and "/" not in name for name in linked)
    assert all(text in page.text for text in SENTENCES if "\u202e" not in text)
    assert "\u202e" not in page.text and "smiles \\u202e!" in page.text
    raw = (out / "index.html").read_text(encoding="utf-8")
    assert "<script" not in raw and "http" not in raw and "prefers-color-scheme: dark" in raw
    assert "The analyses by part of speech and by entity type are left out." in page.text
    alts = page.values("alt")
    assert len(alts) == page.tags.count("img") == 15 and all(len(alt) > 30 for alt in alts)
    # The page holds the data of each figure.
    assert page.tags.count("table") == 15 and "ordinary tokens" in page.text


def test_report_of_trees_and_two_explainers(capsys, trees, hidden_model, tmp_path):
    out = tmp_path / "report"
    assert main(["analyze", "--trees", trees, "--hidden_model", hidden_model, *ABSENT, "--output_dir", str(out)]) == 0
    heat_map = load(out / "heat_map_2.json")
    assert [panel["title"] for panel in heat_map["panels"]] == ["input masking", "hidden masking"]
    assert heat_map["tokens"][1:3] == ["it", "was"]
    assert not (out / "heat_map_3.json").exists()
    for masking in ("input", "hidden"):
        data = load(out / f"{masking}_states_kept_by_sentiment_of_the_word.json")
        labels = [group["label"] for group in data["groups"]]
        assert labels == ["very positive", "neutral", "negative", "very negative", "[CLS]", "[SEP]"]
        columns = 6 if masking == "input" else 5  # the bundled explainer has an explanation head, too
        assert data["groups"][0]["count"] == 1 and data["groups"][-1]["mean"] == columns
    report = load(out / "report.json")
    assert report["data"] == "trees.txt" and [e["masking"] for e in report["explainers"]] == ["input", "hidden"]
    text = Page(out / "index.html").text
    assert "All inputs, input masking" in text and "All inputs, hidden masking" in text
    assert "My aunt wrote a lovely letter" in text


def test_report_with_tags(capsys, data, tmp_path, monkeypatch):
    def by_hand(texts, model):
        assert texts == SENTENCES[:2] and model == "hand"
        return [
            [Tag(0, 1, "DET", ""), Tag(2, 6, "ADJ", ""), Tag(25, 29, "NOUN", "THING")],
            [Tag(0, 3, "DET", ""), Tag(4, 8, "NOUN", "THING")],
        ]

    monkeypatch.setattr("hf_diffmask.analysis.figures.tag", by_hand)
    out = tmp_path / "report"
    arguments = ["analyze", "--dataset", data, "--tagger", "hand", "--limit", "2", "--output_dir", str(out)]
    assert main(arguments) == 0
    assert "left out" not in capsys.readouterr().err
    report = load(out / "report.json")
    assert report["tagger"] == "hand" and report["notes"] == []
    assert report["inputs"] == 2 and report["available"] == 12
    pos = {g["label"]: g["count"] for g in load(out / "input_states_kept_by_part_of_speech.json")["groups"]}
    assert pos == {"DET": 2, "ADJ": 1, "NOUN": 2, "[CLS]": 2, "[SEP]": 2}
    entity = {g["label"]: g["count"] for g in load(out / "input_states_kept_by_entity_type.json")["groups"]}
    assert entity == {"no entity": 3, "THING": 2, "[CLS]": 2, "[SEP]": 2}
    assert "the first of sentences.jsonl" in Page(out / "index.html").text


def test_report_of_questions(capsys, classifier, tokenizer, tmp_path):
    base = BertForQuestionAnswering(classifier.config).eval()
    base.bert.load_state_dict(classifier.bert.state_dict(), strict=False)
    base.save_pretrained(tmp_path / "base")
    base = BertForQuestionAnswering.from_pretrained(tmp_path / "base")
    model = save(DiffMaskModel.from_base_model(base, tokenizer), tokenizer, tmp_path / "explainer")
    path = tmp_path / "questions.csv"
    questions = ["who slept ?", "what fell ?"]
    contexts = ["my aunt slept through the ending", "the rain fell"]
    rows = [",".join(pair) for pair in zip(questions, contexts, strict=True)]
    path.write_text("\n".join(["question,context", *rows]) + "\n")
    out = tmp_path / "report"
    arguments = ["analyze", "--model", model, "--dataset", str(path), "--output_dir", str(out), *ABSENT]
    assert main(arguments) == 0
    groups = {group["group"]: group["count"] for group in load(out / "input_keep_by_state.json")["groups"]}
    assert groups.keys() <= {"question", "passage", "predicted answer", "special tokens"}
    count = {name: len(tokenizer.tokenize(" ".join(texts))) for name, texts in (("q", questions), ("c", contexts))}
    assert groups["question"] == count["q"] and groups["special tokens"] == 6
    assert groups["predicted answer"] > 0 and groups["predicted answer"] + groups.get("passage", 0) == count["c"]
    text = Page(out / "index.html").text
    assert "who slept ?" in text and "my aunt slept through the ending" in text


def test_bad_input_is_one_sentence(capsys, data, trees, explainer, tokenizer, hidden_model, tmp_path, monkeypatch):
    out = ["--output_dir", str(tmp_path / "report")]
    refused(capsys, ["analyze", *out], "either --dataset or --trees")
    refused(capsys, ["analyze", "--dataset", data, "--trees", trees, *out], "either --dataset or --trees")
    refused(capsys, ["analyze", "--trees", trees, "--text_pair_column", "b", *out], "--text_pair_column")
    refused(capsys, ["analyze", "--dataset", data, "--limit", "0", *out], "--limit", "at least 1")
    refused(capsys, ["analyze", "--dataset", data, "--text_column", "body", *out], "no column 'body'")
    refused(capsys, ["analyze", "--trees", data, *out], "is no tree")
    refused(
        capsys, ["analyze", "--dataset", data, "--model", hf_diffmask.BUNDLED_CLASSIFIER, *out], "not an explainer"
    )
    refused(capsys, ["analyze", "--dataset", data, "--output_dir", data], "is a file: name a folder")
    two = ["analyze", "--dataset", data, *out]
    refused(capsys, [*two, "--hidden_model", hf_diffmask.BUNDLED_EXPLAINER], "not input and input")
    refused(capsys, [*two, "--model", hidden_model, "--hidden_model", hidden_model], "not hidden and hidden")
    with torch.no_grad():
        explainer.base.classifier.weight.add_(1)
    explainer.base.save_pretrained(tmp_path / "other_base")
    other = DiffMaskModel.from_base_model(type(explainer.base).from_pretrained(tmp_path / "other_base"), tokenizer)
    other_model = save(other, tokenizer, tmp_path / "other")
    refused(capsys, [*two, "--model", other_model, "--hidden_model", hidden_model], "different base models")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused(capsys, two, "hf-diffmask[plots]")
    assert not (tmp_path / "report").exists()


def test_nothing_is_overwritten_unasked(capsys, data, tmp_path):
    out = tmp_path / "report"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    arguments = ["analyze", "--dataset", data, "--limit", "1", "--examples", "0", *ABSENT, "--output_dir", str(out)]
    refused(capsys, arguments, "not empty", "--overwrite_output_dir")
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    assert main([*arguments, "--overwrite_output_dir"]) == 0
    assert (out / "thesis.txt").read_text() == "mine" and (out / "index.html").is_file()


def test_help_teaches(capsys):
    assert main(["--help"]) == 0 and "analyze" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["analyze", "--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(part in printed for part in ("--trees", "--hidden_model", "--tagger", "hf-diffmask analyze --dataset"))
