"""What came of the shifts: for each trouble what was said of it and when, everything that was said, and the noise counted."""

import datetime
import re
import textwrap

from .trouble import LENGTH, SHIFTS, Trouble

#: So long after it has gone a trouble is still a reason to be told: windows of ten days remember it.
AFTERWARDS = 40.0

INTRODUCTION = """\
# Two hours on call

`tests/on-call` is on call for two hours, three times at once: in a calm shift, in a troubled one and in a storm. In each a
scikit-learn model behind FastAPI (flights) stands behind two sidecars, and fifteen days of real flights are replayed through them in
their order, a day in eight minutes. Two more models are watched beside it: a desk that streams chats and is asked every other second,
and routes, whose rows an application writes itself. The collector has the {rules} rules that ship, a budget of false pages of one a
year, windows of ten days that close every day (of the routes: of one day, compared with those before it), a feed of files, outcomes that
are sent, and three who are told: PagerDuty's stand-in, a mailbox on an SMTP server, and a dead man's switch that tells after three
minutes without a sign of life. What goes wrong, and when, is in `tests/python/on_call/trouble.py`, with what somebody should hear of
it, and what should be listed under its cause and told to nobody; that was written down before the shifts began.

**Noise** is a beginning that no trouble explains: not the rule's that the trouble was expected to ask for, or more than forty
minutes (five days of flights) after it was over. What follows is what the last run recorded.

{not_asked}
"""

PACE = """\
This run was at a pace of {pace:g}: two hours of the plan in {minutes:.0f} minutes. All minutes here are the plan's, of {seconds:.0f} seconds each. The rules' own
times are what they ship with, so five minutes of a rule are {five:g} of these.
"""

#: Mails that are shown as they came: of which shift and which rule. Ports are the run's own.
EXAMPLES = [("troubled", "AvailabilitySlo"), ("troubled", "MissingValues")]

#: What somebody saw who read the rest.
SHOWED = """\
## What it showed

The run of 26 November 2026, from 22:45 to 23:47, with the thirty-five rules that ship, on two cores on which compilers ran all the time (a load of
14 to 22), over which the shifts had precedence:

* **There is no noise.** The calm shift had one page, and it is the data's own. None of its 13,008 requests failed.
* **All that should be told was told, but for what was not there.** The storm's plan expected the routes to drift in July. They do not:
  their PSI stayed at 0.17 or below, so the one trouble that was missed is the plan's mistake. It stands as it was written.
* **One cause, two tickets.** The routes' kilometres asked for FeatureDrift and NewChange in the same second, and both say "a change of
  unit: × 1.609". A rule cannot say yet that another explains it only if both began together.
* Nine alerts were listed under their causes and told to nobody: budgets under the page of the minutes that burnt them, SegmentDrift under FeatureDrift, the desk's
  LatencySlo under FirstMessageSlo, the new carrier under the features that were stale, and rows that came late under CaptureLoss. What a sidecar
  lost while the collector was away (333 exchanges) began in the same second as CollectorDown, and was listed under it.
* A model's server that is gone, slow answers and slow first words are pages within 0.7 minutes, and one error in twenty after 1.8. PagerDuty was failing in the
  minutes in which the server was gone, so the mail told of it, and another one of PagerDuty. With the mail server failing, it told of that. Nothing was told twice.
* Of a collector that is gone the dead man's switch tells after its three minutes, and CollectorDown, with the times, once it is back. A restart of a
  minute is told by nobody.
* A model that nobody calls any more is a page after 7.7 minutes: one minute of the clock is what it may rest, and then half of five minutes must be bad.
* CaptureLoss came 0.6 minutes after the sidecar reached the collector again, for before that it can tell nobody: 181 of 1,142 exchanges.
* temp that goes missing right after a stale feed is back was told after nine minutes. In the run before, with twenty-two rules, it was told to nobody.
* A sidecar that is gone with its callers is a ticket after 12.8 minutes, with its name and its share of the requests. Most of that shift's 1,481 failed requests
  are these: no sidecar saw them, so no indicator counts them, and the gateway's own alert has to page.
* Twenty refusals make SendersRefused. A job that tries every ten seconds takes 6.8 minutes for that; what it sends meanwhile is lost.
* Whoever was told of CaptureLoss or UndecodableBodies had to ask the collector for the reason, and of SchemaChange for the column: the messages did not name
  them, and do since. Of SendersRefused the sender still has to be asked for. Drift, missing values, feeds, sidecars and the collector's own end are told
  with what it is and since when.
* The first lines of two messages were not right, and are since: ModelSilent's spoke of a day with requests in every hour, which a model with
  `slis.heard` need not have, and FeedUnreadable's began with the words for StaleFeed.
* What is judged over half an hour takes that long: that no outcomes come, and that a feed cannot be listed. Drift, missing values and new categories are
  told when a window closes; the drift of July took forty minutes, for a window of ten days says nothing before half of it is filled.
"""


