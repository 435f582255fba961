"""The energy that a run takes, where codecarbon is installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def measured_energy() -> Iterator[dict[str, float]]:
    """
    Measures the energy of what runs inside, with codecarbon, which has to be installed (`hf-diffmask[energy]`).

    Nothing is sent or written: the tracker works offline, and emissions, which depend on the country, are left out.

    Yields:
        `dict`: Empty at first; afterwards with `energy_kwh`, if it was measured.
    """
    found: dict[str, float] = {}
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        yield found
        return
    tracker = OfflineEmissionsTracker(
        country_iso_code="USA",  # asked for, and without effect on the energy
        save_to_file=False,
        log_level="critical",
        allow_multiple_runs=True,
    )
    tracker.start()
    try:
        yield found
    finally:
        tracker.stop()
        data = tracker.final_emissions_data
        if data is not None and data.energy_consumed > 0:
            found["energy_kwh"] = float(data.energy_consumed)
