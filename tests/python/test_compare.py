"""Two files side by side: the same scores as SciPy's, a verdict as exit code, and a page that stands alone."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
from conftest import BINARIES, ROOT
from scipy import stats


def compare(*arguments, code: int = 0) -> subprocess.CompletedProcess:
    ran = subprocess.run([BINARIES / "driftline", "compare", *map(str, arguments)], capture_output=True, text=True)
    assert ran.returncode == code, (ran.returncode, ran.stdout, ran.stderr)
    return ran


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """January's even and odd days, and July, as Parquet, CSV and JSON lines."""
    folder = tmp_path_factory.mktemp("months")
    flights = pd.read_parquet(ROOT / "demo" / "data" / "flights.parquet")
    date = pd.to_datetime(flights.date)
    january = flights[date.dt.month == 1]
    columns = ["distance", "temp", "carrier", "origin"]
    even, odd = (january[date[january.index].dt.day % 2 == side][columns] for side in (0, 1))
    even.to_parquet(folder / "even.parquet")
    odd.to_csv(folder / "odd.csv", index=False)
    flights[date.dt.month == 7][columns].to_json(folder / "july.jsonl", orient="records", lines=True)
    odd.head(30).to_csv(folder / "few.csv", index=False)
    return folder, even, odd


def test_what_drifted_is_named_and_the_exit_code_is_a_gate(months):
    folder, even, odd = months
    july = compare(folder / "even.parquet", folder / "july.jsonl", code=1).stdout
    assert july.startswith("Drift in temp") and "drift" in july.splitlines()[3]
    same = json.loads(compare(folder / "even.parquet", folder / "odd.csv", "--column=distance,carrier,origin", "--format=json").stdout)
    assert same["verdict"] == "ok" and (same["n_reference"], same["n_window"]) == (len(even), len(odd))
    scores = {(c["column"], s["detector"]): s for c in same["columns"] for s in c["scores"]}
    assert scores["distance", "ks"]["value"] == pytest.approx(stats.ks_2samp(even.distance, odd.distance).statistic, rel=1e-9)
    table = pd.crosstab(pd.concat([even.carrier, odd.carrier]), [0] * len(even) + [1] * len(odd))
    assert scores["carrier", "chi_square"]["value"] == pytest.approx(stats.chi2_contingency(table, correction=False)[0], rel=1e-9)
    few = compare(folder / "even.parquet", folder / "few.csv", "--column=distance,origin", code=2).stdout
    assert few.startswith("Too few rows to tell")


def pooled(table: np.ndarray) -> np.ndarray:
    """The smallest categories as one, until both samples expect five rows of it and of each that is left."""
    enough = lambda cells: (cells.sum() * table.sum(axis=1) / table.sum()).min() >= 5
    cells = sorted(table.T, key=lambda cell: (cell.sum(), cell[0]))
    taken = next(taken for taken in range(len(cells) + 1) if all(enough(part) for part in (np.sum(cells[:taken], axis=0), *cells[taken:]) if np.any(part)))
    return np.array([np.sum(cells[:taken], axis=0), *cells[taken:]]).T if taken else np.array(cells).T


@pytest.mark.parametrize("rows", [(400, 60), (150, 150), (3000, 40)])
def test_of_few_rows_chi_square_s_p_value_is_that_of_pooled_categories(tmp_path, rows):
    flights = pd.read_parquet(ROOT / "demo" / "data" / "flights.parquet", columns=["carrier", "origin", "dest"])
    sides = [flights.sample(count, random_state=seed) for seed, count in enumerate(rows)]
    files = [tmp_path / "normal.csv", tmp_path / "rows.csv"]
    for side, file in zip(sides, files):
        side.to_csv(file, index=False)
    said = json.loads(compare(*files, "--format=json", "--threshold=psi=100").stdout)
    for column in said["columns"]:
        [chi_square] = [score for score in column["scores"] if score["detector"] == "chi_square"]
        table = np.array([side[column["column"]].value_counts().reindex(flights[column["column"]].unique(), fill_value=0) for side in sides])
        table = table[:, table.sum(axis=0) > 0]
        assert chi_square["value"] == pytest.approx(stats.chi2_contingency(table, correction=False).statistic, rel=1e-9)
        few = pooled(table)
        assert few.shape[1] < table.shape[1] or column["column"] == "origin", "what is pooled is shown"
        assert chi_square["p_value"] == pytest.approx(stats.chi2_contingency(few, correction=False).pvalue, rel=1e-6)


def test_a_drift_says_what_it_looks_like_and_an_index_is_no_column(months):
    folder, even, _ = months
    shuffled = even.sample(frac=1, random_state=1)
    shuffled.to_parquet(folder / "indexed.parquet")
    shuffled.assign(temp=(shuffled.temp - 32) / 1.8).to_parquet(folder / "celsius.parquet")
    said = compare(folder / "indexed.parquet", folder / "celsius.parquet", code=1).stdout
    assert "__index_level_0__" not in said
    assert "\ntemp looks like a change of unit: × 0.5556 − 17.78 (Fahrenheit to Celsius)" in said
    found = json.loads(compare(folder / "indexed.parquet", folder / "celsius.parquet", "--format=json", code=1).stdout)
    causes = {column["column"]: [cause["change"]["kind"] for cause in column["causes"]] for column in found["columns"]}
    assert causes == {"temp": ["unit_change"], "distance": [], "carrier": [], "origin": []}
    named = compare(folder / "indexed.parquet", folder / "celsius.parquet", "--column=__index_level_0__").stdout
    assert "__index_level_0__" in named