def page(results: list[dict]) -> str:
    rules = results[0]["rules"]
    asked = {rule for _, troubles in SHIFTS.values() for trouble in troubles for rule in trouble.rules}
    *others, last = [rule for rule in rules if rule not in asked]
    not_asked = f"No trouble asks for {', '.join(others)} and {last}. When one of these speaks, it is noise."
    introduction = INTRODUCTION.format(rules=len(rules), not_asked=textwrap.fill(not_asked, 130))
    parts = [introduction, _pace(results[0]), SHOWED, _overview(results), _messages(results)]
    for result in results:
        parts += [f"## {result['shift'].capitalize()}", _troubles(result), _said(result), _ends(result)]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _messages(results: list[dict]) -> str:
    """Some of the mails, as somebody read them."""
    parts = ["## What a message says\n", "Each begins with the thirty seconds of its runbook. Two of the mails, as they came:\n"]
    for result in results:
        for entry in _told(result, "trigger"):
            if (result["shift"], entry.get("rule")) in EXAMPLES and entry["to"] == "mail":
                text = re.sub(r"http://127\.0\.0\.1:\d+", "http://driftline:4600", entry["text"])
                lines = [line.rstrip() for line in text.strip().splitlines()]
                parts.append("\n".join(["```text", *lines, "```\n"]))
    return "\n".join(parts)


def _pace(result: dict) -> str:
    pace = result["pace"]
    return "" if pace == 1 else PACE.format(pace=pace, minutes=LENGTH / pace, seconds=60 / pace, five=5 * pace)


def _table(head: list[str], rows: list[list]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in lines) + "\n"


def _told(result: dict, *actions: str) -> list[dict]:
    """What people were told. An alert goes to PagerDuty and to the mailbox, and counts as two messages."""
    return [entry for entry in result["record"] if entry["to"] != "world" and entry["action"] in (actions or (entry["action"],))]


def _episode(entry: dict, result: dict) -> str | None:
    """The id of the alert that an entry is of: PagerDuty's key is it, a mail has its rule and its words."""
    plain = lambda text: " ".join(text.removeprefix("Re: ").split())
    same = lambda alert: alert["rule"] == entry.get("rule") and plain(alert["summary"]) == plain(entry["says"])
    return entry.get("episode") or next((alert["id"] for alert in result["alerts"] if same(alert)), None)


def _alert(entry: dict, result: dict) -> dict:
    by_id = {alert["id"]: alert for alert in result["alerts"]}
    found = by_id.get(_episode(entry, result), {})
    return {
        "rule": entry.get("rule") or found.get("rule", "?"),
        "severity": found.get("severity") or entry.get("severity") or "?",
        "labels": found.get("labels", {}),
    }


def _is_its(alert: dict, trouble: Trouble) -> bool:
    """Whether an alert may tell of a trouble."""
    return alert["rule"] in trouble.rules and alert["labels"].get("model", trouble.of) == trouble.of


def _reason(entry: dict, result: dict) -> Trouble | None:
    alert = _alert(entry, result)
    for trouble in SHIFTS[result["shift"]][1]:
        if _is_its(alert, trouble) and trouble.begins <= entry["minute"] <= trouble.ends + AFTERWARDS:
            return trouble
    return None


def _beginnings(result: dict) -> list[dict]:
    """The first word of each alert, whoever heard it first."""
    first: dict[str, dict] = {}
    for entry in _told(result, "trigger"):
        first.setdefault(_episode(entry, result) or f"{_alert(entry, result)['rule']} {entry['says']}", entry)
    episodes = {alert["id"] for alert in result["alerts"]}
    return [entry for key, entry in first.items() if key in episodes or entry["to"] == "switch"]


def _listed(trouble: Trouble, result: dict) -> dict | None:
    """The alert of a trouble that was told to nobody, because another one explains it."""
    told = {_episode(entry, result) for entry in _told(result, "trigger")}
    for alert in result["alerts"]:
        begins = _minute(alert["started_at"], result)
        is_its = alert["rule"] in trouble.listed and _is_its(alert, trouble) and trouble.begins <= begins <= trouble.ends + AFTERWARDS
        if is_its and alert["id"] not in told and any(mute["by"] == "alert" for mute in alert["muted_by"]):
            return alert
    return None


def _minute(time: str, result: dict) -> float:
    """The plan's minute at a time."""
    seconds = datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() - result["began_at"]
    return seconds / 60 * result["pace"]


