"""Mail by real servers: encrypted from the first byte, by an authority that nobody knows, with a password that is wrong, and for
several of whom one left."""

import base64
import contextlib
import email
import email.policy
import sqlite3
import subprocess

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from conftest import BINARIES, collector, eventually, free_port
from test_alert_delivery import certificate

PASSWORD = "correct horse battery staple"
WRONG = "incorrect horse battery staple"


class Mailbox:
    """Takes mail, but none for who left, and for who is full only once that is over."""

    def __init__(self):
        self.mails, self.asked, self.told, self.is_full = [], [], [], True

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.asked.append(address)
        if address.startswith("gone@"):
            return "550 5.1.1 no such user"
        if address.startswith("full@") and self.is_full:
            return "452 4.2.2 mailbox full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append(mail)
        self.told += [(address.split("@")[0], mail["X-Driftline-Status"]) for address in envelope.rcpt_tos]
        return "250 OK"


@contextlib.contextmanager
def server(**how):
    """A mail server that lets in one user; gives its port and its mailbox."""
    mailbox, port = Mailbox(), free_port()
    is_right = lambda words: words.login == b"driftline" and words.password == PASSWORD.encode()
    # What is not handled here the server answers itself, with 535.
    right = lambda *words: AuthResult(success=is_right(words[-1]), handled=False)
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, auth_required=True, authenticator=right, **how)
    controller.start()
    try:
        yield port, mailbox
    finally:
        controller.stop()


def target(name: str, port: int, password: str, to: str = "oncall@example.com", more: str = "ca_file: ca.pem") -> str:
    smtp = f"{{host: localhost, port: {port}, user: driftline, password: {{file: {password}}}, {more}}}"
    return f"    {name}: {{email: {{from: Driftline <driftline@example.com>, to: [{to}], smtp: {smtp}}}}}\n"


def begin(url: str, resolve_after: str) -> str:
    asked = httpx.post(f"{url}/api/v1/drills", json={"alert": "LatencySlo", "by": "ada", "resolve_after": resolve_after})
    return asked.raise_for_status().json()["episode"]


def test_mail_waits_for_a_password_and_a_certificate_that_are_right_and_says_which_is_wrong(tmp_path):
    context = certificate(tmp_path)
    (tmp_path / "right").write_text(PASSWORD)
    (tmp_path / "wrong").write_text(WRONG)
    with (
        # Over TLS from the first byte aiosmtpd does not know that it is, and would let nobody say a password.
        server(ssl_context=context, auth_require_tls=False) as (implicit, first),
        server(tls_context=context, require_starttls=True) as (starttls, second),
    ):
        away = free_port()
        targets = (
            target("implicit", implicit, "right", more="tls: implicit, ca_file: ca.pem")
            + target("untrusted", starttls, "right", more="tls: starttls")
            + target("wrong", starttls, "wrong")
            + target("away", away, "right")
            + target("left", starttls, "right", to="gone@example.com")
        )
        configuration = f"data_dir: data\nmodels: [{{name: m}}]\nalerts:\n  targets:\n{targets}"
        with collector(tmp_path, configuration) as url:
            episode = begin(url, "1h")
            steps = lambda: {step["target"]: step for step in httpx.get(f"{url}/api/v1/drills/{episode}").json()["steps"]}
            eventually(lambda: steps()["implicit"]["state"] == "delivered", "it arrives over TLS")
            [mail] = first.mails
            assert mail["Subject"].startswith("[DRILL] m: ") and mail["Importance"] == "high"

            tried = lambda: (found := steps()) and all(found[name]["last_error"] for name in ("untrusted", "wrong", "away", "left")) and found
            said = eventually(tried, "all were tried")
            assert said["left"]["state"] == "given_up" and "550" in said["left"]["last_error"], "it will never be taken"
            for name in ("untrusted", "wrong", "away"):
                assert said[name]["state"] == "pending", f"{name}: somebody can put it right"
            assert "certificate is not trusted" in said["untrusted"]["last_error"] and "ca_file" in said["untrusted"]["last_error"]
            assert "UnknownIssuer" in said["untrusted"]["last_error"], "what the library says, too"
            assert "does not let in the user 'driftline'" in said["wrong"]["last_error"] and "535" in said["wrong"]["last_error"]
            assert "refused" in said["away"]["last_error"] and f"localhost:{away}" in said["away"]["last_error"]
            assert second.mails == [], "nobody's password crosses a connection that is not trusted"
            everything = httpx.get(f"{url}/api/v1/deliveries?state=pending").text + httpx.get(f"{url}/api/v1/alerts/{episode}").text

            # A password that was put right is taken up with the next try.
            (tmp_path / "wrong").write_text(PASSWORD)
            eventually(lambda: steps()["wrong"]["state"] == "delivered", "it arrives", 60)
            assert len(second.mails) == 1

        # Tried for the last time, what cannot be delivered is a dead letter with its reason, and nobody's end is told there.
        with contextlib.closing(sqlite3.connect(tmp_path / "data" / "driftline.db")) as db, db:
            changed = db.execute("UPDATE outbox SET attempts = 299, next_attempt_at = 0 WHERE target IN ('untrusted', 'away')")
            assert changed.rowcount == 2
        with collector(tmp_path, configuration) as url:
            dead = lambda: {letter["target"]: letter for letter in httpx.get(f"{url}/api/v1/deliveries").json()}
            letters = eventually(lambda: {"untrusted", "away", "left"} <= (found := dead()).keys() and found, "they are given up")
            assert "certificate is not trusted" in letters["untrusted"]["last_error"] and letters["untrusted"]["attempts"] == 300
            everything += httpx.get(f"{url}/api/v1/deliveries").text
            with contextlib.closing(sqlite3.connect(tmp_path / "data" / "driftline.db")) as db:
                doubts = db.execute("SELECT target, in_doubt FROM outbox WHERE state = 'given_up' ORDER BY target").fetchall()
            assert doubts == [("away", 0), ("left", 0), ("untrusted", 0)], "none of them may have it"
    everything += (tmp_path / "collector.log").read_text()
    plain = lambda password: base64.b64encode(f"\0driftline\0{password}".encode()).decode()
    for secret in (PASSWORD, WRONG, plain(PASSWORD), plain(WRONG)):
        assert secret not in everything


