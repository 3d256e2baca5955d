"""A launch as a command line for bash: what bubblewrap is told, with the descriptors that it is given.

For people to read and to try. What the launch helper does around it (session keyring, Landlock, signals, the
exit code) and what a launch does before it appear as comments; 'redpak run' and 'redpak freeze' do all of it.
"""

from __future__ import annotations

import base64
import shlex

from redpak.engine.spec import Blob, LaunchSpec, Opened, Value
from redpak.text import Ask, Run, Text

ASKED = {
    "PID": "$$",
    "UUID": "$(cat /proc/sys/kernel/random/uuid)",
    "TODAY": "$(date '+%d-%b-%Y %H:%M (%Z)')",
}


def command_line(spec: LaunchSpec) -> str:
    """Return comments and one command, an option a line."""
    lines = [f"# {note}" for note in before(spec)]
    start = [shlex.quote(spec.bwrap)] if spec.inherit_env else ["env -i", shlex.quote(spec.bwrap)]
    command = [" ".join(start)]
    for word in spec.args:
        shown = word_of(word)
        if isinstance(word, str) and word.startswith("--"):
            command.append(shown)
        else:
            command[-1] += f" {shown}"
    if spec.program:
        command.append(" ".join(["--", *map(shlex.quote, spec.program)]))
    command += [f"{number}{redirection(one, spec)}" for number, one in spec.numbered()]
    return "\n".join([*lines, " \\\n  ".join(command)])


def before(spec: LaunchSpec) -> list[str]:
    """Say what a launch does besides this command."""
    notes = [f"mkdir -p {shlex.quote(path)}" for path in spec.create]
    if spec.umask >= 0:
        notes.append(f"umask {spec.umask:04o}")
    for limit in spec.rlimits:
        notes.append(f"limit {limit.name} to {limit.soft}:{limit.hard} (-1: unlimited)")
    if spec.become != (-1, -1):
        notes.append(f"become user {spec.become[0]}, group {spec.become[1]} (-1: unchanged)")
    for join in spec.joins:
        number = f", as descriptor {join.fd}" if join.fd else ""
        notes.append(f"join the {join.kind} namespace {shlex.quote(join.path)}{number}")
    if spec.newtime:
        notes.append("make a time namespace")
    if spec.scope:
        notes.append("confine abstract sockets and signals (Landlock)")
    notes.append("take a session keyring of its own, close all other descriptors, pass signals on")
    return ["besides: " + notes[0], *(f"         {note}" for note in notes[1:])]


def redirection(one: Opened | Blob, spec: LaunchSpec) -> str:
    """Return the redirection that opens a descriptor."""
    match one:
        case Opened(path=path) if spec.seccomp and path == spec.seccomp_path:
            return f"< <(base64 -d <<<{base64.b64encode(spec.seccomp).decode()})"
        case Opened(path=path):
            return f"<{shlex.quote(path)}"
        case Blob(content=content):
            commands = [part for part in content.parts if isinstance(part, Run)]
            if len(commands) == len(content.parts) == 1:  # exact: a substitution would drop trailing newlines
                return f"< <(bash -r -c {shlex.quote(commands[0].command)})"
            return f"< <(printf %s {joined(content)})"


def word_of(word: str | Value) -> str:
    """Return one argument, quoted."""
    if isinstance(word, str):
        return shlex.quote(word)
    if word.inherited:
        return f'"${{{word.inherited}-}}"'
    return joined(word.content)


def joined(content: Text) -> str:
    """Return a text as one word of bash."""
    return "".join(part_of(part) for part in content.parts) or "''"


def part_of(part: str | Run | Ask) -> str:
    """Return one part of a text as a piece of a word of bash."""
    match part:
        case str():
            return shlex.quote(part)
        case Run(command=command):
            return f'"$(bash -r -c {shlex.quote(command)})"'
        case Ask(name=name):
            return f'"{ASKED[name]}"'
