"""Calls a base model that others may use at the same time: with the arguments it takes, and without changing it."""

import copy
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from .families.big_bird import kept_attention
from .frozen import as_guest
from .taps import Taps, look_into_compiled

# Arguments that tokenizers give to all models. A model that does not take them runs without.
FROM_TOKENIZERS = ("attention_mask", "token_type_ids")


@cache
def _parameters(forward: Callable) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)


def padding_id(model: PreTrainedModel) -> int | None:
    """
    The padding id by which a model finds the end of a text.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.

    Returns:
        `int` or `None`: The id in its config.
    """
    return getattr(model.config.get_text_config(), "pad_token_id", None)


def needs_padding_id(model: PreTrainedModel, units: Tensor) -> bool:
    """
    Whether a model needs a padding id for a batch, and has none.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        units (`torch.Tensor` of shape `(B, T)`, `bool`): `False` at padding.

    Returns:
        `bool`
    """
    return padding_id(model) is None and (len(units) > 1 or not units.all())


def free_id(model: PreTrainedModel, input_ids: Tensor, units: Tensor) -> int | None:
    """
    A token id that no real unit of a batch has.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        input_ids (`torch.Tensor` of shape `(B, T)`): Token ids.
        units (`torch.Tensor` of shape `(B, T)`, `bool`): `False` at padding.

    Returns:
        `int` or `None`: `None` if the batch uses the whole vocabulary.
    """
    used = set(input_ids[units].unique().tolist())
    return next((number for number in range(len(model.get_input_embeddings().weight)) if number not in used), None)


def prepared(
    model: PreTrainedModel, features: dict[str, Tensor], units: Tensor
) -> tuple[PreTrainedModel, dict[str, Tensor]]:
    """
    A view of a base model, and the arguments that it takes, with the model's padding id at padding.

    Models such as GPT-2 find the end of a text by the padding id in their config, and refuse batches without one. For
    such a batch the view has a padding id that no real unit has.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        features (`dict[str, torch.Tensor]`): Features, `(B, T)` each.
        units (`torch.Tensor` of shape `(B, T)`, `bool`): `False` at padding.

    Returns:
        `tuple`: The model or a view of it that shares its modules, and its arguments.
    """
    taken = _parameters(type(model).forward)
    given = {name: value for name, value in features.items() if name in taken or name not in FROM_TOKENIZERS}
    pad, view = padding_id(model), model
    ids = given.get("input_ids")
    if needs_padding_id(model, units):
        pad = 0 if ids is None else free_id(model, ids, units)
        view = _view(model)
        view.config = copy.deepcopy(model.config)
        view.config.get_text_config().pad_token_id = pad
    if ids is not None and pad is not None:
        given["input_ids"] = ids.masked_fill(~units, pad)
    if view is model and hasattr(model.__dict__.get("forward"), "_torchdynamo_orig_callable"):
        view = _view(model)
    return view, given


def _view(model: PreTrainedModel) -> PreTrainedModel:
    """A second object for the same modules and weights, without a compiled or patched `forward`."""
    view = copy.copy(model)
    view.__dict__.pop("forward", None)
    view.training = False
    return view


def call(model: PreTrainedModel, view: PreTrainedModel, inputs: dict[str, Tensor], taps: Taps | None = None) -> Any:
    """
    Output of a base model in eval mode. A compiled model runs uncompiled, since hooks do not act in compiled code.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        view ([`~transformers.PreTrainedModel`]): What [`prepared`] gave.
        inputs (`dict[str, torch.Tensor]`): What [`prepared`] gave.
        taps ([`Taps`], *optional*): Reads and replaces states.

    Returns:
        The model's output.
    """
    if taps is not None:
        look_into_compiled(model)
    length = max((value.shape[1] for value in inputs.values() if value.dim() > 1), default=0)
    with as_guest(model), kept_attention(model, length), nullcontext() if taps is None else taps.active():
        return view._call_impl(**inputs)
