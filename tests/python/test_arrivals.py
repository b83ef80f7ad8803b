"""What must keep coming: files of feeds, in folders and buckets, and outcomes."""

import csv
import json
import random
import subprocess
import time

import httpx
from conftest import BINARIES, collector, eventually
from test_s3 import SECRETS, doctor, store  # noqa: F401, as a fixture

RULES = """
  evaluation_interval: 200ms
  rules:
    - {name: StaleFeed, severity: ticket, runbook: stale-feed, when: {sli: feeds, below: 0.5, over: 10s, min_events: 1}}
    - {name: FeedUnreadable, severity: ticket, runbook: stale-feed, when: {sli: feeds_listed, below: 0.5, over: 10s, min_events: 1}}
    - {name: LateOutcomes, severity: ticket, runbook: late-outcomes, when: {sli: outcomes, below: 0.5, over: 10s, min_events: 1}}
"""


def firing(url: str) -> dict[str, dict]:
    """The alerts that fire, in full, by their rules."""
    alerts = httpx.get(f"{url}/api/v1/alerts?state=firing").json()
    return {alert["rule"]: httpx.get(f"{url}/api/v1/alerts/{alert['id']}").json() for alert in alerts}


def facts(alert: dict) -> dict[str, str]:
    return {fact["name"]: fact["value"] for fact in alert["facts"]}


def of_model(url: str) -> dict:
    return httpx.get(f"{url}/api/v1/models/m").json()


def test_feeds_of_buckets_are_told_apart_fresh_stale_and_unknown(tmp_path, store):  # noqa: F811
    def feed(name: str, more: str, max_age: str = "1h", bucket: str = "models") -> str:
        keys = "access_key_id: {env: S3_KEY}, secret_access_key: {env: S3_SECRET}"
        place = f"bucket: {bucket}, endpoint: 'http://{store.address}', {keys}"
        return f"        - {{name: {name}, s3: {{{place}, prefix: feed/{name}}}, every: 1s, max_age: {max_age}{more}}}"

    for name in ("fresh/date=1/a.parquet", "fresh/date=2/b.csv", "old/a.parquet", "other/a.csv"):
        store.s3.put_object(Bucket="models", Key=f"feed/{name}", Body=b"x")
    feeds = [feed("fresh", ", suffix: .parquet"), feed("old", "", "1s"), feed("other", ", suffix: .parquet"), feed("gone", "", bucket="none")]
    configuration = "data_dir: data\nmodels:\n  - name: m\n    slis:\n      feeds:\n" + "\n".join(feeds) + f"\nalerts:{RULES}"
    with collector(tmp_path, configuration, SECRETS) as url:
        members = lambda found, rule: {row["what"] for row in found[rule]["members"]}
        all_stale = lambda: members(found := firing(url), "StaleFeed") == {"old", "other"} and "FeedUnreadable" in found and found
        alerts = eventually(all_stale, "both fire")
        assert members(alerts, "FeedUnreadable") == {"gone"}
        why = facts(alerts["FeedUnreadable"])["Not listed"]
        assert why.startswith("gone (s3://none/feed/gone)") and "s3:ListBucket" in why
        states = {"fresh": "fresh", "old": "stale", "other": "stale", "gone": "unknown"}
        feeds = lambda: {feed["name"]: feed for feed in of_model(url)["feeds"]}
        known = lambda: (found := feeds()) and {name: feed["state"] for name, feed in found.items()} == states and found
        said = eventually(known, "all were looked at")
        assert said["fresh"]["newest"] == "date=1/a.parquet" and said["other"]["newest"] is None
        text = httpx.get(f"{url}/metrics").text
        assert 'driftline_feed_listings_total{feed="gone",model="m",outcome="ok"} 0' in text
        assert 'driftline_sli_valid_total{column="gone",model="m",sli="feeds",target=""}' not in text, "nobody knows, so nothing is judged"
        found = doctor(tmp_path / "driftline.yaml", SECRETS).stdout
        assert "ok     feeds       fresh of m: date=1/a.parquet of s3://models/feed/fresh" in found
        assert "WRONG  feeds       gone of m: s3://none/feed/gone cannot be listed" in found
        assert SECRETS["S3_SECRET"] not in found.replace("S3_SECRET", "")


def test_a_feed_in_a_folder_comes_back_with_its_next_file(tmp_path):
    folder = tmp_path / "feed"
    feed = f"{{name: weather, folder: {folder}, every: 1s, max_age: 1h}}"
    configuration = f"data_dir: data\nmodels: [{{name: m, slis: {{feeds: [{feed}]}}}}]\nalerts:{RULES}"
    with collector(tmp_path, configuration) as url:
        eventually(lambda: "FeedUnreadable" in firing(url), "there is no such folder")
        eventually(lambda: of_model(url)["feeds"][0]["state"] == "unknown", "so nothing is known of it")
        folder.mkdir()
        (folder / "a.csv").write_text("x")
        eventually(lambda: of_model(url)["feeds"][0]["state"] == "fresh", "the file is seen")
        runbook = httpx.get(f"{url}/runbooks/stale-feed").text
        assert "A feed&#39;s files do not come" in runbook or "A feed's files do not come" in runbook