def _overview(results: list[dict]) -> str:
    rows = []
    for result in results:
        beginnings = _beginnings(result)
        severities = [_alert(entry, result)["severity"] for entry in beginnings]
        noise = sum(_reason(entry, result) is None for entry in beginnings)
        missed = [
            trouble
            for trouble in SHIFTS[result["shift"]][1]
            if trouble.rules and not _first(trouble, result) and not _listed(trouble, result)
        ]
        messages = len(_told(result))
        rows.append(
            [
                result["shift"],
                f"{result['sent']:,}",
                f"{result['failed']:,}",
                sum(severity in ("page", "critical") for severity in severities),
                sum(severity not in ("page", "critical") for severity in severities),
                noise,
                len(missed),
                messages,
            ]
        )
    return _table(["shift", "requests", "failed", "pages", "tickets", "of these noise", "troubles missed", "messages in all"], rows)


def _first(trouble: Trouble, result: dict) -> dict | None:
    """The first word of a trouble, from its beginning on; an alert that was open already speaks of it, too."""
    for entry in _beginnings(result):
        if _is_its(_alert(entry, result), trouble) and trouble.begins <= entry["minute"] <= trouble.ends + AFTERWARDS:
            return entry
    return next((entry for entry in _open_already(trouble, result)), None)


def _open_already(trouble: Trouble, result: dict) -> list[dict]:
    ends = {_episode(entry, result): entry["minute"] for entry in _told(result, "resolve")}
    return [
        entry
        for entry in _beginnings(result)
        if _is_its(_alert(entry, result), trouble)
        and entry["minute"] < trouble.begins < ends.get(_episode(entry, result), float("inf"))
    ]


def _troubles(result: dict) -> str:
    troubles = SHIFTS[result["shift"]][1]
    if not troubles:
        return "Nothing goes wrong.\n"
    rows = []
    for trouble in troubles:
        first = _first(trouble, result)
        listed = _listed(trouble, result)
        if not trouble.rules:
            said, after = "nothing, as it should be", ""
        elif listed and (first is None or trouble.listed == trouble.rules):
            said, after = f"{listed['rule']}, told to nobody: it is listed under its cause", ""
        elif first is None:
            said, after = "**nothing**", ""
        elif first["minute"] < trouble.begins:
            said, after = f"{_alert(first, result)['rule']}, which was open", ""
        else:
            said, after = _alert(first, result)["rule"], f"{first['minute'] - trouble.begins:.1f}"
        rows.append([f"{trouble.begins:g}–{trouble.ends:g}", trouble.what, said, after])
    return _table(["minutes", "what goes wrong", "who spoke of it", "minutes later"], rows)


def _said(result: dict) -> str:
    """Everything that was said, with what happened beside it."""
    rows = []
    for entry in sorted(result["record"], key=lambda entry: entry["minute"]):
        if entry["to"] == "world":
            rows.append([f"{entry['minute']:.1f}", "", "", f"*{entry['action']}: {entry['says']}*"])
            continue
        says = entry["says"] or _alert(entry, result)["rule"]
        rows.append([f"{entry['minute']:.1f}", entry["to"], entry["action"], says])
    return "Everything that was said:\n\n" + _table(["minute", "to", "what", "words"], rows) if rows else "Nobody was told anything.\n"


def _ends(result: dict) -> str:
    """Whether everybody who was told of a beginning was told of its end, and of nothing twice."""
    keys = [(entry["to"], entry.get("episode") or entry["says"], entry["action"]) for entry in _told(result, "trigger", "resolve")]
    pagerduty = [key for key in keys if key[0] == "PagerDuty"]
    triggered = {key[1] for key in pagerduty if key[2] == "trigger"}
    resolved = {key[1] for key in pagerduty if key[2] == "resolve"}
    open_at_the_end = {alert["id"] for alert in result["alerts"] if alert["state"] == "firing"}
    told = {_episode(entry, result) for entry in _told(result, "trigger")}
    muted = [alert for alert in result["alerts"] if alert["id"] not in told]
    return (
        f"PagerDuty took {len(triggered)} beginnings and {len(resolved)} ends, {len(pagerduty) - len(set(pagerduty))} of them twice. "
        f"{len(triggered - resolved)} had no end, and {len(open_at_the_end & triggered)} were still open when the shift was over. "
        f"{len(muted)} more were told to nobody{_by_rule(muted)}.\n"
    )


def _by_rule(alerts: list[dict]) -> str:
    """Which alerts they are."""
    rules = [alert["rule"] for alert in sorted(alerts, key=lambda alert: alert["started_at"])]
    return f", for others explain them: {', '.join(rules)}" if rules else ""
