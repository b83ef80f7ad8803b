"""Budgets and burn rates of recorded requests: ours, a direct computation in numpy, and Prometheus with the rules that are exported."""

import csv
import datetime
import json
import zoneinfo

import httpx
import numpy
import pytest
import scipy.stats
from conftest import ROOT, eventually
from recorded_requests import CONFIGURATION, LIMIT_MS, Log, course, record
from test_rules import WINDOWS, export, promtool

BURN = ROOT / "tests" / "golden" / "burn"
MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
# As recorded.rs has them.
BEGINS = 1_772_090_580_000_000
STRETCHES = {"fortnight": (3_600, 60), "quarter": (25_920, 360)}
# Each rule of recorded.yaml: its indicator, its target, its period, its pairs' long windows in hours with their rates, and min_events.
RULES = {
    "WeekFast": ("availability", 0.99, datetime.timedelta(days=7), [(1, 13.44), (6, 3.5)], 0),
    "WeekSlow": ("availability", 0.99, datetime.timedelta(days=7), [(24, 1.4), (72, 1.05)], 0),
    "QuarterFast": ("latency", 0.95, datetime.timedelta(days=90), [(6, 10.8)], 0),
    "QuarterSlow": ("latency", 0.95, datetime.timedelta(days=90), [(24, 4.5), (72, 3.0)], 300),
    "CalendarWeek": ("availability", 0.99, ("week", "America/New_York"), [(1, 13.44), (6, 3.5)], 0),
    "CalendarMonth": ("latency", 0.95, ("month", "Europe/Berlin"), [(24, 3.0), (72, 1.1)], 0),
}


def began(period, now: int) -> int:
    """When a period began, to the hour, in microseconds."""
    if isinstance(period, datetime.timedelta):
        micros = now - period // datetime.timedelta(microseconds=1)
    else:
        unit, zone = period
        local = datetime.datetime.fromtimestamp(now / 1e6, zoneinfo.ZoneInfo(zone))
        first = local.date() - datetime.timedelta(days=local.weekday()) if unit == "week" else local.date().replace(day=1)
        begins = datetime.datetime.combine(first, datetime.time(), zoneinfo.ZoneInfo(zone))
        micros = round(begins.timestamp() * 1e6)
    return micros // HOUR * HOUR


class Direct:
    """Good and valid events of an indicator up to any time, from the log itself."""

    def __init__(self, at: numpy.ndarray, counts: numpy.ndarray, good: numpy.ndarray):
        self.at = at[counts]
        self.good = numpy.concatenate([[0], numpy.cumsum(good[counts])])

    def between(self, begins: int, ends: int) -> tuple[int, int]:
        """How many were bad, and how many there were."""
        first, last = numpy.searchsorted(self.at, [begins, ends])
        valid = last - first
        return int(valid - (self.good[last] - self.good[first])), int(valid)


def directly(log: Log, at: numpy.ndarray) -> dict[str, Direct]:
    return {"availability": Direct(at, *log.availability()), "latency": Direct(at, *log.latency(LIMIT_MS * 1000))}


def burn(target: float, bad: int, valid: int) -> float | None:
    return bad / valid / (1 - target) if valid else None


