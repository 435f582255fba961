"""Tests how far masked inputs are from whole inputs."""

import inspect
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..base.running import masked_state, record
from ..data.batching import in_batches
from ..data.features import aligned, model_inputs
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from .explained import Explained
from .finding import Finding, _verdict
from .thresholds import TYPICAL


@torch.no_grad()
def distance(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    found: Sequence[Explained],
    texts: Sequence[int],
    batch_size: int = 32,
) -> Finding:
    """
    (e) How far out of distribution are masked inputs?

    Mahalanobis distance of the mean last hidden state from the states of whole inputs (Lee et al. 2018). Half of the
    texts give mean and covariance. The other half is measured twice: whole, as the reference, and masked.

    Args:
        explainer ([`DiffMaskModel`]): Explainer with input masking.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments and `special_tokens_mask`.
        found (`Sequence[Explained]`): The explainer's explanations.
        texts (`Sequence[int]`): For each input (a window of a text), the number of its text.
        batch_size (`int`, *optional*, defaults to 32): Inputs per batch.

    Returns:
        [`Finding`]: `quantile`, the share of whole inputs closer than the median masked input; `quantile_mask_token`,
        the same with the mask token in place of the baseline; `median_over_usual`, median distance of masked inputs
        over that of whole inputs.
    """
    question = "How far from whole inputs are masked ones, for the base model?"
    base, last = explainer.base, explainer.config.state_names[-1:]
    if not explainer.config.masks_inputs or explainer.config.state_names[0] != "embeddings":
        return Finding("distribution", question, "not checked", {}, "only masked token embeddings can be compared")
    if "inputs_embeds" not in inspect.signature(base.forward).parameters:
        note = f"{type(base).__name__} does not take embeddings in the place of tokens"
        return Finding("distribution", question, "not checked", {}, note)
    embed = base.get_input_embeddings()

    def means(vector: Tensor | None) -> np.ndarray:
        """Mean last states, `(N, d)`, with a vector in place of masked tokens."""

        def run(batch: dict[str, Tensor]) -> list[np.ndarray]:
            rows, batch = batch["example_ids"].tolist(), model_inputs(batch)
            embedded = embed(batch.pop("input_ids"))
            if vector is not None:
                kept = aligned([found[row].kept for row in rows], batch["attention_mask"])
                embedded = masked_state(embedded, kept, vector.to(embedded.dtype))
            _, (hidden,) = record(base, {**batch, "inputs_embeds": embedded}, last)
            there, hidden = batch["attention_mask"][..., None].cpu().double(), hidden.cpu().double()
            return list(((hidden * there).sum(1) / there.sum(1)).numpy())

        return np.stack(in_batches(tokenizer, inputs, explainer.device, run, batch_size, with_ids=True))

    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    if len(numbers) < 20:
        raise DiffMaskError(f"The distribution test needs at least 20 texts, but there are {len(numbers)}.")
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(0))
    usual = np.array([bool(order[numbers[text]] % 2) for text in texts])
    whole, masked = means(None), means(explainer.baseline_at(0).detach())
    center, spread = whole[~usual].mean(0), np.cov(whole[~usual], rowvar=False)
    # Shrink the covariance towards a sphere: there may be fewer inputs than features.
    precision = np.linalg.inv(0.9 * spread + 0.1 * np.trace(spread) / len(spread) * np.eye(len(spread)))

    def distances(values: np.ndarray) -> np.ndarray:
        apart = values[usual] - center
        return np.sqrt(np.einsum("nd,de,ne->n", apart, precision, apart))

    scale, typical = distances(whole), float(np.median(distances(masked)))
    figures = {"quantile": float(np.mean(scale < typical)), "median_over_usual": typical / float(np.median(scale))}
    if tokenizer.mask_token_id is not None:
        by_token = means(embed.weight[tokenizer.mask_token_id])
        figures["quantile_mask_token"] = float(np.mean(scale < np.median(distances(by_token))))
    return Finding("distribution", question, _verdict(figures["quantile"] <= TYPICAL), figures, "")
