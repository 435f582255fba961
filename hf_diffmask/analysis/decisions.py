"""From which state on predictions are fixed."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from ..base.running import Recorded
from ..data.encoding import Text
from ..display.plot_data import DecidedByState, FixedByState
from ..errors import DiffMaskError
from ..explainer.inputs import inputs_of
from ..explainer.modeling_diffmask import DiffMaskModel
from ..methods.budget_search import smallest_budget
from ..training.validation import COLUMNS, measure


def unchanged_predictions(
    explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], batch_size: int = 8
) -> Tensor:
    """
    Whether each state's hard mask leaves each input's prediction unchanged; one masked pass per state.

    The prediction is the label, or the most probable start and end of an answer. A prediction over several windows is
    unchanged if all windows agree, and one for several entities if all are unchanged.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        texts (`Sequence`): `N` texts or pairs.
        batch_size (`int`, *optional*, defaults to 8): Windows per batch.

    Returns:
        `torch.Tensor` of shape `(N, S)`, `bool`.
    """
    unchanged = torch.ones(len(texts), len(explainer.config.columns), dtype=torch.bool)
    for indices, recorded in _of_one_length(explainer, tokenizer, texts, batch_size, "Masking at each state"):
        agreement = measure(explainer, recorded)[..., COLUMNS.index("agreement")].bool().cpu()
        for index, row in zip(indices, agreement, strict=True):
            unchanged[index] &= row
    return unchanged


def _of_one_length(
    explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], batch_size: int, title: str
) -> Iterator[tuple[list[int], Recorded]]:
    """Yields text numbers and recorded passes, in batches of equal length: not all tokenizers can pad."""
    made = inputs_of(explainer, tokenizer, texts)
    parts = list(zip(made.of_text, made.items, strict=True))

    def size(part: tuple[int, dict[str, list[int]]]) -> int:
        return len(part[1]["input_ids"])

    with tqdm(total=len(parts), desc=title, unit="window", disable=len(parts) < 20) as progress:
        for _, group in itertools.groupby(sorted(parts, key=size), key=size):
            of_one_length = list(group)
            for start in range(0, len(of_one_length), batch_size):
                batch = of_one_length[start : start + batch_size]
                features = {
                    name: torch.tensor([item[name] for _, item in batch], device=explainer.device)
                    for name in batch[0][1]
                }
                yield [index for index, _ in batch], explainer.record(explainer.batch(**features))
                progress.update(len(batch))


@torch.no_grad()
def smallest_shares(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    margin: float | None = None,
    batch_size: int = 8,
) -> Tensor:
    """
    Share of each input that a path must keep at each state: its smallest verified budget within a margin.

    Each window of an input is searched, or each of its entities, and the budgets are added up.

    Args:
        explainer ([`DiffMaskModel`]): Explainer with evidence, whose masks form a path.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        texts (`Sequence`): `N` texts or pairs.
        margin (`float`, *optional*): Highest cost, see [`DiffMaskModel.cost`]; by default the explainer's margin.
        batch_size (`int`, *optional*, defaults to 8): Windows per batch.

    Returns:
        `torch.Tensor` of shape `(N, S)`: Shares of the units that can be masked, in [0, 1]; 0 if no unit can.

    Raises:
        DiffMaskError: If the explainer's masks form no path.
    """
    if not explainer.masks.any_margin:
        raise DiffMaskError("Only a path can be cut at any budget: train an explainer with --recipe ablation.")
    found = torch.zeros(2, len(texts), len(explainer.config.columns))
    for indices, recorded in _of_one_length(explainer, tokenizer, texts, batch_size, "Searching at each state"):
        output = explainer.explain(recorded)
        for state in range(len(explainer.config.columns)):
            scores = output.logits[..., state]
            budget = smallest_budget(explainer, recorded, scores, margin, state).budget
            found[0, :, state].index_add_(0, torch.tensor(indices), budget.cpu().float())
            found[1, :, state].index_add_(0, torch.tensor(indices), output.maskable.sum(-1).cpu().float())
    return found[0] / found[1].clamp(min=1)


def decided_by_state(states: Sequence[str], shares: Tensor, margin: float) -> DecidedByState:
    """
    Statistics of when predictions were decided: the share of an input that suffices at each state.

    Each share belongs to a mask that was run and is within the margin, or keeps everything. The masked units are
    irrelevant. A smaller mask may be within the margin, too (see
    [`~hf_diffmask.methods.budget_search.smallest_budget`]).

    Args:
        states (`Sequence[str]`): Names of the `S` states.
        shares (`torch.Tensor` of shape `(N, S)`): See [`smallest_shares`].
        margin (`float`): Highest cost of the masks.

    Returns:
        [`DecidedByState`]: A plain `dict`.

    Raises:
        DiffMaskError: If there are no inputs.
    """
    if not len(shares):
        raise DiffMaskError("There is nothing to analyse: give at least one input.")
    quartiles = torch.quantile(shares.double(), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=0)
    return {
        "states": list(states),
        "count": len(shares),
        "margin": margin,
        "lower": quartiles[0].tolist(),
        "median": quartiles[1].tolist(),
        "upper": quartiles[2].tolist(),
        "mean": shares.double().mean(0).tolist(),
    }


def fixed_by_state(states: Sequence[str], unchanged: Tensor) -> FixedByState:
    """
    Share of predictions that are fixed at each state.

    A prediction is *fixed at a state* if the hard masks of this state and of all states above leave it unchanged: from
    this state on, the kept units suffice. If the last state's mask changes the prediction, it is fixed nowhere.
    Unchanged at a single state means less: a low state's mask may keep nearly everything, and a higher state's mask
    may still change the prediction.

    Args:
        states (`Sequence[str]`): Names of the `S` states.
        unchanged (`torch.Tensor` of shape `(N, S)`, `bool`): See [`unchanged_predictions`].

    Returns:
        [`FixedByState`]: A plain `dict`.

    Raises:
        DiffMaskError: If there are no inputs.
    """
    if not len(unchanged):
        raise DiffMaskError("There is nothing to analyse: give at least one input.")
    fixed = unchanged.long().flip(1).cumprod(1).flip(1)
    return {
        "states": list(states),
        "count": len(unchanged),
        "unchanged": unchanged.double().mean(0).tolist(),
        "fixed": fixed.double().mean(0).tolist(),
    }
