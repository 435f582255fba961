"""Hooks act in the run that asks for them, in its thread, and nowhere else."""

import copy
import pickle
import threading

import pytest
import torch
from torch import nn

from hf_diffmask.base.taps import Taps


@pytest.fixture
def layers():
    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))


def test_inputs_and_outputs_are_read_and_replaced(layers):
    x = torch.ones(1, 2)
    plain = layers(x)
    seen = []
    taps = Taps()
    taps.on_input(layers[1], lambda args, kwargs: seen.append(args[0]))
    taps.on_input(layers[2], lambda args, kwargs: ((args[0] + 1,), kwargs))
    taps.on_output(layers[2], lambda args, output: seen.append(output))
    taps.on_output(layers[2], lambda args, output: output * 2)
    with taps.active():
        found = layers(x)
    assert torch.equal(seen[0], layers[0](x))
    changed = layers[2](layers[1](layers[0](x)) + 1)
    assert torch.equal(seen[1], changed) and torch.equal(found, changed * 2)
    assert torch.equal(layers(x), plain) and len(seen) == 2, "outside of the run nothing is read or replaced"


def test_a_module_with_a_stand_in_does_not_run(layers):
    run = []
    layers[0].register_forward_hook(lambda *args: run.append(0))
    taps = Taps()
    taps.instead[layers[0]] = torch.zeros(1, 2)
    with taps.active():
        assert torch.equal(layers(torch.ones(1, 2)), layers[2](layers[1](torch.zeros(1, 2))))
    assert not run
    layers(torch.ones(1, 2))
    assert run == [0] and "forward" not in layers[0].__dict__


def test_another_thread_sees_the_modules_as_they_are(layers):
    x = torch.ones(1, 2)
    plain, found = layers(x), []
    taps = Taps()
    taps.on_output(layers[1], lambda args, output: output + 1)
    taps.instead[layers[0]] = torch.zeros(1, 2)
    with taps.active():
        other = threading.Thread(target=lambda: found.append(layers(x)))
        other.start()
        other.join()
        assert not torch.equal(layers(x), plain)
    assert torch.equal(found[0], plain)


def test_a_run_within_a_run_and_an_error_end_it(layers):
    x = torch.ones(1, 2)
    plain = layers(x)
    outer, inner = Taps(), Taps()
    outer.on_output(layers[2], lambda args, output: output + 1)
    inner.on_output(layers[2], lambda args, output: output * 0)
    with outer.active():
        with pytest.raises(RuntimeError, match="on purpose"), inner.active():
            assert not layers(x).any()
            raise RuntimeError("on purpose")
        assert torch.equal(layers(x), plain + 1)
    assert torch.equal(layers(x), plain)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_work_and_are_not_hooked_twice(layers, copied):
    def replace(model):
        taps = Taps()
        taps.on_output(model[2], lambda args, output: output + 1)
        taps.instead[model[0]] = torch.zeros(1, 2)
        with taps.active():
            return model(torch.ones(1, 2))

    expected = replace(layers)
    other = copied(layers)
    with torch.no_grad():
        layers[0].weight.zero_()
        other[1].bias.add_(1)
    assert torch.equal(replace(other), other[2](other[1](torch.zeros(1, 2))) + 1)
    assert torch.equal(replace(layers), expected)
    for model in (layers, other):
        assert len(model[2]._forward_hooks) == len(model[2]._forward_pre_hooks) == 1
