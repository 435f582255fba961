"""Energy consumption of a run, if codecarbon is installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def measured_energy() -> Iterator[dict[str, float]]:
    """
    Measures the energy consumption of the code inside the context, if codecarbon is installed (`hf-diffmask[energy]`).

    The tracker works offline and writes no file. Emissions are left out, because they depend on the country.

    Yields:
        `dict`: Empty at first; after the context it holds `energy_kwh`, if measured.
    """
    found: dict[str, float] = {}
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        yield found
        return
    tracker = OfflineEmissionsTracker(
        country_iso_code="USA",  # required; no effect on the energy
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
