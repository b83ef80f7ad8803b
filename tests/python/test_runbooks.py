"""The runbooks' commands, as somebody runs them at night: each one against a collector with real rows, and a folder of one's own."""

import datetime
import os
import re
import subprocess
import sys

import httpx
import pytest
from conftest import BINARIES, ROOT, collector

RUNBOOKS = sorted(path for path in (ROOT / "runbooks").glob("*.md") if path.stem != "README")
# What needs a cluster, or a pod's port.
ELSEWHERE = re.compile(r"kubectl|localhost:4601")
# The demo's rows are of that summer. That nothing is found is an answer.
FIRST = """
date() { command date -d 2013-07-10 "$@"; }
grep() { command grep "$@" || [ $? = 1 ]; }
set -eo pipefail
"""


def blocks(text: str, section: str) -> list[str]:
    """The shell commands of a section, without what needs a cluster."""
    of_section = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = re.findall(r"^( *)```sh\n(.*?)^ *```", of_section, re.M | re.S)
    lines = ([line.removeprefix(indent) for line in block.splitlines()] for indent, block in found)
    return ["\n".join(line for line in kept if not ELSEWHERE.search(line)) for kept in lines]


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_every_command_that_looks_runs(path, demo_folder, demo_collector, summary, tmp_path):
    alert = next(alert for alert in summary["alerts"] if alert["rule"] == "FeatureDrift")
    column = {"prediction-drift": "late_probability", "new-category": "carrier", "stale-features": "weather_at"}.get(path.stem, "temp")
    model = "flight-delay"
    columns = {own["name"] for own in httpx.get(f"{demo_collector}/api/v1/models/{model}").json()["columns"]}
    assert column in columns, sorted(columns)
    text = path.read_text()
    # The last is what a person fills in.
    places = {"{url}": demo_collector, "{model}": model, "{column}": column, "{alert}": alert["id"], "/SEGMENT'": "/origin=EWR'"}
    for place, value in places.items():
        text = text.replace(place, value)
    commands = blocks(text, "First five minutes") + blocks(text, "Verify")
    assert commands, "no runbook is without commands"
    binaries = f"{BINARIES.resolve()}:{os.path.dirname(sys.executable)}"
    environment = {**os.environ, "DRIFTLINE_LOG": "warn", "PATH": f"{binaries}:{os.environ['PATH']}", "DRIFTLINE_CONFIG": str(demo_folder / "driftline.yaml")}
    script = FIRST + "\n".join(commands)
    ran = subprocess.run(["bash", "-c", script], cwd=demo_folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0 and ran.stderr == "", (ran.returncode, ran.stderr, ran.stdout, script)
    assert ran.stdout.strip(), script


OWN = """---
id: checkout-latency
rule: CheckoutLatency
severity: page
owner: checkout
boundary: the checkout team acts
tested: {tested}
---
# Checkout is slow
""" + "".join(f"\n## {name}\n\n1. Text. Undo: nothing to undo.\n" for name in [
    "In 30 seconds", "What it means", "Who is hurt", "First five minutes", "Mitigate", "Verify", "Escalate", "False alarms and tuning",
])


def lint(config, code: int) -> str:
    ran = subprocess.run([BINARIES / "driftline", "runbooks", "lint", "--config", config], capture_output=True, text=True)
    assert ran.returncode == code, (ran.returncode, ran.stdout, ran.stderr)
    return ran.stdout + ran.stderr


def test_a_runbook_of_ones_own_is_served_linked_and_held_to_its_form(tmp_path):
    own = tmp_path / "runbooks"
    own.mkdir()
    today = datetime.datetime.now(datetime.UTC).date()
    (own / "checkout-latency.md").write_text(OWN.format(tested=today))
    rules = "alerts:\n  runbooks: runbooks\n  rules:\n    - {name: CheckoutLatency, severity: page, runbook: RUNBOOK, when: {sli: latency, below: 0.9, over: 5m}}\n"
    with collector(tmp_path, rules.replace("RUNBOOK", "checkout-latency")) as url:
        page = httpx.get(f"{url}/runbooks/checkout-latency")
        assert page.status_code == 200 and "Checkout is slow" in page.text and "Owner: checkout" in page.text
        assert "checkout-latency" in httpx.get(f"{url}/runbooks").text
        assert httpx.get(f"{url}/runbooks/latency-slo").status_code == 200, "those that ship are there, too"
    config = tmp_path / "driftline.yaml"
    assert "nothing to find" in lint(config, 0)

    (own / "checkout-latency.md").write_text(OWN.format(tested=today - datetime.timedelta(days=200)).replace("## Verify", "## Check"))
    said = lint(config, 1).splitlines()
    # Or one more, where a day has ended meanwhile.
    last_tested = r"checkout-latency\.md:1: was last tested 20[01] days ago; follow it once"
    assert len(said) == 2 and re.match(last_tested, said[0]), said
    assert said[1].startswith("checkout-latency.md:31: here the section 'Verify' is wanted"), said[1]

    config.write_text(rules.replace("RUNBOOK", "nowhere"))
    assert "rule CheckoutLatency: there is no runbook 'nowhere'; write nowhere.md into the folder" in lint(config, 64)
    checked = subprocess.run([BINARIES / "driftline", "check", "--config", config], capture_output=True, text=True)
    assert checked.returncode == 64 and "there is no runbook 'nowhere'" in checked.stderr
