"""Every module of a model is visited once."""

from torch import nn

from hf_diffmask.base.modules import modules_of


def test_as_pytorch_visits_them(classifier):
    found = list(modules_of(classifier))
    assert found[0] is classifier and len(found) == len(set(map(id, found)))
    assert set(map(id, found)) == set(map(id, classifier.modules()))


def test_shared_modules_and_empty_places():
    shared, model = nn.Linear(1, 1), nn.Module()
    model.first, model.second, model.nothing = nn.Sequential(shared), shared, None
    assert sorted(type(one).__name__ for one in modules_of(model)) == ["Linear", "Module", "Sequential"]
