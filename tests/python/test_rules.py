"""Rules as other systems write them: Prometheus computes what the built-in engine computes."""

import csv
import http.server
import json
import re
import subprocess
import time

import httpx
import pytest
import yaml
from conftest import BINARIES, ROOT, collector, eventually, prometheus, sidecar
from test_alert_delivery import SLOW, at_once, serve
from test_targets import alertmanager  # noqa: F401 (a fixture)

BURN = ROOT / "tests" / "golden" / "burn"
# Windows in seconds, and as Prometheus calls them.
WINDOWS = {"300": "5m", "1800": "30m", "3600": "1h", "7200": "2h", "21600": "6h", "86400": "1d", "259200": "3d"}


def export(config, *more: str) -> str:
    arguments = [BINARIES / "driftline", "rules", "export", "--format", "prometheus", "--config", config, *more]
    ran = subprocess.run(arguments, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def promtool(*arguments) -> str:
    ran = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-4000:]
    return ran.stdout


def held_to(folder, series: list[dict], expression: str, expected: list[dict]):
    """What an expression says after eight minutes of these series, one evaluation a minute, by the rules that were exported."""
    test = {"expr": expression, "eval_time": "8m", "exp_samples": expected}
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": [test]}]
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "test.yaml").write_text(json.dumps(document))
    promtool("test", "rules", folder / "test.yaml")


def test_promtool_accepts_the_rules_of_an_empty_configuration(tmp_path):
    config, rules = tmp_path / "driftline.yaml", tmp_path / "rules.yaml"
    config.write_text("")
    assert export(config, "--output", str(rules)) == ""
    assert "rules found" in promtool("check", "rules", rules)
    names = {rule.get("alert") for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]}
    assert {"LatencySlo", "FeatureDrift", "ArchiveLag", "DriftlineAbsent"} <= names


