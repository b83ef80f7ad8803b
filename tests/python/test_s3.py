"""The archive on a real S3 server."""

import contextlib
import datetime
import http.server
import itertools
import json
import os
import pathlib
import random
import subprocess
import sys
import threading

import boto3
import httpx
import pyarrow.dataset
import pyarrow.fs
import pytest
from conftest import BINARIES, collector, eventually, free_port, process, sidecar, stay_within_a_day
from deltalake import DeltaTable
from test_lake import in_july, send
from test_metrics import Model
from test_senders import count


def doctor(config: pathlib.Path, environment: dict | None = None) -> subprocess.CompletedProcess:
    command = [BINARIES / "driftline", "doctor", f"--config={config}"]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})


def test_the_doctor_says_what_is_wrong_and_with_what(tmp_path):
    config = tmp_path / "driftline.yaml"
    token = "ingest:\n  tokens:\n    - {name: team, token: {env: NO_SUCH_TOKEN}, models: [m]}\n"
    with collector(tmp_path, "data_dir: data\n"):
        beside = doctor(config)
        assert beside.returncode == 0, beside.stdout
        assert "is whole; 0 batches are in the journal" in beside.stdout and "WRONG" not in beside.stdout
    config.write_text(f"data_dir: data\n{token}")
    found = doctor(config)
    assert found.returncode == 1
    assert "WRONG  secrets     the token of team: the environment variable NO_SUCH_TOKEN is not set" in found.stdout
    for file in (tmp_path / "data").glob("driftline.db*"):
        file.unlink()
    (tmp_path / "data" / "driftline.db").write_bytes(b"no database" * 100)
    assert "WRONG  database" in doctor(config).stdout


SECRETS = {"S3_KEY": "AK", "S3_SECRET": "SK"}


class Store:
    """An S3 server with the bucket `models`."""

    def __init__(self, port: int):
        self.address = f"127.0.0.1:{port}"
        keys = {"aws_access_key_id": "AK", "aws_secret_access_key": "SK", "region_name": "us-east-1"}
        self.s3 = boto3.client("s3", endpoint_url=f"http://{self.address}", **keys)

    def has_bucket(self) -> bool:
        try:
            self.s3.create_bucket(Bucket="models")
            return True
        except Exception as error:  # boto's own, until the server is up
            raise OSError(str(error)) from error

    def configuration(self, prefix: str, more: str = "") -> str:
        return f"""
data_dir: data
archive:
  max_age: 300ms
  delta: true
  {more}
  s3:
    bucket: models
    prefix: {prefix}
    endpoint: http://{self.address}
    access_key_id: {{env: S3_KEY}}
    secret_access_key: {{env: S3_SECRET}}
"""

    def names(self, prefix: str) -> set[str]:
        return {found["Key"] for found in self.s3.list_objects_v2(Bucket="models", Prefix=prefix).get("Contents", [])}

    def text(self, name: str) -> str:
        return self.s3.get_object(Bucket="models", Key=name)["Body"].read().decode()

    def delta_table(self, name: str) -> DeltaTable:
        options = {
            "AWS_ENDPOINT_URL": f"http://{self.address}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "AK",
            "AWS_SECRET_ACCESS_KEY": "SK",
            "AWS_REGION": "us-east-1",
        }
        return DeltaTable(f"s3://models/{name}", storage_options=options)


@contextlib.contextmanager
def s3_server(folder: pathlib.Path, port: int):
    """The server, once the bucket is there."""
    identities = {
        "identities": [
            {
                "name": "test",
                "credentials": [{"accessKey": "AK", "secretKey": "SK"}],
                "actions": ["Admin", "Read", "Write", "List"],
            }
        ]
    }
    (folder / "s3.json").write_text(json.dumps(identities))
    (folder / "weed").mkdir()
    arguments = [
        pathlib.Path(sys.executable).parent / "weed",
        "mini",
        f"-dir={folder / 'weed'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.port={port}",
        f"-s3.config={folder / 's3.json'}",
        f"-s3.port.grpc={free_port()}",
        # Those that are not said lie ten thousand above the others, where callers have theirs, or are always the same.
        *(f"-{part}.port{of}={free_port()}" for part in ("master", "volume", "filer", "admin") for of in ("", ".grpc")),
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    with process(arguments, folder / "weed.log", cwd=folder):
        store = Store(port)
        eventually(store.has_bucket, "the S3 server is up", 180)
        yield store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("weed"), free_port()) as store:
        yield store


