"""Token classification: figures by hand, entities as Transformers finds them, a known truth, and every command."""

import json
import math

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, BertConfig, pipeline

from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.base.running import Batch, Recorded
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.display.terminal import to_text
from hf_diffmask.evaluation.predictions import class_probabilities
from hf_diffmask.explainer.inputs import inputs_of
from hf_diffmask.methods.plain import plain_explainer
from hf_diffmask.methods.registry import METHODS, Explainers
from hf_diffmask.pipeline.what_if import what_if
from hf_diffmask.space.service import Service
from hf_diffmask.space.settings import Settings
from hf_diffmask.tasks.registry import TASKS
from hf_diffmask.tasks.token_classification import TokenClassification
from hf_diffmask_entry import main
from tests.tasks.tokens import LABELS, save_base, subjects, texts

TASK = "token-classification"
CONFIG = BertConfig(num_labels=5)
CONFIG.id2label = dict(enumerate(LABELS))
TEXT = "the acting is superb and the plot is not very fresh ."


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A token classifier that marks subjects as praised or blamed."""
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """An explainer for it after a short training."""
    folder = tmp_path_factory.mktemp("explainer")
    train(base, folder, masks=16, max_steps=300)
    return folder


def train(base, folder, count=300, masking="input", recipe="ablation", **settings):
    """Trains and saves an explainer. Returns its trainer."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_pretrained(base)
    explainer = DiffMaskModel.from_base_model(model, tokenizer, **recipe_config(recipe, masking, TASK))
    args = DiffMaskTrainingArguments(
        output_dir=str(folder), recipe=recipe, use_cpu=True, disable_tqdm=True, report_to="none", save_strategy="no",
        eval_strategy="no", load_best_model_at_end=False, **settings,
    )  # fmt: skip
    data = [inputs_of(explainer, tokenizer, texts(n, s), True) for n, s in ((count, 0), (60, 1))]
    trainer = DiffMaskTrainer(explainer, args, *data, processing_class=tokenizer)
    trainer.train()
    trainer.save_model()
    return trainer


def test_the_task_is_told_by_the_head():
    fitting = [name for name, task in TASKS.items() if task.fits(["BertForTokenClassification"], CONFIG)]
    assert fitting == [TASK]
    assert not TokenClassification.fits(["BertForTokenClassification"], BertConfig(num_labels=1))
    assert TokenClassification.given_constants(CONFIG) == {"types": [0, 1, 1, 2, 2]}
    task = TokenClassification(TokenClassification.given_constants(CONFIG))
    assert task.choices(CONFIG) == 3 and task.choice_names(CONFIG) == ["O", "GOOD", "BAD"]


def test_numbers_by_hand():
    task = TokenClassification({"types": [0, 1, 1]})
    chances = torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.8, 0.1, 0.1]], [[0.2, 0.2, 0.6]] * 3])
    explained = torch.tensor([[True, True, False], [False, False, True]])
    output = type("Output", (), {"logits": chances.log() + 7})()
    torch.testing.assert_close(task.target(output).exp(), chances)
    # Of the first input the mean of two tokens: (0.5 + 0.1) / 2, and 0.5 and 0.9 together.
    expected = torch.tensor([[0.3, 0.7], [0.2, 0.8]])
    torch.testing.assert_close(task.target(output, explained=explained).exp(), expected)
    output.logits[0, 2] = float("nan")  # padding
    torch.testing.assert_close(task.target(output, explained=explained.long()).exp(), expected)
    batch = Batch({"input_ids": explained.long()}, explained, ~explained, explained=explained)
    found = task.positions(Recorded(expected.log(), [], batch))
    assert found.tolist() == [[[0.5, 0.5, 0.0]], [[0.0, 0.0, 1.0]]]
    with pytest.raises(DiffMaskError, match="not said which tokens are explained"):
        task.positions(Recorded(expected.log(), [], Batch({}, explained, explained)))


