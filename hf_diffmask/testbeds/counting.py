"""The counting task (paper, section 4): does digit `n` occur more often than digit `m`? The true attribution is known.

Importing this module registers its model with `AutoConfig` and `AutoModelForSequenceClassification`.
"""

from typing import Any, NamedTuple

import torch
from huggingface_hub.dataclasses import strict
from tokenizers import Tokenizer, models
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence
from tqdm.auto import tqdm
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from ..data.features import Features
from .gru import cudnn_for_guests

DIGITS, LONGEST = 10, 10
STATES = ("embeddings", "encoder")


class Counts(NamedTuple):
    """Examples of the task, padded to 10 digits."""

    query_ids: Tensor
    """`(N, 2)`: Two different digits, `n` and `m`."""
    input_ids: Tensor
    """`(N, T)`: The digits; `DIGITS` at padding."""
    attention_mask: Tensor
    """`(N, T)`: 0 at padding."""
    labels: Tensor
    """`(N,)`: Whether `n` occurs more often than `m`."""

    def features(self) -> Features:
        """The examples as a data set for [`~hf_diffmask.DiffMaskTrainer`], without labels."""
        lengths = self.attention_mask.sum(-1).tolist()
        return Features(
            [
                {
                    "input_ids": digits[:length],
                    "attention_mask": [1] * length,
                    "special_tokens_mask": [0] * length,
                    "query_ids": query,
                }
                for query, digits, length in zip(
                    self.query_ids.tolist(), self.input_ids.tolist(), lengths, strict=True
                )
            ]
        )

    def truth(self) -> Tensor:
        """
        The true attribution: uniform over every `n` and every `m`, and 0 elsewhere.

        Returns:
            `torch.Tensor` of shape `(N, T)`: A distribution; all 0 for an example without `n` and `m`.
        """
        marked = (self.input_ids[..., None] == self.query_ids[:, None]).any(-1) & self.attention_mask.bool()
        return marked / marked.sum(-1, keepdim=True).clamp(min=1)


def draw(count: int, seed: int) -> Counts:
    """
    Random examples of 1 to 10 digits. Each query digit has probability 0.25; the other digits share 0.5.

    Args:
        count (`int`): Number `N` of examples.
        seed (`int`): Seed.

    Returns:
        [`Counts`]
    """
    generator = torch.Generator().manual_seed(seed)
    query = torch.rand(count, DIGITS, generator=generator).argsort(-1)[:, :2]
    weights = torch.full((count, DIGITS), 0.5 / (DIGITS - 2)).scatter(1, query, 0.25)
    digits = torch.multinomial(weights, LONGEST, replacement=True, generator=generator)
    lengths = torch.randint(1, LONGEST + 1, (count, 1), generator=generator)
    real = torch.arange(LONGEST) < lengths
    first, second = (((digits == query[:, k, None]) & real).sum(-1) for k in (0, 1))
    return Counts(query, digits.masked_fill(~real, DIGITS), real.long(), (first > second).long())


