"""What a backtest says: what the live collector did, what a proposed configuration would change, and exit codes for CI."""

import contextlib
import datetime
import html.parser
import itertools
import json
import re
import shutil
import sqlite3
import subprocess
import time

import polars
import pytest
from conftest import BINARIES
from test_silences import OnCall

YEAR = ("--from=2013-01-01", "--to=2014-01-01")
HOSTILE = "<script>alert(1)</script>&\"'"


def backtest(config, *more: str, code: int = 0) -> subprocess.CompletedProcess:
    command = [BINARIES / "driftline", "backtest", f"--config={config}", *more]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == code, ran.stderr
    return ran


def said(config, *more: str, code: int = 0) -> dict:
    return json.loads(backtest(config, *YEAR, "--format=json", *more, code=code).stdout)


def lived(folder) -> list[list]:
    """What the live collector told: rule, and the last days of the windows on which it fired and resolved."""
    database = sqlite3.connect(f"file:{folder / 'data' / 'driftline.db'}?mode=ro", uri=True)
    events = database.execute("SELECT kind, text FROM events ORDER BY id").fetchall()
    # The rules of indicators are of the clock, and not of the archive.
    slis = {"LatencySlo", "AvailabilitySlo", "StaleFeatures", "CaptureLoss", "ArchiveLag", "DeliveryFailure", "SchemaChange", "ModelSilent", "SidecarSilent", "CollectorDown", "LatencyBudget", "AvailabilityBudget"}
    slis |= {"UndecodableBodies", "LateRows", "EventTimesUnusable", "MetadataUnreadable", "RoomFull", "RoomLow", "SendersRefused", "LimitReached", "CertificateUnreadable", "PartStalled", "ReactionFailed", "CatalogueFailing"}
    database.close()
    day, episodes, firing = "", [], {}
    for kind, text in events:
        rule = text.split(":")[0]
        if kind == "window":
            day = re.search(r"to (\S+) UTC", text)[1]
        elif kind == "alert_fired" and rule not in slis:
            firing[rule] = [rule, day, None]
            episodes.append(firing[rule])
        elif kind == "alert_resolved" and rule not in slis:
            firing.pop(rule)[2] = day
    return episodes


@pytest.fixture
def proposed(demo_folder):
    """Writes the demo's configuration with other rules; relative paths stay those of the demo."""
    written = []

    def write(rules: str):
        path = demo_folder / f"proposed-{len(written)}.yaml"
        path.write_text((demo_folder / "driftline.yaml").read_text().split("\nalerts:")[0] + f"\nalerts:\n  rules:\n{rules}")
        written.append(path)
        return path

    yield write
    for path in written:
        path.unlink()


def paging(rule: str, score: str, windows: str = "2 of 3", above: str = "") -> str:
    when = f"{{score: {score}, windows: {windows}{above}}}"
    return f"    - {{name: {rule}, severity: page, runbook: feature-drift, when: {when}, group_by: [model]}}\n"


def test_the_timeline_is_that_of_the_live_collector(demo_folder):
    report = said(demo_folder / "driftline.yaml")
    present = report["present"]
    live = lived(demo_folder)
    found = [[e["rule"], e["window"][1][:10], e["resolved"] and e["resolved"][:10]] for e in present["episodes"]]
    # The last days' windows were still open when the demo ended.
    last = max(day for episode in live for day in episode[1:] if day)
    assert [e for e in sorted(found) if e[1] <= last] == sorted(live) and len(live) >= 1
    database = sqlite3.connect(f"file:{demo_folder / 'data' / 'driftline.db'}?mode=ro", uri=True)
    told = database.execute("SELECT notification FROM episodes").fetchall()
    database.close()
    for (notification,) in told:
        notification = json.loads(notification)
        window = dict(notification["facts"]).get("Window")
        for episode in present["episodes"]:
            if window and episode["rule"] == notification["rule"] and f"to {episode['window'][1][:10]} UTC" in window:
                assert len(episode["because"]) == len(notification["rows"])
                for reason, row in zip(episode["because"], notification["rows"], strict=True):
                    labels = reason["labels"]
                    segment = f" in segment {labels['segment']}" if "segment" in labels else ""
                    assert f"{labels['column']}{segment} (version {labels['version']})" == row["what"]
                    assert reason["value"] == pytest.approx(float(row["value"]), rel=0.01)
                    assert reason["limit"] == pytest.approx(float(row["threshold"]), rel=0.01)
                break
        else:
            assert window is None, f"nothing in the backtest is {notification['summary']}"
    assert any("LatencySlo is not tried: rows say when things happened" in note for note in present["left_out"])


