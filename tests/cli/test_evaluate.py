"""`hf-diffmask evaluate` as a user runs it: files, messages and refusals."""

import json
import re
import shutil

import pytest

import hf_diffmask
from hf_diffmask.about import BUNDLED
from hf_diffmask.hub.card_sections import front_matter, validate
from hf_diffmask_entry import main
from tests.helpers import refused

SENTENCES = [
    "a warm and quietly funny film",
    "the plot is dull , and the second half is duller",
    "not bad at all",
    "my aunt slept through the ending",
    "superb",
    "the cast is lovely",
]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES))
    return path


def command(data, output, *more):
    return ["evaluate", "--dataset", str(data), "--output_dir", str(output), *more]


def run(data, output, *more):
    return main(command(data, output, *more))


def test_what_is_written_can_be_read_back(data, tmp_path, capsys):
    explainer = tmp_path / "explainer"
    shutil.copytree(hf_diffmask.BUNDLED_EXPLAINER, explainer)
    shutil.copytree(hf_diffmask.BUNDLED_CLASSIFIER, tmp_path / "classifier")
    with (explainer / "README.md").open("a") as card:
        card.write("\nOf the owner.\n")
    options = ("--model", str(explainer), "--methods", "diffmask,loo,random", "--update_card")
    assert run(data, tmp_path / "out", *options) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "faithfulness.json").read_text())
    assert found["inputs"] == 6 and found["preset"] == "hf_diffmask" and found["held_out"] == "delete"
    assert list(found["methods"]) == ["diffmask", "loo", "random"] and not found["on_few"]
    loo, chance = found["methods"]["loo"]["figures"], found["methods"]["random"]["figures"]
    assert loo["comprehensiveness"]["mean"] > chance["comprehensiveness"]["mean"]
    assert loo["sufficiency"]["mean"] < chance["sufficiency"]["mean"]
    assert found["methods"]["loo"]["forwards"] > found["methods"]["random"]["forwards"]
    assert found["methods"]["diffmask"]["less_the_first"]["sufficiency"] == {"low": 0.0, "high": 0.0}
    assert f"{loo['comprehensiveness']['mean']:.3f}" in printed
    assert (tmp_path / "out" / "faithfulness.png").read_bytes().startswith(b"\x89PNG")
    updated = (explainer / "README.md").read_text()
    assert updated.rstrip().endswith("Of the owner.") and "## Faithfulness" in updated and "| loo |" in updated
    validate(updated)
    index = [one for one in front_matter(updated)["model-index"][0]["results"] if "faithful" in one["task"]["name"]]
    values = {metric["type"]: metric["value"] for one in index for metric in one["metrics"]}
    of_diffmask = found["methods"]["diffmask"]["figures"]
    assert values == {name: pytest.approx(of["mean"], abs=1e-4) for name, of in of_diffmask.items()}

    # Scores written by a method and read back as attributions give the same figures.
    lines = tmp_path / "out" / "attributions" / "loo.jsonl"
    assert run(data, tmp_path / "again", "--methods", "random", "--attributions", f"mine={lines}", *options[:2]) == 0
    again = json.loads((tmp_path / "again" / "faithfulness.json").read_text())
    assert again["methods"]["mine"]["figures"] == loo and again["methods"]["mine"]["forwards"] is None
    assert again["methods"]["random"]["figures"] == chance

    # In the card, a second table replaces the first.
    assert run(data, tmp_path / "third", "--methods", "random", *options[:2], "--update_card") == 0
    updated = (explainer / "README.md").read_text()
    assert updated.count("## Faithfulness") == 1 and "| loo |" not in updated and "| random |" in updated


def test_means_over_several_replacements(data, tmp_path, capsys):
    options = ("--methods", "loo,random", "--held_out", "delete, pad")
    assert run(data, tmp_path / "out", *options) == 0
    found = json.loads((tmp_path / "out" / "faithfulness.json").read_text())
    assert found["held_out"] == "delete, pad" and "Means over mask, delete, pad" in capsys.readouterr().out
    for figure in ("comprehensiveness", "sufficiency"):
        means = {}
        for name, method in found["methods"].items():
            of_held_out = [method["by_held_out"][part][figure]["mean"] for part in ("delete", "pad")]
            assert method["held_out"][figure]["mean"] == pytest.approx(sum(of_held_out) / 2)
            means[name] = (sum(of_held_out) + method["figures"][figure]["mean"]) / 3
            assert method["every_replacement"]["figures"][figure]["mean"] == pytest.approx(means[name])
        for name, method in found["methods"].items():
            lines = (tmp_path / "out" / "attributions" / f"{name}.jsonl").read_text().splitlines()
            of_inputs = [json.loads(line)[figure] for line in lines]
            assert len(of_inputs) == 6 and set(of_inputs[0]) == {"mask", "delete", "pad"}
            mean = sum(one["mask"] for one in of_inputs) / 6
            assert mean == pytest.approx(method["figures"][figure]["mean"])
        less = found["methods"]["random"]["every_replacement"]["less_the_first"][figure]
        assert less["low"] <= means["random"] - means["loo"] <= less["high"]
        assert found["methods"]["loo"]["every_replacement"]["less_the_first"][figure] == {"low": 0.0, "high": 0.0}
    # Each replacement has the same figures if it is the only one.
    assert run(data, tmp_path / "one", "--methods", "loo", "--held_out", "pad") == 0
    one = json.loads((tmp_path / "one" / "faithfulness.json").read_text())["methods"]["loo"]
    assert one["held_out"] == {
        figure: found["methods"]["loo"]["by_held_out"]["pad"][figure] for figure in one["held_out"]
    }
    assert "every_replacement" not in one and one["by_held_out"] == {"pad": one["held_out"]}


