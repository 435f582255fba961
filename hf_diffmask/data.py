"""From data sets and texts to features."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import torch
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from .errors import DiffMaskError, reason

logger = logging.get_logger(__name__)

# How `datasets` calls the reader of each kind of local file.
READERS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}

Text = str | tuple[str, str]


def load_texts(
    dataset: str,
    text_column: str = "text",
    text_pair_column: str | None = None,
    split: str = "train",
    keep_empty: bool = False,
    config: str | None = None,
    streaming: bool = False,
    limit: int | None = None,
) -> list[Text]:
    """
    Reads the texts of a data set; labels are not needed.

    Args:
        dataset (`str`): A csv, json, jsonl or parquet file, gzipped or not, or the id of a data set on the Hub.
        text_column (`str`, *optional*, defaults to `"text"`): Column of the text.
        text_pair_column (`str`, *optional*): Column of the second text of each pair.
        split (`str`, *optional*, defaults to `"train"`): Which split of a data set on the Hub.
        keep_empty (`bool`, *optional*, defaults to `False`): Whether to keep rows without text.
        config (`str`, *optional*): Which configuration of a data set on the Hub.
        streaming (`bool`, *optional*, defaults to `False`):
            Whether to read rows as they are needed, instead of getting the whole of a large data set first.
        limit (`int`, *optional*): Most texts to read, the first of them.

    Returns:
        `list`: Texts, or pairs of texts. Rows without text are left out, and their number is logged.

    Raises:
        DiffMaskError: If the data set cannot be read, lacks a column, or holds no text.
    """
    path, suffix = Path(dataset), _suffix(dataset)
    if path.is_file() and not suffix:
        raise DiffMaskError(
            f"{dataset} is of no known kind: name it .csv, .json, .jsonl or .parquet (.gz may follow)."
        )
    if suffix and not path.is_file():
        raise DiffMaskError(f"There is no file {dataset}: give the path of a data file or the id of a data set.")
    if path.is_file() and path.stat().st_size == 0:
        raise DiffMaskError(f"The data set {dataset} is empty.")
    columns = [text_column] + ([text_pair_column] if text_pair_column else [])
    texts: list[tuple] = []
    empty = 0
    try:
        if path.is_file():
            table = datasets.load_dataset(READERS[suffix], data_files=str(path), split="train", streaming=streaming)
        else:
            table = datasets.load_dataset(dataset, config, split=split, streaming=streaming)
        names = table.column_names or list(next(iter(table)))  # of a stream they may be known from its rows alone
        for column in columns:
            if column not in names:
                raise DiffMaskError(
                    f"The data set {dataset} has no column {column!r}; it has {', '.join(names)}: name one with "
                    "--text_column or --text_pair_column."
                )
        table = table.select_columns(columns)
        total = None if streaming else min(len(table), limit or len(table))
        for row in tqdm(table, desc="Reading", unit="row", total=total, disable=total is not None and total < 100_000):
            found = tuple(row[column] for column in columns)
            if keep_empty or all(isinstance(text, str) and text.strip() for text in found):
                texts.append(found)
            else:
                empty += 1
            if limit is not None and len(texts) == limit:
                break
    except DiffMaskError:
        raise
    except StopIteration as error:  # of the reader's own iterator, over a json file without rows
        raise DiffMaskError(f"The data set {dataset} is empty.") from error
    except (OSError, ValueError, DatasetGenerationError, DatasetNotFoundError) as error:
        raise DiffMaskError(f"The data set {dataset} cannot be read ({reason(error)}).") from error
    if empty:
        logger.warning(f"{empty} of {len(texts) + empty} rows of {dataset} hold no text and are left out.")
    if not texts:
        raise DiffMaskError(f"The data set {dataset} holds no text in column {text_column!r}.")
    return [row if text_pair_column else row[0] for row in texts]


def is_on_hub(dataset: str) -> bool:
    """
    Whether a data set is named by an id on the Hub.

    Args:
        dataset (`str`): What was given to [`load_texts`].

    Returns:
        `bool`
    """
    return bool(re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", dataset)) and not Path(dataset).exists() and not _suffix(dataset)


def _suffix(dataset: str) -> str:
    """The suffix that says how a file is read, or nothing."""
    suffix = next((part for part in reversed(Path(dataset).suffixes) if part != ".gz"), "")
    return suffix if suffix in READERS else ""


def clean(text: str) -> str:
    """Replaces unpaired surrogates, on which tokenizers raise, by U+FFFD; offsets stay what they are."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def max_length(base_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """
    The longest input in tokens that a base model takes, special tokens included.

    Args:
        base_model ([`~transformers.PreTrainedModel`]): The base model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.

    Returns:
        `int`: The smaller of the tokenizer's and the model's own limit; 512 where neither states one.
    """
    limits = [tokenizer.model_max_length]
    positions = getattr(base_model.config, "max_position_embeddings", None)
    if positions is not None:
        # Tables with a padding row number their positions from the row after it (RoBERTa and its kin).
        reserved = [
            module.padding_idx + 1
            for name, module in base_model.named_modules()
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        ]
        limits.append(positions - max(reserved, default=0))
    return min([limit for limit in limits if limit and limit < 1_000_000], default=512)


class Window(NamedTuple):
    """A part of an input that the base model can take, or the whole of it."""

    units: list[int]
    """Index in the whole input's encoding of each token of the window."""
    features: dict[str, list[int]]
    """What the base model takes, and `special_tokens_mask`: one integer a token each."""


