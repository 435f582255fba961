"""Energy of a run, measured if codecarbon is installed and left out otherwise."""

import sys
from types import SimpleNamespace

import pytest

from hf_diffmask.training.energy import measured_energy


class Tracker:
    """Stand-in for codecarbon's tracker, with the methods we call."""

    made = None

    def __init__(self, **settings):
        type(self).made, self.settings, self.calls = self, settings, []
        self.final_emissions_data = None

    def start(self):
        self.calls.append("start")

    def stop(self):
        self.calls.append("stop")
        self.final_emissions_data = SimpleNamespace(energy_consumed=self.measured)


@pytest.fixture
def tracker(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", SimpleNamespace(OfflineEmissionsTracker=Tracker))
    return Tracker


def test_without_codecarbon_nothing_is_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with measured_energy() as found:
        assert found == {}
    assert found == {}


@pytest.mark.parametrize(("measured", "expected"), [(0.25, {"energy_kwh": 0.25}), (0.0, {})])
def test_energy_is_known_after_the_run_and_nothing_is_written(tracker, monkeypatch, measured, expected):
    monkeypatch.setattr(tracker, "measured", measured, raising=False)
    with measured_energy() as found:
        assert tracker.made.calls == ["start"] and found == {}
    assert found == expected and tracker.made.calls == ["start", "stop"]
    assert tracker.made.settings["save_to_file"] is False


def test_a_run_that_fails_is_measured_up_to_there(tracker, monkeypatch):
    monkeypatch.setattr(tracker, "measured", 0.5, raising=False)
    with pytest.raises(KeyboardInterrupt):
        with measured_energy() as found:
            raise KeyboardInterrupt
    assert found == {"energy_kwh": 0.5} and tracker.made.calls == ["start", "stop"]
