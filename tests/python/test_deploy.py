"""The manifests: right by Kubernetes' schemas, and by the binaries that they start."""

import os
import pathlib
import subprocess
import sys

import pytest
import yaml
from conftest import BINARIES, ROOT, free_port

MANIFESTS = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_right_by_kubernetes_schemas(path):
    validate = pathlib.Path(sys.executable).parent / "kubernetes-validate"
    ran = subprocess.run([validate, "--strict", path], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / name).read_text()))


def test_the_collectors_configuration_is_right(tmp_path):
    config = next(d for d in documents("collector.yaml") if d["kind"] == "ConfigMap")
    path = tmp_path / "driftline.yaml"
    path.write_text(config["data"]["driftline.yaml"])
    ran = subprocess.run([BINARIES / "driftline", "check", "--config", path], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_sidecars_environment_is_right():
    deployment = next(d for d in documents("model-with-sidecar.yaml") if d["kind"] == "Deployment")
    sidecar = deployment["spec"]["template"]["spec"]["initContainers"][0]
    environment = {entry["name"]: entry.get("value", "pod-7") for entry in sidecar["env"]}
    # Its own ports may be taken here; whether the settings are read is what counts.
    environment |= {"DRIFTLINE_LISTEN": f"127.0.0.1:{free_port()}", "DRIFTLINE_ADMIN": f"127.0.0.1:{free_port()}"}
    child = subprocess.Popen(
        [BINARIES / "driftline-sidecar"], env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
    )
    said = []
    while not said or (said[-1] and "sidecar is up" not in said[-1]):
        said.append(child.stderr.readline())
    child.terminate()
    assert "sidecar is up" in said[-1], "".join(said) + child.stderr.read()
    assert child.wait(timeout=20) == 0
