"""Families of models that flow is read from, and the same numbers from attention weights that Transformers returns."""

from functools import partial

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_diffmask.base.states import find_blocks
from tests.helpers import ARCHITECTURES, SMALL

WIDE = {**SMALL, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 24}
GROUPED = {**WIDE, "num_key_value_heads": 2, "head_dim": 4}
WINDOW = {**GROUPED, "sliding_window": 3}
BERT = ("attention.self.value", "whole")
LLAMA = ("self_attn.v_proj", "whole")
# By family: its config, the module whose output holds the values, and the part of this output.
FAMILIES = {
    "bert": (WIDE, *BERT),
    "roberta": (WIDE, *BERT),
    "xlm-roberta": (WIDE, *BERT),
    "electra": ({**WIDE, "embedding_size": 8}, *BERT),
    "albert": ({**WIDE, "embedding_size": 8}, "albert_layers.0.attention.value", "whole"),
    "esm": ({**WIDE, "mask_token_id": 4}, *BERT),
    "distilbert": ({**SMALL, "dim": 16, "n_layers": 3, "n_heads": 4, "hidden_dim": 24}, "attention.v_lin", "whole"),
    "modernbert": ({**WIDE, "local_attention": 4, "global_attn_every_n_layers": 2}, "attn.Wqkv", "third"),
    "ctrl": ({**SMALL, **ARCHITECTURES["ctrl"]}, "multi_head_attention.Wv", "whole"),
    "gpt2": ({**SMALL, "n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 40}, "attn.c_attn", "third"),
    "opt": ({**WIDE, "ffn_dim": 24, "word_embed_proj_dim": 16}, *LLAMA),
    "gpt_neox": (WIDE, "attention.query_key_value", "third of a head"),
    "falcon": (WIDE, "self_attention.query_key_value", "last head"),
    "phi": (WIDE, *LLAMA),
    "phi3": (WINDOW, "self_attn.qkv_proj", "last heads"),
    "biogpt": (WIDE, *LLAMA),
    "llama": (GROUPED, *LLAMA),
    "mistral": (WINDOW, *LLAMA),
    "qwen2": (GROUPED, *LLAMA),
    "qwen3": (GROUPED, *LLAMA),
    "gemma": (GROUPED, *LLAMA),
    "gemma3_text": ({**WINDOW, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}, *LLAMA),
}
PARTS = {
    "whole": lambda out, heads: out,
    "third": lambda out, heads: out[:, 2 * out.shape[1] // 3 :],
    "third of a head": lambda out, heads: out.reshape(len(out), heads, 3, -1)[:, :, 2].reshape(len(out), -1),
    "last head": lambda out, heads: out[:, -4:],
    "last heads": lambda out, heads: out[:, -8:],
}


def family(name, implementation="sdpa", **config):
    """A model of a family, whose attention is far from uniform."""
    config = AutoConfig.for_model(name, **{**FAMILIES[name][0], **config})
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation=implementation).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(3)
    return model


@torch.no_grad()
def weights_and_values(name, model, text):
    """Attention weights `(L, H, t, t)` that the eager model returns for a text alone, and values `(L, H, t, d_h)`."""
    _, path, part = FAMILIES[name]
    seen = []

    def see(module, args, output):
        seen.append(output[0].double().numpy())

    handles = [block.get_submodule(path).register_forward_hook(see) for block in dict.fromkeys(find_blocks(model))]
    output = model(input_ids=torch.tensor([text]), output_attentions=True, use_cache=False)
    for handle in handles:
        handle.remove()
    weights = np.stack([one[0].double().numpy() for one in output.attentions])
    heads = weights.shape[1]
    values = [PARTS[part](out, heads) for out in seen]
    values = [out.reshape(len(text), -1, 16 // heads) for out in values]
    values = [np.repeat(out, heads // out.shape[1], axis=1).swapaxes(0, 1) for out in values]
    return weights, np.stack(values)


def by_hand(weights, read, rows=None):
    """Shares `(t, L, H)` from all rows of attention, or from those with the largest weights."""
    blocks, heads, length, _ = weights.shape
    shares = np.zeros((length, blocks, heads))
    spread = np.array(read, dtype=float)
    for block in reversed(range(blocks)):
        largest = np.zeros(length)
        for i in sorted(range(length), key=lambda i: -spread[i])[:rows]:
            largest[i] = spread[i]
        for head in range(heads):
            for j in range(length):
                shares[j, block, head] = sum(largest[i] * weights[block, head, i, j] for i in range(length))
        spread = (spread + largest @ weights[block].mean(0)) / 2
    return shares


close = partial(torch.testing.assert_close, atol=2e-5, rtol=1e-4, check_dtype=False)
