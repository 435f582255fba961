"""Records what an explainer reads of its base model: output, states and flow."""

from transformers import PreTrainedModel

from ..base.flow import flow
from ..base.running import Batch, Recorded, record, record_with_attention
from ..tasks.task import Task
from .configuration_diffmask import DiffMaskConfig


def record_batch(base: PreTrainedModel, task: Task, config: DiffMaskConfig, batch: Batch) -> Recorded:
    """
    The base model's output and states for whole inputs, and with `read_flow` the flow to the positions of the head.

    Args:
        base ([`~transformers.PreTrainedModel`]): The base model.
        task ([`Task`]): Reads the output and knows the positions that the head reads.
        config ([`DiffMaskConfig`]): Names the states, and says whether flow is read.
        batch ([`Batch`]): The inputs.

    Returns:
        [`Recorded`]: One forward pass.

    Raises:
        DiffMaskError: If a state cannot be recorded, or flow cannot be read.
    """
    given, attention = (base, batch.inputs, config.state_names, batch.units), None
    if config.read_flow:
        output, states, attention = record_with_attention(*given)
    else:
        output, states = record(*given)
    recorded = Recorded(task.target(output, batch.inputs.get("attention_mask")), states, batch)
    if attention is None:
        return recorded
    # Of several reads, such as start and end, the mean.
    return recorded._replace(flow=flow(attention, task.positions(recorded).mean(1)))