def test_thresholds_and_scores_are_the_callers(months):
    folder, *_ = months
    files = (folder / "even.parquet", folder / "odd.csv", "--column=temp")
    compare(*files, "--threshold=psi=100")
    shown = compare(*files, "--score=ks,wasserstein", "--threshold=ks=1", "--threshold=wasserstein=50").stdout
    assert " ks " in shown and " wasserstein " in shown and " psi " not in shown


def test_quantiles_that_are_asked_for_are_numpy_s_and_decide(months):
    folder, even, odd = months
    named = ["p05_shift", "p25_shift", "p75_shift", "p95_shift"]
    asked = (folder / "even.parquet", folder / "odd.csv", "--column=temp,distance", f"--score={','.join(named)}")
    said = json.loads(compare(*asked, *(f"--threshold={name}=9" for name in named), "--format=json").stdout)
    for column in said["columns"]:
        scores = {score["detector"]: score for score in column["scores"]}
        before, now = (side[column["column"]].dropna() for side in (even, odd))
        for name in named:
            share = int(name[1:3]) / 100
            shift = np.quantile(now, share) - np.quantile(before, share)
            assert scores[name]["value"] == pytest.approx(shift, rel=1e-9, abs=1e-9)
            assert scores[name]["effect"] == pytest.approx(abs(shift) / before.std(ddof=0), rel=1e-9, abs=1e-9)
    july = compare(folder / "even.parquet", folder / "july.jsonl", "--column=temp", "--score=p05_shift,p95_shift", code=1).stdout
    assert july.count("  drift") == 2


def test_a_reference_file_stands_for_its_rows_and_the_page_for_itself(months):
    folder, *_ = months
    reference, page = folder / "reference.json", folder / "page.html"
    build = [BINARIES / "driftline", "reference", "build", folder / "even.parquet", "--model=m", f"--output={reference}"]
    subprocess.run(build, check=True, capture_output=True)
    from_rows, from_file = (compare(normal, folder / "july.jsonl", "--format=json", code=1) for normal in (folder / "even.parquet", reference))
    assert json.loads(from_rows.stdout)["columns"] == json.loads(from_file.stdout)["columns"]
    hostile = folder / "hostile.csv"
    hostile.write_text("<script>x</script>\n" + "\n".join(str(i % 40) for i in range(900)) + "\n")
    compare(hostile, hostile, "--format=html", f"--output={page}")
    text = page.read_text()
    assert text.startswith("<!doctype html>") and "<script" not in text and "url(" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("even.parquet", "nothing.csv"), 74, "nothing.csv"),
        (("even.parquet", "odd.csv", "--score=speed"), 64, "the scores are"),
        (("even.parquet", "odd.csv", "--threshold=psi"), 64, "as in psi=0.1"),
    ],
)
def test_what_cannot_be_compared_is_said(months, arguments, code, says):
    folder, *_ = months
    paths = [folder / name if "." in name and not name.startswith("--") else name for name in arguments]
    assert says in compare(*paths, code=code).stderr


def test_columns_that_no_longer_go_together_are_found_though_each_is_as_ever(tmp_path):
    flights = pd.read_parquet(ROOT / "demo" / "data" / "flights.parquet")
    july = flights[flights.date.str[5:7] == "07"][["temp", "humid", "wind_speed", "carrier"]].dropna().reset_index(drop=True)
    even, odd = july[::2], july[1::2].reset_index(drop=True)
    even.to_csv(tmp_path / "even.csv", index=False)
    odd.to_csv(tmp_path / "odd.csv", index=False)
    odd.assign(humid=odd.humid.sample(frac=1, random_state=1).to_numpy()).to_csv(tmp_path / "mixed.csv", index=False)
    together = ["--joint", "--classifier", "--score=psi,association"]
    assert "No drift" in compare(tmp_path / "even.csv", tmp_path / "mixed.csv").stdout
    assert "No drift" in compare(tmp_path / "even.csv", tmp_path / "odd.csv", *together).stdout
    found = json.loads(compare(tmp_path / "even.csv", tmp_path / "mixed.csv", *together, "--format=json", code=1).stdout)
    columns = {column["column"]: column for column in found["columns"]}
    drifted = [name for name, column in columns.items() if any(score["verdict"] == "drift" for score in column["scores"])]
    assert {"joint.associations", "(classifier)"} <= set(drifted) <= {"joint.associations", "joint.pca_error", "(classifier)"}
    [pairs] = [cause["change"] for cause in columns["joint.associations"]["causes"]]
    first = pairs["pairs"][0]
    assert {first["first"], first["second"]} == {"temp", "humid"} and first["before"] < -0.3 and abs(first["now"]) < 0.05
    assert even.temp.corr(even.humid) == pytest.approx(first["before"], abs=1e-5)
    [told_apart] = [cause["change"] for cause in columns["(classifier)"]["causes"]]
    assert {name for name, _ in told_apart["columns"][:2]} == {"temp", "humid"}


def test_a_classifier_needs_rows_of_both(months, tmp_path):
    folder, _, _ = months
    said = compare(folder / "even.parquet", folder / "few.csv", "--column=distance,origin", "--classifier", code=2).stderr
    assert "50 rows" in said
