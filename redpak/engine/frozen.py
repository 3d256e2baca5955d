"""LaunchSpec → one POSIX sh script that starts it through the launch helper, with no Python in the process tree.

The script is for people to read, too: comments say what it was made from and who asked for what. The helper checks
that the inputs are unchanged; when one has changed, redpak is started instead and makes the script anew.
"""

from __future__ import annotations

import os
import sys

from redpak import paths
from redpak.engine import begun
from redpak.engine.commands import BASH, CONFINED, SAFE_PATH
from redpak.engine.run import MINE, rlimit_number, why
from redpak.engine.sources import only_ours
from redpak.engine.spec import FIRST_FD, Blob, LaunchSpec, Opened, Value
from redpak.fs import stamp
from redpak.plan.ops import Bind
from redpak.record import Record
from redpak.text import Ask, Run, Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.plan.model import Plan

HEAD = "# redpak launcher: "
PROGRAM = "# program: "
NAME_START = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
NAME = NAME_START | frozenset("0123456789")
PLAIN = NAME | frozenset("./:=,+@%-")  # needs no quotes in an argument
# What shells set or change by themselves: the caller's value cannot be read in a script.
SHELLS_OWN = frozenset((
    "_", "BASH", "BASHOPTS", "BASHPID", "COPROC", "DIRSTACK", "ENV", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FLAGS",
    "FUNCNAME", "FUNCNEST", "GROUPS", "HISTCMD", "HOSTNAME", "HOSTTYPE", "IFS", "LINENO", "MACHTYPE", "MAILCHECK",
    "OLDPWD", "OPTARG", "OPTERR", "OPTIND", "OSTYPE", "PIPESTATUS", "POSIXLY_CORRECT", "PPID", "PS1", "PS2", "PS4",
    "PWD", "RANDOM", "SECONDS", "SHELLOPTS", "SHLVL", "SRANDOM", "UID",
))  # fmt: skip
LOADER = ("LD_AUDIT", "LD_LIBRARY_PATH", "LD_PRELOAD")  # what makes the dynamic linker load other code
ENVIRONMENT = ("REDPAK_PROFILE", "redpak_MAIN")  # what redpak itself reads of the caller's environment
TIMEOUT_S = 10
DONE = "rp-done"  # what stands behind the output of a command that succeeded
MOST_CHARACTERS = 30_000  # of one command's output: a word holds 128 KiB, a character 4 bytes
MOST_LINKS = 40
CONTINUED = "\\\n  "
DATE = "+%d-%b-%Y %H:%M (%Z)"
UUIDS = "/proc/sys/kernel/random/uuid"


class Origins(Record):
    """How a launcher was asked for, so that it can be made again in the same way."""

    path: str  # the redpath as given, absolute
    words: tuple[str, ...] = ()  # options for `redpak run`: --admin, --force, …
    key: str = "frozen"  # what the cache compares


def why_not(plan: Plan, spec: LaunchSpec, helper: str) -> str:
    """Say why no script can carry this launch out, '' when one can."""
    if not helper:
        return "there is no launch helper ('./dev setup' builds it)"
    reason = spec.why_not_frozen()
    if reason:
        return reason
    texts = [arg.content for arg in spec.args if isinstance(arg, Value)]
    texts += [one.content for one in spec.descriptors if isinstance(one, Blob)]
    if any(isinstance(part, Run) for text in texts for part in text.parts):
        if not spec.confine:
            return "its commands run outside a sandbox, with the caller's open files"
        if not _program("timeout"):
            return "there is no program 'timeout', which its commands need"
    if any(part == Ask(name="TODAY") for text in texts for part in text.parts) and not _program("date"):
        return "there is no program 'date'"
    for name in (
        *(arg.inherited for arg in spec.args if isinstance(arg, Value)),
        *(read.name for read in plan.reads),
    ):
        if name and (not is_name(name) or name in SHELLS_OWN or name.startswith(MINE)):
            return f"a script cannot read the caller's variable '{name}'"
    literals = [part for text in texts for part in text.parts if isinstance(part, str)]
    if any(
        "\0" in word for word in (*literals, *spec.program, *(a for a in spec.args if isinstance(a, str)))
    ):
        return "a text in it has a NUL byte"
    for one in spec.descriptors:
        if isinstance(one, Opened) and not one.path.isprintable():
            return "the path of a source has control characters in it"
    return ""


