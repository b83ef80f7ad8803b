"""The recipes of docs/reactions.md, run as they stand there: a real collector's webhook, the Lambda function before a SageMaker that takes
what AWS's own description of it takes, and Argo's event source and sensor by their published fields."""

import contextlib
import hashlib
import hmac
import http.server
import json
import re
import time

import botocore.loaders
import botocore.model
import botocore.validate
import httpx
import pytest
import yaml
from conftest import ROOT, collector, eventually
from published_requests import ARGO, CLOUD_EVENT, DATABRICKS_RUN_NOW, GITHUB_DISPATCH, wrong
from test_alert_delivery import serve

PAGE = (ROOT / "docs" / "reactions.md").read_text()
CONFIGURATION = """
data_dir: data
models: [{name: flights}]
alerts:
  evaluation_interval: 200ms
  rules:
    - {name: FeatureDrift, severity: ticket, runbook: feature-drift, when: "driftline_rows_late_total[10s] >= 0"}
  reactions:
    retrain-flights: {when: {rule: FeatureDrift, model: flights*}, after: 1s, unless: [], approval: {required: false}, webhook: %s}
"""


def blocks(heading: str, language: str) -> list[str]:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.S)


def webhook(heading: str) -> str:
    """The webhook of a recipe's configuration, as the collector takes it."""
    reaction = yaml.safe_load(blocks(heading, "yaml")[0])["alerts"]["reactions"]["retrain-flights"]
    assert reaction["when"] == {"rule": "FeatureDrift", "model": "flights*"}
    return json.dumps(reaction["webhook"])


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status, said = self.server.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        answer = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.1")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(answer)

    def log_message(self, *_):
        pass


def receiver(take):
    server = serve(Receiver)
    server.take = take
    return server, f"http://127.0.0.1:{server.server_port}"


class SageMaker:
    """Takes what AWS's own description of StartPipelineExecution takes: its fields, their types, lengths and patterns."""

    def __init__(self):
        description = botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
        self.shape = botocore.model.ServiceModel(description).operation_model("StartPipelineExecution").input_shape
        self.started: dict[str, dict] = {}
        self.fails = 1

    def wrong(self, value, shape, path=""):
        report = botocore.validate.ParamValidator().validate(value, shape)
        if report.has_errors():
            return report.generate_report()
        if shape.type_name == "structure":
            surplus = set(value) - set(shape.members)
            inner = [self.wrong(own, shape.members[name], f"{path}.{name}") for name, own in value.items() if name in shape.members]
            return f"{path} has {surplus}" if surplus else next((said for said in inner if said), None)
        if shape.type_name == "list":
            return next((said for own in value if (said := self.wrong(own, shape.member, path))), None)
        if shape.type_name == "string":
            bounds, pattern = shape.metadata, shape.metadata.get("pattern")
            if not bounds.get("min", 0) <= len(value) <= bounds.get("max", 10**9):
                return f"{path} has {len(value)} characters"
            if pattern and not re.fullmatch(pattern.strip("^$"), value):
                return f"{path} is '{value}', which is not {pattern}"
        return None

    def take(self, path, headers, body):
        assert headers["x-amz-target"] == "SageMaker.StartPipelineExecution" and headers["content-type"] == "application/x-amz-json-1.1"
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
        if self.fails:
            self.fails -= 1
            return 400, {"__type": "ThrottlingException", "message": "Rate exceeded"}
        order = json.loads(body)
        if said := self.wrong(order, self.shape):
            return 400, {"__type": "ValidationException", "message": said}
        if order["PipelineName"] != "retrain-flights":
            return 400, {"__type": "ResourceNotFound", "message": "Pipeline does not exist"}
        self.started.setdefault(order["ClientRequestToken"], order)
        return 200, {"PipelineExecutionArn": f"arn:aws:sagemaker:eu-west-1:123456789012:pipeline/retrain-flights/execution/{order['ClientRequestToken'][-12:]}"}