def compare(truth: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """
    Divergences between true attributions and scores, as distributions over units.

    Args:
        truth (`torch.Tensor` of shape `(N, T)`): True attributions, as distributions.
        scores (`torch.Tensor` of shape `(N, T)`):
            Scores of 0 or more; they are divided by their sum. If all are 0, they count as uniform over all `T`.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: `D_KL(truth || attribution)`, and `D_JS`, the Jensen-Shannon divergence;
        `(N,)` each, in nats. `D_KL` is infinite if a unit that matters has a score of 0.
    """

    def divergence(first: Tensor, second: Tensor) -> Tensor:
        return torch.where(first > 0, first * (first / second).log(), 0.0).sum(-1)

    truth, scores = truth.double(), scores.double()
    total = scores.sum(-1, keepdim=True)
    attribution = torch.where(total > 0, scores / total, 1 / scores.shape[-1])
    middle = (truth + attribution) / 2
    return divergence(truth, attribution), (divergence(truth, middle) + divergence(attribution, middle)) / 2


@strict
class CountingConfig(PreTrainedConfig):
    r"""
    Configuration of a [`CountingForSequenceClassification`].

    Args:
        embedding_size (`int`, *optional*, defaults to `64`):
            Width of the embeddings of query and digits.
        hidden_size (`int`, *optional*, defaults to `64`):
            Width of the encoder's hidden layer and of the GRU.
    """

    model_type = "diffmask-counting"

    embedding_size: int = 64
    hidden_size: int = 64
    pad_token_id: int | None = DIGITS


class CountingForSequenceClassification(PreTrainedModel):
    """
    The paper's base model for the task (section 4): a GRU adds up two numbers for each digit.

    An encoder computes the two numbers from the digit and the query. The model has no blocks. Its states are
    `embeddings` (for the digits) and `encoder` (a module path).

    Args:
        config ([`CountingConfig`]): The sizes.
    """

    config_class = CountingConfig
    config: CountingConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    ENTROPY_BONUS = 0.35

    def __init__(self, config: CountingConfig):
        super().__init__(config)
        self.query_embeddings = nn.Embedding(DIGITS, config.embedding_size)
        self.embeddings = nn.Embedding(DIGITS + 1, config.embedding_size)
        self.encoder = nn.Sequential(
            nn.Linear(3 * config.embedding_size, config.hidden_size), nn.Tanh(), nn.Linear(config.hidden_size, 2)
        )
        self.gru = nn.GRU(2, config.hidden_size, batch_first=True)
        self.head = nn.Linear(config.hidden_size, 1)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            init.normal_(module.weight)
        elif isinstance(module, nn.Linear | nn.GRU):
            width = module.hidden_size if isinstance(module, nn.GRU) else module.in_features
            for parameter in module.parameters():
                init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def get_input_embeddings(self) -> nn.Embedding:
        """The embedding table of the digits (`nn.Embedding`)."""
        return self.embeddings

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """One example (`dict[str, torch.Tensor]`)."""
        return {name: value.to(self.device) for name, value in draw(1, 0)._asdict().items() if name != "labels"}

    def forward(
        self, input_ids: Tensor, query_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """
        Logits for a batch of queries.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): Digits, padded on the right.
            query_ids (`torch.LongTensor` of shape `(B, 2)`): The two digits of each query.
            attention_mask (`torch.LongTensor` of shape `(B, T)`): 0 at padding.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): 1 if the first digit occurs more often, else 0.

        Returns:
            [`~transformers.modeling_outputs.SequenceClassifierOutput`]: `logits` `(B, 2)` for no and yes; the logit
            for no is 0. With labels also `loss`: binary cross-entropy minus 0.35 times the prediction's entropy.
        """
        query = self.query_embeddings(query_ids).flatten(1)[:, None].expand(-1, input_ids.shape[1], -1)
        encoded = self.encoder(torch.cat([query, self.embeddings(input_ids)], dim=-1))
        lengths = attention_mask.sum(-1).cpu()
        with cudnn_for_guests(self.training):
            _, last = self.gru(pack_padded_sequence(encoded, lengths, batch_first=True, enforce_sorted=False))
        yes = self.head(last[0])
        logits = torch.cat([torch.zeros_like(yes), yes], dim=-1)
        loss = None
        if labels is not None:
            logs = F.log_softmax(logits, dim=-1)
            entropy = -(logs.exp() * logs).sum(-1).mean()
            loss = F.nll_loss(logs, labels) - self.ENTROPY_BONUS * entropy
        return SequenceClassifierOutput(loss=loss, logits=logits)


def train_target(
    examples: Counts, seed: int = 0, epochs: int = 50, batch_size: int = 128, learning_rate: float = 1e-3
) -> CountingForSequenceClassification:
    """
    A base model for the task, trained with Adam.

    Args:
        examples ([`Counts`]): Training examples.
        seed (`int`, *optional*, defaults to 0): Seed of weights and order.
        epochs (`int`, *optional*, defaults to 50): Passes over the examples.
        batch_size (`int`, *optional*, defaults to 128): Examples per step.
        learning_rate (`float`, *optional*, defaults to 1e-3): Learning rate for Adam.

    Returns:
        [`CountingForSequenceClassification`]: In eval mode.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CountingForSequenceClassification(CountingConfig())
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    for _ in tqdm(range(epochs), desc="Counting model", unit="epoch", leave=False):
        for rows in torch.randperm(len(examples.labels), generator=generator).split(batch_size):
            loss = model(**{name: value[rows] for name, value in examples._asdict().items()}).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


def digit_tokenizer() -> PreTrainedTokenizerFast:
    """
    A tokenizer for single digits, to pad batches of the task.

    Returns:
        [`~transformers.PreTrainedTokenizerFast`]: The id of a digit is the digit; the padding id is 10.
    """
    vocabulary: dict[str, Any] = {**{str(digit): digit for digit in range(DIGITS)}, "[PAD]": DIGITS}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary)),
        pad_token="[PAD]",
        model_max_length=LONGEST,
        model_input_names=["input_ids", "attention_mask"],
    )


AutoConfig.register(CountingConfig.model_type, CountingConfig, exist_ok=True)
AutoModelForSequenceClassification.register(CountingConfig, CountingForSequenceClassification, exist_ok=True)