def test_entities_begin_with_b_or_another_type():
    task = TokenClassification({"types": [0, 1, 1, 2, 2]})
    labels = ["B-BAD", "O", "I-GOOD", "I-GOOD", "B-GOOD", "I-GOOD", "I-BAD", "O", "B-BAD", "I-BAD", "O"]
    target = torch.nn.functional.one_hot(torch.tensor([LABELS.index(label) for label in labels]), 5).float()
    special = torch.tensor([True, *[False] * 9, True])
    assert task.parts(target, torch.zeros(len(target)), special, CONFIG) == [[2, 3], [4, 5], [6], [8, 9]]


def test_entities_are_those_of_transformers(base, trained):
    ours = pipeline("diffmask-attribution", model=str(trained))
    theirs = pipeline(TASK, model=str(base), aggregation_strategy="simple")
    some = [*texts(60, seed=4), "Zebra", "the the the plot plot is dull", "the plot is flat the cast is fresh"]
    count = 0
    for text, found, expected in zip(some, ours(some, batch_size=8), theirs(some), strict=True):
        assert [(one["label"], one["start"], one["end"]) for one in found] == [
            (one["entity_group"], one["start"], one["end"]) for one in expected
        ]
        for one, other in zip(found, expected, strict=True):
            assert one["word"] == text[one["start"] : one["end"]]
            # Theirs is the mean over tokens of the best label alone; ours adds B- and I- of one type.
            assert one["score"] > other["score"] - 1e-5
            count += 1
    assert count > 60


def test_the_word_that_says_it_has_most_evidence(trained):
    """The subject itself aside, its own adjective or the negation."""
    explain = pipeline("diffmask-attribution", model=str(trained))
    hits = total = inside = 0
    some = texts(100, seed=5)
    for text, found in zip(some, explain(some, batch_size=20), strict=True):
        for one in found:
            of_it = [subject for subject in subjects(text) if subject[0] <= one["start"] < subject[1]]
            if not of_it:
                continue
            start, end, _, first, last = of_it[0]
            others = [t for t in one["tokens"] if not t["special"] and not start <= t["start"] < end]
            best = max(others, key=lambda token: token["evidence"])
            hits += first <= best["start"] < last or best["token"] == "not"
            inside += one["within_margin"]
            total += 1
    assert total > 100
    assert hits / total > 0.65, "by chance 0.08"
    assert inside / total > 0.6


def test_several_entities_cost_one_pass_and_a_masked_pass_each(trained):
    explain = pipeline("diffmask-attribution", model=str(trained))
    rows = []
    explain.model.base.register_forward_hook(lambda *given: rows.append(len(given[-1].logits)))
    found = explain(TEXT)
    assert [(one["label"], one["word"]) for one in found] == [("GOOD", "the acting"), ("BAD", "the plot")]
    assert rows == [1, 2], "the whole text, and a mask for each entity in one batch"
    del rows[:]
    explain(TEXT, targets="all", verify=False)
    assert rows == [1]
    explain([TEXT, "very ,"], batch_size=2)  # the first padded batch measures whether padding matters
    del rows[:]
    explain([TEXT, "very ,", "the cast is warm ."], batch_size=3)
    assert rows == [3, 3], "no masked pass where there is no entity"
    del rows[:]
    explain(["very , very", "very ,"], batch_size=2)
    assert rows == [2, 1]


def test_a_batch_is_as_the_text_alone(trained):
    explain = pipeline("diffmask-attribution", model=str(trained))
    some = [TEXT, "dull", texts(3)[2], "the film is weak ."]
    for options in ({}, {"on_violation": "search"}, {"curve": True}, {"targets": "all", "label": "BAD"}):
        alone = [explain(text, **options) for text in some]
        for one, other in zip(alone, explain(some, batch_size=4, **options), strict=True):
            assert [r["word"] for r in one] == [r["word"] for r in other]
            for a, b in zip(one, other, strict=True):
                assert [t["kept"] for t in a["tokens"]] == [t["kept"] for t in b["tokens"]]
                evidence = [[t["evidence"] for t in r["tokens"]] for r in (a, b)]
                assert evidence[0] == pytest.approx(evidence[1], abs=1e-4)
                assert a["drop"] == pytest.approx(b["drop"], abs=1e-5)
                assert a.get("explained_label") == b.get("explained_label") == options.get("label")