def is_name(word: str) -> bool:
    """Tell whether a shell can name a variable so."""
    return bool(word) and word[0] in NAME_START and all(c in NAME for c in word)


def quote(word: str) -> str:
    """Return `word` as a shell reads it back; plain words as they are."""
    if word and all(c in PLAIN for c in word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def comment(said: str) -> str:
    """Return text that stays inside one line of comment."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogateescape").decode() for c in said
    )


def _program(name: str) -> str:
    for folder in ("/usr/bin", "/bin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return ""


def again(*words: str) -> list[str]:
    """Return the start of a command line that runs `redpak words…` with this Python and this code."""
    root = os.path.dirname(paths.shipped())
    code = f"import sys; sys.path.insert(0, {root!r}); from redpak.cli.main import entry; entry()"
    return [sys.executable, "-I", "-c", code, *words]


def steps(path: str) -> list[tuple[str, str]]:
    """Return what must stay so that `path` leads to the same place: ('@target', link) and ('-', what is not there)."""
    found: list[tuple[str, str]] = []
    rest = [part for part in reversed(path.split("/")) if part and part != "."]
    here = "/"
    while rest and len(found) < MOST_LINKS:
        part = rest.pop()
        if part == "..":
            here = os.path.dirname(here)
            continue
        step = f"{here.rstrip('/')}/{part}"
        try:
            target = os.readlink(step)
        except FileNotFoundError:
            return [*found, ("-", step)]
        except OSError:  # it is there and no link
            here = step
            continue
        found.append((f"@{target}", step))
        rest += [one for one in reversed(target.split("/")) if one and one != "."]
        here = "/" if target.startswith("/") else here
    return found


def inputs(plan: Plan, spec: LaunchSpec) -> list[tuple[str, str]]:
    """Return (stamp, path) of all that must be unchanged for the script to be right."""
    found = {one.path: one.stamp or "-" for one in spec.files}
    filters = filter(None, (spec.seccomp_path, spec.command_filter_path))
    for path in (spec.starter, paths.shipped("__init__.py"), *filters):
        found[path] = stamp(path) or "-"
    for op in plan.mounts:
        if isinstance(op, Bind) and op.src.literal:
            for known, path in steps(op.src.literal):
                found.setdefault(path, known)
    return [(known, path) for path, known in found.items()]


class _Script:
    """The lines that evaluate what is open, and the helper's options that use the results."""

    def __init__(self, spec: LaunchSpec, helper: str) -> None:
        self.spec = spec
        self.helper = helper
        self.early: list[str] = []  # before the caller's environment is changed
        self.lines: list[str] = []
        self.commands = 0
        self.count = 0

    def variable(self) -> str:
        """Return a name that was not used yet."""
        self.count += 1
        return f"{MINE}{self.count}"

    def value(self, arg: Value) -> str:
        """Return the variable that holds a word which is only known at start, for the helper to read."""
        if arg.inherited and arg.inherited not in LOADER:
            return arg.inherited
        if arg.inherited:
            name = self.variable()
            self.early.append(f'export {name}="${{{arg.inherited}-}}"')
            return name
        said = self.word(arg.content, strip=arg.strip, because=str(arg.because))
        name = self.variable()
        self.lines.append(f"export {name}={said}")
        return name

    def file(self, one: Blob) -> str:
        """Return the helper's options for the content of a file."""
        said = []
        for part in one.content.parts:
            if isinstance(part, str):
                said.append(f" -c {quote(part)}")
            else:
                computed = self.part(part, strip=False, because=str(one.because))
                name = self.variable()
                self.lines.append(f"export {name}={computed}")
                said.append(f" -m {name}")
        return f"-d ''{''.join(said)}"

    def word(self, content: Text, *, strip: bool, because: str) -> str:
        """Return a text as one word; what must be computed is computed in lines before."""
        return "".join(self.part(part, strip=strip, because=because) for part in content.parts) or "''"

    def part(self, part: str | Run | Ask, *, strip: bool, because: str) -> str:
        """Return one part of a word."""
        match part:
            case str():
                return quote(part)
            case Ask(name="PID"):
                return "$$"  # the helper takes this shell's place
            case Ask(name="UUID"):
                name = self.variable()
                self.lines.append(f"read -r {name} <{UUIDS}")
            case Ask():
                name = self.variable()
                self.lines.append(f"{name}=$(LC_ALL=C {_program('date')} {quote(DATE)})")
            case Run(command=command):
                self.commands += 1
                name = self.variable()
                # The mark says that it succeeded, and keeps its last newlines. Without it Python runs the command
                # again and says why it fails; or the configuration has changed.
                capped = f"{_program('head')} -c {4 * MOST_CHARACTERS + len(DONE)}"
                self.lines += [
                    f"{name}=$({{ rp_run {quote(command)} && printf {DONE}; }} | {capped})  # {comment(because)}",
                    f'case ${name} in *{DONE}) {name}=${{{name}%{DONE}}} ;; *) rp_anew "$@" ;; esac',
                    f'[ ${{#{name}}} -le {MOST_CHARACTERS} ] || rp_anew "$@"',
                ]
                if strip:
                    self.lines.append(f'{name}=$(printf %s "${name}")')
        return f'"${name}"'

    def confined(self) -> list[str]:
        """Return the function that runs a command as `commands.confined` does."""
        spec = self.spec
        words = [*CONFINED]
        if spec.uid == 0:
            words += ["--ro-bind", "/proc/sys", "/proc/sys"]
        if spec.command_filter:
            words += ["--seccomp", str(FIRST_FD)]
        words += ["--chdir", "/", "--setenv", "PATH", SAFE_PATH]
        words = [quote(word) for word in words]
        for name, other in (("HOME", "/"), ("USER", ""), ("LANG", "C.UTF-8")):
            words += ["--setenv", name, f'"${{{name}-{other}}}"']
        filtered = f"-r {quote(spec.command_filter_path)} " if spec.command_filter else ""
        quiet = "</dev/null 2>/dev/null"  # from a terminal on 2 it could read what the user types
        start = f"{_program('timeout')} -s KILL {TIMEOUT_S} {quote(self.helper)} {filtered}-n"
        return [
            "# A command of a configuration: it may read what the caller may, and change nothing.",
            "rp_run() {",
            f'    {start} -- {quote(spec.bwrap)} {len(words)} {" ".join(words)} {BASH} -r -c "$1" {quiet}',
            "}",
        ]


def script(plan: Plan, spec: LaunchSpec, *, helper: str, origins: Origins) -> str:
    """Return the script. Ask `why_not` before. Characters that are no text (surrogates) stand for bytes."""
    work = _Script(spec, helper)
    words, late = spec.parted()
    descriptors: list[str] = []
    for one in spec.descriptors:
        if isinstance(one, Blob):
            descriptors.append(work.file(one))
        else:
            descriptors.append(f"{'-o' if one.how == 'path' else '-r'} {quote(one.path)}")
    for option, value in late:
        descriptors.append("".join(f"-a {quote(word)} " for word in option) + f"-v {work.value(value)}")
    where = [*origins.words, "--", origins.path]
    redo = again("run", "--refreeze")
    explain = why((*again("run", "--why-failed"), *where), spec)
    lines = ["#!/bin/sh", f"{HEAD}{origins.key}", f"{PROGRAM}{list(spec.program)!a}", *about(plan, spec)]
    lines.append("set -euf")
    if spec.program:
        lines.append(f"[ $# -gt 0 ] || set -- {' '.join(map(quote, spec.program))}")
    else:
        lines.append("[ $# -gt 0 ] || { printf 'usage: %s PROGRAM [ARGUMENT]...\\n' \"$0\" >&2; exit 2; }")
    lines += [
        "# When an input has changed: redpak makes this launcher anew and starts the program.",
        f'rp_anew() {{ exec {" ".join(map(quote, redo))} "$0" {" ".join(map(quote, where))} "$@"; }}',
        f'[ -x {quote(helper)} ] || rp_anew "$@"',
        *environment(plan, work.early),
    ]
    same = [f"-i {spec.uid}:{spec.gid}"]
    same += [f"-f {quote(known)} {quote(path)}" for known, path in inputs(plan, spec)]
    if work.commands:  # what is no longer asked for must not run: the helper is asked first
        lines += [f" {CONTINUED}".join([f"{quote(helper)} -q {same[0]}", *same[1:], '|| rp_anew "$@"'])]
        lines += work.confined()
        same = same[:1]
    for warning in (*plan.warnings, *spec.notes):
        lines.append(f"printf '%s\\n' {quote('redpak: warning: ' + comment(warning))} >&2")
    lines += work.lines
    if spec.umask >= 0:
        lines.append(f"umask {spec.umask:04o}")

    flags = [flag for flag, on in (("-s", spec.scope), ("-n", spec.pidns), ("-t", spec.newsession)) if on]
    call = [f"exec {quote(helper)} {same[0]}{''.join(f' {flag}' for flag in flags)}", *same[1:]]
    redone = [*map(quote, redo), '"$0"', *map(quote, where)]
    call.append(" ".join(f"-e {word}" for word in redone))
    call.append(" ".join(f"-x {quote(word)}" for word in explain))
    call.append(begun.in_shell(quote(begun.in_json(plan.node))))
    call += [f"-k {fd}" for fd in spec.keep]
    call += [f"-l {rlimit_number(limit.name)}:{limit.soft}:{limit.hard}" for limit in spec.rlimits]
    call += [f"-g {quote(path)}" for path in spec.leases]
    call += descriptors
    call.append(f"-- {quote(spec.starter)} {len(words)}")
    for word in words:
        if word.startswith("--"):
            call.append(quote(word))
        else:
            call[-1] += f" {quote(word)}"
    call.append('"$@"')
    return "\n".join([*lines, f" {CONTINUED}".join(call)]) + "\n"


def environment(plan: Plan, early: Sequence[str]) -> list[str]:
    """Return the lines that check the caller's variables, and take away what loads code into programs."""
    reads = {name: os.environ.get(name) for name in ENVIRONMENT}
    reads.update({read.name: read.value for read in plan.reads})
    lines = []
    for name, value in sorted(reads.items()):
        wanted = "''" if value is None else quote(f"x{value}")
        lines.append(f'[ "${{{name}+x}}${{{name}-}}" = {wanted} ] || rp_anew "$@"')
    return [*lines, *early, f"unset {' '.join(LOADER)}"]


def about(plan: Plan, spec: LaunchSpec) -> list[str]:
    """Return the comments that tell a reader what this is."""
    import time

    from redpak import __version__

    made = time.strftime("%Y-%m-%d %H:%M:%S")
    lines = [
        f"Starts a program in node '{plan.node}' (profile {plan.profile}{', admin' if plan.admin else ''}).",
        f"Made {made} by redpak {__version__}; redpak makes it anew when one of its inputs has changed.",
        "Made from:",
        *(f"  {one.path}{'' if one.stamp else ' (absent)'}" for one in spec.files),
    ]
    opened = dict(spec.numbered())
    lines.append("The sandbox (descriptor, access, place, source, who asked):")
    for op in plan.mounts:
        kind = type(op).__name__.lower()
        source = ""
        number_ = ""
        if isinstance(op, Bind):
            kind = "read-only" if op.readonly else "writable"
            source = f" from {op.src}"
            number_ = descriptor_of(op, spec, opened)
        lines.append(f"  {number_:>2} {kind:9} {op.dst}{source}  [{op.because}]")
    return [f"# {comment(line)}" for line in lines]


def descriptor_of(op: Bind, spec: LaunchSpec, opened: dict[int, Opened | Blob]) -> str:
    """Return the number of the descriptor that a bind uses, '' where it has none."""
    for at, arg in enumerate(spec.args[:-2]):
        if arg in ("--bind-fd", "--ro-bind-fd") and spec.args[at + 2] == op.dst:
            number_ = spec.args[at + 1]
            if isinstance(number_, str) and number_.isdigit() and int(number_) in opened:
                return number_
    return ""


def encoded(text: str) -> bytes:
    """Return a script as the bytes of its file."""
    return os.fsencode(text)


def program_of(launcher: str) -> tuple[str, ...] | None:
    """Return the command that was frozen into the launcher at a path, None when that is no launcher of ours.

    Only a regular file that belongs to us and that nobody else may write counts.
    """
    lines = head(launcher)
    if len(lines) < 3 or not lines[1].startswith(HEAD) or not lines[2].startswith(PROGRAM):
        return None
    import ast

    try:
        words = ast.literal_eval(lines[2][len(PROGRAM) :])
    except (SyntaxError, ValueError):
        return None
    return tuple(words) if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def head(launcher: str) -> Sequence[str]:
    """Return the first lines of a launcher; none where it is not a file of ours that only we can change."""
    try:
        fd = os.open(launcher, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ()
    try:
        if not only_ours(os.fstat(fd)):
            return ()
        return os.fsdecode(os.read(fd, 65536)).split("\n", 4)[:4]
    finally:
        os.close(fd)