def test_rows_are_archived_to_s3_and_read_back(tmp_path, store):
    model = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    configuration = store.configuration("driftline")
    (tmp_path / "driftline.yaml").write_text(configuration)
    well = doctor(tmp_path / "driftline.yaml", SECRETS)
    assert well.returncode == 0 and "conditional puts are honoured; it is nobody's yet" in well.stdout, well.stdout
    ill = doctor(tmp_path / "driftline.yaml", {**SECRETS, "S3_SECRET": "wrong"})
    assert ill.returncode == 1 and "WRONG  archive     bucket models, prefix driftline" in ill.stdout, ill.stdout
    assert store.names("driftline/") == set(), "it leaves nothing behind"
    with (
        collector(tmp_path, configuration, SECRETS) as url,
        sidecar(tmp_path, f"127.0.0.1:{model.server_port}", url, "m") as (address, _),
    ):
        for number in range(30):
            httpx.post(f"{address}/v1/models/m:predict", json={"instances": [{"x": number}]}).raise_for_status()
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 30, "all rows are archived")
        wait_for_manifests(store, url, "driftline")
    key = {"access_key": "AK", "secret_key": "SK", "region": "us-east-1"}
    filesystem = pyarrow.fs.S3FileSystem(endpoint_override=store.address, scheme="http", **key)
    table = pyarrow.dataset.dataset("models/driftline", filesystem=filesystem, partitioning="hive").to_table()
    assert sorted(table["x"].to_pylist()) == [float(number) for number in range(30)]
    assert set(table["model"].to_pylist()) == {"m"}
    arguments = ["backfill", f"--config={tmp_path / 'driftline.yaml'}", "--model=m", "--from=2020-01-01", "--to=2100-01-01"]
    again = subprocess.run([BINARIES / "driftline", *arguments], capture_output=True, text=True, env={**os.environ, **SECRETS})
    # A day's windows, one of which ends each hour: one more where an hour has ended meanwhile.
    hours = {at.replace(minute=0, second=0, microsecond=0) for at in table["event_time"].to_pylist()}
    assert f"{23 + len(hours)} windows of 30 rows of" in again.stderr and "no reference" in again.stdout, again.stderr
    [model_of_index] = json.loads(store.text("driftline/_driftline/manifest.json"))["models"]
    days = store.names("driftline/_driftline/manifest/model=m/")
    assert f"driftline/_driftline/manifest/model=m/date={model_of_index['last_date']}.jsonl" in days
    lines = itertools.chain(*(store.text(day).splitlines() for day in days))
    assert sum(json.loads(line)["rows"] for line in lines) == model_of_index["rows"] == 30
    delta = store.delta_table("driftline/model=m/version=unversioned")
    assert sorted(delta.to_pyarrow_table()["x"].to_pylist()) == [float(number) for number in range(30)]
    model.shutdown()


def wait_for_manifests(store: Store, url: str, prefix: str):
    """Until manifests have every row of which the collector says that it is archived."""
    position = httpx.get(f"{url}/api/v1/status").json()["archived_position"]
    index = f"{prefix}/_driftline/manifest.json"
    written = lambda: index in store.names(index) and f'"archived_through": {position},' in store.text(index)
    eventually(written, "the manifests are written")
    assert count(url, "driftline_archive_catalogue_failures_total") == 0


