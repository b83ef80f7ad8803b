"""What Evidently and NannyML say of months of flights by their own defaults, and `driftline compare --preset` in their place."""

import json

import pandas as pd
import pytest
from conftest import ROOT
from test_compare import compare

#: Their own numbers; `tests/golden/presets.py` makes them.
GOLDEN = json.loads((ROOT / "tests" / "golden" / "presets.json").read_text())
COLUMNS = list(GOLDEN[0]["evidently"]["columns"])


def is_theirs(number: float | None):
    return pytest.approx(number, rel=1e-9, abs=1e-9)


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """The files of each case: the reference as Parquet, the other as CSV, which has no types."""
    folder = tmp_path_factory.mktemp("presets")
    flights = pd.read_parquet(ROOT / "demo" / "data" / "flights.parquet")
    month = flights.date.str[5:7].astype(int)
    files = []
    for number, case in enumerate(GOLDEN):
        normal, rows = folder / f"{number}.parquet", folder / f"{number}.csv"
        flights[month == 1][COLUMNS][: case["reference_rows"]].to_parquet(normal)
        flights[month == case["month"]][COLUMNS][: case["window_rows"]].to_csv(rows, index=False)
        files.append((case, normal, rows))
    return files


def test_evidently_s_numbers_and_its_conclusion_are_its_own(sides):
    for case, *files in sides:
        theirs = case["evidently"]
        said = json.loads(compare(*files, "--preset=evidently", "--format=json", code=int(theirs["drifted"])).stdout)
        assert said["share_drifted"] == is_theirs(theirs["share"])
        assert {column["column"] for column in said["columns"]} == set(theirs["columns"])
        for column in said["columns"]:
            of_column = theirs["columns"][column["column"]]
            [chunk] = column["chunks"]
            assert chunk["value"] == is_theirs(of_column["value"]), (case, column)
            assert (column["threshold"], column["drifted"]) == (of_column["threshold"], of_column["drifted"]), column
    assert {case["evidently"]["drifted"] for case, *_ in sides} == {True, False}, "both conclusions are shown"


def test_nannyml_s_numbers_of_each_chunk_are_its_own(sides):
    for case, *files in sides:
        theirs = case["nannyml"]["columns"]
        drifted = any(alert for column in theirs.values() for *_, alert in column["chunks"])
        said = json.loads(compare(*files, "--preset=nannyml", "--format=json", code=int(drifted)).stdout)
        assert {column["column"] for column in said["columns"]} == set(theirs)
        for column in said["columns"]:
            of_column = theirs[column["column"]]
            assert column["threshold"] == is_theirs(of_column["threshold"]), (case, column)
            chunks = [[chunk["first_row"], chunk["value"], chunk["drifted"]] for chunk in column["chunks"]]
            assert chunks == [[first, is_theirs(value), alert] for first, value, alert in of_column["chunks"]], column["column"]


def test_table_and_page_say_the_same_and_name_whose_numbers_they_are(sides, tmp_path):
    case, *files = sides[1]
    table = compare(*files, "--preset=evidently", code=int(case["evidently"]["drifted"])).stdout
    drifted = {name for name, column in case["evidently"]["columns"].items() if column["drifted"]}
    assert table.startswith("Evidently says ")
    assert {line.split()[0] for line in table.splitlines() if line.endswith(" drift")} == drifted
    page = tmp_path / "page.html"
    compare(*files, "--preset=nannyml", "--format=html", f"--output={page}", code=1)
    text = page.read_text()
    assert "by NannyML's defaults" in text and "<script" not in text
    assert text.count("<article") == len(COLUMNS)


def test_where_they_would_end_with_an_error_the_column_is_named_and_the_gate_stays_shut(tmp_path):
    normal, rows = tmp_path / "normal.csv", tmp_path / "rows.csv"
    normal.write_text("x,y\n" + "".join(f"{i % 40},{i % 7}\n" for i in range(400)))
    rows.write_text("x,y\n" + "".join(f"{i % 40},\n" for i in range(400)))
    for preset in ("evidently", "nannyml"):
        said = compare(normal, rows, f"--preset={preset}", code=2).stdout
        assert "no number: the window has no usable value" in said, said
        compare(normal, rows, f"--preset={preset}", "--exclude=y")
    reference = tmp_path / "reference.json"
    reference.write_text("{}")
    assert "a reference file holds none" in compare(reference, rows, "--preset=evidently", code=64).stderr
    assert "has no column z of numbers or names" in compare(normal, rows, "--preset=evidently", "--column=z", code=64).stderr
    assert "cannot be used with" in compare(normal, rows, "--preset=evidently", "--score=ks", code=64).stderr
