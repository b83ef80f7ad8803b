"""An archive that does not keep up: the shipped rule says so, of the collector and not of a model."""

import httpx
from conftest import collector, eventually

CONFIGURATION = """
data_dir: data
archive: {folder: FOLDER, max_age: 1s, max_lag: 2s}
alerts:
  evaluation_interval: 200ms
  rules:
    - name: ArchiveLag
      severity: ticket
      runbook: archive-lag
      when: {sli: archive, below: 0.5, over: 10s, min_events: 1}
      group_by: []
"""


def test_an_archive_that_has_stopped_is_one_alert_of_the_collector(tmp_path):
    configuration = CONFIGURATION.replace("FOLDER", str(tmp_path / "archive"))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    # However slow the disk is, it keeps up with this.
    with collector(tmp_path / "first", configuration.replace("max_lag: 2s", "max_lag: 1m")) as url:
        row = {"features": {"x": 1.0}, "prediction": 1.0}
        httpx.post(f"{url}/v1/rows?model=m", json=row).raise_for_status()
        eventually(lambda: httpx.get(f"{url}/api/v1/archive").json()["rows"] == 1, "the row is archived")
        assert httpx.get(f"{url}/api/v1/alerts").json() == []
    # The archive is the first collector's.
    with collector(tmp_path / "second", configuration, probe="/livez") as url:
        (alert,) = eventually(lambda: httpx.get(f"{url}/api/v1/alerts?state=firing").json(), "the alert fires")
        assert alert["rule"] == "ArchiveLag" and alert["labels"] == {}
        assert alert["summary"].startswith("the archive behind for "), alert
        detail = httpx.get(f"{url}/api/v1/alerts/{alert['id']}").json()
        assert detail["members"][0]["what"] == "collector"
        runbook = httpx.get(f"{url}/runbooks/archive-lag", params={"alert": alert["id"]})
        assert runbook.status_code == 200 and "The archive is behind" in runbook.text
