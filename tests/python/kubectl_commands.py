"""What kubectl takes: the verbs and flags that runbooks use, by its published reference (kubernetes.io, "kubectl Commands", 1.31).

There is no cluster here, so a command for one is held to its form: a verb that there is, flags that this verb has and whose
values have their form, as many words as it takes, and no change where a section only reads.
"""

import re
import shlex

DURATION = re.compile(r"\d+(s|m|h)")
NUMBER = re.compile(r"-?\d+|[A-Z]+")
WORD = re.compile(r"\S+")
# What every verb has.
GLOBAL = {"-n": WORD, "--namespace": WORD, "--context": WORD}
SELECT = {"-l": WORD, "--selector": WORD}
PRINTED = {"-o": re.compile(r"wide|yaml|json|name|(jsonpath|custom-columns)=.+"), "--sort-by": re.compile(r"\.[\w.\[\]]+"), "--no-headers": None, "-A": None, "-w": None}
KINDS = {"pod", "pods", "deployment", "deployments", "replicaset", "replicasets", "job", "jobs", "cronjob", "cronjobs", "events", "endpoints", "node", "nodes", "secret", "pvc", "hpa", "service", "services", "configmap", "networkpolicy"}
# Verb: its flags (None: it takes no value), the least and most words behind it, and whether it changes anything.
VERBS = {
    "get": (SELECT | PRINTED, 1, 2, False),
    "describe": (SELECT, 1, 2, False),
    "logs": (SELECT | {"--since": DURATION, "--tail": NUMBER, "--previous": None, "--all-containers": None, "-c": WORD, "-f": None, "--timestamps": None}, 1, 2, False),
    "top": (SELECT | {"--containers": None, "--sort-by": re.compile("cpu|memory")}, 1, 2, False),
    "exec": ({"-c": WORD, "-i": None, "-t": None, "-it": None}, 1, 1, False),
    "port-forward": ({"--address": WORD}, 2, 9, False),
    "rollout history": ({"--revision": NUMBER}, 1, 2, False),
    "rollout status": ({"--timeout": DURATION}, 1, 2, False),
    "rollout undo": ({"--to-revision": NUMBER}, 1, 2, True),
    "rollout restart": (SELECT, 1, 2, True),
    "rollout pause": ({}, 1, 2, True),
    "rollout resume": ({}, 1, 2, True),
    "scale": ({"--replicas": NUMBER}, 1, 2, True),
    "delete": (SELECT | {"--wait": WORD, "--grace-period": NUMBER}, 1, 2, True),
    "create job": ({"--from": re.compile(r"cronjob/\w+"), "--image": WORD}, 1, 1, True),
    "set env": ({"-c": WORD, "--list": None}, 2, 20, True),
    "set resources": ({"--limits": re.compile(r"(cpu|memory)=\w+"), "--requests": re.compile(r"(cpu|memory)=\w+"), "-c": WORD}, 1, 2, True),
    "set image": ({}, 2, 9, True),
    "edit": ({}, 1, 2, True),
    "cordon": (SELECT, 1, 1, True),
    "uncordon": (SELECT, 1, 1, True),
}


def problem(command: str, reads_only: bool) -> str | None:
    """What is wrong with a command, from `kubectl` to a pipe; none when nothing is."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if word[0] in "|&;<>":
            break
        words.append(word)
    if words[:1] != ["kubectl"]:
        return "it does not begin with kubectl"
    flags, plain, inside, at = [], [], None, 1
    while at < len(words):
        word = words[at]
        if word == "--":
            inside = words[at + 1 :]
            break
        if word.startswith("-") and not (plain[:2] == ["set", "env"] and word.endswith("-")):
            name, equals, value = word.partition("=")
            verb = verb_of(plain)
            takes = GLOBAL.get(name, "none") if name in GLOBAL else (VERBS[verb][0].get(name, "none") if verb else "none")
            if takes == "none":
                return f"{verb or 'it'} has no flag {name}"
            if takes is not None and not equals:
                at += 1
                value = words[at] if at < len(words) else ""
            if takes is not None and not takes.fullmatch(value):
                return f"{name} of {verb} takes no '{value}'"
            if takes is None and equals and value not in ("true", "false"):
                return f"{name} takes no value"
            flags.append(name)
        else:
            plain.append(word)
        at += 1
    verb = verb_of(plain)
    if verb is None:
        return f"there is no verb '{' '.join(plain[:2])}'"
    _, least, most, changes = VERBS[verb]
    rest = plain[len(verb.split()) :]
    if not least <= len(rest) <= most:
        return f"{verb} takes {least} to {most} words, and not {rest}"
    if (verb == "exec") != (inside is not None) or inside == []:
        return "what is run inside stands behind --, and only with exec"
    if verb in ("get", "describe", "delete", "edit") and re.split("/", rest[0])[0] not in KINDS:
        return f"'{rest[0]}' is no kind of thing"
    if verb in ("delete", "edit", "describe") and len(rest) == 1 and "/" not in rest[0] and "-l" not in flags:
        return f"{verb} needs a name"
    if changes and reads_only:
        return f"{verb} changes something, and here nothing is to be changed"
    return None


def verb_of(plain: list[str]) -> str | None:
    for count in (2, 1):
        if " ".join(plain[:count]) in VERBS and len(plain) >= count:
            return " ".join(plain[:count])
    return None