def test_prometheus_burns_as_the_built_in_engine_does(tmp_path):
    """The same recorded requests: said.csv is what the engine says of them, held to a direct computation by its own test."""
    (tmp_path / "rules.yaml").write_text(export(BURN / "driftline.yaml"))
    requests = [(int(row["valid"]), int(row["bad"])) for row in csv.DictReader((BURN / "requests.csv").open())]
    valid, good = [0], [0]
    for of_minute, bad in requests:
        valid.append(valid[-1] + of_minute)
        good.append(good[-1] + of_minute - bad)
    labels = '{job="driftline", instance="a", model="m", sli="latency", column=""}'
    series = [
        {"series": f"driftline_sli_{name}_total{labels}", "values": " ".join(map(str, counts))}
        for name, counts in [("valid", valid), ("good", good)]
    ]
    tests, rules = [], ["Shortly", "Fast", "Slow"]
    said = list(csv.DictReader((BURN / "said.csv").open()))
    assert len(said) > 150
    for row in said:
        minute = int(row["minute"])
        for seconds, window in WINDOWS.items():
            counted = requests[max(0, minute - int(seconds) // 60) : minute]
            total, bad = sum(valid for valid, _ in counted), sum(bad for _, bad in counted)
            direct = bad / total / (1 - 0.99) if total else None
            assert direct == (float(row[seconds]) if row[seconds] else None), (minute, window)
            expression = f'driftline:sli_bad:ratio{window}{{sli="latency"}} / (1 - 0.99)'
            expected = [] if direct is None else [{"labels": '{model="m", sli="latency"}', "value": direct}]
            tests.append({"expr": expression, "eval_time": f"{minute}m", "exp_samples": expected})
        for rule in rules:
            expression = f'count by (alertname) (ALERTS{{alertname="{rule}", alertstate="firing"}})'
            expected = [{"labels": f'{{alertname="{rule}"}}', "value": 1}] if rule in row["firing"].split() else []
            tests.append({"expr": expression, "eval_time": f"{minute}m", "exp_samples": expected})
    fired = {name for row in said for name in row["firing"].split()}
    assert fired == set(rules)
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "4m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}],
    }
    (tmp_path / "test.yaml").write_text(json.dumps(document))
    promtool("test", "rules", tmp_path / "test.yaml")


TWO_TARGETS = """
data_dir: data
alerts:
  targets:
    pager: {email: {from: a@example.com, to: [b@example.com], directory: mails}}
    box: {email: {from: a@example.com, to: [c@example.com], directory: mails}}
  rules:
    - {name: OnlyPager, severity: page, runbook: delivery-failure, when: {sli: delivery, below: 0.5, over: 5m, min_events: 6, matching: {target: pager}}, group_by: [target]}
    - {name: OnlyBox, severity: page, runbook: delivery-failure, when: {sli: delivery, below: 0.5, over: 5m, min_events: 6, matching: {target: box}}, group_by: [target]}
"""


def test_a_rule_on_a_target_finds_it_in_prometheus_under_the_same_name(tmp_path):
    """Of two targets as a collector exposes them one fails: it, and nothing else, is what the exported rules tell of."""
    with collector(tmp_path, TWO_TARGETS) as url:
        looked = re.compile(r'^driftline_sli_valid_total({[^}]*sli="delivery"[^}]*})', re.MULTILINE)
        found = lambda: looked.findall(httpx.get(f"{url}/metrics").text)
        targets = eventually(lambda: (labels := found()) and len(labels) == 2 and labels, "both targets were looked at")
    (tmp_path / "rules.yaml").write_text(export(tmp_path / "driftline.yaml"))
    series = []
    for labels in targets:
        good = 0 if "pager" in labels else 6
        series.append({"series": f"driftline_sli_valid_total{labels}", "values": "0+6x10"})
        series.append({"series": f"driftline_sli_good_total{labels}", "values": f"0+{good}x10"})
    rules = "OnlyPager|OnlyBox|DeliveryFailure"
    expected = [{"labels": f'{{alertname="{name}", target="pager"}}', "value": 1} for name in ("DeliveryFailure", "OnlyPager")]
    firing = f'count by (alertname, target) (ALERTS{{alertname=~"{rules}", alertstate="firing"}})'
    held_to(tmp_path, series, firing, expected)


@pytest.mark.parametrize(
    ("requests", "firing", "alerts"),
    [
        ("0 0 1 1 2 2 3 3 4 4 5", 1, [""]),
        ("0+100x10", 1, ["m"]),
        # The second of the collector's two is of another model, which few call.
        ("0+100x10", 2, ["", "m"]),
    ],
)
def test_what_the_collector_says_of_what_few_call_is_an_alert_beside_those_on_shares(tmp_path, requests, firing, alerts):
    (tmp_path / "driftline.yaml").write_text("")
    (tmp_path / "rules.yaml").write_text(export(tmp_path / "driftline.yaml"))
    labels = '{model="m", sli="latency", column="", target=""}'
    series = [
        {"series": 'driftline_alerts_firing{rule="LatencySlo", severity="page"}', "values": f"0x3 {firing}x10"},
        {"series": f"driftline_sli_valid_total{labels}", "values": requests},
        {"series": f"driftline_sli_good_total{labels}", "values": "0x10"},
    ]
    of_model = lambda model: f', model="{model}"' if model else ""
    said = [{"labels": f'{{alertname="LatencySlo", severity="page"{of_model(model)}}}', "value": 1} for model in alerts]
    expression = 'count by (alertname, severity, model) (ALERTS{alertname="LatencySlo", alertstate="firing"})'
    held_to(tmp_path, series, expression, said)


class Model(http.server.BaseHTTPRequestHandler):
    """Answers, slowly or not, or fails."""

    protocol_version = "HTTP/1.1"
    fails = False
    pause = 0.0

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(Model.pause)
        body = b'{"predictions": [0.5]}'
        self.send_response(500 if Model.fails else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


CONFIGURATION = """
data_dir: data
models: [{name: m}]
alerts:
  evaluation_interval: 1s
  targets:
    cluster: {alertmanager: {urls: ["%s"]}}
  rules:
    - name: Budget
      severity: page
      runbook: availability-slo
      when: {sli: availability, objective: 0.99, over: 30d, burns: fast}
    - name: Shortly
      severity: page
      runbook: availability-slo
      when: {sli: availability, below: 0.9, over: 10s, min_events: 10}
"""


def test_a_real_prometheus_says_beside_us_what_we_say(tmp_path, alertmanager):  # noqa: F811
    model = serve(Model)
    Model.fails = False
    upstream = f"127.0.0.1:{model.server_port}"
    with (
        collector(tmp_path, CONFIGURATION % alertmanager) as url,
        sidecar(tmp_path, upstream, url, "m") as (address, _),
    ):
        ask = lambda: httpx.post(f"{address}/v1/models/m:predict", json={"instances": [[1.0]]})
        (tmp_path / "rules.yaml").write_text(export(tmp_path / "driftline.yaml"))
        configuration = {
            "global": {"scrape_interval": "1s", "external_labels": {"from": "prometheus"}},
            "rule_files": ["rules.yaml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}]},
            "scrape_configs": [
                {"job_name": "driftline", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
            ],
        }
        with prometheus(tmp_path, configuration) as value:
            valid = 'driftline_sli_valid_total{model="m",sli="availability"}'
            eventually(lambda: value(valid) == [0.0], "the counters are scraped before the first request")
            for index in range(60):
                Model.fails = index >= 40
                ask()
            Model.fails = False

            def ours():
                # AvailabilitySlo, which ships, tells of the last twenty as well.
                alerts = httpx.get(f"{url}/api/v1/alerts").json()
                firing = {alert["rule"]: alert for alert in alerts if alert["state"] == "firing"}
                return {rule: firing[rule] for rule in ("Budget", "Shortly") if rule in firing}

            def theirs():
                return value('count by (alertname) (ALERTS{alertname=~"Budget|Shortly", alertstate="firing"})')

            eventually(lambda: set(ours()) == {"Budget", "Shortly"}, "we say it")
            eventually(lambda: theirs() == [1.0, 1.0], "Prometheus says it")
            facts = httpx.get(f"{url}/api/v1/alerts/{ours()['Budget']['id']}").json()["facts"]
            # As it was when it began: with the third of the failures, or a few later.
            said = re.search(r"([\d.]+) and ([\d.]+), limit 14.4; (\d+) of (\d+) were bad", json.dumps(facts))
            bad, of_all = int(said[3]), int(said[4])
            assert 3 <= bad == of_all - 40 <= 20
            assert [float(said[1]), float(said[2])] == pytest.approx([100 * bad / of_all] * 2, rel=0.01), facts
            slis = lambda: {sli["sli"]: sli for sli in httpx.get(f"{url}/api/v1/models/m").json()["slis"]}
            sums = lambda: (slis()["availability"]["good"], slis()["availability"]["valid"])
            eventually(lambda: sums() == (40, 60), "all are counted")
            rate = 20 / 60 / 0.01
            for window in ("5m", "1h"):
                burn = f'driftline:sli_bad:ratio{window}{{model="m",sli="availability"}} / (1 - 0.99)'
                # It says so from the first failures on. What a scrape sees of sixty events is extrapolated, and rounded.
                eventually(lambda burn=burn: value(burn) == pytest.approx([rate], rel=0.1), "its burn rate is ours")

            def received():
                alerts = httpx.get(f"{alertmanager}/api/v2/alerts").json()
                return {(alert["labels"]["alertname"], "from" in alert["labels"]) for alert in alerts}

            both = {(name, is_theirs) for name in ("Budget", "Shortly") for is_theirs in (False, True)}
            eventually(lambda: both <= received(), "Alertmanager hears of both from both")

            # Without enough requests within the short rule's window, neither lets go of it.
            eventually(lambda: value(f"sum(increase({valid}[10s]))") == [0.0], "its window is empty", 60)
            assert "Shortly" in ours() and theirs() == [1.0, 1.0]

            asked_at = [0.0]

            def over():
                # Now and then, for the budget's long windows are to keep the failures in mind.
                if time.monotonic() > asked_at[0] + 5:
                    [ask().raise_for_status() for _ in range(20)]
                    asked_at[0] = time.monotonic()
                return "Shortly" not in ours() and value('ALERTS{alertname="Shortly"}') == []

            eventually(over, "both let go of what is over")
            assert "Budget" in ours() and theirs() == [1.0], "which is not over in the budget's long windows"
    model.shutdown()


EXPRESSION = """
data_dir: data
models: [{name: m}]
alerts:
  evaluation_interval: 200ms
  targets:
    box: {email: {from: a@example.com, to: [b@example.com], directory: mails}}
  rules:
    - name: SlowAndBusy
      severity: page
      runbook: latency-slo
      when: p90[10s] > 500ms and latency.valid[10s] >= 10
      owner: forecasts
      labels: {team: forecasts}
      summary: "{{ model }} is slow: {{ value }}"
      details: "Ask {{ owner }}."
"""


def test_an_expression_tells_in_its_rules_own_words_and_ends_when_it_holds_no_more(tmp_path):
    model = serve(Model)
    upstream = f"127.0.0.1:{model.server_port}"
    Model.fails, Model.pause = False, SLOW
    with collector(tmp_path, EXPRESSION) as url, sidecar(tmp_path, upstream, url, "m") as (address, _):
        ask = lambda: httpx.post(f"{address}/v1/models/m:predict", json={"instances": [[1.0]]}).raise_for_status()
        alerts = lambda: [alert for alert in httpx.get(f"{url}/api/v1/alerts").json() if alert["rule"] == "SlowAndBusy"]
        at_once(ask, 9)
        eventually(lambda: httpx.get(f"{url}/api/v1/models/m").json()["requests"] == 9, "nine are counted")
        assert alerts() == [], "nine are no ten"
        at_once(ask, 6)
        (alert,) = eventually(lambda: ask() and alerts(), "it fires")
        said = re.fullmatch(r"m is slow: p90\[10s\] ([\d.]+) s, latency\.valid\[10s\] (\d+)", alert["summary"])
        assert said and float(said[1]) >= SLOW and int(said[2]) >= 10, alert["summary"]
        one = httpx.get(f"{url}/api/v1/alerts/{alert['id']}").json()
        facts = {fact["name"]: fact["value"] for fact in one["facts"]}
        assert facts["Details"] == "Ask forecasts." and facts["Owner"] == "forecasts"
        assert one["labels"] == {"model": "m", "owner": "forecasts", "team": "forecasts"}
        mail = eventually(lambda: next(iter((tmp_path / "mails").glob("*trigger*.eml")), None), "the mail is there")
        assert "m is slow: p90" in mail.read_text()
        Model.pause = 0.0

        def over():
            [ask() for _ in range(20)]
            return alerts()[0]["state"] == "resolved"

        eventually(over, "it is over")
    model.shutdown()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(EXPRESSION.replace("p90[10s] > 500ms", "p9[10s] > 500"))
    checked = subprocess.run([BINARIES / "driftline", "check", "--config", wrong], capture_output=True, text=True)
    assert checked.returncode == 64 and "when: at character 1: 'p9' is no name; did you mean 'p9" in checked.stderr
