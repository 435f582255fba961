"""A base model that is no Transformer: a text classifier with gated recurrent units (GRUs; Cho et al. 2014).

Importing this module registers the model with `AutoConfig` and `AutoModelForSequenceClassification`.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from ..errors import DiffMaskError


@strict
class GruConfig(PreTrainedConfig):
    r"""
    Configuration of a [`GruForSequenceClassification`].

    Args:
        vocab_size (`int`, *optional*, defaults to `10000`):
            Rows of the embedding table.
        embedding_size (`int`, *optional*, defaults to `128`):
            Width of the embeddings. If it differs from `hidden_size`, embeddings are projected to `hidden_size`.
        hidden_size (`int`, *optional*, defaults to `128`):
            Width `d` of the hidden states: an even number, half for each direction.
        num_hidden_layers (`int`, *optional*, defaults to `1`):
            Number of stacked GRUs.
        dropout (`float`, *optional*, defaults to `0.5`):
            Dropout rate for the embeddings and for the input of the classifier.
        pad_token_id (`int`, *optional*, defaults to `0`):
            Id of the padding. The model itself uses only `attention_mask`.
        kwargs: Further fields of [`~transformers.PreTrainedConfig`], such as `num_labels` or `id2label`.
    """

    model_type = "diffmask-gru"

    vocab_size: int = 10000
    embedding_size: int = 128
    hidden_size: int = 128
    num_hidden_layers: int = 1
    dropout: float | int = 0.5
    pad_token_id: int | None = 0

    def validate_architecture(self):
        """Part of `@strict`-powered validation. Validates the fields against one another."""
        if min(self.vocab_size, self.embedding_size, self.hidden_size, self.num_hidden_layers) < 1:
            raise ValueError("The sizes and the number of layers must be at least 1.")
        if self.hidden_size % 2:
            raise ValueError(f"`hidden_size` must be even, half for either direction, but is {self.hidden_size}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be at least 0 and less than 1, but is {self.dropout}.")


def cudnn_for_guests(training: bool) -> AbstractContextManager:
    """
    A context that turns cuDNN off in eval mode if gradients are enabled.

    Explainers send gradients through a base model in eval mode, for which cuDNN has no backward pass.

    Args:
        training (`bool`): Whether the module is in training mode.

    Returns:
        `AbstractContextManager`: All other flags stay as they are.
    """
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        enabled=cudnn.enabled and (training or not torch.is_grad_enabled()),
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=cudnn.allow_tf32,
    )


class GruLayer(nn.Module):
    """
    A bidirectional GRU.

    Args:
        config ([`GruConfig`]): The sizes.
    """

    def __init__(self, config: GruConfig):
        super().__init__()
        self.gru = nn.GRU(config.hidden_size, config.hidden_size // 2, batch_first=True, bidirectional=True)

    def forward(self, hidden_states: Tensor, lengths: Tensor) -> Tensor:
        """
        Hidden states after each token.

        Args:
            hidden_states (`torch.Tensor` of shape `(B, T, d)`): Input states, padded on the right.
            lengths (`torch.Tensor` of shape `(B,)`): Tokens of each sequence, at least 1; on the CPU.

        Returns:
            `torch.Tensor` of shape `(B, T, d)`: Forward and backward states, concatenated; 0 at padding.
        """
        packed = pack_padded_sequence(hidden_states, lengths, batch_first=True, enforce_sorted=False)
        with cudnn_for_guests(self.training):
            output, _ = self.gru(packed)
        return pad_packed_sequence(output, batch_first=True, total_length=hidden_states.shape[1])[0]


class GruForSequenceClassification(PreTrainedModel):
    """
    Embeddings, bidirectional GRUs, the maximum of each feature over the tokens, and a linear classifier.

    Args:
        config ([`GruConfig`]): The sizes.
    """

    config_class = GruConfig
    config: GruConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    # The loss is a mean. Without this flag the trainer would expect a sum, because `forward` has `**kwargs`.
    accepts_loss_kwargs = False

    def __init__(self, config: GruConfig):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        if config.embedding_size != config.hidden_size:
            self.projection = nn.Linear(config.embedding_size, config.hidden_size)
        self.layers = nn.ModuleList(GruLayer(config) for _ in range(config.num_hidden_layers))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.1)
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
            init.zeros_(module.bias)
        elif isinstance(module, nn.GRU):
            for parameter in module.parameters():
                init.uniform_(parameter, -(module.hidden_size**-0.5), module.hidden_size**-0.5)

    def get_input_embeddings(self) -> nn.Embedding:
        """The embedding table (`nn.Embedding`)."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replaces the embedding table."""
        self.embeddings = value

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **kwargs: Any
    ) -> SequenceClassifierOutput:
        """
        Logits for a batch of texts.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): Token ids of the words, padded on the right.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 at words, 0 at padding; by default all
                1.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): The right classes.
            kwargs: Further features from a tokenizer; ignored.

        Returns:
            [`~transformers.modeling_outputs.SequenceClassifierOutput`]: `logits` `(B, C)`. With `labels` also `loss`,
            the mean cross-entropy in nats.

        Raises:
            DiffMaskError: If a text has no word, or has padding before or between its words.
        """
        real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        lengths = _lengths(real)
        hidden_states = self.dropout(self.embeddings(input_ids))
        if hasattr(self, "projection"):
            hidden_states = self.projection(hidden_states)
        for layer in self.layers:
            hidden_states = layer(hidden_states, lengths)
        pooled = hidden_states.masked_fill(~real[..., None], float("-inf")).amax(1)
        logits = self.classifier(self.dropout(pooled))
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def _lengths(real: Tensor) -> Tensor:
    """Number of tokens in each row of a mask `(B, T)`, on the CPU; raises unless all padding is on the right."""
    real = real.cpu()
    lengths = real.sum(-1)
    empty = (lengths == 0).nonzero()
    if len(empty):
        raise DiffMaskError(f"Row {int(empty[0])} of the batch holds no word: a GRU needs at least one in each.")
    broken = (real != (torch.arange(real.shape[1]) < lengths[:, None])).any(-1).nonzero()
    if len(broken):
        raise DiffMaskError(
            f"Row {int(broken[0])} of the batch has padding before or between its words: a GRU is padded on the right "
            "alone (`tokenizer.padding_side = 'right'`)."
        )
    return lengths


def word_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """
    A tokenizer for lower-cased words, split only at whitespace.

    Args:
        texts (`Iterable[str]`): Texts; their most frequent words form the vocabulary.
        vocab_size (`int`): Largest size of the vocabulary, including `[PAD]`, `[UNK]` and `[MASK]`.

    Returns:
        [`~transformers.PreTrainedTokenizerFast`]: It pads on the right and adds no special tokens. Offsets refer to
        the original text.

    Raises:
        DiffMaskError: If `vocab_size` leaves no room for words.
    """
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    if vocab_size <= len(special):
        raise DiffMaskError(f"A vocabulary of {vocab_size} leaves no room beside {', '.join(special.values())}.")
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size, special_tokens=list(special.values()), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
        **special,
    )


AutoConfig.register(GruConfig.model_type, GruConfig, exist_ok=True)
AutoModelForSequenceClassification.register(GruConfig, GruForSequenceClassification, exist_ok=True)
