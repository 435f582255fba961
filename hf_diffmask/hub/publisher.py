"""The functions that explainers and training call to publish, see [`~hf_diffmask.explainer.publishing.connect`]."""

from .push import check_writable, push, push_checkpoint, push_model
from .remote_code import add_code

__all__ = ["add_code", "check_writable", "push", "push_checkpoint", "push_model"]