def test_a_proposed_configuration_stands_beside_the_present_one_and_its_pages_count(demo_folder, proposed):
    config = demo_folder / "driftline.yaml"
    same = said(config, f"--against={config}")
    assert (same["difference"]["gone"], same["difference"]["added"]) == ([], [])
    assert same["difference"]["kept"] == len(same["present"]["episodes"]) > 0
    # A fixed PSI of 0.2 is not below what chance reaches; one window that drifts pages at once.
    other = proposed(paging("FeatureDrift", "psi", "1 of 1") + "    - {name: MissingValues, enabled: false}\n")
    report = said(config, f"--against={other}")
    pages = report["proposed"]["pages"]
    assert pages >= 1 and report["present"]["pages"] == 0
    # What turned from a ticket into a page is another alert.
    assert {(e["rule"], e["severity"]) for e in report["difference"]["gone"]} == {("FeatureDrift", "ticket")}
    assert {e["severity"] for e in report["difference"]["added"]} == {"page"}
    text = backtest(config, *YEAR, f"--against={other}", f"--max-pages={pages}").stdout
    assert text.startswith(f"{pages} page") and "gone with the proposed configuration" in text
    ran = backtest(config, *YEAR, f"--against={other}", f"--max-pages={pages - 1}", code=1)
    assert "More than the" in ran.stdout
    # Routes have the last word on what is a page.
    routes = "    - {matching: [severity=page, rule=FeatureDrift], severity: ticket, targets: [box]}\n    - {targets: [box]}\n"
    box = "  targets: {box: {email: {from: a@example.com, to: [b@example.com], directory: mails}}}\n  routes:\n"
    routed = proposed(other.read_text().split("\nalerts:\n  rules:\n")[1] + box + routes)
    ran = backtest(config, *YEAR, f"--against={routed}", "--max-pages=0")
    assert ran.stdout.startswith("0 pages and") and f"routes made {pages} alert" in ran.stdout and "    a page by its rule\n" in ran.stdout
    backtest(config, *YEAR, "--max-pages=0")


def test_a_stretch_without_rows_is_no_answer_and_mistakes_are_explained(demo_folder, tmp_path):
    config = demo_folder / "driftline.yaml"
    empty = backtest(config, "--from=1999-01-01", "--to=1999-06-01", "--max-pages=5", code=2)
    assert "No window could be judged" in empty.stdout
    assert "--from is not before --to" in backtest(config, "--from=2013-02-01", "--to=2013-01-01", code=64).stderr
    assert "model 'nope' has no reference" in backtest(config, *YEAR, "--model=nope", code=64).stderr
    assert "nope.yaml" in backtest(config, *YEAR, "--against=nope.yaml", code=64).stderr
    assert "cannot write" in backtest(config, *YEAR, f"--output={tmp_path}/no/report", code=74).stderr


