"""The demo, as a newcomer runs it: everything adds up, and what it says is true."""

import email
import email.policy
import pathlib
import urllib.parse

import httpx


def test_every_request_is_accounted_for(summary):
    sent = summary["requests"]["sent"]
    assert sent > 50_000
    assert summary["unaccounted"] == []
    exchanges, rows = summary["exchanges"], summary["rows"]
    assert exchanges["seen"] == exchanges["delivered"] + sum(exchanges["dropped"].values()) == sent
    assert rows["archived"] == rows["counted"] == sent and rows["late"] == 0


def test_drift_fires_for_weather_in_summer_and_not_in_the_quiet_stretch(summary):
    columns = {column["column"]: column for column in summary["columns"]}
    assert not any(column["drifted_in_quiet_stretch"] for column in columns.values())
    assert columns["temp"]["drifted_in_summer"] and columns["dewp"]["drifted_in_summer"]
    # What has no season has not drifted.
    assert not any(columns[name]["drifted_in_summer"] for name in ["distance", "hour", "carrier", "origin"])
    fixed = summary["fixed_threshold"]
    assert fixed["quiet_windows"] > 10 and fixed["quiet_windows_with_drift_here"] == 0
    assert fixed["quiet_windows_with_drift"] == fixed["quiet_windows"], "a fixed threshold would have cried all the time"


def test_the_drift_alert_arrives_once_and_resolves_once(summary):
    drift = [alert for alert in summary["alerts"] if alert["rule"] == "FeatureDrift"]
    assert len(drift) == 1 and drift[0]["state"] == "resolved"
    events = [event["action"] for event in summary["pagerduty"] if event["dedup_key"] == drift[0]["id"]]
    assert events == ["trigger", "resolve"]
    mails = [mail for mail in summary["mails"] if drift[0]["id"] in mail]
    assert [pathlib.Path(mail).name.split(".")[-2] for mail in mails] == ["resolve", "trigger"]


def test_every_trigger_has_its_resolve_and_whoever_is_not_told_of_is_explained(summary, demo_collector):
    """An alert that nobody was told of has a cause that fired at the same time, that may explain it, and that they were told of."""
    told = {alert["id"]: [event["action"] for event in summary["pagerduty"] if event["dedup_key"] == alert["id"]] for alert in summary["alerts"]}
    full = {alert["id"]: httpx.get(f"{demo_collector}/api/v1/alerts/{alert['id']}").json() for alert in summary["alerts"]}
    causes = {"SegmentDrift": {"FeatureDrift", "PredictionDrift", "MissingValues"}, "LatencyBudget": {"LatencySlo"}}
    for alert in summary["alerts"]:
        if told[alert["id"]]:
            assert told[alert["id"]] == (["trigger", "resolve"] if alert["state"] == "resolved" else ["trigger"])
            continue
        explained = full[alert["id"]]
        by = [full[mute["id"]] for mute in explained["muted_by"] if mute["by"] == "alert"]
        assert by, f"nobody was told of {alert['id']}, and nothing explains it: {explained['muted_by']}"
        for cause in by:
            assert cause["rule"] in causes[alert["rule"]] and told[cause["id"]][:1] == ["trigger"], (alert, cause["rule"])
            assert cause["labels"]["model"] == explained["labels"]["model"]
            # It began before the other was over. Windows of both close in the same moment.
            assert cause["started_at"] <= (explained["resolved_at"] or "9999"), (cause["started_at"], explained["resolved_at"])


def test_the_mail_has_numbers_a_picture_and_a_runbook_that_opens(summary, demo_collector):
    path = next(mail for mail in summary["mails"] if "featuredrift" in mail and mail.endswith("trigger.eml"))
    mail = email.message_from_bytes(pathlib.Path(path).read_bytes(), policy=email.policy.default)
    assert "temp" in mail["Subject"] and "drifted" in mail["Subject"]
    assert mail["Auto-Submitted"] == "auto-generated"
    parts = {part.get_content_type(): part for part in mail.walk()}
    text = parts["text/plain"].get_content()
    assert "temp" in text and "█" in text and "psi above its threshold in 2 of 3 windows" in text
    assert parts["image/png"].get_content().startswith(b"\x89PNG")
    assert "cid:picture" in parts["text/html"].get_content()
    episode = pathlib.Path(path).name.removesuffix(".trigger.eml")
    served = httpx.get(f"{demo_collector}/api/v1/alerts/{episode}/picture")
    assert (served.headers["content-type"], served.content) == ("image/png", parts["image/png"].get_content())
    assert httpx.get(f"{demo_collector}/api/v1/alerts/nothing/picture").status_code == 404
    link = next(word for word in text.split() if "/runbooks/" in word)
    runbook = httpx.get(demo_collector + urllib.parse.urlparse(link)._replace(scheme="", netloc="").geturl())
    assert runbook.status_code == 200
    assert "Features have drifted" in runbook.text and "flight-delay" in runbook.text and "temp" in runbook.text


def test_a_postmortem_begins_with_what_is_known(summary, demo_collector):
    (alert,) = [alert for alert in summary["alerts"] if alert["rule"] == "FeatureDrift"]
    answer = httpx.get(f"{demo_collector}/api/v1/alerts/{alert['id']}/postmortem")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    text = answer.text
    assert text.startswith(f"# Postmortem: {alert['summary']}")
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["Summary", "Impact", "Detection", "Trigger and root causes", "Resolution", "Timeline", "Evidence", "Lessons", "Action items"]
    timeline = text.split("## Timeline")[1].split("## Evidence")[0]
    began, told, ended = (timeline.index(what) for what in ["**The alert began**", "oncall: trigger delivered", "**The alert ended.**"])
    assert began < told < ended and timeline.index("temp drifts") < ended
    assert "Looks like" in text and "![" in text and "data:image/png;base64," in text
    assert httpx.get(f"{demo_collector}/api/v1/alerts/nothing/postmortem").status_code == 404