def test_replacements_that_training_used_are_told_apart(data, tmp_path, capsys, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "replacements": ["baseline", "attention"]}))
    options = ("--model", str(folder), "--methods", "random", "--costly_limit", "2")
    assert run(data, tmp_path / "out", *options) == 0
    found = json.loads((tmp_path / "out" / "faithfulness.json").read_text())
    assert (found["held_out"], found["unseen"], found["seen"]) == ("delete", ["mask", "delete"], [])
    assert "| delete (unseen): both |" in capsys.readouterr().out and "seen" not in found["methods"]["random"]
    assert run(data, tmp_path / "both", *options, "--held_out", "attention,delete", "--update_card") == 0
    printed = capsys.readouterr().out
    assert "| attention (seen): both | delete (unseen): both |" in printed
    assert "Means over unseen replacements: mask, delete" in printed
    assert "Means over seen replacements: attention" in printed and "| LDS, mask (unseen) |" in printed
    found = json.loads((tmp_path / "both" / "faithfulness.json").read_text())
    entry, of_masks = found["methods"]["random"], found["random_masks"]["random"]
    assert entry["seen"]["figures"] == entry["by_held_out"]["attention"]
    assert of_masks["lds"]["seen"] == of_masks["lds"]["by_replacement"]["attention"] and of_masks["r2"] is None
    card = (folder / "README.md").read_text()
    assert (
        "Replacements that training did not use: `mask`, `delete`. Replacements that training used: `attention`"
        in card
    )
    assert "First 2 inputs, 64 random masks" in card and "| LDS, mask (unseen) |" in card


def test_a_replacement_that_needs_a_token_is_refused_before_anything_is_measured(data, tmp_path, capsys):
    shutil.copytree(BUNDLED, tmp_path / "bundled")
    model = tmp_path / "bundled" / "explainer"
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "unk_token": None}))
    options = ("--model", str(model), "--methods", "loo", "--held_out", "attention,unk")
    refused(capsys, command(data, tmp_path / "out", *options), "has no unk token")
    assert not list((tmp_path / "out").glob("attributions/*"))


def test_costly_methods_run_on_few_inputs_and_all_others_are_shown_on_them(data, tmp_path):
    options = ("--methods", "diffmask,kernel_shap", "--costly_limit", "2", "--preset", "eraser")
    assert run(data, tmp_path / "out", *options) == 0
    found = json.loads((tmp_path / "out" / "faithfulness.json").read_text())
    assert list(found["methods"]) == ["diffmask"] and list(found["on_few"]) == ["diffmask", "kernel_shap"]
    assert found["protocol"]["replacement"] == "delete"
    assert len((tmp_path / "out" / "attributions" / "kernel_shap.jsonl").read_text().splitlines()) == 2


def test_bounds(data, tmp_path, capsys):
    assert run(data, tmp_path / "out", "--methods", "diffmask,loo,random", "--bounds", "--costly_limit", "3") == 0
    assert "of the way to the best" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "faithfulness.json").read_text())
    assert list(found["on_few"]) == ["diffmask", "loo", "random"]
    for figure in ("comprehensiveness", "sufficiency"):
        ends = found["bounds"][figure]
        assert ends["low"] < ends["high"]
        for method in found["on_few"].values():
            assert -1e-6 <= method["reached"][figure]["mean"] <= 1 + 1e-6
            assert ends["low"] - 1e-6 <= method["figures"][figure]["mean"] <= ends["high"] + 1e-6
        reached = {name: method["reached"][figure]["mean"] for name, method in found["on_few"].items()}
        assert reached["loo"] > reached["random"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bounds", "--preset", "ferret"], "has no --bounds"),
        (["--methods", "diffmask_hidden"], "needs a second explainer"),
        (["--methods", "diffmask,magic"], "no method 'magic'"),
        (["--methods", " , "], "nothing to measure"),
        (["--preset", "mine"], "no preset 'mine'"),
        (["--held_out", "blank"], "no replacement 'blank'"),
        (["--held_out", "pad,mask"], "uses 'mask' itself"),
        (["--held_out", "pad,"], "no replacement ''"),
        (["--limit", "0"], "must be at least 1"),
        (["--attributions", "loo=x"], "NAME=FILE with a new name"),
        (["--attributions", "mine"], "NAME=FILE with a new name"),
        (["--attributions", "mine=absent.jsonl"], "no file absent.jsonl"),
        (["--update_card"], "no card to update"),
    ],
)
def test_bad_options(data, tmp_path, capsys, options, message):
    refused(capsys, command(data, tmp_path / "out", *options), message)
    assert not (tmp_path / "out" / "faithfulness.json").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "cannot be read as JSON lines"),
        (["{}"] * 5, "5 attributions for 6 inputs"),
        (["{}"] * 6, "Line 1 of .* has no list `scores`"),
        (['{"scores": [1.0], "input_ids": [1]}'] * 6, "Line 1 of .* has other `input_ids`"),
    ],
)
def test_bad_attributions(data, tmp_path, capsys, lines, message):
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    options = ("--methods", "random", "--attributions", f"mine={tmp_path / 'mine.jsonl'}")
    assert re.search(message, refused(capsys, command(data, tmp_path / "out", *options)))