def judged(direct: Direct, rule: str, now: int) -> tuple[int, int, float, list[float | None], set[bool]]:
    """Good and bad events of the period, what is left of the budget, the burn rates, and whether the rule burns: either may be,
    where a rate is its limit but for rounding."""
    _, target, period, pairs, min_events = RULES[rule]
    bad, valid = direct.between(began(period, now), now)
    left = 1 - bad / ((1 - target) * valid) if valid else 1.0
    rates, burns = [], {-1: False, 1: False}
    for hours, rate in pairs:
        long = direct.between(now - hours * HOUR, now)
        short = direct.between(now - hours * HOUR // 12, now)
        both = [burn(target, *counts) for counts in (long, short)]
        rates += both
        # So many bad ones are no chance while the objective is met.
        is_evidence = long[0] >= 3 and scipy.stats.binom.sf(long[0] - 1, long[1], 1 - target) < 1e-3
        for side in burns:
            reaches = all(one is not None and one >= rate * (1 + side * 1e-12) for one in both)
            burns[side] |= reaches and is_evidence and long[1] >= min_events
    return valid - bad, bad, left, rates + [None] * (4 - len(rates)), set(burns.values())


@pytest.fixture(scope="module")
def log() -> Log:
    return Log.read(BURN / "recorded.csv")


@pytest.fixture(scope="module")
def said() -> list[dict]:
    return list(csv.DictReader((BURN / "recorded_said.csv").open()))


def test_the_recording_has_what_goes_wrong(log):
    assert len(log.at) >= 10_000
    assert {200, 400, 500, 503} <= set(log.status) and log.took.max() > 1_900_000


@pytest.mark.parametrize("stretch", STRETCHES)
def test_our_budgets_and_burn_rates_are_those_of_a_direct_computation(log, said, stretch):
    factor, _ = STRETCHES[stretch]
    direct = directly(log, BEGINS + log.at * factor)
    rows = [row for row in said if row["stretch"] == stretch]
    assert len({row["minute"] for row in rows}) > 60
    seen = {rule: set() for rule in RULES}
    for row in rows:
        rule, now = row["rule"], BEGINS + int(row["minute"]) * MINUTE
        good, bad, left, rates, burns = judged(direct[RULES[rule][0]], rule, now)
        assert (int(row["good"]), int(row["bad"])) == (good, bad), row
        assert float(row["left"]) == pytest.approx(left, rel=1e-12, abs=1e-12), row
        read = [float(row[name]) if row[name] else None for name in ("long_1", "short_1", "long_2", "short_2")]
        assert [rate is None for rate in read] == [rate is None for rate in rates], row
        assert [rate for rate in read if rate is not None] == pytest.approx([rate for rate in rates if rate is not None], rel=1e-12), row
        assert bool(int(row["burns"])) in burns, row
        # What burns fires. What does not may fire still, while nobody asks.
        assert row["firing"] >= row["burns"], row
        seen[rule].add((row["burns"] == "1", left < 0))
    assert all({burns for burns, _ in of_rule} == {False, True} for of_rule in seen.values()) or stretch == "quarter", seen


@pytest.mark.parametrize("stretch", STRETCHES)
def test_prometheus_burns_as_we_do(tmp_path, log, said, stretch):
    """By one look in so many minutes, as ours are. An alert that is held while nobody asks is none to it then, for it looks back by
    five minutes; that both hold it is shown of a day (test_rules.py)."""
    factor, step = STRETCHES[stretch]
    (tmp_path / "rules.yaml").write_text(export(BURN / "recorded.yaml"))
    at = log.at * factor
    minutes = numpy.arange(0, int(at[-1] // MINUTE) + 2)
    series, direct = [], directly(log, at)
    for sli, of_sli in direct.items():
        ends = numpy.searchsorted(of_sli.at, minutes * MINUTE)
        labels = f'{{job="driftline", instance="a", model="m", sli="{sli}", column="", target=""}}'
        for name, counted in (("valid", ends), ("good", of_sli.good[ends])):
            series.append({"series": f"driftline_sli_{name}_total{labels}", "values": steps(counted)})
    rows = [row for row in said if row["stretch"] == stretch]
    tests = []
    for row in rows:
        rule, minute = row["rule"], int(row["minute"])
        sli, target, _, pairs, _ = RULES[rule]
        for index, (hours, _) in enumerate(pairs, 1):
            for name, seconds in ((f"long_{index}", hours * 3600), (f"short_{index}", hours * 300)):
                ratio = f'driftline:sli_bad:ratio{WINDOWS[str(seconds)]}{{sli="{sli}"}} / (1 - {target})'
                expected = [{"labels": f'{{model="m", sli="{sli}"}}', "value": float(row[name])}] if row[name] else []
                tests.append({"expr": ratio, "eval_time": f"{minute}m", "exp_samples": expected})
        expression = f'count by (alertname) (ALERTS{{alertname="{rule}", alertstate="firing"}})'
        expected = [{"labels": f'{{alertname="{rule}"}}', "value": 1}] if row["burns"] == "1" else []
        tests.append({"expr": expression, "eval_time": f"{minute}m", "exp_samples": expected})
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": f"{step}m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}],
    }
    (tmp_path / "test.yaml").write_text(json.dumps(document))
    promtool("test", "rules", tmp_path / "test.yaml")