def test_the_masked_pass_is_checked_by_hand(trained):
    explain = pipeline("diffmask-attribution", model=str(trained))
    result = explain(TEXT)[1]
    encoding = explain.tokenizer(TEXT, return_tensors="pt")
    kept = torch.tensor([[token["kept"] for token in result["tokens"]]])
    base, baseline = explain.model.base, explain.model.baseline
    with torch.no_grad():
        whole = base(**encoding).logits.softmax(-1)
        embedded = base.get_input_embeddings()(encoding.pop("input_ids"))
        masked = base(inputs_embeds=torch.where(kept[..., None], embedded, baseline), **encoding).logits.softmax(-1)
    rows = [k for k, t in enumerate(result["tokens"]) if t["start"] >= result["start"] and t["end"] <= result["end"]]
    rows = [k for k in rows if not result["tokens"][k]["special"]]
    before, after = (
        [
            sum(chances[0, k, number].item() for k in rows for number in part) / len(rows)
            for part in ([0], [1, 2], [3, 4])
        ]
        for chances in (whole, masked)
    )
    assert result["score"] == pytest.approx(before[2], abs=1e-5)
    assert result["drop"] == pytest.approx(before[2] - after[2], abs=1e-5)
    expected = sum(a * math.log(a / b) for a, b in zip(before, after, strict=True))
    assert result["divergence"] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_spans_and_tokens_can_be_asked_for(trained):
    explain = pipeline("diffmask-attribution", model=str(trained))
    start = TEXT.index("superb")
    (one,) = explain(TEXT, targets=[(start + 1, start + 3)])
    assert one["word"] == "superb" and one["label"] == "O"
    first, second = explain(TEXT, targets=[(0, 10), (4, 17)])
    assert (first["word"], second["word"]) == ("the acting", "acting is superb")
    every = explain(TEXT, targets="all")
    tokens = [token for token in every[0]["tokens"] if not token["special"]]
    assert [one["start"] for one in every] == [token["start"] for token in tokens]
    (as_bad,) = explain(TEXT, targets=[(0, 10)], label="BAD")
    assert as_bad["explained_label"] == "BAD" and as_bad["label"] == "GOOD"
    assert explain("very , very and .") == []


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("words", 'must be "entities", "all", or a list'),
        ([(3, 3)], "start before end"),
        ([3], "start before end"),
        ([], "list `targets` is empty"),
        ([(400, 500)], "no token from character 400 to 500: the text has 53 characters"),
    ],
)
def test_targets_that_are_none_are_refused(trained, targets, message):
    explain = pipeline("diffmask-attribution", model=str(trained))
    with pytest.raises(DiffMaskError, match=message):
        explain(TEXT, targets=targets)


def test_what_does_not_fit_is_refused(trained, classifier, tokenizer, base):
    explain = pipeline("diffmask-attribution", model=str(trained))
    for label in (["GOOD", "BAD"], "predicted"):
        with pytest.raises(DiffMaskError, match="explained for one label"):
            explain(TEXT, label=label)
    with pytest.raises(DiffMaskError, match="is a pair of texts: tokens are classified in one text"):
        explain({"text": TEXT, "text_pair": TEXT})
    of_classes = DiffMaskModel.from_base_model(classifier, tokenizer)
    with pytest.raises(DiffMaskError, match="`targets` is for token classification"):
        pipeline("diffmask-attribution", model=of_classes, tokenizer=tokenizer)(TEXT, targets="all")
    with pytest.raises(DiffMaskError, match="finds no entity in 1 texts"):
        inputs_of(explain.model, explain.tokenizer, ["very , very and ."])
    with pytest.raises(DiffMaskError, match=r"say which, as `span=\(start, end\)`"):
        what_if(explain, TEXT, [1, 2])
    ids = explain.tokenizer(TEXT)
    given = explain.model.base, explain.tokenizer, [dict(ids)], [[True] * len(ids["input_ids"])]
    with pytest.raises(DiffMaskError, match="items do not say which tokens are explained"):
        class_probabilities(*given)
    items = TextFeatures(explain.tokenizer, texts(8), 64)
    args = DiffMaskTrainingArguments(output_dir="unused", max_steps=1, masks=2, use_cpu=True, report_to="none")
    with pytest.raises(DiffMaskError, match="items do not say which tokens are explained"):
        DiffMaskTrainer(explain.model, args, items, items, processing_class=explain.tokenizer)


