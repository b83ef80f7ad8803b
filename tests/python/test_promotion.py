"""Versions and stretches of time of an archive that a collector wrote, side by side: the gate before a model is promoted."""

import json

import httpx
import pandas as pd
import pytest
from conftest import ROOT, collector, eventually
from scipy import stats
from test_compare import compare

CONFIGURATION = """
data_dir: data
archive: {folder: archive, max_age: 200ms}
models:
  - name: flights
    event_time: {column: scheduled_at}
    row_id: flight
"""
COLUMNS = ["temp", "distance", "carrier"]
FIRST_WEEK = "from=2013-01-01,to=2013-01-08"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two weeks of January: every other flight was for version 3, the others for 4, which measured in Celsius from the 8th on."""
    folder = tmp_path_factory.mktemp("promotion")
    flights = pd.read_parquet(ROOT / "demo" / "data" / "flights.parquet", columns=["scheduled_at", *COLUMNS])
    rows = flights[flights.scheduled_at < "2013-01-15"].dropna().reset_index(drop=True)
    rows["version"] = ["3" if index % 2 else "4" for index in rows.index]
    is_changed = (rows.version == "4") & (rows.scheduled_at >= "2013-01-08")
    rows["temp"] = rows.temp.where(~is_changed, (rows.temp - 32) / 1.8)
    with collector(folder, CONFIGURATION) as url:
        for start in range(0, len(rows), 2000):
            lines = [
                json.dumps({
                    "features": {**{name: row[name] for name in COLUMNS}, "scheduled_at": row["scheduled_at"].isoformat(), "flight": index},
                    "version": row["version"],
                })
                for index, row in rows[start : start + 2000].iterrows()
            ]
            httpx.post(f"{url}/v1/rows?model=flights", content="\n".join(lines), timeout=30).raise_for_status()

        def archived():
            paths = folder.glob("archive/model=flights/**/*.parquet")
            return sum(len(pd.read_parquet(path, columns=["event_time"], partitioning=None)) for path in paths) == len(rows)

        eventually(archived, "all rows are archived")
    return folder, rows


def gate(folder, *arguments, code: int):
    return compare(f"--config={folder / 'driftline.yaml'}", *arguments, code=code)


def test_versions_of_the_same_week_are_held_against_each_other(archive):
    folder, rows = archive
    week = ("--model=flights", "--from=2013-01-01", "--to=2013-01-08")
    said = json.loads(gate(folder, "archive:version=3", "archive:version=4", *week, "--format=json", code=0).stdout)
    first = rows[rows.scheduled_at < "2013-01-08"]
    sides = [first[first.version == version] for version in "34"]
    assert (said["n_reference"], said["n_window"]) == tuple(map(len, sides))
    assert (said["normal"], said["rows"], said["verdict"]) == ("archive:version=3", "archive:version=4", "ok")
    assert {column["column"] for column in said["columns"]} == set(COLUMNS), "when and which a row was are no features"
    ks = {column["column"]: score["value"] for column in said["columns"] for score in column["scores"] if score["detector"] == "ks"}
    for name in ("temp", "distance"):
        assert ks[name] == pytest.approx(stats.ks_2samp(*(side[name] for side in sides)).statistic, rel=1e-9)


def test_a_version_that_measures_otherwise_is_not_promoted(archive):
    folder, _ = archive
    second = ("--model=flights", "--from=2013-01-08", "--to=2013-01-15", "--column=temp,distance")
    said = gate(folder, "archive:version=3", "archive:version=4", *second, code=1).stdout
    assert said.startswith("Drift in temp:") and "a change of unit" in said


def test_stretches_of_time_files_and_conditions_go_together(archive, tmp_path):
    folder, rows = archive
    third = ("archive:model=flights,version=3," + FIRST_WEEK, "archive:model=flights,version=3,from=2013-01-08,to=2013-01-15")
    of_weeks = json.loads(gate(folder, *third, "--where=distance > 1000", "--column=distance", "--format=json", code=0).stdout)
    far = rows[(rows.version == "3") & (rows.distance > 1000)]
    weeks = far[far.scheduled_at < "2013-01-08"], far[far.scheduled_at >= "2013-01-08"]
    assert (of_weeks["n_reference"], of_weeks["n_window"]) == tuple(map(len, weeks))
    training = tmp_path / "training.parquet"
    rows[rows.version == "3"][COLUMNS].to_parquet(training)
    beside_file = ("archive:version=4," + FIRST_WEEK, "--model=flights", "--column=distance,carrier")
    assert gate(folder, training, *beside_file, code=0).stdout.startswith("No drift: 2 columns")
    by_nannyml = gate(folder, training, *beside_file, "--preset=nannyml", "--format=json", code=1)
    assert json.loads(by_nannyml.stdout)["n_window"] == sum((rows.version == "4") & (rows.scheduled_at < "2013-01-08"))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("archive:version=3", "archive:version=4"), 64, "which model's?"),
        (("archive:version=3", "archive:version=9", "--model=flights"), 2, "archive:version=9: the archive has no such rows of model 'flights'"),
        (("archive:version=3", "archive:since=yesterday", "--model=flights"), 64, "none of model=, version=, from= and to="),
        (("archive:version=3,to=2013-01-02", "archive:version=4", "--model=flights", "--from=2013-01-03"), 64, "it ends before it begins"),
        (("archive:", "archive:", "--model=flights", "--where=temp nothing"), 64, "a comparison"),
        (("a.csv", "b.csv", "--model=flights"), 64, "are of rows of the archive"),
    ],
)
def test_what_cannot_be_meant_is_said(archive, arguments, code, says):
    assert says in gate(archive[0], *arguments, code=code).stderr
