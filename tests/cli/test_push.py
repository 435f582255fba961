"""`hf-diffmask push` publishes a trained explainer; other users find and load it."""

import json

import pytest

from hf_diffmask.hub.card_sections import front_matter, validate
from hf_diffmask.testbeds.grammar import sentences
from tests.helpers import WRITE, base_on, command, scores


def test_the_whole_way_as_a_user(hub, tmp_path):
    sha = base_on(hub)
    data, output = tmp_path / "texts.jsonl", tmp_path / "explainer"
    data.write_text("\n".join(json.dumps({"text": text}) for text in sentences(120)))
    hub.fail("POST .*/commit/", 403, after=1)  # the push of a checkpoint fails; training goes on
    status, said = command(
        hub, "train", "--base_model", "acme/base", "--dataset", data, "--output_dir", output, "--max_steps", 12,
        "--baseline_steps", 4, "--per_device_train_batch_size", 16, "--report_to", "none", "--push_to_hub",
        "--hub_model_id", "acme/explainer", "--hub_strategy", "checkpoint", "--hub_token", WRITE,
    )  # fmt: skip
    assert status == 0, said
    assert "may not write to acme/explainer" in said and "names no licence" in said
    files = hub.files("acme/explainer")
    config = json.loads(files["config.json"])
    assert (config["base_model_name_or_path"], config["base_model_revision"]) == ("acme/base", sha)
    assert (config["base_model_class"], config["vocab_size"]) == ("BertForSequenceClassification", 15108)
    assert len(config["state_names"]) == 5 and len(config["base_model_fingerprint"]) == 16
    needed = {"model.safetensors", "tokenizer.json", "README.md", "sparsity_divergence.png", "training_args.json"}
    assert needed <= files.keys() and "last-checkpoint/model.safetensors" in files
    assert not any(name.endswith((".bin", ".pkl")) for name in files)
    assert not any(WRITE.encode() in content for content in files.values()) and WRITE not in said
    assert str(tmp_path).encode() not in files["config.json"] + files["README.md"]
    card = files["README.md"].decode()
    validate(card)
    front = front_matter(card)
    assert (front["base_model"], front["base_model_relation"]) == ("acme/base", "adapter")
    assert front["library_name"] == "hf-diffmask" and front["model-index"][0]["name"] == "explainer"
    # Only the last commit holds the explainer; the earlier ones hold checkpoints.
    before = hub.files("acme/explainer", hub.commits("acme/explainer")[1])
    assert "model.safetensors" not in before and "last-checkpoint/model.safetensors" in before
    local = scores(hub, output)
    for more in ({"home": "empty"}, {"home": "empty", "HF_HUB_OFFLINE": "1"}):
        assert scores(hub, "acme/explainer", **more) == pytest.approx(local, abs=1e-6)
    # The card's example runs unchanged.
    example = card.partition("```python\n")[2].partition("```")[0]
    assert "pipeline(" in example and "same_prediction" in hub.run(example, home="empty")
    head = hub.head("acme/explainer")
    status, said = command(hub, "push", output, "acme/explainer")
    assert status == 0 and hub.head("acme/explainer") == head
    status, said = command(hub, "list", "--base_model", "acme/base", "--json")
    assert status == 0 and [json.loads(line)["id"] for line in said.splitlines()] == ["acme/explainer"]
    assert "no explainers for acme/other" in command(hub, "list", "--base_model", "acme/other")[1]