@dataclass(frozen=True)  # no tuple: pipelines take tuples apart on their way to a device
class EncodedText:
    """A whole input in tokens, however long. Lists hold one entry a token."""

    texts: list[str]
    features: dict[str, list[int]]
    tokens: list[str]
    offsets: list[tuple[int, int]]
    """Start and end of each token in its segment's text, in characters."""
    segments: list[int | None]
    """0 for the text, 1 for its pair, `None` for special tokens."""
    words: list[int | None]
    """Number of the word within its segment, `None` for special tokens."""


def encode(tokenizer: PreTrainedTokenizerBase, text: Text) -> EncodedText:
    """
    Turns a text or a pair into tokens, without truncation.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): A fast tokenizer.
        text (`str` or `tuple[str, str]`): The input.

    Returns:
        [`EncodedText`]

    Raises:
        DiffMaskError: If the tokenizer knows no offsets.
    """
    if not tokenizer.is_fast:
        raise DiffMaskError(f"{type(tokenizer).__name__} gives no character offsets: a fast tokenizer is needed.")
    segments = [clean(segment) for segment in ([text] if isinstance(text, str) else text)]
    encoding = tokenizer(
        *segments, truncation=False, return_offsets_mapping=True, return_attention_mask=True, verbose=False
    )
    offsets = encoding.pop("offset_mapping")
    sequence_ids = encoding.sequence_ids()
    features = {name: list(values) for name, values in encoding.items()}
    features["special_tokens_mask"] = [int(segment is None) for segment in sequence_ids]
    return EncodedText(
        texts=segments,
        features=features,
        tokens=encoding.tokens(),
        offsets=offsets,
        segments=sequence_ids,
        words=encoding.word_ids(),
    )


