"""Heads of base models: tells which head a model has, and casts its outputs."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def has_head(class_names: Iterable[str], auto_class: Any) -> bool:
    """
    Whether a model has the head that an auto class loads.

    Args:
        class_names (`Iterable[str]`): Names of the model's class and its base classes.
        auto_class: Such as `AutoModelForSequenceClassification`.

    Returns:
        `bool`: Whether Transformers lists one of the classes for this head, one was registered for it, or the name of
        one ends like the head's classes, such as `ForSequenceClassification`.
    """
    names = model_classes(auto_class)
    own = auto_class.__name__.removeprefix("AutoModel")
    return any(name in names or name.endswith(own) for name in class_names)


def model_classes(auto_class: Any) -> set[str]:
    """
    Names of the classes that an auto class loads.

    Args:
        auto_class: Such as `AutoModel`.

    Returns:
        `set[str]`: Those that Transformers lists, and those that were registered.
    """
    mapping = auto_class._model_mapping
    known = [*mapping._model_mapping.values(), *(model.__name__ for model in mapping._extra_content.values())]
    return {name for one in known for name in ([one] if isinstance(one, str) else one)}


def widen(values: Tensor) -> Tensor:
    """
    Values in at least `float32`. Half precision is cast; `float32` and `float64` stay.

    Args:
        values (`torch.Tensor`): Any floating-point tensor.

    Returns:
        `torch.Tensor`: Same shape.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))