def test_files_that_are_too_old_leave_the_bucket_and_the_doctor_misses_what_somebody_took(tmp_path, store):
    # Today's files are kept for as long as today goes on.
    stay_within_a_day()
    keeps, configuration = (store.configuration("aged", f"{more}partition: day") for more in ("", "retention: 3s\n  "))
    now = datetime.datetime.now(datetime.UTC).isoformat()

    def files() -> set[str]:
        return {name for name in store.names("aged/model=m/") if name.endswith(".parquet") and "/date=" in name}

    def listed() -> set[str]:
        lines = [store.text(name).splitlines() for name in store.names("aged/_driftline/manifest/")]
        return {f"aged/{json.loads(line)['path']}" for line in itertools.chain(*lines)}

    def committed() -> set[str]:
        tables = [store.delta_table(f"aged/model=m/version={version}") for version in "12"]
        return {uri.removeprefix("s3://models/") for table in tables for uri in table.file_uris()}

    with collector(tmp_path, keeps, SECRETS) as url:
        send(url, range(60), in_july)
        send(url, range(60, 70), lambda _: now)
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 70, "all rows are archived")
    everything = files()
    old = {name for name in everything if "date=2013" in name}
    assert len(old) >= 4 and old < everything
    own = {f"{sorted(old)[0]}.mine.parquet", "aged-by-hand/model=m/version=1/date=2013-07-01/mine.parquet"}
    for name in own:
        store.s3.put_object(Bucket="models", Key=name, Body=b"somebody's own")
    kept = everything - old
    with collector(tmp_path, configuration, SECRETS) as url:
        eventually(lambda: files() - own == kept, "files that are too old are deleted")
        assert own <= store.names("aged"), "others' files stay"
        assert listed() == committed() == kept, "what is deleted is told of nowhere"
        eventually(lambda: count(url, "driftline_archive_files_deleted_total") == len(old), "they are counted")
        send(url, range(70, 80), lambda _: now)
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 20, "the next rows are archived")
        wait_for_manifests(store, url, "aged")
        kept = files() - own
        assert listed() == committed() == kept and not kept & old, "a new cut brings nothing back"
        well = doctor(tmp_path / "driftline.yaml", SECRETS).stdout
        assert f"ok     manifests   all of {len(kept)} files that manifests name" in well, well
        taken = sorted(kept)[0]
        store.s3.delete_object(Bucket="models", Key=taken)
        ill = doctor(tmp_path / "driftline.yaml", SECRETS)
        assert f"are gone: {taken.removeprefix('aged/')};" in ill.stdout and ill.returncode == 1, ill.stdout


def test_a_full_journal_says_so_and_has_room_again_once_the_store_is_back(tmp_path):
    port = free_port()
    configuration = Store(port).configuration("late") + "ingest: {max_database_bytes: 4000000}\n"
    chance, sent = random.Random(4), []

    def post() -> httpx.Response:
        # Texts that no compression makes shorter than half.
        numbers = range(len(sent), len(sent) + 100)
        lines = [json.dumps({"features": {"x": number, "text": chance.randbytes(1000).hex()}}) for number in numbers]
        answer = httpx.post(f"{url}/v1/rows?model=m", content="\n".join(lines))
        sent.extend(numbers if answer.status_code == 200 else [])
        return answer

    def refused() -> httpx.Response | None:
        answer = post()
        return answer if answer.status_code != 200 else None

    def archived() -> int:
        return httpx.get(f"{url}/api/v1/archive").json()["rows"]

    with collector(tmp_path, configuration, SECRETS, probe="/livez") as url:
        answer = eventually(refused, "the journal is full")
        assert answer.status_code == 503 and "the database is full: it holds" in answer.text, answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert "ingest.max_database_bytes" in httpx.get(f"{url}/readyz").text
        assert count(url, "driftline_requests_refused_total", reason="database_full") == 1
        with s3_server(tmp_path, port):
            eventually(lambda: archived() == len(sent), "what was acknowledged is archived", 180)
            eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200, "there is room again")
            assert post().status_code == 200
            eventually(lambda: archived() == len(sent), "what came after is archived, too")
