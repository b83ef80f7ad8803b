"""References as others read them: JSON and NumPy, against the rows that they were built from."""

import hashlib
import json
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime, timedelta

import numpy
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
from conftest import BINARIES
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler


def driftline(*arguments, **more) -> str:
    ran = subprocess.run([BINARIES / "driftline", *map(str, arguments)], capture_output=True, text=True, **more)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def build(folder, *arguments, **more) -> dict:
    output = folder / "reference.json"
    driftline("reference", "build", "--model=m", f"--output={output}", *arguments, **more)
    return json.loads(output.read_text())


def normals(file: dict) -> dict:
    return {column["column"]: column["normal"] for column in file["columns"]}


def numbers_of(normal: dict) -> numpy.ndarray:
    """The values of an exact column, from its counts."""
    assert normal["exact"] and sum(normal["profile"]["cells"][::2]) == 0
    return numpy.repeat(normal["grid"], normal["profile"]["cells"][1::2])


def write_rows(path, table: pyarrow.Table):
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=777)
    elif path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return path


def test_segments_are_the_rows_of_their_value_or_condition(tmp_path):
    random = numpy.random.default_rng(7)
    table = pyarrow.table({"amount": random.lognormal(size=9000), "place": random.choice(["a", "b", "c"], size=9000)})
    path = write_rows(tmp_path / "rows.parquet", table)
    file = build(tmp_path, path, "--segment=place", "--segment=large=amount > 1.5")
    shared = [column["column"] for column in file["segments"]["columns"]].index("amount")
    grid = numpy.array(file["segments"]["columns"][shared]["normal"]["grid"])
    assert len(grid) <= 128

    def counts(of: numpy.ndarray) -> list[int]:
        """As the file says that it counts: below the first cut point, on it, between it and the second, …"""
        places = numpy.searchsorted(grid, of) + numpy.searchsorted(grid, of, side="right")
        return numpy.bincount(places, minlength=2 * len(grid) + 1).tolist()

    amounts, places = table["amount"].to_numpy(), table["place"].to_numpy(zero_copy_only=False)
    by_place, by_condition = file["segments"]["by"]
    values = by_place["parting"]["column"]["values"]
    rows = [amounts[places == value] for value in values] + [amounts[:0]]
    assert sorted(values) == ["a", "b", "c"] and by_condition["parting"]["condition"]["holds"] == "amount > 1.5"
    for segment, own in zip(by_place["segments"] + by_condition["segments"], rows + [amounts[amounts > 1.5]], strict=True):
        assert segment["rows"] == len(own)
        assert segment["columns"][shared]["profile"]["Numeric"]["cells"] == counts(own)