def steps(counted: numpy.ndarray) -> str:
    """A counter's values as promtool writes them, with what stands still said once."""
    changes = numpy.flatnonzero(numpy.diff(counted)) + 1
    runs = numpy.diff(numpy.concatenate([[0], changes, [len(counted)]]))
    values = counted[numpy.concatenate([[0], changes])]
    return " ".join(f"{value}x{length - 1}" if length > 1 else str(value) for value, length in zip(values, runs))


NOW = CONFIGURATION + """
alerts:
  evaluation_interval: 200ms
  rules:
    - {name: Week, severity: page, runbook: availability-slo, when: {sli: availability, objective: 0.999, over: 7d, burns: fast}}
    - {name: Quarter, severity: ticket, runbook: latency-slo, when: {sli: latency, objective: 0.95, over: 90d, burns: slow}}
    - {name: Calendar, severity: ticket, runbook: latency-slo, when: {sli: latency, objective: 0.9, over: week, time_zone: Asia/Kathmandu, burns: slow}}
    - {name: Sparse, severity: page, runbook: availability-slo, when: {sli: availability, objective: 0.999, over: 7d, burns: fast, min_events: 100000}}
"""


def test_flights_replayed_through_a_real_sidecar_burn_as_their_callers_and_the_archive_say(tmp_path):
    answers = {}

    def look(url: str):
        firing = lambda: {alert["rule"] for alert in httpx.get(f"{url}/api/v1/alerts?state=firing").json()}
        answers["firing"] = eventually(lambda: "Week" in (found := firing()) and found, "the week's budget burns")
        answers["slis"] = {sli["sli"]: sli for sli in httpx.get(f"{url}/api/v1/models/flights").json()["slis"]}
        answers["objectives"] = {one["rule"]: one for one in httpx.get(f"{url}/api/v1/models/flights").json()["objectives"]}

    said, log = record(tmp_path, NOW, course(600, 7), 6.0, look)
    assert len(log.at) == len(said) == 600
    # By the callers alone: what they were told, and what they broke off.
    asked = [(status, body) for _, status, body in said if status not in (None, 400)]
    failed = sum(status == 503 or "error" in body for status, body in asked)
    # Of those that the callers broke off the sidecar saw the whole answer, or not.
    hung, left = sum(status is None for _, status, _ in said), int((log.end == "cancelled").sum())
    available = answers["slis"]["availability"]
    assert (available["valid"], available["valid"] - available["good"], available["unknown"]) == (len(asked) + hung - left, failed, 0)
    # By the archive, in numpy.
    direct = directly(log, log.at)
    ends = int(log.at[-1]) + 1
    for rule, sli, target in [("Week", "availability", 0.999), ("Quarter", "latency", 0.95), ("Calendar", "latency", 0.9), ("Sparse", "availability", 0.999)]:
        bad, valid = direct[sli].between(0, ends)
        one = answers["objectives"][rule]
        assert (one["good"], one["bad"], one["unknown"]) == (valid - bad, bad, 0), one
        assert one["budget_left"] == pytest.approx(1 - bad / ((1 - target) * valid), rel=1e-9), one
        assert one["burn_rate"] == pytest.approx(burn(target, bad, valid), rel=1e-9), one
        assert one["burn_rate_between"] == pytest.approx([one["burn_rate"]] * 2, rel=1e-9)
        assert (one["state"] == "exhausted") == (bad >= (1 - target) * valid) and one["state"] in ("exhausted", "burning", "ok"), one
    assert "Sparse" not in answers["firing"], "what is guarded for low traffic says nothing"
