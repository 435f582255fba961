"""What happens at the steps of a run."""

from types import SimpleNamespace

import pytest

from hf_diffmask.training.steps import Steps


def test_an_interrupted_run_saves_and_ends():
    class Ended(Exception):
        pass

    interruption = SimpleNamespace(agreed=0, signal=0, checkpoint=None, waits=False, ended=Ended)
    calls = []
    trainer = SimpleNamespace(
        interruption=interruption,
        objective=SimpleNamespace(clamp=lambda: calls.append("clamp")),
        sampler=SimpleNamespace(set_epoch=lambda epoch: calls.append(epoch)),
        update_objective=lambda: calls.append("update"),
        find_best=lambda checkpoint: calls.append(checkpoint),
    )
    steps, control = Steps(trainer), SimpleNamespace(should_save=False)
    args, state = SimpleNamespace(output_dir="out"), SimpleNamespace(epoch=2.0, global_step=7)
    steps.on_train_begin(args, state, control)
    steps.on_epoch_begin(args, state, control)
    steps.on_pre_optimizer_step(args, state, control)
    steps.on_optimizer_step(args, state, control)
    assert calls == [None, 2, "update", "clamp"] and interruption.waits
    steps.on_step_end(args, state, control)
    assert not control.should_save
    steps.on_save(args, state, control)
    assert interruption.checkpoint == "out/checkpoint-7"
    interruption.agreed = 15
    steps.on_step_end(args, state, control)
    assert control.should_save
    with pytest.raises(Ended):
        steps.on_save(args, state, control)
    steps.on_train_end(args, state, control)
    interruption.signal = 2
    with pytest.raises(Ended):
        steps.on_train_end(args, state, control)