def test_an_entity_of_a_long_text_has_the_tokens_of_its_window(trained):
    explain = pipeline("diffmask-attribution", model=str(trained))
    text = " ".join(texts(10, seed=6))
    whole = explain(text)
    explain.length = 32
    found = explain(text)
    spans = [(one["start"], one["end"]) for one in found]
    assert spans == sorted(set(spans)) and len(found) >= len(subjects(text)) - 2
    assert len({(one["start"], one["end"]) for one in whole} & set(spans)) >= len(whole) * 0.7
    for one in found:
        assert len(one["tokens"]) <= 32 and one["word"] == text[one["start"] : one["end"]]
        assert any(token["start"] == one["start"] for token in one["tokens"] if not token["special"])


def test_masks_of_ones_own(trained):
    """The mask of an explanation gives its figures, also in a text of several windows."""
    explain = pipeline("diffmask-attribution", model=str(trained))
    for length, text in ((128, TEXT), (24, " ".join(texts(6, seed=6)))):
        explain.length = length
        for one in explain(text):
            kept = [number for number, token in enumerate(one["tokens"]) if token["kept"]]
            found = what_if(explain, text, kept, span=(one["start"], one["end"]))
            assert found["whole"]["word"] == one["word"] and found["whole"]["label"] == one["label"]
            assert found["drop"] == pytest.approx(one["drop"], abs=1e-5)
            chances = found["whole"]["probabilities"]
            assert chances[one["label"]] == pytest.approx(one["score"], abs=1e-5) and len(chances) == 3
            assert found["masked"]["score"] == pytest.approx(max(found["masked"]["probabilities"].values()))


def test_the_service_shows_one_part(trained):
    service = Service(Settings(explainers=(str(trained),)))
    first = service.explain(TEXT)
    assert [(part["label"], part["word"]) for part in first["parts"]] == [("GOOD", "the acting"), ("BAD", "the plot")]
    assert first["word"] == "the acting"
    span = [first["parts"][1]["start"], first["parts"][1]["end"]]
    second = service.explain(TEXT, span=span)
    assert second["word"] == "the plot" and "parts" not in second
    kept = [number for number, token in enumerate(second["tokens"]) if token["kept"]]
    assert service.what_if(TEXT, kept, span=span)["drop"] == pytest.approx(second["drop"], abs=1e-5)
    ranked = {one["method"]: one for one in service.compare(TEXT, span=span)}
    scores = {token["token"]: token["score"] for token in ranked["leave-one-out"]["tokens"]}
    assert scores["not"] > scores["superb"]
    assert [len(found) for found in service.batch([{"text": TEXT}, {"text": "very ,"}])] == [2, 0]
    with pytest.raises(DiffMaskError, match="finds no entity in this text"):
        service.explain("very , very")
    for wrong, says in (([3, 1], "before its end"), ([1], "list of two whole numbers"), ("ab", "list of two")):
        with pytest.raises(DiffMaskError, match=says):
            service.explain(TEXT, span=wrong)


def test_words_and_views_name_the_part(trained):
    explain = pipeline("diffmask-attribution", model=str(trained))
    result = explain(TEXT, aggregation="word")[1]
    task = TASKS[result["task"]]()
    assert 'BAD: "the plot"' in to_text(result, color=False)
    groups = {token["token"]: task.group(token, result) for token in result["tokens"]}
    assert groups["plot"] == "explained tokens" and groups["superb"] == "context"
    assert groups["[CLS]"] == "special tokens"


