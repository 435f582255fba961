"""What a caller has in hand as a base model: it works, or one sentence says why not."""

from pathlib import Path

import pytest
import torch
from accelerate import cpu_offload
from torch import nn
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskModel
from hf_diffmask.base.running import record, replace
from hf_diffmask.base.states import state_names
from hf_diffmask.base.unwrapped import unwrapped
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explainer.guest import load_base
from tests.helpers import build

IDS = {"input_ids": torch.tensor([[5, 9, 11, 7]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}


def test_a_compiled_model_is_the_model_inside():
    model = build("bert")
    assert unwrapped(model) is model
    assert unwrapped(torch.compile(model, backend="eager")) is model


@pytest.mark.parametrize(
    "given, message",
    [
        ("acme/classifier", "is the path 'acme/classifier': load it with"),
        (Path("here"), "is the path 'here': load it with"),
        (nn.Linear(2, 2), r"must be a Transformers model \(PreTrainedModel\), but is a Linear"),
        (None, "but is a NoneType"),
        (nn.DataParallel(build("bert")), "wrapped in DataParallel: give the model inside, which is its `module`"),
    ],
)
def test_what_is_no_model_is_refused(given, message, tmp_path):
    with pytest.raises(DiffMaskError, match=message):
        DiffMaskModel.from_base_model(given)
    if given is not None:
        with pytest.raises(DiffMaskError, match=message):
            DiffMaskModel.from_pretrained(hf_diffmask.BUNDLED_EXPLAINER, base_model=given)


def test_a_subclass_is_a_model_of_its_class(explainer, batch, tmp_path):
    class Mine(BertForSequenceClassification):
        pass

    explainer.save_pretrained(tmp_path)
    mine = Mine.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    again = DiffMaskModel.from_pretrained(tmp_path, base_model=mine)
    assert torch.equal(again(**batch).keep_probability, explainer(**batch).keep_probability)
    # The other way round, the parent class may compute something else.
    DiffMaskModel.from_base_model(mine).save_pretrained(tmp_path / "of-mine")
    with pytest.raises(DiffMaskError, match="class BertForSequenceClassification instead of Mine"):
        DiffMaskModel.from_pretrained(tmp_path / "of-mine").base  # noqa: B018


def test_blocks_on_disk_work_and_offloaded_embeddings_are_refused(tmp_path, tokenizer):
    folder = hf_diffmask.BUNDLED_CLASSIFIER
    places = {"bert.embeddings": "cpu", "bert.encoder": "disk", "bert.pooler": "cpu", "classifier": "cpu"}
    whole = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    parted = AutoModelForSequenceClassification.from_pretrained(
        folder, device_map=places, offload_folder=str(tmp_path)
    ).eval()
    assert next(parted.bert.encoder.parameters()).is_meta
    explain = pipeline(hf_diffmask.TASK, model=hf_diffmask.BUNDLED_EXPLAINER, device="cpu")
    of_parted = DiffMaskModel.from_pretrained(hf_diffmask.BUNDLED_EXPLAINER, base_model=parted)
    text = "a warm and funny film"
    expected = explain(text)
    found = pipeline(hf_diffmask.TASK, model=of_parted, tokenizer=tokenizer, device="cpu")(text)
    assert [token["score"] for token in found["tokens"]] == pytest.approx(
        [token["score"] for token in expected["tokens"]]
    )
    assert next(parted.bert.encoder.parameters()).is_meta
    cpu_offload(whole, torch.device("cpu"))
    with pytest.raises(DiffMaskError, match="embeddings of the base model are offloaded"):
        DiffMaskModel.from_base_model(whole)


@pytest.fixture
def peft():
    return pytest.importorskip("peft", reason="PEFT is not installed")


@torch.no_grad()
def test_adapters_are_part_of_the_base(peft):
    config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], init_lora_weights=False)
    model = peft.get_peft_model(build("bert"), config).eval()
    base = DiffMaskModel.from_base_model(model).base
    assert base is model.get_base_model()
    names = state_names(base)
    output, states = record(base, IDS, names)
    torch.testing.assert_close(output.logits, model(**IDS).logits)
    for state, hidden in zip(names, states, strict=True):
        torch.testing.assert_close(replace(base, IDS, state, hidden).logits, output.logits)
    torch.testing.assert_close(record(model.merge_and_unload(), IDS, names)[0].logits, output.logits)


def test_learned_prompts_are_refused(peft):
    config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4)
    with pytest.raises(DiffMaskError, match=r"learned prompts \(PEFT\), which add tokens that no text has"):
        DiffMaskModel.from_base_model(peft.get_peft_model(build("bert"), config))


def test_a_folder_of_an_adapter_is_refused_before_anything_is_loaded(peft, tmp_path):
    model = peft.get_peft_model(build("bert"), peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    model.save_pretrained(tmp_path)
    with pytest.raises(DiffMaskError, match=r"has an adapter \(PEFT\) and no whole model: .* `merge_and_unload\(\)`"):
        load_base(str(tmp_path))
