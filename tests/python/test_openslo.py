"""Objectives as OpenSLO's own library takes them, and back: every document by its published description, every name that is referred to."""

import subprocess

import pytest
import yaml
from conftest import BINARIES
from published_requests import OPENSLO, wrong

REFERENCES = {"alertPolicies": "AlertPolicy", "conditions": "AlertCondition", "notificationTargets": "AlertNotificationTarget"}
# Names, targets, periods and windows that OpenSLO's names and durations do not hold as they are.
ALL_SORTS = """
models: [{name: Flights_2013.x, slis: {first_message: {below: 1s}, slices: [{name: drift, score: psi}]}}]
alerts:
  targets: {a_B: {webhook: {url: {env: X}}}, every-target: {webhook: {url: {env: X}}}, 'Ä!': {webhook: {url: {env: X}}}}
  routes: [{targets: [a_B]}]
  rules:
    - {name: wild_name-, severity: ticket, runbook: feature-drift, targets: [a_B, every-target], when: {sli: slices, objective: 0.9, over: month, time_zone: Europe/Berlin, burns: slow}}
    - {name: Q, severity: info, runbook: first-message-slo, targets: ['Ä!'], when: {sli: first_message, objective: 0.999, over: 7d, burns: fast, matching: {model: Flights_2013.x}}}
    - {name: %s, severity: page, runbook: stale-feed, targets: [], when: {sli: feeds_listed, objective: 0.95, over: quarter, time_zone: Asia/Kathmandu, burns: slow}}
""" % ("VeryLong" * 12)


def run(*arguments) -> str:
    ran = subprocess.run([BINARIES / "driftline", "rules", *arguments], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def exported(folder, configuration: str) -> list[dict]:
    (folder / "driftline.yaml").write_text(configuration)
    (folder / "objectives.yaml").write_text(run("export", "--format", "openslo", "--config", folder / "driftline.yaml"))
    return list(yaml.safe_load_all((folder / "objectives.yaml").read_text()))


def referred(document: dict) -> set[tuple[str, str]]:
    """The kinds and names of the objects that a document refers to."""
    of = document["spec"]
    return {(kind, name) for field, kind in REFERENCES.items() for reference in of.get(field, []) for name in reference.values()}


@pytest.mark.parametrize(("configuration", "slos"), [("", 2), (ALL_SORTS, 5)])
def test_what_is_exported_is_openslo_to_the_letter_and_refers_to_what_is_there(tmp_path, configuration, slos):
    documents = exported(tmp_path, configuration)
    assert [wrong(document, OPENSLO[document["kind"]]) for document in documents] == [None] * len(documents)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(set(names)) == len(names) and [kind for kind, _ in names].count("SLO") == slos
    needed = set().union(*map(referred, documents))
    assert needed == {name for name in names if name[0] != "SLO"}, "nothing is missing, and nothing is there for nobody"


def test_what_comes_back_tells_whom_it_told(tmp_path):
    exported(tmp_path, ALL_SORTS)
    rules = yaml.safe_load(run("import", tmp_path / "objectives.yaml"))["alerts"]["rules"]
    targets = {rule["name"]: rule.get("targets", "everyone") for rule in rules}
    assert targets == {
        "LatencyBudget": "everyone",
        "AvailabilityBudget": "everyone",
        "wild_name-": ["a_B", "every-target"],
        "Q": ["Ä!"],
        "VeryLong" * 12: [],
    }
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(yaml.safe_load(ALL_SORTS) | {"alerts": yaml.safe_load(ALL_SORTS)["alerts"] | {"rules": rules}}))
    check = subprocess.run([BINARIES / "driftline", "check", "--config", tmp_path / "again.yaml"], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


@pytest.mark.parametrize(
    ("kind", "breaks"),
    [
        ("SLO", lambda document: document["metadata"].update(name="rule_a")),
        ("SLO", lambda document: document["metadata"].update(name="r" * 64)),
        ("SLO", lambda document: document["spec"]["indicator"]["metadata"].update(name="a-first_message")),
        ("SLO", lambda document: document["spec"]["timeWindow"][0].update(duration="90s")),
        ("SLO", lambda document: document["spec"].update(budgetingMethod="Timeslices")),
        ("SLO", lambda document: document["spec"]["objectives"][0].update(target=1)),
        ("AlertPolicy", lambda document: document["spec"].update(notificationTargets=[])),
        ("AlertPolicy", lambda document: document["spec"].update(notificationTargets=[{"targetRef": "a_B"}])),
        ("AlertCondition", lambda document: document["spec"]["condition"].pop("alertAfter")),
        ("AlertNotificationTarget", lambda document: document["spec"].pop("target")),
    ],
)
def test_the_description_is_strict(tmp_path, kind, breaks):
    document = next(document for document in exported(tmp_path, "") if document["kind"] == kind)
    assert wrong(document, OPENSLO[kind]) is None
    breaks(document)
    assert wrong(document, OPENSLO[kind]) is not None