def _spans(count: int, size: int) -> list[range]:
    """Overlapping ranges of at most `size` that cover `range(count)`; neighbours share a quarter."""
    if count <= size:
        return [range(count)]
    step = max(1, size - size // 4)
    starts = [*range(0, count - size, step), count - size]
    return [range(start, start + size) for start in starts]


def windows(encoded: EncodedText, length: int) -> Iterator[Window]:
    """
    Splits a long input into overlapping windows; each has all special tokens, and every token is in at least one.

    Of a pair, the shorter text keeps at most half of the room, and each of its parts is combined with each of the
    longer one's.

    Args:
        encoded ([`EncodedText`]): The input.
        length (`int`): Tokens that fit into a window, special tokens included.

    Yields:
        [`Window`]: One for an input that fits.

    Raises:
        DiffMaskError: If the special tokens leave no room.
    """
    special = [unit for unit, segment in enumerate(encoded.segments) if segment is None]
    texts = [[unit for unit, segment in enumerate(encoded.segments) if segment == which] for which in (0, 1)]
    room = length - len(special)
    if room < 2:
        raise DiffMaskError(f"A window of {length} tokens leaves no room beside {len(special)} special tokens.")
    shorter, longer = sorted(texts, key=len)
    if len(shorter) + len(longer) <= room:
        shorter_size, longer_size = max(1, len(shorter)), max(1, len(longer))
    else:
        shorter_size = max(1, min(len(shorter), room // 2))
        longer_size = room - min(len(shorter), shorter_size)
    for few in _spans(len(shorter), shorter_size):
        for many in _spans(len(longer), longer_size):
            units = sorted([*special, *(shorter[k] for k in few), *(longer[k] for k in many)])
            yield Window(units, {name: [values[unit] for unit in units] for name, values in encoded.features.items()})


class Features(torch.utils.data.Dataset):
    """
    A data set of features, for training and validation.

    Args:
        items (`list[dict]`): Of each example what the base model takes, a list of `T` numbers each, among them
            `input_ids` and `attention_mask`, and `special_tokens_mask`.
    """

    def __init__(self, items: list[dict[str, Any]]):
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.items[index], "example_ids": index}


class TextFeatures(Features):
    """
    Features of texts: one window an item.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): A fast tokenizer.
        texts (`list`): Texts or pairs.
        length (`int`): Tokens that fit into a window; longer texts become several items.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], length: int):
        progress = tqdm(texts, desc="Tokenizing", unit="text", disable=len(texts) < 10_000)
        super().__init__([window.features for text in progress for window in windows(encode(tokenizer, text), length)])


def features_of_ids(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> dict[str, list[int]]:
    """
    What a model takes, from the token ids of one text.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Knows the special tokens.
        ids (`Sequence[int]`): Special tokens included, without padding.

    Returns:
        `dict[str, list[int]]`: `input_ids`, `attention_mask` and `special_tokens_mask`.

    Raises:
        DiffMaskError: If they are those of a pair, and the model is told which token belongs to which text.
    """
    ids = list(ids)
    separator = tokenizer.sep_token_id
    if "token_type_ids" in tokenizer.model_input_names and separator is not None and separator in ids[:-1]:
        raise DiffMaskError(
            "These are the ids of a pair, and ids alone do not say where its second text begins: give whole features "
            "to the functions of hf_diffmask, which the metrics wrap."
        )
    # What stands for a word is none of them.
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id, tokenizer.mask_token_id}
    return {
        "input_ids": ids,
        "attention_mask": [1] * len(ids),
        "special_tokens_mask": [int(token in special) for token in ids],
    }


def collate(tokenizer: PreTrainedTokenizerBase, items: list[dict[str, Any]]) -> dict[str, Tensor]:
    """
    Pads items to the longest of them.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Knows the padding id and side.
        items (`list[dict]`): Items of [`Features`].

    Returns:
        `dict[str, torch.Tensor]`: Features `(B, T)`, and `example_ids` `(B,)`.

    Raises:
        DiffMaskError: If there is no padding token, and inputs differ in length.
    """
    example_ids = [item["example_ids"] for item in items]
    features = [{name: value for name, value in item.items() if name != "example_ids"} for item in items]
    if tokenizer.pad_token_id is None:
        if len({len(item["input_ids"]) for item in features}) > 1:
            raise DiffMaskError("The tokenizer has no padding token: set `tokenizer.pad_token`, or give one input.")
        batch = {name: torch.tensor([item[name] for item in features]) for name in features[0]}
        return {**batch, "example_ids": torch.tensor(example_ids)}
    batch = tokenizer.pad(features, return_tensors="pt", verbose=False)
    return {**batch, "example_ids": torch.tensor(example_ids)}


class LengthGroupedSampler(torch.utils.data.Sampler[int]):
    """
    Shuffled batches of examples of like length, so that little is spent on padding.

    The order is a function of the seed and the epoch. It is made of *global* batches, so that it is the same however
    a batch is split over processes and accumulation steps (`transformers`' own sampler groups by the batch of one
    process, and leaves each pool sorted from long to short). Examples that do not fill a batch are left to the next
    epoch, unless there is no full batch at all.

    Args:
        lengths (`list[int]`): Length of each example in tokens.
        batch_size (`int`): Examples in a global batch.
        seed (`int`): Seed of the order.
    """

    POOL = 20  # batches that are sorted together: enough for little padding, few enough to mix

    def __init__(self, lengths: list[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of an epoch; called by the data loader."""
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
        # What does not fill a batch waits for another epoch: it could not be split over processes evenly.
        full = [batch for batch in batches if len(batch) == self.batch_size] or batches
        for k in torch.randperm(len(full), generator=generator).tolist():
            yield from full[k]


def train_validation_split(texts: Sequence[Text], seed: int, share: float = 0.1, most: int = 256) -> tuple[list, list]:
    """
    Sets texts aside for validation: a share of them, at most `most` and at least one.

    Args:
        texts (`list`): Texts or pairs.
        seed (`int`): Seed of the shuffle.
        share (`float`, *optional*, defaults to 0.1): Share to set aside.
        most (`int`, *optional*, defaults to 256): Most texts to set aside.

    Returns:
        `tuple[list, list]`: Training texts and validation texts.

    Raises:
        DiffMaskError: If there are fewer than two texts.
    """
    if len(texts) < 2:
        raise DiffMaskError("One text is not enough to train on and to validate with: give at least two.")
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
    count = max(1, min(most, int(len(texts) * share)))
    return [texts[k] for k in order[count:]], [texts[k] for k in order[:count]]
