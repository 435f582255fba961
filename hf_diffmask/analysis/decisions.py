"""At which state predictions are settled."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from ..base.running import Recorded
from ..data.encoding import Text, encode, max_length
from ..data.windows import Window, windows
from ..display.plot_data import DecidedByState, FixedByState
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..methods.budget_search import smallest_budget
from ..training.validation import COLUMNS, measure


def unchanged_predictions(
    explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], batch_size: int = 8
) -> Tensor:
    """
    Whether the hard mask of each state leaves the prediction of each input as it is: a masked pass each.

    The prediction is the label, or the most probable start and end of an answer. That of an input that needs several
    windows counts as unchanged if it is so in all of them.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's.
        texts (`Sequence`): `N` texts or pairs.
        batch_size (`int`, *optional*, defaults to 8): Windows that run through the base model at once.

    Returns:
        `torch.Tensor` of shape `(N, S)`, `bool`.
    """
    unchanged = torch.ones(len(texts), explainer.config.num_states, dtype=torch.bool)
    for indices, recorded in _of_one_length(explainer, tokenizer, texts, batch_size, "Masking at each state"):
        agreement = measure(explainer, recorded)[..., COLUMNS.index("agreement")].bool().cpu()
        for index, row in zip(indices, agreement, strict=True):
            unchanged[index] &= row
    return unchanged


def _of_one_length(
    explainer: DiffMaskModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], batch_size: int, title: str
) -> Iterator[tuple[list[int], Recorded]]:
    """Runs windows in batches of one length: not all tokenizers can pad. With each batch the numbers of its texts."""
    length = max_length(explainer.base, tokenizer)
    parts: list[tuple[int, Window]] = [
        (index, window) for index, text in enumerate(texts) for window in windows(encode(tokenizer, text), length)
    ]

    def size(part: tuple[int, Window]) -> int:
        return len(part[1].units)

    with tqdm(total=len(parts), desc=title, unit="window", disable=len(parts) < 20) as progress:
        for _, group in itertools.groupby(sorted(parts, key=size), key=size):
            of_one_length = list(group)
            for start in range(0, len(of_one_length), batch_size):
                batch = of_one_length[start : start + batch_size]
                features = {
                    name: torch.tensor([window.features[name] for _, window in batch], device=explainer.device)
                    for name in batch[0][1].features
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
    How much of each input a path has to keep at each state: its smallest budget that is within a margin, as verified.

    Of an input that needs several windows, each of them is searched, and their budgets are added up.

    Args:
        explainer ([`DiffMaskModel`]): One whose masks form a path (`--recipe path`).
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's.
        texts (`Sequence`): `N` texts or pairs.
        margin (`float`, *optional*): What a mask may cost, see [`DiffMaskModel.cost`]; by default the explainer's.
        batch_size (`int`, *optional*, defaults to 8): Windows whose paths are searched at once.

    Returns:
        `torch.Tensor` of shape `(N, S)`: Shares of the units that can be masked, in [0, 1]; 0 where there is none.

    Raises:
        DiffMaskError: If the explainer's masks form no path.
    """
    if not explainer.masks.any_margin:
        raise DiffMaskError("Only a path can be cut at any budget: train an explainer with --recipe path.")
    found = torch.zeros(2, len(texts), explainer.config.num_states)
    for indices, recorded in _of_one_length(explainer, tokenizer, texts, batch_size, "Searching at each state"):
        output = explainer.explain(recorded)
        for state in range(explainer.config.num_states):
            scores = output.logits[..., state]
            budget = smallest_budget(explainer, recorded, scores, margin, state).budget
            found[0, :, state].index_add_(0, torch.tensor(indices), budget.cpu().float())
            found[1, :, state].index_add_(0, torch.tensor(indices), output.maskable.sum(-1).cpu().float())
    return found[0] / found[1].clamp(min=1)


def decided_by_state(states: Sequence[str], shares: Tensor, margin: float) -> DecidedByState:
    """
    When predictions were decided: how much of the inputs each state shows to be enough.

    Each share is of a mask that was run and is within the margin, or keeps everything, so that the rest is irrelevant;
    a smaller one may be, too (see [`~hf_diffmask.methods.budget_search.smallest_budget`]).

    Args:
        states (`Sequence[str]`): Names of the `S` states.
        shares (`torch.Tensor` of shape `(N, S)`): See [`smallest_shares`].
        margin (`float`): What the masks were allowed to cost.

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
    From which state on predictions are settled.

    The prediction of an input is *fixed at a state* if the hard masks of this state and of every state above it leave
    it as it is: from there on up, what the explainer keeps is enough to decide. Where the last state's mask changes
    it, it is fixed nowhere. To be unchanged at one state alone is less: under a low state's mask that keeps nearly
    all any prediction is, and what is dropped above may still change it.

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
