"""The bubblewrap command line as red-pak 2.5.1 builds and prints it (profile upstream-2.5).

For people and programs that compare dumps; our engine does not run this line. Commands of exported files
(`Execfd`) are not run: only the number of their descriptor is shown.
"""

from __future__ import annotations

import os

from redpak.config.model import UPSTREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redpak.config.model import Merged, MergedExport, MergedPath, MergedVariable
    from redpak.text import Asked, Text

BWRAP = "/usr/bin/bwrap"
BASH = "/usr/bin/bash"
FIRST_MEMFD = 3
COMMAND_TIMEOUT_S = 60.0
DIRECTORY_MODES = frozenset(("Public", "Private", "Restricted"))  # whose missing source --strict leaves out
BIND_OPTIONS = {
    "Public": "--bind",
    "Private": "--bind",
    "PublicFile": "--bind",
    "PrivateFile": "--bind",
    "Restricted": "--ro-bind",
    "PrivateRestricted": "--ro-bind",
    "RestrictedFile": "--ro-bind",
    "Symlink": "--symlink",
    "Internal": "--file",
}
PLAIN_OPTIONS = {
    "Anonymous": "--dir",
    "Tmpfs": "--tmpfs",
    "Procfs": "--proc",
    "Devfs": "--dev",
    "Mqueue": "--mqueue",
    "Lock": "--lock-file",
}


def layout(bwrap: str, called_as: str, words: Sequence[str], *, wrapped: bool) -> str:
    """Return a dump on one line, or `wrapped`: every word that starts with '-' begins a line."""
    shown = [f"DUMP: {bwrap} (as {called_as})"]
    for word in words:
        shown.append(f"\n  {word}" if wrapped and word.startswith("-") else f" {word}")
    return "".join(shown) + "\n"


def arguments(
    merged: Merged,
    *,
    environ: Mapping[str, str],
    strict: bool,
    command: Sequence[str],
    warn: Callable[[str], None],
) -> list[str]:
    """Return bubblewrap's arguments in red-pak's order. `merged` must hold no commands any more."""
    if merged.profile != UPSTREAM:
        raise ValueError(f"a dump of red-pak's command line needs profile {UPSTREAM}")
    words: list[str] = []
    memfd = FIRST_MEMFD
    for export in merged.exports:
        if export.mode == "Execfd":
            words += ["--file", str(memfd), export.mount]
            memfd += 1
        elif strict and _is_missing(export):
            warn(f"Missing {known(export.path)}, ignoring the export of {export.mount}")
        else:
            words += _export(export)
    for variable in merged.environ:
        words += _variable(variable, environ)
    words += _capabilities(merged)
    words += _settings(merged)
    words += _namespaces(merged)
    words += _path("PATH", merged.path)
    words += _path("LD_LIBRARY_PATH", merged.ldpath)
    return [*words, *command]


def known(value: Text | None) -> str:
    """Return a text in which everything has been computed."""
    if value is None:
        return ""
    if value.literal is None:
        raise ValueError(f"'{value}' is not computed yet")
    return value.literal


def _is_missing(export: MergedExport) -> bool:
    return export.mode in DIRECTORY_MODES and not os.path.exists(known(export.path))


def _export(export: MergedExport) -> list[str]:
    if export.mode in PLAIN_OPTIONS:
        return [PLAIN_OPTIONS[export.mode], export.mount]
    return [BIND_OPTIONS[export.mode], known(export.path), export.mount]


def _variable(variable: MergedVariable, environ: Mapping[str, str]) -> list[str]:
    match variable.mode:
        case "Remove":
            return ["--unsetenv", variable.key]
        case "Inherit":
            return ["--setenv", variable.key, environ.get(variable.key, "")]
        case _:
            return ["--setenv", variable.key, known(variable.value)]


def _capabilities(merged: Merged) -> list[str]:
    asked = [ask for ask, _ in merged.capabilities]
    asked.sort(key=lambda ask: ask.cap.upper() != "ALL")  # ALL first; sorting is stable
    words: list[str] = []
    for ask in asked:
        words += ["--cap-add" if ask.add else "--cap-drop", ask.cap]
    return words


def _settings(merged: Merged) -> list[str]:
    words: list[str] = []
    for key, options in (("hostname", ["--unshare-uts", "--hostname"]), ("chdir", ["--chdir"])):
        tag = merged.tags.get(key)
        if tag is not None:
            words += [*options, str(tag.value)]
    for key in ("die-with-parent", "new-session"):
        tag = merged.tags.get(key)
        if tag is not None and str(tag.value).lower() in ("enabled", "2"):
            words.append(f"--{key}")
    return words


def _namespaces(merged: Merged) -> list[str]:
    """Return the --unshare options; red-pak makes the user namespace itself when the time is not shared."""
    words = []
    own_time = merged.shares["time"].value not in ("unset", "enabled")
    for kind in ("user", "cgroup", "ipc", "pid", "net"):
        value = merged.shares[kind].value
        if value in ("unset", "disabled"):
            if not (kind == "user" and own_time):
                words.append(f"--unshare-{kind}")
        elif kind == "net" and value == "enabled":
            words.append("--share-net")
    return words


def _path(name: str, elements: Sequence[MergedPath]) -> list[str]:
    if not elements:
        return []
    return ["--setenv", name, ":".join(known(element.element) for element in elements)]


def run_command(command: str) -> str:
    """Return what `command` prints in a restricted shell; as in red-pak, its exit code does not matter."""
    import sys

    from redpak.run import tool

    done = tool(
        [BASH, "-r", "-c", command],
        timeout_s=COMMAND_TIMEOUT_S,
        ok=tuple(range(-64, 256)),
        hint="Install 'bash'.",
        environ=dict(os.environ),
        cwd=os.getcwd(),
    )
    sys.stderr.write(done.err.decode(errors="replace"))
    return done.out.decode(errors="surrogateescape")


def answer(name: Asked) -> str:
    """Return PID, UUID or TODAY."""
    match name:
        case "PID":
            return str(os.getpid())
        case "UUID":
            return new_uuid()
        case "TODAY":
            return today()


def new_uuid() -> str:
    """Return a new random UUID; raises OSError without /proc. Source: random(4)."""
    with open("/proc/sys/kernel/random/uuid", encoding="ascii") as file:
        return file.read().strip()


def today() -> str:
    """Return the time as red-pak writes it: DD-Mon-YYYY HH:MM (TZ), month names in English."""
    import time

    return time.strftime("%d-%b-%Y %H:%M (%Z)")
