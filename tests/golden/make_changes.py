"""Makes changes.json: what river's PageHinkley and ADWIN say of real flights, step by step.

The test `changes` of the crate `detectors` gives its own detectors the same streams and compares.

    pip install 'river==0.26.1' pandas pyarrow
    python tests/golden/make_changes.py
"""

import importlib.metadata
import json
import pathlib

import pandas as pd
from river import drift
from river._river_rust.drift import AdaptiveWindowing

HERE = pathlib.Path(__file__).parent
#: Every so many steps a stream's inner numbers are noted; alarms and widths are noted at all of them.
EVERY = 20

flights = pd.read_parquet(HERE.parent.parent / "demo" / "data" / "flights.parquet")
by_day = flights.groupby("date", sort=True)
STREAMS = {
    "late_share": by_day.late.mean().dropna().round(6),
    "temp": by_day.temp.mean().dropna().round(4),
    "dep_delay": flights.sort_values(["scheduled_at", "flight_id"], kind="stable").dep_delay.dropna()[:3000],
}
PAGE_HINKLEY = {
    "late_share": {"min_instances": 10, "delta": 0.005, "threshold": 1.0, "alpha": 0.9999},
    "temp": {"min_instances": 30, "delta": 0.5, "threshold": 100.0, "alpha": 0.999},
    "dep_delay": {"min_instances": 30, "delta": 0.005, "threshold": 2000.0, "alpha": 0.9999},
}
ADWIN = {
    "late_share": {"delta": 0.3, "clock": 1, "max_buckets": 5, "min_window_length": 5, "grace_period": 10},
    "temp": {"delta": 0.002, "clock": 4, "max_buckets": 3, "min_window_length": 3, "grace_period": 10},
    "dep_delay": {"delta": 0.002, "clock": 32, "max_buckets": 5, "min_window_length": 5, "grace_period": 10},
}


def page_hinkley(stream: list[float], settings: dict) -> dict:
    detector = drift.PageHinkley(**settings)
    alarms, heights = [], []
    for step, value in enumerate(stream):
        detector.update(value)
        if detector.drift_detected:
            alarms.append(step)
        elif step % EVERY == EVERY - 1:
            rise = detector._sum_increase - detector._min_increase
            fall = detector._max_decrease - detector._sum_decrease
            heights.append([step, rise, fall])
    return {"settings": settings, "alarms": alarms, "heights": heights}


def adwin(stream: list[float], settings: dict) -> dict:
    """The window as it is in the paper, and as river's ADWIN has it, which forgets all after a change."""
    window, forgetful = AdaptiveWindowing(**settings), drift.ADWIN(**settings)
    alarms, forgetful_alarms, widths, sums = [], [], [], []
    for step, value in enumerate(stream):
        if window.update(value):
            alarms.append(step)
            widths.append(int(window.get_width()))
        forgetful.update(value)
        if forgetful.drift_detected:
            forgetful_alarms.append(step)
        if step % EVERY == EVERY - 1:
            sums.append([step, window.get_total() / window.get_width(), window.get_variance()])
    return {"settings": settings, "alarms": alarms, "widths": widths, "forgetful_alarms": forgetful_alarms, "sums": sums}


golden = {"river": importlib.metadata.version("river")}
for name, series in STREAMS.items():
    stream = [float(value) for value in series]
    golden[name] = {"stream": stream, "page_hinkley": page_hinkley(stream, PAGE_HINKLEY[name]), "adwin": adwin(stream, ADWIN[name])}
    print(name, len(stream), golden[name]["page_hinkley"]["alarms"], golden[name]["adwin"]["alarms"], golden[name]["adwin"]["forgetful_alarms"])

(HERE / "changes.json").write_text(json.dumps(golden, allow_nan=False) + "\n")