def test_scores_that_are_no_numbers(data, tmp_path, capsys, tokenizer):
    rows = [{"input_ids": tokenizer(text)["input_ids"]} for text in SENTENCES]
    for broken, message in ((float("nan"), "Line 4 of"), ("x", "Line 4 of")):
        for number, row in enumerate(rows):
            row["scores"] = [float(k) for k in range(len(row["input_ids"]))]
            if number == 3:
                row["scores"][2] = broken
        (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
        mine = f"mine={tmp_path / 'mine.jsonl'}"
        options = ("--methods", "random", "--attributions", mine, "--overwrite_output_dir")
        refused(capsys, command(data, tmp_path / "out", *options), message)
    assert not (tmp_path / "out" / "faithfulness.json").exists(), "refused before anything is computed"


def test_inputs_that_cannot_be_measured_are_left_out_and_rows_that_rank_nothing_counted(tmp_path, capsys, tokenizer):
    texts = [*SENTENCES, "\u200b"]
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    rows = [tokenizer(text)["input_ids"] for text in texts]
    assert len(rows[-1]) == 2, "the input has only special tokens"
    lines = [{"input_ids": ids, "scores": [1.0] * len(ids) if k == 2 else list(range(len(ids)))}
             for k, ids in enumerate(rows)]  # fmt: skip
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert run(data, tmp_path / "out", "--methods", "random", "--attributions", f"mine={tmp_path / 'mine.jsonl'}") == 0
    printed = capsys.readouterr().out
    assert "1 inputs have too few tokens" in printed and "mine ranks no token of 1 inputs" in printed
    found = json.loads((tmp_path / "out" / "faithfulness.json").read_text())
    assert (found["inputs"], found["left_out"], found["methods"]["mine"]["unranked"]) == (6, 1, 1)
    short = ("--methods", "random", "--preset", "time_interpret")
    assert run(data, tmp_path / "short", *short) == 0
    assert json.loads((tmp_path / "short" / "faithfulness.json").read_text())["left_out"] == 4
    assert "only scores above 0 count" not in printed
    assert run(data, tmp_path / "ferret", "--methods", "random", "--preset", "ferret") == 0
    assert "only scores above 0 count" in capsys.readouterr().out


def test_further_figures(data, tmp_path, capsys):
    """Checks figures against their functions. Attributions from a file have no method to run again."""
    from hf_diffmask.data.features import TextFeatures
    from hf_diffmask.evaluation.faithfulness import Preset, areas, curves
    from hf_diffmask.evaluation.soft_faithfulness import soft_measures
    from hf_diffmask.pipeline.loading import load_pipeline

    lines = tmp_path / "out" / "attributions" / "loo.jsonl"
    options = ("--costly_limit", "4", "--extended")
    assert run(data, tmp_path / "out", "--methods", "loo,random", *options) == 0
    assert "| method | deletion | insertion |" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "faithfulness.json").read_text())["extended"]
    scores = [json.loads(line)["scores"] for line in lines.read_text().splitlines()][:4]
    explain = load_pipeline(None, device="cpu")
    inputs = TextFeatures(explain.tokenizer, SENTENCES[:4], 64).items
    base = explain.model.base
    of_curves = [
        areas(curve) for curve in curves(base, explain.tokenizer, inputs, scores, Preset("mask", None, "ceil"))
    ]
    mean = sum(row["deletion"] for row in of_curves) / 4
    assert found["loo"]["deletion"]["mean"] == pytest.approx(mean) and found["loo"]["deletion"]["inputs"] == 4
    soft = [soft_measures(base, explain.tokenizer, one, row) for one, row in zip(inputs, scores, strict=True)]
    assert found["loo"]["soft_sufficiency"]["mean"] == pytest.approx(sum(row["soft_sufficiency"] for row in soft) / 4)
    assert found["loo"]["stability"]["mean"] > found["random"]["stability"]["mean"]
    options = ("--methods", "loo", "--attributions", f"mine={lines}", *options)
    assert run(data, tmp_path / "again", *options) == 0
    again = json.loads((tmp_path / "again" / "faithfulness.json").read_text())["extended"]
    assert again["loo"] == found["loo"]
    assert again["mine"] == {name: value for name, value in found["loo"].items() if name != "stability"}
