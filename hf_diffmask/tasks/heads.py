"""Heads of base models: the classes that have one, and the numbers that it gives."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def has_head(heads: Iterable[str], auto_class: Any) -> bool:
    """
    Whether a model has the head that an auto class loads.

    Args:
        heads (`Iterable[str]`): Names of the model's class and of the classes that it derives from.
        auto_class: Such as `AutoModelForSequenceClassification`.

    Returns:
        `bool`: Whether Transformers knows one of them by that head, or it was registered. A class of one's own, of
        which neither is true, is told by its name.
    """
    mapping = auto_class._model_mapping
    known = [*mapping._model_mapping.values(), *(model.__name__ for model in mapping._extra_content.values())]
    names = {name for one in known for name in ([one] if isinstance(one, str) else one)}
    own = auto_class.__name__.removeprefix("AutoModel")
    return any(name in names or name.endswith(own) for name in heads)


def widen(values: Tensor) -> Tensor:
    """
    Casts half precision to `float32`, and leaves `float32` and `float64` as they are.

    Args:
        values (`torch.Tensor`): Any floating-point tensor.

    Returns:
        `torch.Tensor`: Same shape.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))
