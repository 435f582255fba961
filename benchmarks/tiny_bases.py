"""Tiny base models with random weights, one for each architecture, and a tokenizer that fits all of them."""

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hf_diffmask.testbeds.grammar import sentences

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = 192
# Sizes in the spellings of all families. A config takes those that it has.
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "d_model": 32, "n_embd": 32, "emb_dim": 32, "dim": 32,
    "word_embed_proj_dim": 32, "embedding_size": 32,
    "num_hidden_layers": 3, "num_layers": 3, "n_layer": 3, "n_layers": 3, "encoder_layers": 3, "decoder_layers": 3,
    "num_decoder_layers": 3,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "d_kv": 8,
    "intermediate_size": 48, "hidden_dim": 48, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "ffn_dim": 48, "dff": 48,
    "d_ff": 48, "d_inner": 48, "n_inner": 48, "ffn_hidden_size": 48, "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24, "num_experts": 4, "n_routed_experts": 4, "num_local_experts": 4,
    "num_experts_per_tok": 2, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "max_position_embeddings": 128, "n_positions": 128, "max_seq_len": 128, "n_group": 1,
    "topk_group": 1,
}  # fmt: skip
IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
# What an architecture needs beside.
OWN: dict[str, dict[str, Any]] = {
    "funnel": {"block_sizes": [1, 1, 1], "d_head": 8, "num_decoder_layers": 1},
    "longformer": {"attention_window": 4},
    "big_bird": {"block_size": 4, "num_random_blocks": 1},
    "reformer": {
        "axial_pos_shape": [8, 16], "axial_pos_embds_dim": [16, 16], "attention_head_size": 8, "feed_forward_size": 48,
        "attn_layers": ["local", "lsh", "local"], "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8,
        "num_buckets": 2,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1], [["global"], 1]], "window_size": 8},
    "gptj": {"rotary_dim": 4},
    "mobilebert": {"intra_bottleneck_size": 16, "true_hidden_size": 16},
    "perceiver": {"d_latents": 32, "num_latents": 8, "num_blocks": 1, "num_self_attends_per_block": 3,
                  "num_self_attention_heads": 4, "num_cross_attention_heads": 4},
    "esm": {"mask_token_id": 4},
    "convbert": {"head_ratio": 2},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "canine": {"downsampling_rate": 2, "num_hash_buckets": 32, "local_transformer_stride": 4},
    "fnet": {"use_tpu_fourier_optimizations": False},
    "axk1": {"num_key_value_heads": 4}, "axk2": {"num_key_value_heads": 4},
    "deepseek_v2": {"num_key_value_heads": 4}, "deepseek_v3": {"num_key_value_heads": 4},
    "minicpm3": {"num_key_value_heads": 4}, "mistral4": {"num_key_value_heads": 4, "head_dim": 16},
    "esmc": {"num_key_value_heads": 4},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": 10000.0}
                            for kind in ("sliding_attention", "full_attention")},
    },
    "layoutlmv3": {"coordinate_size": 5, "shape_size": 6, "input_size": 32, "patch_size": 16},
    "lilt": {"hidden_size": 48},
    "zamba2": {"layer_types": ["linear_attention", "hybrid", "linear_attention"],
               "layers_block_type": ["linear_attention", "hybrid", "linear_attention"], "use_mamba_kernels": False},
    "t5": {"decoder_start_token_id": 0}, "mt5": {"decoder_start_token_id": 0}, "umt5": {"decoder_start_token_id": 0},
    "luke": {"entity_vocab_size": 16}, "layoutlm": {"max_2d_position_embeddings": 64},
    "roc_bert": {"pronunciation_vocab_size": 16, "shape_vocab_size": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
              "mamba_d_state": 4, "use_mamba_kernels": False},
    "jetmoe": {"num_key_value_heads": 4, "kv_channels": 8},
}  # fmt: skip


def tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer of whole words, which knows the words of the grammar and marks both ends of a text."""
    words = sorted({word for text in sentences(800) for word in text.split()})
    known = {token: number for number, token in enumerate([*SPECIAL, *words])}
    made = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_input_names=["input_ids", "attention_mask"], model_max_length=64,
    )  # fmt: skip


def tiny_config(name: str, **more: Any) -> Any:
    """A config with small sizes in every part that counts something."""
    plain = AutoConfig.for_model(name)
    parts = {part: getattr(plain, part) for part in plain.sub_configs}
    fields = {**_small(plain), **OWN.get(name, {})}
    for part, config in parts.items():
        if config is not None:
            fields[part] = {**_small(config), **OWN.get(config.model_type, {})}
    return AutoConfig.for_model(name, **{**fields, **more})


def _small(config: Any) -> dict[str, Any]:
    there = config.to_dict()
    fields = {key: value for key, value in {**SIZES, **IDS}.items() if key in there}
    # A list with one entry for each layer.
    for key, value in there.items():
        if isinstance(value, list) and key in ("layer_types", "mlp_layer_types"):
            fields[key] = [*dict.fromkeys(value), *value][:3]
    return fields


def tiny(name: str, auto_class: Any, **more: Any) -> PreTrainedModel:
    """A model with weights so large that every token counts."""
    torch.manual_seed(0)
    model = auto_class.from_config(tiny_config(name, **more)).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() > 1:
                value.mul_(4)
    return model
