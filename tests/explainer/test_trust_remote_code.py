"""A base model with code of its own runs only where the caller allows it."""

import json

import pytest
import torch
from transformers import AutoTokenizer, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel, recipe_config
from hf_diffmask.explainer.guest import load_base
from hf_diffmask.pipeline.loading import load_pipeline
from hf_diffmask_entry import main
from tests.helpers import TEXT

CODE = """
from pathlib import Path

from transformers import BertConfig, BertForSequenceClassification

Path({marker!r}).write_text("the code has run")


class OwnConfig(BertConfig):
    model_type = "own-bert"


class OwnForSequenceClassification(BertForSequenceClassification):
    config_class = OwnConfig
"""


@pytest.fixture
def own(tmp_path, classifier, tokenizer):
    """The folder of a model of an unknown type, and the file that its code writes when it runs."""
    folder, marker = tmp_path / "own", tmp_path / "marker"
    classifier.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own-bert",
        "architectures": ["OwnForSequenceClassification"],
        "auto_map": {
            "AutoConfig": "modeling_own.OwnConfig",
            "AutoModelForSequenceClassification": "modeling_own.OwnForSequenceClassification",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_own.py").write_text(CODE.format(marker=str(marker)))
    return folder, marker


def test_a_base_model_with_code_is_refused_and_its_code_does_not_run(own):
    folder, marker = own
    with pytest.raises(DiffMaskError, match=r"code of its own repo, which is not run: .*`trust_remote_code=True`"):
        load_base(str(folder))
    assert not marker.exists()


def test_an_explainer_of_it(own, classifier, tmp_path):
    folder, marker = own
    base, _ = load_base(str(folder), trust_remote_code=True)
    assert type(base).__name__ == "OwnForSequenceClassification" and marker.exists()
    with torch.no_grad():
        ids = torch.tensor([[1, 5, 9]])
        torch.testing.assert_close(base.eval()(ids).logits, classifier(ids).logits)
    made = tmp_path / "explainer"
    explainer = DiffMaskModel.from_base_model(base, **recipe_config())
    explainer.save_pretrained(made)
    tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    tokenizer.save_pretrained(made)
    expected = pipeline(hf_diffmask.TASK, model=explainer.eval(), tokenizer=tokenizer, device="cpu")(TEXT)
    marker.unlink()

    with pytest.raises(DiffMaskError, match="needs code of its own repo, which is not run"):
        DiffMaskModel.from_pretrained(made).base  # noqa: B018
    with pytest.raises(DiffMaskError, match="needs code of its own repo, which is not run"):
        load_pipeline(str(made))(TEXT)
    assert main(["explain", "--model", str(made), TEXT]) == 2
    for explain in (
        load_pipeline(str(made), trust_remote_code=True, device="cpu"),
        pipeline(hf_diffmask.TASK, model=str(made), trust_remote_code=True, device="cpu"),
    ):
        found = explain(TEXT)
        assert [token["score"] for token in found["tokens"]] == [token["score"] for token in expected["tokens"]]
    assert main(["explain", "--model", str(made), "--trust_remote_code", "True", TEXT]) == 0


def test_training_needs_the_option(own, tmp_path, capsys):
    folder, marker = own
    (tmp_path / "texts.txt").write_text("a warm film\nthe plot is dull\nnot bad at all\na tired cast\n" * 4)
    arguments = [
        "train", "--base_model", str(folder), "--dataset", str(tmp_path / "texts.txt"),
        "--output_dir", str(tmp_path / "made"), "--max_steps", "2", "--masks", "2", "--use_cpu", "True",
        "--save_strategy", "no", "--load_best_model_at_end", "False", "--report_to", "none",
    ]  # fmt: skip
    assert main(arguments) == 2
    assert "--trust_remote_code True" in capsys.readouterr().err
    assert not marker.exists()
    assert main([*arguments, "--trust_remote_code", "True"]) == 0
    assert marker.exists()


def test_a_pickle_is_not_read_even_so(own, classifier):
    folder, _ = own
    torch.save(classifier.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DiffMaskError, match="cannot be loaded"):
        load_base(str(folder), trust_remote_code=True)


def test_known_types_run_the_code_of_transformers(own):
    """Code of the repo does not stand in for a class of the library unasked."""
    folder, marker = own
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    base, _ = load_base(str(folder))
    assert type(base).__name__ == "BertForSequenceClassification" and not marker.exists()
