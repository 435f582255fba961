"""The known criticisms of learned explainers as tests, each with a verdict; docs/audit.md says where they are from."""

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .base_model import record
from .errors import DiffMaskError
from .explained import Explained, explained, in_batches, masking_everything
from .modeling_diffmask import DiffMaskModel
from .readable import base_rate_of, by_length_alone, pattern_features, readable
from .removal import class_probabilities
from .stability import rank_correlation

# Thresholds; docs/audit.md gives the source of each.
READABLE = 0.05  # accuracy above the base rate with which the prediction may be read from masks or gates
HOLDS = 0.8  # share of predictions that have to hold, whichever way the masked tokens are taken away
RANDOM_BASE = 0.2  # rank correlation with explanations of a random base model
TYPICAL = 0.99  # quantile of whole inputs below which the typical masked input has to lie
SEEDS = 0.5  # rank correlation of explainers that were trained with other seeds
OUTSIDE = 0.25  # share of inputs whose cost may exceed the margin

ROUNDING = 1e-7  # nats: what a divergence in single precision can be of rounding alone
ENOUGH = 500  # texts without which an accuracy is too rough to be judged to within READABLE
UNSEEN = ("mask", "pad", "attention", "delete")
CLASS_CONDITIONAL = (
    "class-conditional: the gates are told the prediction, and how much they keep may differ from class to class"
)


class Finding(NamedTuple):
    """What one test of the audit found."""

    name: str
    question: str
    verdict: str
    """`"pass"`, `"fail"`, `"reported"` where it cannot be judged, or `"not checked"`."""
    figures: dict[str, float]
    note: str


def _judged(excess: float, base_rate: float, texts: Sequence[int], class_conditional: bool) -> tuple[str, str]:
    """Verdict and note on an accuracy that is so far above what there is to compare it with."""
    if class_conditional:
        return "reported", CLASS_CONDITIONAL
    if base_rate > 1 - 2 * READABLE:
        return "reported", "nearly all inputs are of one class: there is nothing to read"
    if len(set(texts)) < ENOUGH:
        return "reported", f"fewer than {ENOUGH} texts: too few to judge an accuracy by"
    return _verdict(excess <= READABLE), ""


def pattern(
    found: Sequence[Explained], special: Sequence[Sequence[int]], texts: Sequence[int], class_conditional: bool
) -> Finding:
    """
    (a) Can the prediction be read from the pattern of the mask alone?

    Args:
        found (`Sequence[Explained]`): Of each input.
        special (`Sequence[Sequence[int]]`): Of each input, 1 at special tokens.
        texts (`Sequence[int]`): Number of the text that each input is a window of.
        class_conditional (`bool`): Whether the explainer is told the prediction; then the finding is reported only.

    Returns:
        [`Finding`]
    """
    masks = [
        [kept for kept, is_special in zip(one.kept, marks, strict=True) if not is_special]
        for one, marks in zip(found, special, strict=True)
    ]
    classes = [one.predicted for one in found]
    accuracy = readable(np.array([pattern_features(mask) for mask in masks]), classes, texts)
    by_length, base_rate = by_length_alone(masks, classes, texts), base_rate_of(classes)
    verdict, note = _judged(accuracy - max(base_rate, by_length), base_rate, texts, class_conditional)
    figures = {"accuracy": accuracy, "base_rate": base_rate, "by_length": by_length}
    question = "Can the prediction be read from positions and counts of the mask alone?"
    return Finding("pattern", question, verdict, figures, note)


def probe_alone(
    found: Sequence[Explained], untrained: Sequence[Explained], texts: Sequence[int], class_conditional: bool
) -> Finding:
    """
    (d) Do the probes decide for themselves? Can the prediction be read from their gate logits at the first state,
    which knows nothing of it yet, without words and places; better than from those of untrained probes, and than
    classes drawn at random (the control task of Hewitt and Liang 2019).

    Args:
        found (`Sequence[Explained]`): Of each input.
        untrained (`Sequence[Explained]`): The same of untrained probes.
        texts (`Sequence[int]`): Number of the text that each input is a window of.
        class_conditional (`bool`): Whether the explainer is told the prediction; then the finding is reported only.

    Returns:
        [`Finding`]: `all_states` is the accuracy from the logits of all states, of which the upper ones hold the
        prediction, and are not judged.
    """

    def of(explanations: Sequence[Explained], states: int) -> np.ndarray:
        rows = [one.logits[:, :states] for one in explanations]
        return np.array([np.concatenate([row.mean(0), row.std(0), row.min(0), row.max(0)]) for row in rows])

    classes = [one.predicted for one in found]
    drawn = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0)).tolist()
    figures = {
        "accuracy": readable(of(found, 1), classes, texts),
        "base_rate": base_rate_of(classes),
        "by_length": by_length_alone([one.logits.tolist() for one in found], classes, texts),
        "untrained": readable(of(untrained, 1), classes, texts),
        "control": readable(of(found, 1), [classes[k] for k in drawn], texts),
    }
    rivals = max(figures[name] for name in ("base_rate", "by_length", "untrained", "control"))
    verdict, note = _judged(figures["accuracy"] - rivals, figures["base_rate"], texts, class_conditional)
    figures["selectivity"] = figures["accuracy"] - figures["control"]
    figures["all_states"] = readable(of(found, found[0].logits.shape[1]), classes, texts)
    question = "Can the prediction be read from the gates of the first state alone, without the words?"
    return Finding("probe_alone", question, verdict, figures, note)