@pytest.fixture
def function(monkeypatch):
    """The function of the page, before a SageMaker of ours."""
    service = SageMaker()
    server, url = receiver(service.take)
    for name, value in {
        "AWS_ENDPOINT_URL_SAGEMAKER": url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
        "AWS_MAX_ATTEMPTS": "1",
        "SIGNING_KEY": "s1gn",
        "PIPELINE": "retrain-flights",
    }.items():
        monkeypatch.setenv(name, value)
    names: dict = {}
    (code,) = blocks("Amazon SageMaker", "python")
    exec(compile(code, "docs/reactions.md", "exec"), names)
    yield names["handler"], service
    server.shutdown()


def test_a_sagemaker_pipeline_is_started_once_by_the_recipe(tmp_path, function):
    handler, service = function
    heard, answers = [], []

    def take(path, headers, body):
        assert wrong(json.loads(body), CLOUD_EVENT) is None
        # As a function URL hands it over.
        event = {"version": "2.0", "rawPath": path, "headers": headers, "requestContext": {"http": {"method": "POST"}}, "body": body.decode(), "isBase64Encoded": False}
        heard.append(event)
        answer = handler(event, None)
        answers.append(answer["statusCode"])
        return answer["statusCode"], json.loads(answer["body"])

    server, url = receiver(take)
    environment = {"SAGEMAKER_URL": f"{url}/", "SAGEMAKER_KEY": "s1gn"}
    with collector(tmp_path, CONFIGURATION % webhook("Amazon SageMaker"), environment) as own:
        get = lambda path: httpx.get(own + path).json()
        started = lambda: [one for one in get("/api/v1/reactions") if one["state"] == "started"]
        (reaction,) = eventually(started, "it is started", 60)
    server.shutdown()
    assert answers == [503, 200], "SageMaker was busy once"
    (order,) = service.started.values()
    told = {parameter["Name"]: parameter["Value"] for parameter in order["PipelineParameters"]}
    assert told["Model"] == "flights" and told["ResultUrl"].endswith("/result") and told["Episode"].startswith("featuredrift-")
    assert "arn:aws:sagemaker" in json.dumps(reaction), reaction
    # A repetition gets the execution that there is.
    again = handler(heard[-1], None)
    assert again["statusCode"] == 200 and len(service.started) == 1
    for change in ({"body": heard[-1]["body"].replace("flights", "taxis")}, {"headers": {}}, {"headers": {"x-driftline-signature": "t=1,v1=00"}}):
        assert handler({**heard[-1], **change}, None)["statusCode"] == 401, change


def test_what_sagemaker_would_refuse_is_refused_here_and_given_up(function, monkeypatch):
    handler, service = function
    service.fails = 0
    right = {"PipelineName": "retrain-flights", "ClientRequestToken": "driftline-" + "0" * 32}
    assert service.wrong(right, service.shape) is None
    for wrong_one in ({"ClientRequestToken": "short"}, {"PipelineExecutionDisplayName": "a b"}, {"PipelineParameters": [{"Name": "x", "Value": 1}]}, {"Surprise": 1}, {"PipelineName": None}):
        assert service.wrong({**right, **wrong_one}, service.shape), wrong_one
    monkeypatch.setenv("PIPELINE", "nowhere")
    body = json.dumps({"id": right["ClientRequestToken"], "data": {"episode": "e", "labels": {}, "result_url": "http://d", "summary": "s"}})
    now = str(int(time.time()))
    signature = hmac.new(b"s1gn", f"{now}.{body}".encode(), hashlib.sha256).hexdigest()
    event = {"headers": {"x-driftline-signature": f"t={now},v1={signature}"}, "body": body}
    assert handler(event, None)["statusCode"] == 422


def documents() -> dict[str, dict]:
    found = [one for block in blocks("Argo Events and Argo Workflows", "yaml")[1:] for one in yaml.safe_load_all(block)]
    return {one["kind"]: one for one in found}


def test_argos_objects_have_its_published_fields():
    for kind, document in documents().items():
        assert wrong(document, ARGO[kind]) is None, (kind, wrong(document, ARGO[kind]))
    assert set(documents()) == {"EventSource", "Sensor", "WorkflowTemplate"}
    source = documents()["EventSource"]
    for change in ({"port": 12000}, {"endpoint": "retrain"}, {"authToken": {}}):
        changed = json.loads(json.dumps(source))
        changed["spec"]["webhook"]["retrain"] |= change
        assert wrong(changed, ARGO["EventSource"]), change


