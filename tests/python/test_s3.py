"""The archive on a real S3 server."""

import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading

import boto3
import httpx
import pyarrow.dataset
import pyarrow.fs
from conftest import BINARIES, collector, eventually, free_port, process, sidecar
from deltalake import DeltaTable
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


def test_rows_are_archived_to_s3_and_read_back(tmp_path):
    port, master, volume, filer = free_port(), free_port(), free_port(), free_port()
    identities = {
        "identities": [
            {
                "name": "test",
                "credentials": [{"accessKey": "AK", "secretKey": "SK"}],
                "actions": ["Admin", "Read", "Write", "List"],
            }
        ]
    }
    (tmp_path / "s3.json").write_text(json.dumps(identities))
    (tmp_path / "weed").mkdir()
    arguments = [
        pathlib.Path(sys.executable).parent / "weed",
        "mini",
        f"-dir={tmp_path / 'weed'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.port={port}",
        f"-s3.config={tmp_path / 's3.json'}",
        f"-master.port={master}",
        f"-volume.port={volume}",
        f"-filer.port={filer}",
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
    ]
    model = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    configuration = f"""
data_dir: data
archive:
  max_age: 300ms
  delta: true
  s3:
    bucket: models
    prefix: driftline
    endpoint: http://127.0.0.1:{port}
    access_key_id: {{env: S3_KEY}}
    secret_access_key: {{env: S3_SECRET}}
"""
    with process(arguments, tmp_path / "weed.log", cwd=tmp_path):
        endpoint = f"http://127.0.0.1:{port}"
        s3 = boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id="AK", aws_secret_access_key="SK", region_name="us-east-1"
        )

        def bucket():
            try:
                s3.create_bucket(Bucket="models")
                return True
            except Exception as error:  # boto's own, until the server is up
                raise OSError(str(error)) from error

        eventually(bucket, "the S3 server is up", 60)
        secrets = {"S3_KEY": "AK", "S3_SECRET": "SK"}
        (tmp_path / "driftline.yaml").write_text(configuration)
        well = doctor(tmp_path / "driftline.yaml", secrets)
        assert well.returncode == 0 and "conditional puts are honoured; it is nobody's yet" in well.stdout, well.stdout
        ill = doctor(tmp_path / "driftline.yaml", {**secrets, "S3_SECRET": "wrong"})
        assert ill.returncode == 1 and "WRONG  archive     bucket models, prefix driftline" in ill.stdout, ill.stdout
        assert s3.list_objects_v2(Bucket="models").get("Contents", []) == [], "it leaves nothing behind"
        with (
            collector(tmp_path, configuration, secrets) as url,
            sidecar(tmp_path, f"127.0.0.1:{model.server_port}", url, "m") as (address, _),
        ):
            for number in range(30):
                httpx.post(f"{address}/v1/models/m:predict", json={"instances": [{"x": number}]}).raise_for_status()
            eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 30, "all rows are archived")

            def contents(name):
                key = f"driftline/_driftline/{name}"
                return s3.get_object(Bucket="models", Key=key)["Body"].read().decode()

            def manifests_are_written():
                listed = s3.list_objects_v2(Bucket="models", Prefix="driftline/_driftline/manifest.json")
                return "Contents" in listed and f'"archived_through": {position},' in contents("manifest.json")

            position = httpx.get(f"{url}/api/v1/status").json()["archived_position"]
            eventually(manifests_are_written, "the manifests are written")
            assert count(url, "driftline_archive_catalogue_failures_total") == 0
        filesystem = pyarrow.fs.S3FileSystem(
            endpoint_override=f"127.0.0.1:{port}", scheme="http", access_key="AK", secret_key="SK", region="us-east-1"
        )
        table = pyarrow.dataset.dataset("models/driftline", filesystem=filesystem, partitioning="hive").to_table()
        assert sorted(table["x"].to_pylist()) == [float(number) for number in range(30)]
        assert set(table["model"].to_pylist()) == {"m"}
        arguments = ["backfill", f"--config={tmp_path / 'driftline.yaml'}", "--model=m", "--from=2020-01-01", "--to=2100-01-01"]
        again = subprocess.run([BINARIES / "driftline", *arguments], capture_output=True, text=True, env={**os.environ, **secrets})
        assert "24 windows of 30 rows of" in again.stderr and "no reference" in again.stdout, again.stderr
        [model_of_index] = json.loads(contents("manifest.json"))["models"]
        lines = contents(f"manifest/model=m/date={model_of_index['last_date']}.jsonl").splitlines()
        assert sum(json.loads(line)["rows"] for line in lines) == model_of_index["rows"] == 30
        options = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "AK",
            "AWS_SECRET_ACCESS_KEY": "SK",
            "AWS_REGION": "us-east-1",
        }
        delta = DeltaTable("s3://models/driftline/model=m/version=unversioned", storage_options=options)
        assert sorted(delta.to_pyarrow_table()["x"].to_pylist()) == [float(number) for number in range(30)]
    model.shutdown()
