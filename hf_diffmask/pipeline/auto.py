"""Loads the model inside `transformers.pipeline("diffmask-attribution")`, so that the cause of a failure stays."""

from typing import Any

from transformers import AutoModel

from ..errors import DiffMaskError, PipelineError


class AutoExplainer(AutoModel):
    """`AutoModel` for the pipeline, with errors that Transformers does not hide."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """
        A model; see [`~transformers.AutoModel.from_pretrained`].

        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): A folder, or an id on the Hub.
            args: Passed on.
            kwargs: Passed on.

        Returns:
            [`DiffMaskModel`], or another model, which the pipeline refuses.

        Raises:
            PipelineError: If the explainer is refused. The message is the one of the [`DiffMaskError`].
        """
        try:
            return AutoModel.from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        except DiffMaskError as error:
            raise PipelineError(str(error)) from error
