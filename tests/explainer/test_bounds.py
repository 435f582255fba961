"""Counts in a config are bounded; configs of real models are within the bounds."""

import json

import pytest
from transformers import AutoConfig

from hf_diffmask import DiffMaskConfig, DiffMaskError
from hf_diffmask.explainer.bounds import check_base, check_explainer
from tests.helpers import ARCHITECTURES

NO_COUNTS = [10**9, -1, 1.5, True, "64", float("nan"), float("inf"), 10**400, [2, 3], {}]


@pytest.mark.parametrize("value", NO_COUNTS, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("name", ["num_labels", "hidden_size", "embedding_size", "vocab_size"])
def test_what_is_no_count_of_an_explainer(name, value):
    with pytest.raises(DiffMaskError) as error:
        DiffMaskConfig.from_dict({"model_type": "diffmask", name: value})
    said = str(error.value)
    assert said.startswith(f"`{name}` of the config must be a whole number from 0 to ") and len(said) < 200
    assert "\n" not in said


@pytest.mark.parametrize(
    "fields",
    [
        {"state_names": ["embeddings"] * 1_000_000},
        {"state_names": 7},
        {"id2label": {str(k): "a" for k in range(1_000_000)}},
        {"label2id": {str(k): k for k in range(1_000_000)}},
        {"id2label": ["a", "b"]},
        {"id2label": {"first": "a"}},
        {"id2label": {"9" * 500: "a"}},
        {"architectures": 3},
        {"architectures": [3]},
        {"auto_map": "x"},
        {"model_type": ["diffmask"]},
    ],
    ids=lambda fields: f"{next(iter(fields))}-{str(next(iter(fields.values())))[:12]}",
)
def test_other_fields_that_transformers_would_trip_over(fields):
    for check in (check_explainer, check_base):
        if check is check_base and "state_names" in fields:
            continue
        with pytest.raises(DiffMaskError) as error:
            check(fields, "the config of acme/x")
        assert "the config of acme/x" in str(error.value) and len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_hidden_layers", 10**6), ("n_layer", -1), ("n_layers", "3"), ("num_attention_heads", True),
        ("num_local_experts", 10**5), ("encoder_layers", 5000), ("hidden_size", 1.5), ("n_embd", 10**9),
        ("vocab_size", 10**400), ("max_position_embeddings", float("inf")), ("intermediate_size", -4), ("dim", "8"),
    ],
)  # fmt: skip
def test_what_is_no_count_of_a_base_model(name, value):
    for fields in ({name: value}, {"text_config": {"deeper": {name: value}}}, {name: [4, value]}):
        with pytest.raises(DiffMaskError, match=rf"^`{name}` of the config of x must be a whole number from 0 to "):
            check_base(fields, "the config of x")


def test_deep_nesting_is_no_recursion():
    fields = {"hidden_size": 2.5}
    for _ in range(5000):
        fields = {"part": fields}
    with pytest.raises(DiffMaskError, match="hidden_size"):
        check_base(fields, "x")


def test_code_on_the_hub_is_not_run():
    check_base({"attn_implementation": "sdpa"}, "x")
    with pytest.raises(DiffMaskError, match="`attn_implementation` of x names code on the Hub"):
        check_base({"attn_implementation": "org/kernel"}, "x")


def test_real_models_are_within_the_bounds():
    # Sizes of published models: the widest, the deepest, and sentinels that are no counts.
    for fields in (
        {"hidden_size": 18432, "num_hidden_layers": 118, "num_attention_heads": 144, "vocab_size": 256000},
        {"max_position_embeddings": 10_485_760, "rope_theta": 3580165449.0, "sliding_window": None, "head_dim": None},
        {"max_relative_positions": -1, "num_labels": 21843, "clamp_len": -1, "n_inner": None, "num_experts": 2048},
        {"num_heads": [1, 2, 5, 8], "window_size": -1, "chunk_size_feed_forward": 0, "hidden_dim": 3072.0},
    ):
        check_base(fields, "x")
    for name in ARCHITECTURES:
        check_base(json.loads(AutoConfig.for_model(name).to_json_string(use_diff=False)), name)
