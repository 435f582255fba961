"""Eval mode and frozen weights last as long as one of several runs needs them."""

import torch
from torch import nn

from hf_diffmask.base.frozen import as_guest


def states_of(model):
    return [module.training for module in model.modules()], [weight.requires_grad for weight in model.parameters()]


def test_runs_at_the_same_time_restore_after_the_last():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2))
    model[2].eval()
    model[0].bias.requires_grad_(False)
    before = states_of(model)
    first, second = as_guest(model), as_guest(model)
    first.__enter__()
    second.__enter__()
    assert not any(states_of(model)[0]) and not any(states_of(model)[1])
    first.__exit__(None, None, None)
    assert not any(states_of(model)[0]) and not any(states_of(model)[1]), "the second run is not over"
    second.__exit__(None, None, None)
    assert states_of(model) == before


def test_models_that_share_parts_are_restored_after_the_last_of_both():
    shared = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))
    one, other = nn.Sequential(shared, nn.Dropout()), nn.Sequential(shared, nn.Linear(2, 2))
    with as_guest(one):
        with as_guest(other):
            assert not any(states_of(other)[0])
        assert all(states_of(other[1])[0]) and not any(states_of(one)[0]) and not any(states_of(one)[1])
    assert all(states_of(one)[0]) and all(states_of(other)[0]) and all(states_of(one)[1])


def test_a_run_that_begins_after_somebody_turned_training_on_is_in_eval_mode():
    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2)).eval()
    with as_guest(model):
        model.train()
        with as_guest(model):
            assert not any(states_of(model)[0])
        assert all(states_of(model)[0])


def test_a_model_in_eval_mode_is_not_changed_without_gradients():
    model = nn.Linear(2, 2).eval()
    with torch.no_grad(), as_guest(model):
        assert model.weight.requires_grad and not model.training
    with as_guest(model):
        assert not model.weight.requires_grad
    assert model.weight.requires_grad


def test_an_error_restores():
    model = nn.Linear(2, 2).train()
    try:
        with as_guest(model):
            raise RuntimeError
    except RuntimeError:
        pass
    assert model.training and model.weight.requires_grad
