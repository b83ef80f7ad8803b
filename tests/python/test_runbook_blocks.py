"""Everything that somebody may copy out of a runbook: each block of commands is one to a shell, what is for a cluster has kubectl's form,
and what changes something does so on a collector with something to change."""

import json
import os
import re
import subprocess

import httpx
import pytest
from conftest import BINARIES, ROOT, collector, eventually
from kubectl_commands import problem
from test_alert_delivery import Refuses, serve

RUNBOOKS = sorted(path for path in (ROOT / "runbooks").glob("*.md") if path.stem != "README")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.M | re.S)
READ_ONLY = {"In 30 seconds", "What it means", "Who is hurt", "Urgency", "First five minutes", "Verify"}
# These are run elsewhere: on the demo's rows by test_runbooks.py, or they need an archive of good days by test_reference.py.
ON_ROWS = re.compile(r"duckdb|driftline (check|compare|reference|backfill|backtest|samples|windows|doctor)")


def sections(path):
    for part in path.read_text().split("\n## ")[1:]:
        name, _, text = part.partition("\n")
        yield name, text


def blocks(text: str, language: str) -> list[str]:
    found = [block for block in FENCE.findall(text) if block[1] == language]
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, _, block in found]


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_every_block_is_of_a_language_that_is_checked(path):
    said = {language for _, language, _ in FENCE.findall(path.read_text())}
    assert said <= {"sh", "yaml", "promql", "sql", "json"}, said


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_every_block_of_commands_is_one_to_a_shell(path):
    for name, text in sections(path):
        for block in blocks(text, "sh"):
            ran = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
            assert ran.returncode == 0 and ran.stderr == "", (name, block, ran.stderr)


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_what_is_for_a_cluster_has_its_form_and_only_reads_where_it_should(path):
    for name, text in sections(path):
        fenced = [line.strip() for block in blocks(text, "sh") for line in block.splitlines()]
        spoken = re.findall(r"`(kubectl [^`]+)`", FENCE.sub("", text))
        for command in [line for line in fenced if line.startswith("kubectl")] + spoken:
            # A check that has an undo may change how much is logged.
            reads_only = name in READ_ONLY and command in fenced and "set env" not in command
            assert problem(command, reads_only) is None, (name, command, problem(command, reads_only))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("kubectl -n N get pods -o wide --sort-by=.metadata.creationTimestamp | tail -5", None),
        ("kubectl -n N exec POD -- curl -s http://127.0.0.1/metrics", None),
        ("kubectl -n N set env deployment/driftline DRIFTLINE_LOG-", None),
        ("kubectl -n N rollout redo deployment/D", "there is no verb"),
        ("kubectl -n N logs POD --sinse=1h", "logs has no flag --sinse"),
        ("kubectl -n N logs POD --since=soon", "--since of logs takes no 'soon'"),
        ("kubectl -n N exec POD curl -s", "exec has no flag -s"),
        ("kubectl -n N get poods", "'poods' is no kind of thing"),
        ("kubectl -n N scale deployment/D --replicas", "--replicas of scale takes no ''"),
        ("kubectl -n N delete pod", "delete needs a name"),
        ("kubectl -n N delete", "delete takes 1 to 2 words"),
        ("kubectl -n N delete job/rerun-1", None),
    ],
)
def test_the_table_refuses_what_kubectl_would_refuse(command, said):
    found = problem(command, False)
    assert found == said if said is None else said in found, found


def test_a_change_is_refused_where_a_section_only_reads():
    assert "changes something" in problem("kubectl -n N delete pod POD", True)


# Every rule fires at once: its expression is true of each model.
CONFIGURATION = """
data_dir: data
models: [{name: flight-delay}]
alerts:
  evaluation_interval: 200ms
  targets:
    dead: {webhook: {url: {env: DEAD}}}
  rules:
    - {name: FeatureDrift, severity: ticket, runbook: feature-drift, when: "driftline_rows_late_total[10s] >= 0"}
    - {name: ModelSilent, severity: page, runbook: model-silent, when: "driftline_rows_late_total[10s] >= 0"}
  reactions:
    retrain: {when: {rule: FeatureDrift}, after: 1s, unless: [], webhook: {url: {env: DEAD}}}
"""


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    """A collector with alerts that fire, a question that waits, and dead letters; and what a person would fill in."""
    receiver = serve(Refuses)
    folder = tmp_path_factory.mktemp("troubled")
    environment = {"DEAD": f"http://127.0.0.1:{receiver.server_port}/"}
    with collector(folder, CONFIGURATION, environment) as url:
        get = lambda path: httpx.get(url + path).json()
        (reaction,) = eventually(lambda: [one for one in get("/api/v1/reactions") if one["state"] == "asked"], "a retraining is asked for")
        letters = eventually(lambda: get("/api/v1/deliveries?state=given_up"), "what was told is given up")
        alert = next(one for one in get("/api/v1/alerts") if one["rule"] == "FeatureDrift")
        yield folder, url, {"reaction": reaction["id"], "letter": letters[0]["id"], "alert": alert["id"]}
    receiver.shutdown()


def changing():
    """Blocks of commands of the sections that change something, by runbook, without what needs a cluster or archived rows."""
    for path in RUNBOOKS:
        for name, text in sections(path):
            if name in READ_ONLY:
                continue
            for index, block in enumerate(blocks(text, "sh")):
                if not block.startswith("kubectl") and not ON_ROWS.search(block):
                    yield pytest.param(path, block, id=f"{path.stem}-{name}-{index}".replace(" ", "-"))


@pytest.mark.parametrize(("path", "block"), list(changing()))
def test_what_changes_something_does_so(path, block, troubled):
    folder, url, ids = troubled
    identity = ids["letter"] if path.stem == "delivery-failure" else ids["reaction"]
    places = {"{url}": url, "{model}": "flight-delay", "{alert}": ids["alert"], "TARGET": "dead"}
    for place, value in places.items():
        block = block.replace(place, value)
    block = re.sub(r"\bID\b", str(identity), block)
    environment = {**os.environ, "PATH": f"{BINARIES.resolve()}:{os.environ['PATH']}", "DRIFTLINE_COLLECTOR": url, "DRIFTLINE_LOG": "warn", "USER": "ada"}
    # A dead letter that was sent again is not there to be dismissed until it was given up again.
    steps = [block] if "resend" not in block else [line for line in block.splitlines()]
    for step in steps:
        def runs(step=step):
            ran = subprocess.run(["bash", "-eo", "pipefail", "-c", step], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
            # What was done they say on standard error.
            assert ran.returncode == 0, (step, ran.returncode, ran.stdout, ran.stderr)
            return True
        runs() if "dismiss" not in step else eventually(lambda: attempt(runs), step)


def attempt(runs):
    try:
        return runs()
    except AssertionError:
        return False


def test_what_was_changed_is_changed(troubled):
    """After the blocks: the question is answered, both silences are on."""
    _, url, ids = troubled
    get = lambda path: httpx.get(url + path).json()
    (reaction,) = [one for one in get("/api/v1/reactions") if one["id"] == ids["reaction"]]
    assert reaction["state"] != "asked", reaction
    silenced = {(silence["matching"]["rule"], silence["matching"].get("model")) for silence in get("/api/v1/silences")}
    assert {("ModelSilent", "flight-delay"), ("SidecarSilent", "flight-delay")} <= silenced, json.dumps(get("/api/v1/silences"))
