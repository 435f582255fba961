"""Masked language models: predictions as Transformers gives them, checks run by hand, and every command."""

import json
import random

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, pipeline

from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.explainer.inputs import inputs_of
from hf_diffmask.pipeline.what_if import what_if
from hf_diffmask.space.service import Service
from hf_diffmask.space.settings import Settings
from hf_diffmask.tasks.fill_mask import FillMask
from hf_diffmask.tasks.registry import TASKS
from hf_diffmask.training.run import train
from hf_diffmask_entry import main
from tests.tasks.tokens import BAD, GOOD, NOUNS, small_tokenizer

TASK = "fill-mask"
TEXT = "film [MASK] superb plot cast music [MASK] story"


def rows(count, seed=0, masked=False):
    """Texts such as "plot superb film cast dull music": each praise goes with one blame, which stands after it."""
    draw, made = random.Random(seed), []
    for _ in range(count):
        pair = draw.randrange(len(GOOD))
        words = [draw.choice(NOUNS) for _ in range(draw.randint(4, 7))]
        first = draw.randint(0, len(words))
        words.insert(first, GOOD[pair])
        words.insert(draw.randint(first + 1, len(words)), "[MASK]" if masked else BAD[pair])
        made.append(" ".join(words))
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A masked language model that knows which blame goes with which praise."""
    folder, tokenizer = tmp_path_factory.mktemp("base"), small_tokenizer()
    torch.manual_seed(0)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=48, max_position_embeddings=64, pad_token_id=0,
        )
    )  # fmt: skip
    encoded = tokenizer(rows(2000, seed=7), padding=True, return_tensors="pt")
    ids, blames = encoded["input_ids"], torch.tensor(tokenizer.convert_tokens_to_ids(list(BAD)))
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for step in range(300):
        draw = torch.Generator().manual_seed(step)
        picked = torch.randint(len(ids), (64,), generator=draw)
        shown = torch.rand(64, ids.shape[1], generator=draw)
        hidden = (torch.isin(ids[picked], blames) | (shown < 0.3)) & (ids[picked] > 4)
        labels = ids[picked].masked_fill(~torch.isin(ids[picked], blames), -100)
        given = ids[picked].masked_fill(hidden, tokenizer.mask_token_id)
        model(input_ids=given, attention_mask=encoded["attention_mask"][picked], labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explainer")
    tokenizer, model = AutoTokenizer.from_pretrained(base), BertForMaskedLM.from_pretrained(base)
    torch.manual_seed(0)
    explainer = DiffMaskModel.from_base_model(model, tokenizer, **recipe_config(task=TASK))
    args = DiffMaskTrainingArguments(
        output_dir=str(folder), masks=8, max_steps=200, use_cpu=True, disable_tqdm=True, report_to="none",
        save_strategy="no", eval_strategy="no", load_best_model_at_end=False,
    )  # fmt: skip
    train(explainer, tokenizer, rows(300, masked=True), rows(60, 1, masked=True), args)
    return folder


@pytest.fixture(scope="module")
def explain(trained):
    return pipeline("diffmask-attribution", model=str(trained))


def test_the_task_is_told_by_the_head():
    config = BertConfig()
    assert [name for name, task in TASKS.items() if task.fits(["BertForMaskedLM"], config)] == [TASK]
    assert not FillMask.fits(["BartForConditionalGeneration"], BertConfig(is_encoder_decoder=True))
    assert FillMask.given_constants(config, small_tokenizer()) == {"mask_token_id": 4}


def test_numbers_by_hand():
    logits = torch.tensor([[[2.0, 0.0], [1.0, 3.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0], [5.0, 1.0]]])
    output = type("Output", (), {"logits": logits})()
    task, explained = FillMask({"mask_token_id": 4}), torch.tensor([[0, 1, 0], [0, 0, 1]]).bool()
    target = task.target(output, explained=explained)
    torch.testing.assert_close(target, torch.tensor([[-2.1269, -0.1269], [-0.0181, -4.0181]]), atol=1e-4, rtol=0)
    assert torch.equal(task.target_at(task.target(output), explained), target)
    assert task.value(target, target).tolist() == pytest.approx([2.0, 4.0], abs=1e-4), "log-odds of the best token"
    ids = torch.tensor([1, 4, 7, 4, 2])
    assert task.parts(torch.zeros(5, 9), ids, ids < 3, BertConfig()) == [[1], [3]]


def test_predictions_are_those_of_transformers(explain, base):
    found = explain(TEXT, top_k=3)
    expected = pipeline(TASK, model=str(base))(TEXT, top_k=3)
    assert [(one["start"], one["end"], one["word"]) for one in found] == [(5, 11, "[MASK]"), (35, 41, "[MASK]")]
    for one, theirs in zip(found, expected, strict=True):
        assert [top["label"] for top in one["top"]] == [their["token_str"] for their in theirs]
        assert [top["score"] for top in one["top"]] == pytest.approx([their["score"] for their in theirs], abs=1e-5)
        assert (one["label"], one["score"]) == (one["top"][0]["label"], one["top"][0]["score"])
        assert [token["token"] for token in one["tokens"] if token["special"]] == [
            "[CLS]",
            "[MASK]",
            "[MASK]",
            "[SEP]",
        ]


def test_the_check_is_a_run_by_hand(explain):
    base, tokenizer = explain.model.base, explain.tokenizer
    ids = tokenizer(TEXT, return_tensors="pt")
    embeddings = base.get_input_embeddings()(ids["input_ids"])
    for one in explain(TEXT):
        kept = torch.tensor([token["kept"] for token in one["tokens"]])
        place = next(k for k, token in enumerate(one["tokens"]) if token["start"] == one["start"] and token["end"])
        with torch.no_grad():
            masked = torch.where(kept[:, None], embeddings, explain.model.baseline)
            before, after = (
                F.log_softmax(base(**given, attention_mask=ids["attention_mask"]).logits[0, place], -1)
                for given in ({"input_ids": ids["input_ids"]}, {"inputs_embeds": masked})
            )
        assert one["divergence"] == pytest.approx(
            F.kl_div(after, before, reduction="sum", log_target=True).item(), abs=1e-5
        )
        numbers = [number for number, is_kept in enumerate(kept.tolist()) if is_kept]
        again = what_if(explain, TEXT, numbers, span=(one["start"], one["end"]))
        assert again["divergence"] == pytest.approx(one["divergence"], abs=1e-5) and again["special"] == 4


def test_batches_and_single_texts_agree(explain):
    many = [TEXT, *rows(2, 3, masked=True)]
    for text, found in zip(many, explain(many, batch_size=3), strict=True):
        for one, other in zip(explain(text), found, strict=True):
            assert [t["evidence"] for t in one["tokens"]] == pytest.approx(
                [t["evidence"] for t in other["tokens"]], abs=1e-4
            )


def test_texts_without_a_mask_token(explain):
    with pytest.raises(DiffMaskError, match=r"The input has no mask token: put \[MASK\] in the place of a word"):
        explain("film superb plot")
    assert [one["word"] for one in explain("film <mask> superb")] == ["[MASK]"], "a placeholder"
    data = rows(20)
    first, again = (inputs_of(explain.model, explain.tokenizer, data).items for _ in range(2))
    assert first == again and len(first) == 20
    for text, item in zip(data, first, strict=True):
        (place,) = [k for k, mark in enumerate(item["explained_mask"]) if mark]
        ids = explain.tokenizer(text)["input_ids"]
        assert item["input_ids"] == [4 if k == place else token for k, token in enumerate(ids)]
        assert item["special_tokens_mask"][place] == 1, "the mask token is kept"


def test_what_does_not_fit_is_refused(explain, base):
    with pytest.raises(DiffMaskError, match="explains mask tokens alone"):
        explain(TEXT, targets="all")
    with pytest.raises(DiffMaskError, match="is a pair of texts: a mask token is explained in one text"):
        explain({"text": TEXT, "text_pair": TEXT})
    with pytest.raises(DiffMaskError, match="`top_k` must be from 1 to 35, but is 99"):
        explain(TEXT, top_k=99)
    tokenizer = small_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(DiffMaskError, match="has no mask token, and a masked language model is explained at one"):
        DiffMaskModel.from_base_model(BertForMaskedLM.from_pretrained(base), tokenizer)


def test_the_word_that_decides_comes_first(explain):
    first = 0
    data = rows(60, seed=5, masked=True)
    for text, (found,) in zip(data, explain(data, batch_size=32), strict=True):
        (praise,) = set(text.split()) & set(GOOD)
        assert found["label"] == BAD[GOOD.index(praise)], "the base model knows the pairs"
        ranked = sorted((t for t in found["tokens"] if not t["special"]), key=lambda token: -token["evidence"])
        first += ranked[0]["token"] == praise
    assert first >= 57


def test_the_service_lists_mask_tokens(trained):
    service = Service(Settings(explainers=(str(trained),)))
    found = service.explain(TEXT)
    assert [(part["word"], part["start"]) for part in found["parts"]] == [("[MASK]", 5), ("[MASK]", 35)]
    second = service.explain(TEXT, span=[35, 41])
    assert second["start"] == 35 and "parts" not in second


def test_through_the_commands(trained, base, tmp_path, capsys):
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows(40, 9, masked=True)))
    folder = tmp_path / "explainer"
    arguments = [
        "train", "--base_model", str(base), "--dataset", str(data), "--use_cpu", "True", "--max_steps", "2", "--masks",
        "2", "--per_device_train_batch_size", "8", "--disable_tqdm", "True", "--report_to", "none", "--eval_strategy",
        "no", "--save_strategy", "no", "--load_best_model_at_end", "False", "--output_dir", str(folder),
    ]  # fmt: skip
    assert main(arguments) == 0, capsys.readouterr().err
    card = (folder / "README.md").read_text()
    assert "pipeline_tag: fill-mask" in card and "out of the oven" in card
    capsys.readouterr()
    assert main(["explain", "--model", str(trained), "--format", "json", TEXT]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.strip().splitlines()]
    assert [line["start"] for line in lines] == [5, 35]
    assert main(["explain", "--model", str(trained), TEXT]) == 0
    assert "for [MASK]" in capsys.readouterr().out
    shared = ["--model", str(trained), "--dataset", str(data), "--device", "cpu"]
    assert main(["analyze", *shared, "--output_dir", str(tmp_path / "analysis")]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["evaluate", *shared, "--output_dir", str(tmp_path / "evaluated")]) == 2
    assert "needs a class's probability" in capsys.readouterr().err