def test_the_same_rows_make_the_same_reference_from_every_format(tmp_path):
    random = numpy.random.default_rng(5)
    rows = 20_000
    temperatures = [None if x < -2 else round(float(x), 2) for x in random.normal(size=rows)]
    table = pyarrow.table({
        "temp": temperatures,
        "amount": random.lognormal(size=rows),
        "carrier": random.choice(["UA", "DL", "AA"], size=rows, p=[0.6, 0.3, 0.1]),
        "late": random.random(rows) < 0.2,
    })
    halves = [table.slice(0, rows // 2), table.slice(rows // 2)]
    built = {}
    for ending in ("parquet", "csv", "jsonl"):
        files = [write_rows(tmp_path / f"{half}.{ending}", part) for half, part in enumerate(halves)]
        file = build(tmp_path, *files)
        assert [source["bytes"] for source in file["sources"]] == [path.stat().st_size for path in files]
        assert file["version"] == 4 and file["rows"] == rows and str(files[1]) in file["options"]
        built[ending] = normals(file)
    assert built["parquet"] == built["csv"] == built["jsonl"]

    columns = built["parquet"]
    there = numpy.array([x for x in temperatures if x is not None])
    assert numpy.array_equal(numbers_of(columns["temp"]), numpy.sort(there))
    assert columns["temp"]["profile"]["missing"] == rows - len(there)
    # Quantiles: the shares up to each cut point are those of the rows, and the cut points those of NumPy.
    amounts, amount = numpy.sort(table["amount"].to_numpy()), columns["amount"]
    cells = numpy.array(amount["profile"]["cells"])
    assert not amount["exact"] and len(amount["grid"]) == 1025
    assert numpy.array_equal(cells.cumsum()[1::2], numpy.searchsorted(amounts, amount["grid"], side="right"))
    wanted = numpy.quantile(amounts, numpy.arange(1025) / 1024, method="inverted_cdf")
    assert numpy.array_equal(amount["grid"], wanted)
    names, counts = numpy.unique(table["carrier"].to_numpy(zero_copy_only=False), return_counts=True)
    found = dict(zip(columns["carrier"]["dictionary"]["categories"], columns["carrier"]["profile"]["cells"]))
    assert found == dict(zip(names, counts))
    assert columns["late"]["dictionary"]["categories"] == ["false", "true"]


def test_a_reference_of_the_archive_is_that_of_its_rows(demo_folder, tmp_path):
    config, stretch = f"--config={demo_folder / 'driftline.yaml'}", ("--from=2013-07-01", "--to=2013-07-04")
    rows = tmp_path / "rows.parquet"
    driftline("samples", "--model=flight-delay", config, *stretch, "--format=parquet", f"--output={rows}")
    table = pyarrow.parquet.read_table(rows)
    output = tmp_path / "archive.json"
    driftline("reference", "build", "--model=flight-delay", config, "--archive", *stretch, f"--output={output}")
    file = json.loads(output.read_text())
    kept = [s // 100 == 2 and e == "complete" for s, e in zip(table["status"].to_pylist(), table["end_state"].to_pylist())]
    table = table.filter(pyarrow.array(kept))
    assert file["rows"] == table.num_rows > 1000 and all(len(s["sha256"]) == 64 for s in file["sources"])
    columns = normals(file)
    # Archived as column.hour, for a folder is called hour; and no column is one that only the archive has.
    hours = table["column.hour"].to_numpy()
    assert numpy.array_equal(numbers_of(columns["hour"]), numpy.sort(hours))
    assert not {"request_id", "status", "event_time", "column.hour", "instance", "latency_ms"} & columns.keys()
    configured = json.loads((demo_folder / "reference.json").read_text())
    assert {c["column"] for c in configured["columns"]} <= columns.keys()


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_the_configuration_types_what_the_rows_do_not_and_the_command_line_has_the_last_word(tmp_path, suffix):
    gates, booked = numpy.arange(600) % 20, [f"2013-07-{1 + row // 24:02}T{row % 24:02}:30:00Z" for row in range(600)]
    path = write_rows(tmp_path / f"rows.{suffix}", pyarrow.table({"gate": gates, "booked": booked, "seats": gates}))
    untyped = normals(build(tmp_path, path))
    assert [untyped[name]["kind"] for name in ["gate", "booked", "seats"]] == ["numeric", "categorical", "numeric"]
    config = tmp_path / "driftline.yaml"
    config.write_text("models:\n  - name: m\n    columns: {gate: text, booked: timestamp, seats: number}\n")
    file = build(tmp_path, path, f"--config={config}")
    columns = normals(file)
    assert columns["gate"]["kind"] == "categorical" and columns["seats"] == untyped["seats"]
    found = dict(zip(columns["gate"]["dictionary"]["categories"], columns["gate"]["profile"]["cells"]))
    assert found == {str(gate): 30 for gate in range(20)}
    hours = columns["booked.hour"]
    assert dict(zip(hours["dictionary"]["categories"], hours["profile"]["cells"])) == {f"{hour:02}": 25 for hour in range(24)}
    said = normals(build(tmp_path, path, f"--config={config}", "--categorical=booked"))
    assert said["booked"] == untyped["booked"] and said["gate"] == columns["gate"]


def test_embeddings_lie_where_scikit_learn_says(tmp_path):
    vectors = load_digits().data.astype(numpy.float32)
    path = tmp_path / "rows.parquet"
    column = pyarrow.array(list(vectors), type=pyarrow.list_(pyarrow.float32()))
    pyarrow.parquet.write_table(pyarrow.table({"vector": column}), path, compression="zstd")
    file = build(tmp_path, path)
    [derived] = file["derived"]
    pca = PCA(8, svd_solver="full").fit(vectors.astype(float))
    axes = pca.components_ * numpy.sign(numpy.take_along_axis(
        pca.components_, numpy.abs(pca.components_).argmax(axis=1)[:, None], axis=1))
    numpy.testing.assert_allclose(derived["space"]["axes"], axes, atol=1e-9)
    numpy.testing.assert_allclose(derived["space"]["centroid"], vectors.astype(float).mean(axis=0), rtol=1e-12)
    centred = vectors.astype(float) - pca.mean_
    norms = numpy.linalg.norm(vectors.astype(float), axis=1)
    expected = {"vector.norm": norms, "vector.cosine": vectors @ pca.mean_ / norms / numpy.linalg.norm(pca.mean_)}
    expected |= {f"vector.pc{i + 1}": centred @ axis for i, axis in enumerate(axes)}
    columns = normals(file)
    features = columns.pop("vector.features")
    assert columns.keys() == expected.keys()
    for name, values in expected.items():
        numpy.testing.assert_allclose(numbers_of(columns[name]), numpy.sort(values), atol=1e-9, err_msg=name)
    kernel, profile = features["kernel"], features["profile"]
    assert kernel["bandwidth"] == pytest.approx(numpy.median(pdist(vectors)), rel=0.02)
    phases = vectors @ normal_numbers(kernel["frequencies"] * 64).reshape(-1, 64).T / kernel["bandwidth"]
    of_pairs = numpy.stack([numpy.cos(phases), numpy.sin(phases)], axis=2).reshape(len(vectors), -1)
    numpy.testing.assert_allclose(numpy.array(profile["sums"]) / 2**30, of_pairs.sum(axis=0), atol=1e-5)
    covariance = numpy.cov(of_pairs.T) / kernel["frequencies"]
    traces = [numpy.trace(numpy.linalg.matrix_power(covariance, power)) for power in (1, 2, 3)]
    numpy.testing.assert_allclose(kernel["traces"], traces, rtol=1e-9)


def normal_numbers(count: int) -> numpy.ndarray:
    """As docs/reference-file.md has them."""
    bits = numpy.arange(2 * count, dtype=numpy.uint64) + numpy.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    uniform = (((bits ^ (bits >> numpy.uint64(31))) >> numpy.uint64(11)).astype(float) + 0.5) / 2**53
    return numpy.sqrt(-2 * numpy.log(uniform[::2])) * numpy.cos(2 * numpy.pi * uniform[1::2])


def test_columns_lie_together_where_scikit_learn_and_numpy_say(tmp_path):
    random = numpy.random.default_rng(7)
    level = random.normal(size=5000)
    rows = numpy.column_stack([20 + 5 * level, 1e6 - 1e5 * (level + random.normal(size=5000)), random.lognormal(size=5000)])
    table = pyarrow.table({"a": rows[:, 0], "b": rows[:, 1], "c": rows[:, 2], "name": ["x"] * 5000})
    file = build(tmp_path, write_rows(tmp_path / "rows.parquet", table), "--joint")
    [derived] = file["derived"]
    scaled = StandardScaler().fit_transform(rows)
    pca = PCA(0.65).fit(scaled)
    axes = pca.components_ * numpy.sign(numpy.take_along_axis(
        pca.components_, numpy.abs(pca.components_).argmax(axis=1)[:, None], axis=1))
    assert derived["joint"]["columns"] == ["a", "b", "c"]
    numpy.testing.assert_allclose(derived["joint"]["axes"], axes, atol=1e-9)
    columns = normals(file)
    errors = numpy.linalg.norm(scaled - pca.inverse_transform(pca.transform(scaled)), axis=1)
    profile = columns["joint.pca_error"]["profile"]
    origin = columns["joint.pca_error"]["grid"][len(columns["joint.pca_error"]["grid"]) // 2]
    assert origin + profile["shifted_sum"] / len(errors) == pytest.approx(errors.mean(), rel=1e-9)
    n, x, y, xx, xy, yy = numpy.array(columns["joint.associations"]["profile"]["pairs"], dtype=float).T
    correlations = (n * xy - x * y) / numpy.sqrt((n * xx - x * x) * (n * yy - y * y))
    clipped = numpy.clip(scaled, -8, 8)
    numpy.testing.assert_allclose(correlations, numpy.corrcoef(clipped.T)[numpy.triu_indices(3, 1)], atol=1e-5)


def test_texts_and_times_are_scored_by_what_is_derived(tmp_path):
    texts = ["Late again, 20 minutes!", "late", "", "Très bien", "飛行機 late"]
    times = [f"2013-07-0{day}T0{day}:30:00Z" for day in range(1, 6)]
    rows = [{"note": text, "booked": time, "at": "2013-07-06T00:00:00Z"} for text, time in zip(texts, times)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    columns = normals(build(tmp_path, path, "--text=note", "--timestamp=booked", "--time-column=at", "--pane=1d", "--window=1d"))
    assert numpy.array_equal(numbers_of(columns["note.length"]), sorted(map(len, texts)))
    assert numpy.array_equal(numbers_of(columns["note.words"]), sorted([4, 1, 0, 2, 4]))
    digits = [sum(map(str.isdigit, text)) / len(text) for text in texts if text]
    assert numpy.array_equal(numbers_of(columns["note.digits"]), sorted(digits))
    # Latin letters, other letters, digits, what separates, and the rest of what is written.
    has = {
        "letters": lambda c: c.isalpha() and unicodedata.name(c).startswith("LATIN"),
        "other_letters": lambda c: c.isalpha() and not unicodedata.name(c).startswith("LATIN"),
        "punctuation": lambda c: unicodedata.category(c)[0] in "PS",
        "whitespace": str.isspace,
    }
    for name, is_one in has.items():
        shares = sorted(sum(map(is_one, text)) / len(text) for text in texts if text)
        assert numpy.array_equal(numbers_of(columns[f"note.{name}"]), shares), name
        assert columns[f"note.{name}"]["profile"]["missing"] == 1, "an empty text has no characters"
    # Of the words of a row, those that no other row has; "late" is in three.
    assert numpy.array_equal(numbers_of(columns["note.new_words"]), sorted([3 / 4, 0, 1, 3 / 4]))
    assert columns["note.new_words"]["profile"]["missing"] == 1
    ages = [86_400 * (6 - day) - 3600 * day - 1800 for day in range(1, 6)]
    assert numpy.array_equal(numbers_of(columns["booked.age"]), sorted(ages))
    assert set(columns["booked.hour"]["dictionary"]["categories"]) == {"01", "02", "03", "04", "05"}
    assert set(columns["booked.weekday"]["dictionary"]["categories"]) == {"monday", "tuesday", "wednesday", "thursday", "friday"}


def test_a_reference_says_what_it_was_made_of(tmp_path):
    random = numpy.random.default_rng(8)
    files = [
        write_rows(tmp_path / f"rows.{ending}", pyarrow.table({"x": random.integers(0, 9, size=size), "place": ["a"] * size}))
        for ending, size in (("parquet", 500), ("csv", 300), ("jsonl", 200))
    ]
    began = datetime.now(UTC)
    file = build(tmp_path, *files)
    for source, path in zip(file["sources"], files, strict=True):
        content = path.read_bytes()
        assert source == {"path": str(path), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert (file["format"], file["version"], file["model"], file["rows"]) == ("driftline-reference", 4, "m", 1000)
    assert began - timedelta(seconds=1) <= datetime.fromisoformat(file["built_at"]) <= datetime.now(UTC)
    assert file["options"] == ["reference", "build", "--model=m", f"--output={tmp_path / 'reference.json'}", *map(str, files)]


#: Of a process's memory, what its files' bytes are held against.
MIB = 1 << 20


def test_rows_that_memory_has_no_room_for(tmp_path):
    random = numpy.random.default_rng(6)
    path, groups, rows, columns = tmp_path / "rows.parquet", 40, 200_000, 10
    schema = pyarrow.schema([(f"c{i}", pyarrow.float64()) for i in range(columns)])
    first, drawn = [], [random.normal(size=rows + groups * 1000) for _ in schema]
    with pyarrow.parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for group in range(groups):
            # Other rows in every group, without drawing each anew.
            values = [column[1000 * group :][:rows] + group for column in drawn]
            first.append(values[0])
            writer.write_table(pyarrow.table(values, schema=schema))
    size = path.stat().st_size
    assert size > 600 * MIB
    output = tmp_path / "reference.json"
    command = [BINARIES / "driftline", "reference", "build", "--model=m", f"--output={output}", "--memory-mib=32", path]
    # Asked by a small process: what a child had at its most counts what its parent had when it was forked.
    ask = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    used = 1024 * int(subprocess.run([sys.executable, "-c", ask, *command], check=True, capture_output=True, text=True).stdout)
    assert used < 200 * MIB, f"{used / MIB:.0f} MiB for a file of {size / MIB:.0f}"
    file = json.loads(output.read_text())
    assert file["rows"] == groups * rows and file["sources"][0]["bytes"] == size
    # Counts are of every row; cut points lie at quantiles, as far as a sample of half a million rows knows them.
    normal = normals(file)["c0"]
    sorted_values = numpy.sort(numpy.concatenate(first))
    cells = numpy.array(normal["profile"]["cells"])
    assert numpy.array_equal(cells.cumsum()[1::2], numpy.searchsorted(sorted_values, normal["grid"], side="right"))
    shares = cells.cumsum()[1::2] / cells.sum()
    assert numpy.abs(shares - numpy.arange(len(shares)) / (len(shares) - 1)).max() < 0.003


@pytest.mark.parametrize("change", [{"version": 5}, {"format": "other"}])
def test_a_file_of_another_version_says_what_to_do(tmp_path, change):
    path = tmp_path / "reference.json"
    path.write_text(json.dumps({"format": "driftline-reference", "version": 4} | change))
    ran = subprocess.run([BINARIES / "driftline", "reference", "show", path], capture_output=True, text=True)
    assert ran.returncode == 1 and "build it again" in ran.stderr


def test_a_file_of_the_first_version_is_read(demo_folder, tmp_path):
    file = json.loads((demo_folder / "reference.json").read_text())
    for later in ("options", "derived"):
        file.pop(later, None)
    path = tmp_path / "old.json"
    path.write_text(json.dumps(file | {"version": 1}))
    assert "numeric" in driftline("reference", "show", path)
