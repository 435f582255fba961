"""Batches of similar length, and a split of texts for validation."""

from collections.abc import Iterable, Iterator

import torch

from ..errors import DiffMaskError
from .encoding import Text


class LengthGroupedSampler(torch.utils.data.Sampler[int]):
    """
    Shuffled batches of examples of similar length, for little padding.

    The order depends only on the seed and the epoch. It consists of *global* batches, so the number of processes and
    accumulation steps does not change it. (`transformers`' sampler groups by the batch of one process, and leaves each
    pool sorted from long to short.) Examples that do not fill a batch are skipped in this epoch, unless there is no
    full batch.

    Args:
        lengths (`list[int]`): Length of each example in tokens.
        batch_size (`int`): Examples in a global batch.
        seed (`int`): Seed of the order.
    """

    POOL = 20  # batches sorted together: more means less padding, fewer means better mixing

    def __init__(self, lengths: list[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, which determines the order; the data loader calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        full = len(self.lengths) // self.batch_size * self.batch_size
        return full or len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        pool = self.POOL * self.batch_size
        batches = []
        for start in range(0, len(order), pool):
            by_length = sorted(order[start : start + pool], key=lambda index: self.lengths[index])
            batches += [by_length[k : k + self.batch_size] for k in range(0, len(by_length), self.batch_size)]
        # An incomplete batch could not be split evenly over processes.
        full = [batch for batch in batches if len(batch) == self.batch_size] or batches
        for k in torch.randperm(len(full), generator=generator).tolist():
            yield from full[k]


def train_validation_split(texts: Iterable[Text], seed: int, share: float = 0.1, most: int = 256) -> tuple[list, list]:
    """
    Training texts and validation texts: a share for validation, at most `most` and at least one.

    Args:
        texts (`Iterable`): Texts or pairs, such as a list or a column.
        seed (`int`): Seed of the shuffle.
        share (`float`, *optional*, defaults to 0.1): Share of validation texts.
        most (`int`, *optional*, defaults to 256): Largest number of validation texts.

    Returns:
        `tuple[list, list]`: Training texts and validation texts.

    Raises:
        DiffMaskError: If there are fewer than two texts.
    """
    texts = list(texts)  # a pandas series counts by its index, not by position
    if len(texts) < 2:
        raise DiffMaskError("One text is not enough to train on and to validate with: give at least two.")
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
    count = max(1, min(most, int(len(texts) * share)))
    return [texts[k] for k in order[count:]], [texts[k] for k in order[:count]]
