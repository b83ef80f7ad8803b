"""The archive on a real S3 server."""

import http.server
import json
import pathlib
import sys
import threading

import boto3
import httpx
import pyarrow.dataset
import pyarrow.fs
from conftest import collector, eventually, free_port, process, sidecar
from test_metrics import Model


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
        with (
            collector(tmp_path, configuration, secrets) as url,
            sidecar(tmp_path, f"127.0.0.1:{model.server_port}", url, "m") as (address, _),
        ):
            for number in range(30):
                httpx.post(f"{address}/v1/models/m:predict", json={"instances": [{"x": number}]}).raise_for_status()
            eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 30, "all rows are archived")
        filesystem = pyarrow.fs.S3FileSystem(
            endpoint_override=f"127.0.0.1:{port}", scheme="http", access_key="AK", secret_key="SK", region="us-east-1"
        )
        table = pyarrow.dataset.dataset("models/driftline", filesystem=filesystem, partitioning="hive").to_table()
        assert sorted(table["x"].to_pylist()) == [float(number) for number in range(30)]
        assert set(table["model"].to_pylist()) == {"m"}
    model.shutdown()
