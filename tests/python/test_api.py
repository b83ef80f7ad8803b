"""The API against its own description, and a reference file read by somebody else."""

import json
import os
import subprocess
import sys

import httpx


def test_answers_are_what_the_openapi_document_says(demo_collector, tmp_path):
    """Schemathesis asks what the document allows and what it does not, and checks every answer against it."""
    command = [
        os.path.join(os.path.dirname(sys.executable), "schemathesis"),
        "run",
        f"{demo_collector}/api/v1/openapi.json",
        "--checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--max-examples=40",
        "--seed=1",
        "--request-timeout=40",
        # It cannot write JSON lines; test_other_senders.py does.
        "--exclude-path=/v1/rows",
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]


def test_real_models_and_columns_match_the_document_too(demo_collector):
    get = lambda path: httpx.get(f"{demo_collector}/api/v1/{path}").raise_for_status().json()
    document = get("openapi.json")
    model = get("models/flight-delay")
    matrix = get("models/flight-delay/scores?detector=ks&limit=5")
    detail = get("models/flight-delay/columns/temp")
    for name, answer in [("ModelDetail", model), ("ScoreMatrix", matrix), ("ColumnDetail", detail)]:
        check(document, document["components"]["schemas"][name], answer, name)
    assert abs(sum(bar["window"] for bar in detail["bars"]) - 1) < 1e-9
    assert {score["detector"] for score in detail["scores"]} >= {"psi", "ks", "wasserstein", "cramer_von_mises"}


def check(document, schema, value, where):
    """Every field of an object is described, and every required one is there."""
    if "$ref" in schema:
        return check(document, document["components"]["schemas"][schema["$ref"].split("/")[-1]], value, where)
    if "allOf" in schema:
        properties, required = {}, []
        for part in schema["allOf"]:
            part = document["components"]["schemas"][part["$ref"].split("/")[-1]] if "$ref" in part else part
            properties |= part.get("properties", {})
            required += part.get("required", [])
        schema = {"properties": properties, "required": required}
    if isinstance(value, dict) and "properties" in schema:
        assert set(value) <= set(schema["properties"]), f"{where}: {set(value) - set(schema['properties'])}"
        assert set(schema.get("required", [])) <= set(value), where
        for name, part in value.items():
            if part is not None:
                inner = schema["properties"][name]
                options = [o for o in inner.get("oneOf", inner.get("anyOf", [inner])) if o.get("type") != "null"]
                check(document, options[0], part, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for part in value:
            if part is not None:
                items = schema["items"]
                options = [o for o in items.get("oneOf", items.get("anyOf", [items])) if o.get("type") != "null"]
                check(document, options[0], part, f"{where}[]")


def test_the_reference_file_is_plain_json(demo_folder):
    file = json.loads((demo_folder / "reference.json").read_text())
    assert (file["format"], file["version"], file["model"]) == ("driftline-reference", 4, "flight-delay")
    temp = next(column for column in file["columns"] if column["column"] == "temp")
    grid, cells = temp["normal"]["grid"], temp["normal"]["profile"]["cells"]
    assert len(cells) == 2 * len(grid) + 1 and sum(cells) == 13068 - temp["normal"]["profile"]["missing"]
    assert temp["blocks"]["psi"]["windows"] > 10