def test_files_of_rows_in_the_place_of_the_archive_say_the_same(demo_folder, tmp_path):
    config, whole = demo_folder / "driftline.yaml", tmp_path / "whole.parquet"
    command = [BINARIES / "driftline", "samples", f"--config={config}", "--model=flight-delay", *YEAR]
    subprocess.run([*command, "--format=parquet", f"--output={whole}"], check=True, capture_output=True)
    rows = polars.read_parquet(whole)
    # As the model's callers know them: columns that every archived row has are not theirs.
    ours = ["request_id", "row_id", "status", "end_state", "weight", "in_sample", "latency_ms", "first_message_ms"]
    rows = rows.drop(*ours, "messages", "instance", "received_at").rename(lambda name: name.removeprefix("column."))
    half = len(rows) // 2
    rows[half:].sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / "later.parquet")
    as_text = polars.col("event_time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    rows[:half].with_columns(as_text).write_csv(tmp_path / "first.csv")
    files = [f"--data={tmp_path / name}" for name in ("later.parquet", "first.csv")]
    found = said(config, *files, "--time-column=event_time")["present"]
    archive = said(config)["present"]

    def episodes(trial: dict) -> list:
        # No row of a file is of a version.
        reason = lambda r: ({**r["labels"], "version": ""}, r["score"], pytest.approx(r["value"]), r["n"])
        return [[e["rule"], e["window"], e["resolved"], list(map(reason, e["because"]))] for e in trial["episodes"]]

    assert (found["rows"], found["windows"]) == (archive["rows"], archive["windows"])
    assert episodes(found) == episodes(archive) and len(found["episodes"]) >= 1
    wrong = backtest(config, *YEAR, *files, "--time-column=nope", code=74).stderr
    assert "later.parquet: there is no column 'nope' that says when a row happened" in wrong


CALLS = """
data_dir: data
archive: {folder: archive, max_age: 300ms}
models:
  - name: m
    reference: reference.json
    windows: {pane: 10s, window: 10s, every: 10s, min_filled: 1, lateness: 0s}
    slis: {latency: {below: 500ms}}
alerts:
  evaluation_interval: 200ms
  targets:
    oncall: {pagerduty: {routing_key: {env: KEY}, url: "http://127.0.0.1:%(port)d/oncall"}}
  rules:
    - {name: Failing, severity: page, runbook: availability-slo, when: {sli: availability, below: 0.9, over: 10s, min_events: 10}}
    - {name: Slow, severity: ticket, runbook: latency-slo, when: "p50[10s] > 500ms and latency.valid[10s] >= 5"}
    - {name: SchemaChange, severity: ticket, runbook: schema-change, when: {sli: schema, below: 0.5, over: 1m, min_events: 5}}
    - {name: ModelSilent, severity: ticket, runbook: model-silent, when: {sli: heard, below: 0.5, over: 1m, min_events: 5}}
    - {name: Late, severity: ticket, runbook: late-rows, when: "driftline_rows_late_total[1h] > 10"}
"""


def test_indicators_are_counted_again_as_they_were_when_the_calls_came(tmp_path):
    (tmp_path / "training.csv").write_text("input\n" + "".join(f"{i % 7}\n" for i in range(100)))
    build = [BINARIES / "driftline", "reference", "build", tmp_path / "training.csv", "--model=m", f"--output={tmp_path}/reference.json"]
    subprocess.run(build, check=True, capture_output=True)
    begun = time.time()
    rules = {"Failing", "Slow"}
    with contextlib.ExitStack() as stack:
        oncall = OnCall(tmp_path, stack, CALLS)
        oncall.ask(20)
        # Half of the calls fail, and all are slow; a slice of ten seconds ends before they are well again.
        ill = time.time()
        oncall.model.pause, oncall.model.statuses = 0.15, itertools.cycle([500, 200])
        oncall.ask(30)
        while rules - {alert["rule"] for alert in oncall.get("alerts?state=firing")}:
            oncall.ask(2)
        time.sleep(10.5 - time.time() % 10)
        well = time.time()
        oncall.resolves("Failing")
        oncall.resolves("Slow")
        live = {alert["rule"]: alert for alert in oncall.get("alerts") if alert["rule"] in rules}
    span = [f"--{name}={datetime.datetime.fromtimestamp(at, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}" for name, at in (("from", begun - 20), ("to", time.time() + 20))]
    found = json.loads(backtest(tmp_path / "driftline.yaml", *span, "--format=json").stdout)["present"]
    seconds = lambda text: datetime.datetime.fromisoformat(text).timestamp()
    episodes = {e["rule"]: e for e in found["episodes"] if e["rule"] in rules}
    assert set(episodes) == set(live) == rules
    for rule, episode in episodes.items():
        # A look at the end of a slice sees what one in the middle of it saw; what came late, the live one did not see before.
        assert ill <= seconds(episode["fired"]) <= seconds(live[rule]["started_at"]) + 11, rule
        assert well <= seconds(episode["resolved"]) <= seconds(live[rule]["resolved_at"]) + 11, rule
    because = episodes["Failing"]["because"][0]
    assert because["score"] == "availability" and because["value"] < because["limit"] == 0.9
    for says in ("rule SchemaChange is not tried: the archive keeps as missing", "rule ModelSilent is not tried: the indicator heard", "rule Late is not tried: driftline_rows_late_total is the collector's own metric, which no archive keeps: of the past there is no data", "rule UndecodableBodies is not tried: the archive has what gave rows"):
        assert any(note.startswith(says) for note in found["left_out"]), found["left_out"]
    # The same from a file of the archive's rows, which says how its calls went.
    whole = tmp_path / "whole.parquet"
    samples = [BINARIES / "driftline", "samples", f"--config={tmp_path}/driftline.yaml", "--model=m", *span]
    subprocess.run([*samples, "--format=parquet", f"--output={whole}"], check=True, capture_output=True)
    files = [f"--data={whole}", "--time-column=event_time"]
    again = json.loads(backtest(tmp_path / "driftline.yaml", *span, *files, "--format=json").stdout)["present"]
    times = lambda trial: sorted((e["rule"], e["fired"], e["resolved"]) for e in trial["episodes"] if e["rule"] in rules)
    assert times(again) == times(found)
    assert (again["rows"], again["windows"]) == (found["rows"], found["windows"])


class Elements(html.parser.HTMLParser):
    """The elements of a page, its attributes, and what it would load."""

    def __init__(self, text: str):
        super().__init__()
        self.names, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.attributes.update(name for name, _ in attributes)


def test_the_page_needs_nothing_but_itself_and_hostile_names_stay_text(demo_folder, tmp_path):
    shutil.copytree(demo_folder / "data", tmp_path / "data")
    text = (demo_folder / "driftline.yaml").read_text().replace("folder: archive", f"folder: {demo_folder / 'archive'}")
    reference = json.loads((demo_folder / "reference.json").read_text())
    # A column and a category of it that nobody would have named so; in the archive it is missing in every row.
    carrier = next(column for column in reference["columns"] if column["column"] == "carrier")
    reference["columns"].append(json.loads(json.dumps(carrier).replace('"carrier"', json.dumps(HOSTILE)).replace('"UA"', json.dumps(HOSTILE + "UA"))))
    (tmp_path / "reference.json").write_text(json.dumps(reference))
    (tmp_path / "driftline.yaml").write_text(text.split("\nalerts:")[0] + "\n")
    output = tmp_path / "report.html"
    headline = backtest(tmp_path / "driftline.yaml", *YEAR, "--format=html", f"--output={output}").stderr.strip()
    page = output.read_text()
    assert f"<h1>{headline.splitlines()[-1]}</h1>" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    elements = Elements(page)
    assert "svg" in elements.names and not elements.names & {"script", "link", "img", "iframe", "object"}
    assert not [name for name in elements.attributes if name.startswith("on") or name in ("src", "href")]
    assert not re.search(r"url\(|@import|https?://", page)
    assert len(page) < 1_000_000