def at(value, path: str):
    """What a path of Argo's names, with dots and the numbers of lists."""
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def put(value, path: str, new):
    *parents, last = path.split(".")
    for part in parents:
        value = value[int(part)] if isinstance(value, list) else value[part]
    value[int(last) if isinstance(value, list) else last] = new


def test_argo_makes_one_workflow_of_an_event_however_often_it_comes(tmp_path):
    found = documents()
    (source,) = found["EventSource"]["spec"]["webhook"].values()
    (trigger,) = found["Sensor"]["spec"]["triggers"]
    (dependency,) = found["Sensor"]["spec"]["dependencies"]
    assert dependency["eventSourceName"] == found["EventSource"]["metadata"]["name"]
    assert dependency["eventName"] in found["EventSource"]["spec"]["webhook"]
    workflows: dict[str, dict] = {}
    answers = []

    def take(path, headers, body):
        # As the event source does it: path, token, then JSON.
        if path != source["endpoint"] or headers.get("authorization") != "Bearer t0ken":
            answers.append(400)
            return 400, {}
        event = {"header": headers, "body": json.loads(body)}
        assert wrong(event["body"], CLOUD_EVENT) is None
        if all(at(event, one["path"]) in one["value"] for one in dependency["filters"]["data"]):
            workflow = json.loads(json.dumps(trigger["template"]["argoWorkflow"]["source"]["resource"]))
            for parameter in trigger["template"]["argoWorkflow"]["parameters"]:
                assert parameter["src"]["dependencyName"] == dependency["name"]
                put(workflow, parameter["dest"], at(event, parameter["src"]["dataKey"]))
            assert wrong(workflow, ARGO["Workflow"]) is None
            workflows.setdefault(workflow["metadata"]["name"], workflow)
        # The first answer is lost, as it were: it is sent again.
        answers.append(200 if answers else 500)
        return answers[-1], {}

    server, url = receiver(take)
    environment = {"ARGO_URL": f"{url}/retrain", "ARGO_TOKEN": "t0ken"}
    with collector(tmp_path, CONFIGURATION % webhook("Argo Events and Argo Workflows"), environment) as own:
        eventually(lambda: [one for one in httpx.get(f"{own}/api/v1/reactions").json() if one["state"] == "started"], "it is started", 60)
    server.shutdown()
    assert answers == [500, 200]
    (workflow,) = workflows.values()
    values = {one["name"]: one["value"] for one in workflow["spec"]["arguments"]["parameters"]}
    template = found["WorkflowTemplate"]
    assert workflow["spec"]["workflowTemplateRef"]["name"] == template["metadata"]["name"]
    assert {one["name"] for one in template["spec"]["arguments"]["parameters"]} == set(values)
    assert values["model"] == "flights" and values["result_url"].endswith("/result")
    named = {one["name"] for one in template["spec"]["templates"]}
    assert {template["spec"]["entrypoint"], template["spec"]["onExit"]} <= named


@pytest.mark.parametrize(
    ("schema", "right", "wrong_ones"),
    [
        (GITHUB_DISPATCH, {"event_type": "retrain", "client_payload": {"driftline": {}}}, [{"event_type": "x" * 101}, {"event_type": ""}, {"client_payload": {str(n): 1 for n in range(11)}}, {"client_payload": []}, {"ref": "main"}, {"event_type": None}]),
        (DATABRICKS_RUN_NOW, {"job_id": 7, "idempotency_token": "t", "job_parameters": {"a": "b"}}, [{"job_id": "7"}, {"job_id": 0}, {"idempotency_token": "t" * 65}, {"job_parameters": {"a": 1}}, {"parameters": {}}]),
        (CLOUD_EVENT, {"id": "1", "source": "http://a", "specversion": "1.0", "type": "t"}, [{"specversion": "0.3"}, {"id": ""}, {"Data": 1}, {"time": "yesterday"}, {"source": None}]),
    ],
    ids=["github", "databricks", "cloudevents"],
)
def test_a_request_that_its_service_would_refuse_is_refused(schema, right, wrong_ones):
    assert wrong(right, schema) is None
    for change in wrong_ones:
        assert wrong({**right, **change}, schema), change


def test_the_event_on_the_page_is_one():
    (example,) = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.S)]
    assert wrong(example, CLOUD_EVENT) is None and len(example["id"]) == 42