class Flights:
    """Models of two columns, each from a feed of its own, with a reference; and their rows, day by day."""

    MODEL = """
  - name: {name}
    reference: {name}.json
    event_time: {{column: at}}
    windows: {{pane: 1d, window: 1d, every: 1d, lateness: 0s}}
    slis:
      feeds:
        - {{name: fares, folder: fares, every: 1s, max_age: 1h, columns: [fare]}}
        - {{name: weather, folder: weather, every: 1s, max_age: 1h, columns: [temp]}}"""

    def __init__(self, folder, *names: str):
        self.draws, self.day = random.Random(7), dict.fromkeys(names, 0)
        self.configuration = "data_dir: data\nmodels:" + "".join(self.MODEL.format(name=name) for name in names) + f"\nalerts:{RULES}"
        for feed in ("fares", "weather"):
            (folder / feed).mkdir()
        with open(folder / "reference.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["fare", "temp"])
            # A column that no row of the reference lacks is a matter of SchemaChange.
            writer.writerows([self.draws.gauss(0, 1) if row % 100 else "" for _ in range(2)] for row in range(2000))
        for name in names:
            build = f"reference build --model {name} --column fare,temp --output {name}.json reference.csv"
            subprocess.run([BINARIES / "driftline", *build.split()], cwd=folder, check=True)

    def days(self, url: str, model: str, missing: set[str]):
        """Three days, in half of whose rows these are missing, and the first row of the next, so that their windows close."""
        first = self.day[model]
        for day in range(first, first + 4):
            rows = 400 if day < first + 3 else 1
            lines = []
            for row in range(rows):
                values = {name: None if name in missing and row % 2 else self.draws.gauss(0, 1) for name in ("fare", "temp")}
                at = f"2024-01-{day + 1:02}T{row * 24 // rows:02}:00:00Z"
                lines.append(json.dumps({"features": {**values, "at": at}}))
            httpx.post(f"{url}/v1/rows?model={model}", content="\n".join(lines), timeout=30).raise_for_status()
        self.day[model] += 3


def test_a_stale_feed_keeps_back_what_is_missing_in_its_own_columns_and_nothing_of_anothers(tmp_path):
    flights = Flights(tmp_path, "domestic", "abroad")
    (tmp_path / "weather" / "a.csv").write_text("x")

    def of(rule: str, model: str) -> dict:
        """The alert of a rule on a model that fires, in full, by that rule; empty when there is none."""
        alerts = httpx.get(f"{url}/api/v1/alerts?state=firing&model={model}").json()
        found = [alert["id"] for alert in alerts if alert["rule"] == rule]
        return httpx.get(f"{url}/api/v1/alerts/{found[0]}").json() if found else {}

    def is_missing(model: str, column: str, by: list[str]) -> bool:
        """Whether the alert on what is missing began with this column alone, and is kept back by these alerts."""
        alert = of("MissingValues", model)
        return [row["what"] for row in alert["members"]] == [column] and [mute["id"] for mute in alert["muted_by"]] == by

    with collector(tmp_path, flights.configuration) as url:
        stale = eventually(lambda: of("StaleFeed", "domestic"), "there are no fares", 60)
        eventually(lambda: of("StaleFeed", "abroad"), "nor any for the other model", 60)
        assert [row["what"] for row in stale["members"]] == ["fares"]
        flights.days(url, "domestic", {"fare"})
        eventually(lambda: is_missing("domestic", "fare", [stale["id"]]), "what the feed brings is told to nobody")
        listed = lambda: [child["rule"] for child in of("StaleFeed", "domestic")["explains"]] == ["MissingValues"]
        eventually(listed, "it is listed under its cause")
        (tmp_path / "fares" / "a.csv").write_text("x")
        eventually(lambda: not of("StaleFeed", "domestic") and not of("StaleFeed", "abroad"), "the feed is back", 60)
        flights.days(url, "abroad", {"temp"})
        eventually(lambda: is_missing("abroad", "temp", []), "another feed brings it, so it is told")
        assert is_missing("domestic", "fare", [stale["id"]]), "its windows are judged hours after the feed is back"
        shown = {feed["name"]: feed["columns"] for feed in httpx.get(f"{url}/api/v1/models/domestic").json()["feeds"]}
        assert shown == {"fares": ["fare"], "weather": ["temp"]}
        flights.days(url, "domestic", {"fare", "temp"})
        eventually(lambda: is_missing("domestic", "fare", []), "nobody has explained temp, which is missing as well")


def test_outcomes_are_late_when_requests_came_since_the_newest(tmp_path):
    configuration = f"data_dir: data\nmodels: [{{name: m, slis: {{outcomes: {{max_age: 2s}}}}}}]\nalerts:{RULES}"
    with collector(tmp_path, configuration) as url:
        row = {"features": {"x": 1.0}, "prediction": 1.0}
        httpx.post(f"{url}/v1/rows?model=m", json=row).raise_for_status()
        alert = eventually(lambda: firing(url).get("LateOutcomes"), "none ever came")
        assert facts(alert)["Newest outcome"] == "none was ever sent"
        known = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        outcome = f'{{"model": "m", "row_id": "1", "outcome": true, "observed_at": "{known}"}}'
        httpx.post(f"{url}/v1/outcomes", content=outcome).raise_for_status()
        eventually(lambda: of_model(url)["newest_outcome"] == known, "it is the newest")
        shown = 'driftline_newest_outcome_timestamp_seconds{model="m"}'
        eventually(lambda: shown in httpx.get(f"{url}/metrics").text, "it is shown")
        # No request came since, so none is owed: however old it gets, the looks are good again.
        eventually(lambda: "LateOutcomes" not in firing(url), "it is over", 60)


def test_a_watermark_grows_old_without_requests_and_with_requests_that_stand_still(tmp_path):
    marks = "slis: {watermarks: [{column: source_at, max_age: 4s}]}"
    rule = "{name: StaleWatermark, severity: ticket, runbook: stale-watermark, when: {sli: watermark, below: 0.5, over: 10s, min_events: 1}, group_by: [model]}"
    configuration = f"data_dir: data\nmodels: [{{name: quiet, {marks}}}, {{name: stuck, {marks}}}]\nalerts:\n  evaluation_interval: 200ms\n  rules: [{rule}]\n"
    spell = lambda at: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    begun = int(time.time())

    def send(url: str, model: str, at: float):
        row = {"features": {"x": 1.0, "source_at": spell(at)}, "prediction": 1.0}
        httpx.post(f"{url}/v1/rows?model={model}", json=row).raise_for_status()

    def watermark(url: str, model: str) -> dict:
        (one,) = httpx.get(f"{url}/api/v1/models/{model}").json()["watermarks"]
        return one

    def stale(url: str) -> dict[str, dict]:
        alerts = [alert for alert in httpx.get(f"{url}/api/v1/alerts?state=firing").json() if alert["rule"] == "StaleWatermark"]
        return {alert["labels"]["model"]: httpx.get(f"{url}/api/v1/alerts/{alert['id']}").json() for alert in alerts}

    with collector(tmp_path, configuration) as url:
        assert watermark(url, "quiet")["state"] == "unknown", "nothing ever came"
        # One from the future would hide for a day that no others come.
        send(url, "quiet", begun + 86_400)
        send(url, "quiet", begun)
        eventually(lambda: watermark(url, "quiet")["newest"] == spell(begun), "it is kept")

        def both():
            send(url, "stuck", begun)
            return (found := stale(url)).keys() == {"quiet", "stuck"} and found

        alerts = eventually(both, "both are too old", 60)
        said = {model: facts(alert)["Newest time"] for model, alert in alerts.items()}
        since = f"source_at: {spell(begun).replace('T', ' ').replace('Z', ' UTC')}, since "
        assert said["quiet"].startswith(since) and said["quiet"].endswith("; no request came since"), said
        assert said["stuck"].startswith(since) and "the last request came " in said["stuck"], said
        assert alerts["quiet"]["members"][0]["what"] == "source_at"
        now = watermark(url, "stuck")
        assert (now["state"], now["max_age_seconds"]) == ("stale", 4) and now["age_seconds"] >= 4
        shown = f'driftline_watermark_timestamp_seconds{{column="source_at",model="stuck"}} {begun}'
        assert shown in httpx.get(f"{url}/metrics").text
    with collector(tmp_path, configuration) as url:
        assert watermark(url, "quiet")["newest"] == spell(begun), "it is known over a restart"
        assert stale(url).keys() == {"quiet", "stuck"}

        def over():
            send(url, "quiet", time.time())
            return stale(url).keys() == {"stuck"}

        eventually(over, "what moves on is over", 60)
    # Nobody looks at what the configuration names no more.
    with collector(tmp_path, "data_dir: data\n") as url:
        eventually(lambda: stale(url) == {}, "its alert ends")
        alerts = httpx.get(f"{url}/api/v1/alerts").json()
        assert {alert["state"] for alert in alerts if alert["rule"] == "StaleWatermark"} == {"resolved"}
