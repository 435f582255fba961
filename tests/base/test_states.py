"""States are found by block and by module path; models without blocks are refused."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_diffmask import DiffMaskModel, recipe_config
from hf_diffmask.base.running import record, replace
from hf_diffmask.base.states import find_blocks, hidden_size, state_names
from hf_diffmask.errors import DiffMaskError
from tests.base.checks import ids, loud, rest_depends_on_the_state_only, states_are_reported
from tests.helpers import build


def test_states_by_module_path(features):
    model = build("bert").eval()
    with torch.no_grad():
        output, (embeddings, middle) = record(model, features, ["bert.embeddings", "bert.encoder.layer.1.attention"])
        assert not torch.equal(embeddings, middle)
        for name, hidden in (("bert.embeddings", embeddings), ("bert.encoder.layer.1.attention", middle)):
            torch.testing.assert_close(replace(model, features, name, hidden).logits, output.logits)
            assert not torch.allclose(replace(model, features, name, hidden * 2).logits, output.logits)
    with pytest.raises(DiffMaskError, match=r"no state 'bert.enc'"):
        record(model, features, ["bert.enc"])
    with pytest.raises(DiffMaskError, match=r"3 blocks, so there is no state 'block.3.input'"):
        record(model, features, ["block.3.input"])
    with pytest.raises(DiffMaskError, match=r"3 times in one forward pass"):
        record(model, features, [_shared_activation(model)])


def _shared_activation(model):
    """Path of a module that all blocks now share."""
    for block in model.bert.encoder.layer:
        block.intermediate.intermediate_act_fn = model.bert.encoder.layer[0].intermediate.intermediate_act_fn
    return "bert.encoder.layer.0.intermediate.intermediate_act_fn"


def test_blocks_are_the_outermost_list():
    model = build("bert")
    model.bert.encoder.layer[0].experts = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(9))
    assert find_blocks(model) == list(model.bert.encoder.layer)


def test_a_shared_block_is_there_once_for_each_layer():
    model = build("albert").eval()
    (group,) = model.albert.encoder.albert_layer_groups
    assert find_blocks(model) == [group] * 3
    assert state_names(model) == ["embeddings", *(f"block.{k}.input" for k in range(3)), "block.2.output"]
    two = build("albert", num_hidden_layers=4, num_hidden_groups=2).eval()
    first, second = two.albert.encoder.albert_layer_groups
    assert find_blocks(two) == [first, first, second, second]


def test_a_model_that_cannot_run_on_dummy_inputs_has_its_list(monkeypatch):
    model = build("albert")
    monkeypatch.setattr(type(model), "dummy_inputs", {"input_ids": torch.tensor([[10**6]])})
    assert find_blocks(model) == list(model.albert.encoder.albert_layer_groups)


def test_models_with_blocks_in_parallel_lists_are_refused():
    model = build("bert")
    model.bert.encoder.norms = torch.nn.ModuleList(torch.nn.LayerNorm(16) for _ in range(3))
    with pytest.raises(DiffMaskError, match=r"separate lists, so no block can run alone: name its states by module"):
        find_blocks(model)


def test_blocks_of_a_model_of_text_and_images_are_those_of_the_text():
    """The images' part has more blocks, or as many."""
    for images in (3, 5):
        model = _gemma_with_images(images).eval()
        assert find_blocks(model) == list(model.model.language_model.layers)
        states_are_reported(model, ids(2, 7), blocks=3, last=False)
        rest_depends_on_the_state_only(model, ids(2, 7))
        explainer = DiffMaskModel.from_base_model(model, **recipe_config())
        assert (explainer.config.num_states, explainer.config.hidden_size) == (5, 16)


def _gemma_with_images(blocks):
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "intermediate_size": 24}
    text = {**sizes, "hidden_size": 16, "num_hidden_layers": 3, "vocab_size": 60, "num_key_value_heads": 2,
            "head_dim": 8, "layer_types": ["full_attention"] * 3}  # fmt: skip
    images = {**sizes, "hidden_size": 8, "num_hidden_layers": blocks, "image_size": 14, "patch_size": 7}
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config=images, mm_tokens_per_image=1)
    return AutoModelForSequenceClassification.from_config(config)


def test_stages_are_one_row_of_blocks():
    config = {"d_model": 16, "block_sizes": [1, 2], "n_head": 2, "d_head": 8, "d_inner": 24}
    model = loud("funnel", **config)
    (first,), (second, third) = model.funnel.encoder.blocks
    assert find_blocks(model) == [first, second, third]


def test_blocks_of_several_kinds_are_one_list():
    """Jamba has blocks with attention and with a state space."""
    model = loud(
        "jamba", hidden_size=16, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=24, attn_layer_period=2, attn_layer_offset=1, num_experts=1, num_experts_per_tok=1,
        mamba_d_state=4, use_mamba_kernels=False,
    )  # fmt: skip
    assert len({type(block) for block in model.model.layers}) == 2
    assert find_blocks(model) == list(model.model.layers)


def test_tables_are_no_blocks():
    """MarkupLM has 50 tables for paths in a page, beside the table of tokens."""
    model = loud("markuplm", hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24)
    assert find_blocks(model) == list(model.markuplm.encoder.layer)


def test_models_without_a_table_of_tokens_are_refused():
    model = loud("canine", hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                 num_hash_buckets=32)  # fmt: skip
    with pytest.raises(DiffMaskError, match="CanineForSequenceClassification has no table with one vector for each"):
        DiffMaskModel.from_base_model(model)


def test_a_decoder_with_a_table_of_its_own_is_refused():
    part = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
            "head_dim": 8, "intermediate_size": 24, "vocab_size": 60}  # fmt: skip
    model = loud("t5gemma", encoder=part, decoder=part)
    assert hidden_size(model) == 16
    with pytest.raises(DiffMaskError, match="decoder of T5GemmaForSequenceClassification embeds the input with"):
        DiffMaskModel.from_base_model(model)
