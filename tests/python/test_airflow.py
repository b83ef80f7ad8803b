"""Real Airflows, 2 and 3: drift that lasts starts one run of a real DAG, and what they refuse is said and started once it is right."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess

import httpx
import pytest
from conftest import ROOT, eventually, free_port, process
from test_reactions import Watched

# The DAG of the documentation.
DOCUMENTED = re.search(r"```python\n(import json.*?)```", (ROOT / "docs" / "alerts.md").read_text(), re.DOTALL)[1]
# One that wants of its runs what nobody tells it.
PICKY = """
from airflow.sdk import Param, dag, task


@dag(schedule=None, params={"kind": Param(type="string")})
def picky():
    task(lambda: None, task_id="nothing")()


picky()
"""
REACTION = """
    %(name)s:
      when: {rule: FeatureDrift}
      after: 1s
      approval: {required: false}
      airflow: {url: "%(url)s", dag: %(dag)s, version: %(version)s, %(login)s}
"""
LOGIN = "user: driftline, password: {env: PASSWORD}"


@contextlib.contextmanager
def group(arguments, log, **more):
    """A process with all that it starts: a scheduler that is killed leaves its workers behind."""
    with process(arguments, log, start_new_session=True, **more) as child:
        try:
            yield
        finally:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


class Airflow:
    """Its database, its DAGs and its API. What is to be run waits for a scheduler."""

    def __init__(self, version, folder, stack):
        python = os.environ.get(f"DRIFTLINE_AIRFLOW_{version}")
        if not python:
            pytest.skip(f"DRIFTLINE_AIRFLOW_{version} names no Python with Airflow {version}; tests/run makes one")
        self.version, self.python, self.folder, self.stack = version, pathlib.Path(python), folder, stack
        self.has_scheduler = False
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        (folder / "dags").mkdir()
        (folder / "passwords.json").write_text('{"driftline": "pa55"}')
        settings = {
            "CORE__DAGS_FOLDER": folder / "dags",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            # A DAG that changes is what it is now, and not what it was half a minute ago.
            "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": 0,
            "CORE__MIN_SERIALIZED_DAG_FETCH_INTERVAL": 0,
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "driftline:user",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": folder / "passwords.json",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth",
            "API_AUTH__JWT_SECRET": "x" * 64,
            "USAGE_DATA_COLLECTION__ENABLED": False,
            "WEBSERVER__SECRET_KEY": "x" * 64,
        }
        self.environment = {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
        self.environment |= {"AIRFLOW_HOME": str(folder), "HOME": str(folder), "DRIFTLINE_TOKEN": "s3cret"}
        # It calls itself by its name.
        self.environment["PATH"] = f"{self.python.parent}:{os.environ['PATH']}"
        self.run("db", "migrate")
        if version == 2:
            person = "--firstname Drift --lastname Line --email driftline@example.com"
            self.run(*f"users create --username driftline --password pa55 --role Admin {person}".split())
        self.deploy(retrain_flights=DOCUMENTED, picky=PICKY)
        server = ["webserver", "--hostname"] if version == 2 else ["api-server", "--host"]
        self.begin(*server, "127.0.0.1", "--port", port, "--workers", 1)
        eventually(lambda: httpx.get(f"{self.api}/version").status_code == 200, "Airflow answers", 300)

    @property
    def api(self):
        return f"{self.url}/api/v{self.version - 1}"

    def run(self, *words):
        command = [self.python, "-m", "airflow", *words]
        ran = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr[-4000:]

    def begin(self, *words):
        log = self.folder / f"{words[0]}.log"
        self.stack.enter_context(group([self.python, "-m", "airflow", *words], log, env=self.environment, cwd=self.folder))

    def schedule(self):
        if not self.has_scheduler:
            self.begin("scheduler", "--skip-serve-logs")
        self.has_scheduler = True

    def deploy(self, **dags):
        for name, text in dags.items():
            if self.version == 2:
                text = text.replace("sdk import Param,", "models.param import Param\nfrom airflow.sdk import")
                text = text.replace("airflow.sdk", "airflow.decorators")
            (self.folder / "dags" / f"{name}.py").write_text(text)
        self.run("dags", "reserialize")

    def token(self):
        return httpx.post(f"{self.url}/auth/token", json={"username": "driftline", "password": "pa55"}).json()["access_token"]

    def runs(self, dag):
        known = {"auth": ("driftline", "pa55")} if self.version == 2 else {"headers": {"authorization": f"Bearer {self.token()}"}}
        return httpx.get(f"{self.api}/dags/{dag}/dagRuns", **known).raise_for_status().json()["dag_runs"]

    def reaction(self, name, dag, login=LOGIN, version=None):
        return REACTION % {"name": name, "url": self.url, "dag": dag, "version": version or self.version, "login": login}


@pytest.fixture(scope="module", params=[2, 3])
def airflow(request, tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Airflow(request.param, tmp_path_factory.mktemp("airflow"), stack)


@pytest.fixture
def watched(tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda reactions: Watched(tmp_path, stack, reactions)


def test_drift_starts_one_run_of_a_dag_through_a_crash_and_hears_how_it_ended(airflow, watched):
    one = watched(airflow.reaction("retrain", "retrain_flights"))
    one.kill()
    one.start("start_answered:1")
    one.ready()
    with contextlib.suppress(httpx.TransportError):
        one.days(3)
    assert one.child.wait(120) != 0, "it ended before it knew"
    (begun,) = airflow.runs("retrain_flights")
    one.start()
    one.ready()
    started = eventually(lambda: (found := one.reaction())["state"] == "started" and found, "it is started")
    assert started["attempts"] == 2 and started["reference"] == begun["dag_run_id"]
    assert [run["dag_run_id"] for run in airflow.runs("retrain_flights")] == [begun["dag_run_id"]], "it was there"
    conf = begun["conf"]
    assert (conf["rule"], conf["reaction"], conf["labels"]["model"]) == ("FeatureDrift", "retrain", "flights")
    assert begun["state"] == "queued" and begun["run_type"] == "manual"
    if airflow.version == 3:
        assert begun["note"].startswith("Driftline: ") and conf["page_url"] in begun["note"]

    airflow.schedule()
    result = eventually(lambda: one.reaction()["result"], "the run reports", 300)
    assert (result["state"], result["note"]) == ("succeeded", "flights is trained again")
    eventually(lambda: airflow.runs("retrain_flights")[0]["state"] == "success", "the run is over", 60)


def test_what_airflow_refuses_is_said_and_started_once_it_is_right(airflow, watched, tmp_path):
    reactions = airflow.reaction("wrong-password", "retrain_flights", "user: driftline, password: {file: password}")
    reactions += airflow.reaction("absent", "absent") + airflow.reaction("unwilling", "picky")
    reactions += airflow.reaction("other-version", "retrain_flights", version=5 - airflow.version)
    (tmp_path / "password").write_text("pa56")
    if airflow.version == 3:
        (tmp_path / "token").write_text(airflow.token())
        reactions += airflow.reaction("token", "retrain_flights", "token: {file: token}")
    one = watched(reactions)
    one.days(3)
    expected = {
        "wrong-password": {2: "403 Forbidden", 3: "no token from /auth/token: 401 Unauthorized: {\"detail\":\"Invalid credentials\"}"},
        "absent": {2: "404 Not Found: ", 3: "404 Not Found: {\"detail\":\"Dag with dag_id: 'absent' not found\"}"},
        "unwilling": {2: "Invalid input for param kind", 3: "400 Bad Request: {\"detail\":\"Invalid input for param kind"},
        "other-version": {2: "404 Not Found: Airflow 2 has none, and wants 'version: 2'", 3: "405 Method Not Allowed: Airflow 3 wants"},
    }
    for name, why in expected.items():
        waits = lambda: (found := one.reaction(name))["state"] == "starting" and why[airflow.version] in (found["why"] or "")
        eventually(waits, f"{name}: {why}")
    (tmp_path / "password").write_text("pa55")
    failing = DOCUMENTED.replace("retrain_flights", "absent").replace("# What trains the model", 'raise ValueError("no rows")  #')
    airflow.deploy(picky=PICKY.replace('type="string"', '"any", type="string"'), absent=failing)
    for name, dag in [("wrong-password", "retrain_flights"), ("absent", "absent"), ("unwilling", "picky")]:
        eventually(lambda: one.reaction(name)["state"] == "started", f"{name} is right", 120)
        assert one.reaction(name)["reference"] in [run["dag_run_id"] for run in airflow.runs(dag)]
    assert one.reaction("other-version")["state"] == "starting"
    if airflow.version == 3:
        eventually(lambda: one.reaction("token")["state"] == "started", "a token that somebody made")
    airflow.schedule()
    result = eventually(lambda: one.reaction("absent")["result"], "the run reports that it failed", 300)
    assert (result["state"], result["note"]) == ("failed", "no rows")