def swapped(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    found: Sequence[Explained],
    batch_size: int = 32,
) -> Finding:
    """
    (b) Does the prediction hold under replacements other than the learned baseline? Beside random masks of the same
    size.

    Args:
        explainer ([`DiffMaskModel`]): Holds the base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of the base model.
        inputs (`Sequence[dict[str, list[int]]]`): Of each what the base model takes, and `special_tokens_mask`.
        found (`Sequence[Explained]`): What the explainer says of them.
        batch_size (`int`, *optional*, defaults to 32): Inputs at once.

    Returns:
        [`Finding`]: `agreement_...` of each replacement, and `random_...` of random masks.

    Raises:
        DiffMaskError: If tokens cannot be taken away in any of the ways.
    """
    question = "Does the prediction hold when another replacement comes in the place of the baseline?"
    if explainer.config.masking == "hidden":
        note = "hidden masking replaces hidden states: no replacement of tokens stands for that"
        return Finding("swapped_baseline", question, "not checked", {}, note)
    generator = torch.Generator().manual_seed(0)
    masks: dict[str, list[list[bool]]] = {"agreement": [list(one.kept) for one in found], "random": []}
    for one, features in zip(found, inputs, strict=True):
        tokens = [k for k, special in enumerate(features["special_tokens_mask"]) if not special]
        size = sum(one.kept[k] for k in tokens)
        drawn = {tokens[k] for k in torch.randperm(len(tokens), generator=generator)[:size].tolist()}
        masks["random"].append([k in drawn or k not in set(tokens) for k in range(len(one.kept))])
    predicted = torch.tensor([one.predicted for one in found])
    figures = {"agreement_own_baseline": float(np.mean([one.agrees for one in found]))}
    left_out: list[str] = []
    for replacement in UNSEEN:
        try:
            for name, keep in masks.items():
                probabilities = class_probabilities(explainer.base, tokenizer, inputs, keep, replacement, batch_size)
                figures[f"{name}_{replacement}"] = (probabilities.argmax(-1) == predicted).double().mean().item()
        except DiffMaskError:
            left_out.append(replacement)
    used = [name for name in UNSEEN if name not in left_out]
    if not used:
        raise DiffMaskError("There is no way to take tokens away from this model's inputs.")
    holds = all(figures[f"agreement_{name}"] >= HOLDS for name in used)
    better = all(figures[f"agreement_{name}"] >= figures[f"random_{name}"] for name in used)
    note = f"cannot be done: {', '.join(left_out)}" if left_out else ""
    return Finding("swapped_baseline", question, _verdict(holds and better), figures, note)


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
    (e) How far out of distribution are masked inputs? The Mahalanobis distance of the mean last hidden state from
    those of whole inputs (Lee et al. 2018). Half of the texts give mean and covariance; the other half is measured,
    whole, which is what is usual, and masked.

    Args:
        explainer ([`DiffMaskModel`]): With input masking.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of the base model.
        inputs (`Sequence[dict[str, list[int]]]`): Of each what the base model takes, and `special_tokens_mask`.
        found (`Sequence[Explained]`): What the explainer says of them.
        texts (`Sequence[int]`): Number of the text that each input is a window of.
        batch_size (`int`, *optional*, defaults to 32): Inputs at once.

    Returns:
        [`Finding`]: `quantile` of whole inputs that the median of masked ones lies at, and the same of inputs whose
        tokens the mask token replaces in the place of the baseline.
    """
    question = "How far from whole inputs are masked ones, for the base model?"
    base, last = explainer.base, explainer.config.state_names[-1:]
    if explainer.config.masking == "hidden" or explainer.config.state_names[0] != "embeddings":
        return Finding("distribution", question, "not checked", {}, "only masked token embeddings can be compared")
    if "inputs_embeds" not in inspect.signature(base.forward).parameters:
        note = f"{type(base).__name__} does not take embeddings in the place of tokens"
        return Finding("distribution", question, "not checked", {}, note)
    embed = base.get_input_embeddings()

    # What is kept travels as the special tokens do, which no model takes and collation knows how to pad.
    items = [{**one, "special_tokens_mask": list(map(int, of.kept))} for one, of in zip(inputs, found, strict=True)]

    def means(vector: Tensor | None) -> np.ndarray:
        """Mean last states, `(N, d)`, with a vector in the place of what is masked."""

        def run(batch: dict[str, Tensor]) -> list[np.ndarray]:
            kept, embedded = batch.pop("special_tokens_mask").bool()[..., None], embed(batch.pop("input_ids"))
            if vector is not None:
                embedded = torch.where(kept, embedded, vector.to(embedded.dtype))
            _, (hidden,) = record(base, {**batch, "inputs_embeds": embedded}, last)
            there, hidden = batch["attention_mask"][..., None].cpu().double(), hidden.cpu().double()
            return list(((hidden * there).sum(1) / there.sum(1)).numpy())

        return np.stack(in_batches(tokenizer, items, explainer.device, run, batch_size))

    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    if len(numbers) < 20:
        raise DiffMaskError(f"At least 20 texts are needed to tell what is usual, and there are {len(numbers)}.")
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(0))
    usual = np.array([bool(order[numbers[text]] % 2) for text in texts])
    whole, masked = means(None), means(explainer.baseline_at(0).detach())
    center, spread = whole[~usual].mean(0), np.cov(whole[~usual], rowvar=False)
    # Shrunk towards a sphere: there may be fewer inputs than features.
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


def correlations(
    found: Sequence[Explained], others: Sequence[Explained], special: Sequence[Sequence[int]]
) -> list[float]:
    """
    Rank correlation of two explainers' scores, for each input that both rank.

    Args:
        found (`Sequence[Explained]`): What one says.
        others (`Sequence[Explained]`): What the other says.
        special (`Sequence[Sequence[int]]`): Of each input, 1 at special tokens, which are left out.

    Returns:
        `list[float]`

    Raises:
        DiffMaskError: If there is no such input.
    """
    values = []
    for one, other, marks in zip(found, others, special, strict=True):
        pair = [[score for score, mark in zip(side.scores, marks, strict=True) if not mark] for side in (one, other)]
        if len(pair[0]) > 1 and all(len(set(side)) > 1 for side in pair):
            values.append(rank_correlation(*pair))
    if not values:
        raise DiffMaskError("There is no input whose tokens both explainers rank.")
    return values


def random_base(
    found: Sequence[Explained],
    others: Sequence[Explained] | None,
    special: Sequence[Sequence[int]],
    to_lose: float,
    bound: float,
) -> Finding:
    """
    (c) Do explanations depend on what the base model has learned? Rank correlation with those of an explainer that was
    trained the same way on a base model with random weights (Adebayo et al. 2018).

    Args:
        found (`Sequence[Explained]`): What the explainer says.
        others (`Sequence[Explained]`, *optional*): What the one for the random base model says.
        special (`Sequence[Sequence[int]]`): Of each input, 1 at special tokens.
        to_lose (`float`): What masking everything costs the random base model, in the terms of the margin.
        bound (`float`): The margin of that explainer. One that may mask everything has nothing to learn.

    Returns:
        [`Finding`]
    """
    question = "Are explanations other than those of a base model with random weights?"
    if others is None:
        return Finding("random_base", question, "not checked", {}, "needs an explainer of a random base model")
    values = correlations(found, others, special)
    mean = float(np.mean(values))
    figures = {"rank_correlation": mean, "inputs": float(len(values)), "masking_everything": to_lose, "margin": bound}
    free = "its explainer may mask everything, and has nothing to learn" if to_lose <= bound else ""
    if to_lose <= 10 * ROUNDING:
        free = "masking everything costs the random base model no more than rounding"
    # Ranked backwards is alike, too.
    return Finding("random_base", question, "reported" if free else _verdict(abs(mean) <= RANDOM_BASE), figures, free)


def seeds(
    found: Sequence[Explained], others: Sequence[Sequence[Explained]], special: Sequence[Sequence[int]]
) -> Finding:
    """
    (f) Do explainers that were trained with other seeds say the same? Mean rank correlation over all pairs.

    Args:
        found (`Sequence[Explained]`): What the explainer says.
        others (`Sequence[Sequence[Explained]]`): What those of other seeds say.
        special (`Sequence[Sequence[int]]`): Of each input, 1 at special tokens.

    Returns:
        [`Finding`]
    """
    question = "Do explainers trained with other seeds say the same?"
    if not others:
        return Finding("seeds", question, "not checked", {}, "needs explainers of other seeds")
    sides = [found, *others]
    pairs = [(sides[a], sides[b]) for a in range(len(sides)) for b in range(a)]
    values = [float(np.mean(correlations(one, other, special))) for one, other in pairs]
    figures = {"rank_correlation": float(np.mean(values)), "lowest": min(values), "explainers": float(len(sides))}
    return Finding("seeds", question, _verdict(figures["rank_correlation"] >= SEEDS), figures, "")


def margin(found: Sequence[Explained], bound: float) -> Finding:
    """
    (g) How many inputs are outside the margin?

    Args:
        found (`Sequence[Explained]`): What the explainer says.
        bound (`float`): The margin.

    Returns:
        [`Finding`]
    """
    costs = np.array([one.cost for one in found])
    figures = {"outside": float((costs > bound).mean()), "cost": float(costs.mean()), "margin": bound}
    within = figures["outside"] <= OUTSIDE and figures["cost"] <= bound
    return Finding("margin", "How many inputs are outside the margin?", _verdict(within), figures, "")


def _verdict(passed: bool) -> str:
    return "pass" if passed else "fail"


def audit(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    texts: Sequence[int] | None = None,
    other_seeds: Sequence[DiffMaskModel] = (),
    on_random_base: DiffMaskModel | None = None,
    batch_size: int = 32,
) -> list[Finding]:
    """
    Runs all tests.

    Args:
        explainer ([`DiffMaskModel`]): For a classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of the base model.
        inputs (`Sequence[dict[str, list[int]]]`):
            Of each what the base model takes, and `special_tokens_mask`. Those of special tokens alone are left out.
        texts (`Sequence[int]`, *optional*):
            Number of the text that each input is a window of. By default each input is a text, and equal ones are one.
        other_seeds (`Sequence[DiffMaskModel]`, *optional*): Explainers for the same base model, of other seeds.
        on_random_base ([`DiffMaskModel`], *optional*):
            An explainer trained the same way for the same model with random weights, holding that.
        batch_size (`int`, *optional*, defaults to 32): Inputs at once.

    Returns:
        `list[Finding]`: One for each test. What cannot be computed is not checked, with the reason.

    Raises:
        DiffMaskError: If the explainer is for no classifier, or no input has a token to mask.
    """
    if texts is None:
        numbers: dict[tuple[int, ...], int] = {}
        texts = [numbers.setdefault(tuple(one["input_ids"]), len(numbers)) for one in inputs]
    pairs = [(one, text) for one, text in zip(inputs, texts, strict=True) if not all(one["special_tokens_mask"])]
    if not pairs:
        raise DiffMaskError("There is nothing to audit: no input has a token that is not special.")
    inputs, texts = [one for one, _ in pairs], [text for _, text in pairs]

    def run(model: DiffMaskModel) -> list[Explained]:
        return explained(model, tokenizer, inputs, batch_size)

    def of_random() -> Finding:
        if on_random_base is None:
            return random_base(found, None, special, 0.0, 0.0)
        to_lose = masking_everything(on_random_base, tokenizer, inputs, batch_size)
        return random_base(found, run(on_random_base), special, to_lose, float(on_random_base.config.margin))

    def gates() -> Finding:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            untrained = DiffMaskModel(explainer.config, explainer.base).to(explainer.device).eval()
        return probe_alone(found, run(untrained), texts, told)

    found, told = run(explainer), explainer.config.class_conditional
    special = [one["special_tokens_mask"] for one in inputs]
    tests: dict[str, Callable[[], Finding]] = {
        "pattern": lambda: pattern(found, special, texts, told),
        "swapped_baseline": lambda: swapped(explainer, tokenizer, inputs, found, batch_size),
        "random_base": of_random,
        "probe_alone": gates,
        "distribution": lambda: distance(explainer, tokenizer, inputs, found, texts, batch_size),
        "seeds": lambda: seeds(found, [run(other) for other in other_seeds], special),
        "margin": lambda: margin(found, float(explainer.config.margin)),
    }
    findings = []
    for name, test in tests.items():
        try:
            findings.append(test())
        except DiffMaskError as error:
            findings.append(Finding(name, "", "not checked", {}, str(error)))
    return findings


def format_findings(findings: Sequence[Finding]) -> str:
    """
    The findings as a table.

    Args:
        findings (`Sequence[Finding]`): Result of [`audit`].

    Returns:
        `str`: Markdown.
    """
    lines = ["| test | verdict | found |", "|---|---|---|"]
    for one in findings:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in one.figures.items())
        found = "; ".join(part for part in (figures, one.note) if part)
        lines.append(f"| `{one.name}` {one.question} | **{one.verdict}** | {found} |")
    return "\n".join(lines)
