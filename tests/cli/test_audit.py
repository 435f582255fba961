"""`hf-diffmask audit` trains the explainers for comparison, and refuses unsuitable ones."""

import json

import pytest

from hf_diffmask.audit.thresholds import READABLE
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.errors import RETIRED
from hf_diffmask_entry import main
from tests.audit.helpers import TEXTS


@pytest.fixture
def inputs(tokenizer):
    return TextFeatures(tokenizer, TEXTS, 64).items


def test_the_command_trains_what_it_compares_with(tmp_path, classifier, tokenizer, capsys):
    rows = tmp_path / "texts.jsonl"
    rows.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    base = tmp_path / "base"
    classifier.save_pretrained(base)
    tokenizer.save_pretrained(base)
    model, folder = tmp_path / "explainer", tmp_path / "audit"
    data = ["--dataset", str(rows)]
    few = [
        "--max_steps",
        "4",
        "--masks",
        "2",
        "--per_device_train_batch_size",
        "8",
        "--baseline_steps",
        "2",
        "--report_to",
        "none",
    ]
    assert main(["train", "--base_model", str(base), *data, "--output_dir", str(model), *few]) == 0
    asked = ["audit", "--model", str(model), *data, "--output_dir", str(folder), "--train_dataset", str(rows)]
    asked.append("--update_card")
    assert main(asked) == 0
    found = json.loads((folder / "audit.json").read_text())
    assert [one["name"] for one in found["findings"]] == [
        "pattern", "swapped_baseline", "random_base", "probe_alone", "distribution", "seeds", "margin"
    ]  # fmt: skip
    assert found["findings"][5]["figures"]["explainers"] == 3 and found["thresholds"]["readable"] == READABLE
    assert {one["verdict"] for one in found["findings"]} <= {"pass", "fail", "reported"}
    card = (model / "README.md").read_text()
    assert card.count("## Audit") == 1 and "Do explainers trained with other seeds say the same?" in card
    settings = json.loads((model / "training_args.json").read_text())
    other = json.loads((folder / f"seed-{settings['seed'] + 1}" / "training_args.json").read_text())
    assert other == {**settings, "seed": settings["seed"] + 1}
    assert main(asked) == 2 and "is not empty" in capsys.readouterr().err
    assert main(["audit", "--model", str(model), *data, "--output_dir", str(tmp_path / "named"),
                 "--other_seeds", str(model)]) == 2  # fmt: skip
    assert "is the same explainer as --model" in capsys.readouterr().err
    named = ["--other_seeds", str(folder / f"seed-{settings['seed'] + 1}"), "--random_base", str(model)]
    assert main(["audit", "--model", str(model), *data, "--output_dir", str(tmp_path / "named"), *named]) == 2
    assert "no random one" in capsys.readouterr().err
    twice = ["--other_seeds", str(folder / f"seed-{settings['seed'] + 1}")]
    twice.append(twice[-1])
    assert main(["audit", "--model", str(model), *data, "--output_dir", str(tmp_path / "named"), *twice]) == 2
    assert "is named twice" in capsys.readouterr().err
    before = (folder / "random-base" / "model.safetensors").stat().st_mtime_ns
    assert main([*asked, "--overwrite_output_dir"]) == 0
    assert (folder / "random-base" / "model.safetensors").stat().st_mtime_ns == before, "not trained again"
    assert json.loads((folder / "audit.json").read_text())["findings"] == found["findings"]
    assert (model / "README.md").read_text().count("## Audit") == 1
    assert main([*asked, "--overwrite_output_dir", "--limit", "30"]) == 0, "other data needs no training"
    (model / "training_args.json").write_text(json.dumps({**settings, "learning_rate": 0.5}))
    assert main([*asked, "--overwrite_output_dir"]) == 2
    assert "holds an explainer with other settings" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", RETIRED)
def test_without_retraining_the_other_tests_run(tmp_path, folder, capsys, recipe):
    (folder / "training_args.json").write_text(json.dumps({"recipe": recipe, "seed": 0}))
    rows = tmp_path / "texts.jsonl"
    rows.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    asked = ["audit", "--model", str(folder), "--dataset", str(rows), "--train_dataset", str(rows)]
    assert main([*asked, "--output_dir", str(tmp_path / "audit")]) == 0
    said = f"Training explainers to compare with needs the recipe '{recipe}', which trains no explainers any more"
    assert capsys.readouterr().out.splitlines()[0].startswith(said)
    findings = json.loads((tmp_path / "audit" / "audit.json").read_text())["findings"]
    unchecked = {one["name"]: one["note"] for one in findings if one["verdict"] == "not checked"}
    assert unchecked.keys() == {"random_base", "seeds"} and all(note.startswith(said) for note in unchecked.values())
    assert not (tmp_path / "audit" / "random-base").exists()


def test_refusals(tmp_path, capsys):
    rows = tmp_path / "texts.jsonl"
    rows.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS[:10]))
    asked = ["audit", "--dataset", str(rows), "--output_dir", str(tmp_path / "out")]
    assert main(asked) == 2 and "at least 20 different texts, and there are 10" in capsys.readouterr().err
    assert main([*asked, "--overwrite_output_dir", "--limit", "0"]) == 2
    assert "--limit and --batch_size must be at least 1" in capsys.readouterr().err
    assert main([*asked, "--overwrite_output_dir", "--update_card"]) == 2
    assert "no card to update" in capsys.readouterr().err
    assert main([*asked, "--overwrite_output_dir", "--train_dataset", str(rows)]) == 2
    assert "has no training_args.json" in capsys.readouterr().err