def test_who_could_not_be_told_of_the_beginning_is_not_told_of_the_end(tmp_path):
    (tmp_path / "password").write_text(WRONG)
    with server(tls_context=certificate(tmp_path), require_starttls=True) as (port, mailbox):
        configuration = f"data_dir: data\nmodels: [{{name: m}}]\nalerts:\n  targets:\n{target('mail', port, 'password')}"
        with collector(tmp_path, configuration) as url:
            episode = begin(url, "1s")
            entries = lambda: httpx.get(f"{url}/api/v1/alerts/{episode}").json()["deliveries"]
            eventually(lambda: {"trigger", "resolve"} <= {entry["action"] for entry in entries()}, "it began and ended")
            trigger = lambda: next(entry for entry in entries() if entry["action"] == "trigger")
            eventually(lambda: trigger()["last_error"], "it was tried")
            assert trigger()["state"] == "pending" and "535" in trigger()["last_error"]
            (tmp_path / "password").write_text(PASSWORD)
            eventually(lambda: all(entry["state"] == "delivered" for entry in entries()), "both are told, in order", 60)
            assert [mail["X-Driftline-Status"] for mail in mailbox.mails] == ["trigger", "resolve"]


SEVERAL = "oncall@example.com, gone@example.com, full@example.com"


@contextlib.contextmanager
def several(folder):
    """A collector that mails three, of whom one left and one is full; gives its address and the mailbox."""
    (folder / "password").write_text(PASSWORD)
    with server(tls_context=certificate(folder), require_starttls=True) as (port, mailbox):
        mail = target("mail", port, "password", to=SEVERAL)
        configuration = f"data_dir: data\nmodels: [{{name: m}}]\nalerts:\n  evaluation_interval: 200ms\n  targets:\n{mail}"
        with collector(folder, configuration) as url:
            yield url, mailbox


def entry(url: str, episode: str, action: str) -> dict:
    entries = httpx.get(f"{url}/api/v1/alerts/{episode}").json()["deliveries"]
    return next((entry for entry in entries if entry["action"] == action), {"state": None, "last_error": None})


