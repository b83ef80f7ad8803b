"""The past through the rules again: the alerts that the collector had, those that a change would bring, and a gate for CI."""

import json
import re
import sqlite3
import subprocess

import pytest
from conftest import BINARIES
from test_backfill import copy  # noqa: F401

YEAR = ("--from=2013-01-01", "--to=2014-01-01")


def backtest(config, *more: str, code: int = 0) -> subprocess.CompletedProcess:
    arguments = [BINARIES / "driftline", "backtest", "--model=flight-delay", f"--config={config}", *YEAR, *more]
    ran = subprocess.run(arguments, capture_output=True, text=True)
    assert ran.returncode == code, ran.stderr
    return ran


def told(folder) -> list[tuple]:
    """What the live collector said when alerts on scores began: rule, summary, and the members in numbers."""
    database = sqlite3.connect(f"file:{folder / 'data' / 'driftline.db'}?mode=ro", uri=True)
    said = [json.loads(text) for (text,) in database.execute("SELECT notification FROM episodes ORDER BY started_at, id")]
    database.close()
    on_scores = [one for one in said if re.match("psi|missing_share|new_category_share", one["condition"])]
    return [(one["rule"], one["summary"], [tuple(row[k] for k in ("what", "value", "threshold", "n")) for row in one["rows"]])
            for one in on_scores]


def test_the_same_rows_bring_the_same_alerts(demo_folder):
    found = json.loads(backtest(demo_folder / "driftline.yaml", "--format=json").stdout)
    live = told(demo_folder)
    again = [(a["rule"], a["summary"], [tuple(m[k] for k in ("what", "value", "threshold", "n")) for m in a["members"]])
             for a in found["alerts"]]
    # Several rules may fire in one window.
    began = lambda ones: sorted(ones)
    assert began(a for a in again if a in live) == began(live), (again, live)
    assert len(live) >= 2 and {one[0] for one in live} <= {a["rule"] for a in found["alerts"]}
    assert all(a["ended"] is None or a["ended"] > a["began"] for a in found["alerts"])
    assert "LatencySlo" in found["rules_left_out"] and found["rows"] > 10_000


def test_a_change_is_set_beside_what_there_is_and_ci_can_hold_to_a_number(demo_folder, copy, tmp_path):
    config = demo_folder / "driftline.yaml"
    page = "\nalerts:\n  rules:\n    - name: FeatureDrift\n      severity: page\n      runbook: feature-drift\n"
    quiet, loud = copy / "quiet.yaml", copy / "loud.yaml"
    text = (copy / "driftline.yaml").read_text()
    quiet.write_text(text + "\nalerts: {rules: [{name: FeatureDrift, enabled: false}]}\n")
    loud.write_text(text + page + "      when: {score: ks, above: 0.05, windows: 1 of 1}\n")
    assert backtest(config, f"--against={quiet}", "--max-pages=0").returncode == 0
    over = backtest(config, f"--against={loud}", "--max-pages=0", "--format=json", code=1)
    both = json.loads(over.stdout)
    assert both["pages"] == 0 and both["changed"]["pages"] >= 1 and "more than the 0 that are allowed" in over.stderr
    lines = backtest(config, f"--against={quiet}").stdout
    gone = lines.split("Only as it is:")[1].split("Only with the change:")[0]
    assert "drifted" in gone and "none" in lines.split("Only with the change:")[1]


def test_a_page_stands_alone_and_shows_every_column(demo_folder, tmp_path):
    page = tmp_path / "report.html"
    backtest(demo_folder / "driftline.yaml", "--format=html", f"--output={page}")
    text = page.read_text()
    assert text.startswith("<!doctype html>") and "<script" not in text and "http-equiv" not in text
    assert not re.search(r"(src|href)=", text), "it asks for nothing"
    assert text.count('class="bars"') == text.count('class="course"') > 5 and "temp" in text


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--from=2013-02-01", "--to=2013-01-01"), 64, "--from is not before --to"),
        (("--from=1970-01-01", "--to=1970-01-01T00:00:01Z"), 2, "no window of model"),
    ],
)
def test_what_cannot_be_tried_is_said(demo_folder, more, code, says):
    arguments = [BINARIES / "driftline", "backtest", "--model=flight-delay", f"--config={demo_folder / 'driftline.yaml'}"]
    ran = subprocess.run([*arguments, *more], capture_output=True, text=True)
    assert ran.returncode == code and says in ran.stderr, ran.stderr
