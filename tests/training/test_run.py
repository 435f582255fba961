"""A run trains on texts, saves the explainer, and reports its facts."""

import json
import platform
import re

import pytest
import torch
import transformers

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.run import machine_of, train


def arguments(folder, **settings):
    settings = {
        "max_steps": 2, "baseline_steps": 1, "masks": 2, "per_device_train_batch_size": 8, "warmup_steps": 0,
        "eval_delay": 0, "save_strategy": "no", "load_best_model_at_end": False, "eval_strategy": "no", **settings,
    }  # fmt: skip
    return DiffMaskTrainingArguments(
        output_dir=str(folder), use_cpu=True, disable_tqdm=True, report_to="none", **settings
    )


@pytest.fixture
def untrained(classifier, tokenizer):
    return DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config())


def test_what_is_known_of_a_run(untrained, tokenizer, batch, tmp_path):
    data = tmp_path / "data" / "texts.jsonl"
    data.parent.mkdir()
    data.write_text("")
    args = arguments(tmp_path / "out", margin=0.2)
    long = " ".join(sentences(60))
    trainer, found = train(untrained, tokenizer, [*sentences(16), long], sentences(5, seed=1), args, str(data))
    windows = found["inputs"] - 16
    assert windows >= 2 and found["validation_inputs"] == 5, "a long text is several inputs"
    assert (found["dataset"], found["dataset_on_hub"], found["pairs"]) == ("texts.jsonl", False, False)
    assert 0 < found["minutes"] < 1 and found["machine"] == machine_of(args)
    assert found["versions"] == {
        "hf-diffmask": hf_diffmask.__version__, "torch": torch.__version__, "transformers": transformers.__version__
    }  # fmt: skip
    assert found["settings"] == args.settings(untrained.config) and found["settings"]["margin"] == 0.2
    assert json.loads(json.dumps(found)) == found and str(tmp_path) not in json.dumps(found)
    assert [row.state for row in trainer.rows] == untrained.config.columns
    saved = DiffMaskModel.from_pretrained(tmp_path / "out", base_model=untrained.base).eval()
    torch.testing.assert_close(saved(**batch).logits, trainer.model.eval()(**batch).logits)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "eval_results.json", "trainer_state.json"} <= names
    with pytest.raises(DiffMaskError, match="is not empty"):
        train(untrained, tokenizer, sentences(16), sentences(5, seed=1), args)


def test_pairs_and_a_data_set_of_the_hub(untrained, tokenizer, tmp_path):
    pairs = list(zip(sentences(16), sentences(16, seed=1), strict=True))
    _, found = train(untrained, tokenizer, pairs, pairs[:3], arguments(tmp_path), "org/pairs")
    assert (found["pairs"], found["dataset"], found["dataset_on_hub"]) == (True, "org/pairs", True)


def test_the_machine_in_words(tmp_path):
    said = machine_of(arguments(tmp_path))
    assert re.fullmatch(rf"{platform.machine()}, {torch.get_num_threads()} threads", said)