@pytest.mark.parametrize(("recipe", "masking"), [("paper", "input"), ("paper", "hidden")])
def test_the_other_recipe_trains_it(base, tmp_path, recipe, masking):
    trainer = train(base, tmp_path, 32, masking, recipe, max_steps=4, baseline_steps=2, per_device_train_batch_size=8)
    assert 0 <= trainer.evaluate()["eval_kept_share"] <= 1
    found = pipeline("diffmask-attribution", model=trainer.model, tokenizer=AutoTokenizer.from_pretrained(base))(TEXT)
    assert [one["label"] for one in found] == ["GOOD", "BAD"]


@pytest.mark.parametrize("method", ["loo", "ig", "kernel_shap"])
def test_rivals_explain_the_same_tokens(base, method):
    """For each entity of one sentence, its own adjective comes before the other's."""
    model, tokenizer = AutoModelForTokenClassification.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    plain = plain_explainer(DiffMaskModel.from_base_model(model, tokenizer).eval(), tokenizer)
    (one, other) = inputs_of(plain, tokenizer, ["the plot is superb , but the cast is boring ."]).items
    tokens = tokenizer.convert_ids_to_tokens(one["input_ids"])
    leads = []
    for item in (one, other):
        features = {name: torch.tensor([values]) for name, values in item.items()}
        scores = METHODS[method](Explainers(plain, plain, None, 0), features)[0]
        leads.append((scores[tokens.index("superb")] - scores[tokens.index("boring")]).item())
    assert leads[0] > leads[1]


def test_through_every_command(trained, base, tmp_path, capsys):
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts(60, seed=9)))
    folder = tmp_path / "explainer"
    arguments = [
        "train", "--base_model", str(base), "--dataset", str(data), "--use_cpu", "True", "--max_steps", "2", "--masks",
        "2", "--per_device_train_batch_size", "8", "--disable_tqdm", "True", "--report_to", "none", "--eval_strategy",
        "no", "--save_strategy", "no", "--load_best_model_at_end", "False", "--output_dir", str(folder),
    ]  # fmt: skip
    assert main(arguments) == 0, capsys.readouterr().err
    card = (folder / "README.md").read_text()
    assert "pipeline_tag: token-classification" in card and "moved from" in card
    assert main(["card", str(folder), "--license", "mit"]) == 0
    capsys.readouterr()
    assert main(["explain", "--model", str(trained), "--format", "json", TEXT, "dull"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.strip().splitlines()]
    assert [(line["label"], line["word"]) for line in lines[:2]] == [("GOOD", "the acting"), ("BAD", "the plot")]
    assert main(["explain", "--model", str(trained), "very , very", TEXT, "dull"]) == 0
    assert "In 2 of 3 texts the base model finds no entity." in capsys.readouterr().err
    assert main(["explain", "--model", str(trained), "--targets", "0:10", "--format", "json", TEXT]) == 0
    assert json.loads(capsys.readouterr().out)["word"] == "the acting"
    ablations = ["ablate", "--base_model", str(base), "--dataset", str(data), "--masks", "2", "--use_cpu", "True"]
    assert main([*ablations, "--output_dir", str(tmp_path / "ablations")]) == 0, capsys.readouterr().err
    arguments[-1] = str(tmp_path / "again")
    assert main([*arguments, "--ablations", str(tmp_path / "ablations")]) == 0, capsys.readouterr().err
    shared = ["--model", str(trained), "--dataset", str(data), "--device", "cpu"]
    out = tmp_path / "evaluated"
    assert main(["evaluate", *shared, "--methods", "diffmask,loo,random", "--output_dir", str(out)]) == 0
    figures = json.loads((out / "faithfulness.json").read_text())["methods"]
    leads = [figures[name]["figures"]["comprehensiveness"]["mean"] for name in ("diffmask", "random")]
    assert leads[0] > leads[1] + 0.1, figures
    assert main(["audit", *shared, "--output_dir", str(tmp_path / "audit")]) == 0, capsys.readouterr().err
    assert main(["analyze", *shared, "--output_dir", str(tmp_path / "analysis")]) == 0, capsys.readouterr().err
