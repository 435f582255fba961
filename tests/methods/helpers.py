"""Helpers for tests of methods."""

import torch

from hf_diffmask.methods.attention import attention
from hf_diffmask.methods.bottleneck import information_bottleneck
from hf_diffmask.methods.erasure import exact_erasure
from hf_diffmask.methods.gradients import input_x_gradient, integrated_gradients
from hf_diffmask.methods.kernel_shap import kernel_shap
from hf_diffmask.methods.leave_one_out import leave_one_out
from hf_diffmask.methods.max_entropy_noise import maximum_entropy_noise

MASK_OUT = [
    exact_erasure,
    leave_one_out,
    information_bottleneck,
    maximum_entropy_noise,
    integrated_gradients,
    input_x_gradient,
    kernel_shap,
]


METHODS = [*MASK_OUT, attention]


def call(method, explainer, features, state=0, **options):
    """Runs a method with few steps, and with statistics that do not depend on the batch."""
    if method in (information_bottleneck, maximum_entropy_noise):
        options = {"steps": 12, **options}
    if method is information_bottleneck:
        width = explainer.baseline_at(state).shape[0]
        options = {"mean": torch.zeros(width), "std": torch.full((width,), 0.3), **options}
    return method(explainer, features, state, **options)


def without_special(features):
    return {name: value for name, value in features.items() if name != "special_tokens_mask"}


def masked_by_hand(classifier, tokenizer, batch, row, kept):
    """Log-probabilities without padding, with [MASK] for every word that is not kept."""
    length = int(batch["attention_mask"][row].sum())
    ids = batch["input_ids"][row, :length].expand(len(kept), -1).clone()
    for candidate, subset in zip(ids, kept, strict=True):
        masked = [unit for unit in range(1, length - 1) if unit not in subset]
        candidate[masked] = tokenizer.mask_token_id
    with torch.no_grad():
        return classifier(input_ids=ids).logits.log_softmax(-1)


def kl(target, other):
    return (target.exp() * (target - other)).sum(-1)


def weights_of(bag, features):
    """The weight of each unit in the log-odds of a bag model's prediction."""
    ids, table = features["input_ids"], bag.base.embeddings.weight.detach()
    used = features["attention_mask"] * (1 - torch.arange(ids.shape[1]) % 2)
    sign = ((table[ids].sum(-1) * used).sum(-1, keepdim=True) > 0).float() * 2 - 1
    return (table[ids] - bag.baseline.detach()).sum(-1) * used * sign