def test_one_of_several_who_left_costs_the_others_nothing_and_is_named(tmp_path):
    with several(tmp_path) as (url, mailbox):
        episode = begin(url, "20s")
        why = eventually(lambda: entry(url, episode, "trigger")["last_error"], "it was tried")
        assert mailbox.told == [("oncall", "trigger")], "who can have it has it"
        assert "gone@example.com is refused: localhost:" in why and "(550): 5.1.1 no such user; put the address right under `to`, or take it out" in why
        assert "full@example.com is not taken yet: " in why and "(452): 4.2.2 mailbox full; the others have it" in why
        assert entry(url, episode, "trigger")["state"] == "pending", "somebody waits for it yet"
        assert 'driftline_drill_notifications_total{outcome="partly",target="mail"}' in httpx.get(f"{url}/metrics").text
        mailbox.is_full = False
        eventually(lambda: entry(url, episode, "trigger")["state"] == "delivered", "there is room again", 30)
        why = entry(url, episode, "trigger")["last_error"]
        assert "gone@" in why and "full@" not in why and mailbox.told == [("oncall", "trigger"), ("full", "trigger")], "each once"
        assert mailbox.asked.count("gone@example.com") == 1, "a refusal for good is believed"
        eventually(lambda: entry(url, episode, "resolve")["state"] == "delivered", "it is over", 60)
        assert sorted(mailbox.told[2:]) == [("full", "resolve"), ("oncall", "resolve")], "who has the beginning, and nobody else"
        assert mailbox.asked.count("gone@example.com") == 1 and "gone@" not in mailbox.mails[-1]["To"]
        assert len({mail["Message-ID"] for mail in mailbox.mails[:2]}) == 1, "one message, to two at two times"
        drill = eventually(lambda: (found := httpx.get(f"{url}/api/v1/drills/{episode}").json())["outcome"] != "running" and found, "the drill is over")
        assert drill["outcome"] == "failed", "not everybody was reached"
        assert httpx.get(f"{url}/api/v1/deliveries").json() == [], "and yet there is no dead letter"
        # What one did not get is told as any other trouble of a target.
        of_failure = lambda: [alert for alert in httpx.get(f"{url}/api/v1/alerts?state=firing").json() if alert["rule"] == "DeliveryFailure"]
        (alert,) = eventually(of_failure, "somebody has to see to the address", 90)
        facts = {fact["name"]: fact["value"] for fact in httpx.get(f"{url}/api/v1/alerts/{alert['id']}").json()["facts"]}
        assert facts["Not to all"].endswith("notifications") and "gone@example.com is refused" in facts["Last error"]


def test_an_end_does_not_wait_for_who_did_not_take_the_beginning_and_is_not_told_them(tmp_path):
    with several(tmp_path) as (url, mailbox):
        episode = begin(url, "1s")
        eventually(lambda: entry(url, episode, "resolve")["state"] == "delivered", "who has the beginning has the end")
        assert mailbox.told == [("oncall", "trigger"), ("oncall", "resolve")]
        trigger = entry(url, episode, "trigger")
        assert trigger["state"] == "delivered" and "full@example.com is not taken yet" in trigger["last_error"], trigger
        mailbox.is_full = False
        tries = len(mailbox.asked)
        # A rule has one drill at a time.
        eventually(lambda: httpx.get(f"{url}/api/v1/drills/{episode}").json()["outcome"] != "running", "the first is over", 60)
        # Another one goes through the same queue, so what would be tried again would be before it.
        other = begin(url, "1s")
        eventually(lambda: entry(url, other, "resolve")["state"] == "delivered", "the next one reaches both")
        assert mailbox.told[2:4] == [("oncall", "trigger"), ("full", "trigger")] and len(mailbox.asked) == tries + 5


@pytest.mark.parametrize(
    ("smtp", "says"),
    [
        ("{host: h, tls: none, user: u, password: {env: P}}", "a password would cross the network in the clear"),
        ("{host: h, user: u}", "'user' and 'password' go together"),
        ("{host: h, tls: ssl}", "starttls"),
    ],
)
def test_what_would_not_be_safe_is_refused_before_it_starts(tmp_path, smtp, says):
    mail = f"{{from: a@example.com, to: [b@example.com], smtp: {smtp}}}"
    (tmp_path / "driftline.yaml").write_text(f"alerts: {{targets: {{mail: {{email: {mail}}}}}}}\n")
    command = [BINARIES / "driftline", "check", "--config", tmp_path / "driftline.yaml"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode != 0 and says in checked.stdout + checked.stderr
