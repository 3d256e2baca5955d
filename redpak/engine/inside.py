"""What the first program of a sandbox got: variables, directory, rights. For putting another one beside it.

Taken from what bubblewrap was told (its own words, in the helper's command line) and from the sandbox's first process,
which is bubblewrap's own where there is a pid namespace; never from what the program says of itself: its memory,
/proc/PID/environ with it, is its own to change. What it may do can only be less than what the first one got.
"""

from __future__ import annotations

import os

from redpak.engine.native.box import Caps, Filter, Limit, Process
from redpak.errors import LaunchFailed, RedpakError
from redpak.kernel import caps, files
from redpak.record import Record
from redpak.state import found, proc, records
from redpak.state.found import Told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.state.records import Entry

FIRST_FD = 10  # number of the first thing that the helper opens
MOST_FILTER = 1 << 16
ALL = (1 << 64) - 1  # capabilities
LIMITS = {
    "Max cpu time": "cpu", "Max file size": "fsize", "Max data size": "data", "Max stack size": "stack",
    "Max core file size": "core", "Max resident set": "rss", "Max processes": "nproc", "Max open files": "nofile",
    "Max locked memory": "memlock", "Max address space": "as", "Max file locks": "locks",
    "Max pending signals": "sigpending", "Max msgqueue size": "msgqueue", "Max nice priority": "nice",
    "Max realtime priority": "rtprio", "Max realtime timeout": "rttime",
}  # fmt: skip


class Place(Record):
    """A running sandbox, as far as a program needs it that is put in."""

    launcher: int  # what stands for it outside
    init: int  # the process whose namespaces are meant: the first one, with the native engine the program
    main: int  # the program
    native: bool = False  # the native engine: what it keeps is all that is in the bounding set
    told: Told
    umask: int


def of_helper(pid: int) -> Told | None:
    """Return what the launch helper `pid` was told, None where that process is none."""
    cmdline = proc.words(pid, "cmdline")
    if not cmdline or os.path.basename(cmdline[0]) != found.HELPER:
        return None
    return found.told(cmdline, proc.words(pid, "environ"))


def of_record(entry: Entry) -> Told | None:
    """Return what bubblewrap was told by a launch that Python stands for, None where that was not written down."""
    import json

    from redpak.engine.announce import FILE

    try:
        folder = records.opened(entry)
        try:
            with open(os.open(FILE, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder), "rb") as file:
                said = json.loads(file.read())
        finally:
            os.close(folder)
        return Told(
            bwrap=said["bwrap"],
            words=tuple(said["words"]),
            program=tuple(said["program"]),
            reads=tuple((how, path) for how, path in said["reads"]),
            rlimits=tuple(said["rlimits"]),
            leases=tuple(said["leases"]),
            node=entry.node,
            scope=said["scope"],
            pidns=said["pidns"],
            filter=bytes.fromhex(said["filter"]),
        )
    except (OSError, RedpakError, ValueError, KeyError, TypeError):
        return None


def process(
    place: Place,
    command: Sequence[str],
    *,
    environ: Sequence[str] = (),
    cwd: str = "",
    terminal: bool = False,
) -> Process:
    """Return a program as it may run in a sandbox: as its first one, with `environ` ("KEY=value") added.

    Raises LaunchFailed where the filter of the sandbox is not to be had: without it nothing is started.
    """
    options = _options(place.told)
    status = proc.status(place.init)
    bounding = int(proc.status(place.main).get("CapBnd", "0"), 16)
    exact = place.native or os.path.basename(place.told.bwrap) == found.JOINER
    bounding &= _kept(options) if exact else int(status.get("CapBnd", "0"), 16)
    kept = _kept(options) & bounding
    home = cwd or _directory(place)
    variables = {"PWD": home}
    for option, *values in options:
        if option == "--setenv":
            variables[values[0]] = values[1]
        elif option == "--unsetenv":
            variables.pop(values[0], None)
    more = dict(one.partition("=")[::2] for one in environ)
    uid, gid = (_inner(place.init, kind, status) for kind in ("Uid", "Gid"))
    return Process(
        args=tuple(command),
        environ=tuple(f"{key}={value}" for key, value in {**variables, **more}.items()),
        cwd=home,
        uid=uid,
        gid=gid,
        groups=tuple(map(int, status.get("Groups", "").split())) if os.geteuid() == 0 else (),
        umask=place.umask,
        caps=Caps(bounding=bounding, effective=kept, permitted=kept, inheritable=kept, ambient=kept),
        no_new_privs=True,
        seccomp=_filters(place.told),
        rlimits=limits(place.init, place.told.rlimits),
        terminal=terminal,
        new_session=True,
        keyring="_",
        scope=place.told.scope,
    )


def _options(told: Told) -> list[tuple[str, ...]]:
    """Return each option that bubblewrap was told, with its words: what a configuration says is no option.

    Raises LaunchFailed for an option that is not known: what it asks for is not to be guessed.
    """
    from redpak.engine import prepared

    joins = os.path.basename(told.bwrap) == found.JOINER
    counts = prepared.JOIN_WORDS if joins else {**prepared.WORDS, "--userns": 1, "--pidns": 1}
    options = []
    at = 0
    while at < len(told.words):
        end = at + 1 + counts.get(told.words[at], len(told.words))
        if end > len(told.words):
            hint = "It was started by another version; start it anew."
            raise LaunchFailed(f"what the sandbox was told is not understood: '{told.words[at]}'", hint=hint)
        options.append(told.words[at:end])
        at = end
    return options


def _kept(options: Sequence[tuple[str, ...]]) -> int:
    """Return the capabilities that bubblewrap was told to keep, as a mask."""
    kept = 0
    for option, *values in options:
        if option == "--caps":  # redpak-join
            return int(values[0], 16)
        if option == "--cap-add":
            kept |= ALL if values[0] == "ALL" else caps.bit(values[0])
        elif option == "--cap-drop":
            kept = 0 if values[0] == "ALL" else kept & ~caps.bit(values[0])
    return kept


def _inner(pid: int, kind: str, status: dict[str, str]) -> int:
    """Return the user or group of a process as the sandbox numbers it."""
    outside = int(status[kind].split()[1])
    for line in proc.read(f"/proc/{pid}/{kind.lower()}_map").decode().splitlines():
        first, theirs, count = map(int, line.split())
        if theirs <= outside < theirs + count:
            return first + outside - theirs
    return outside


def _directory(place: Place) -> str:
    """Return where the first program started: --chdir, else where the caller was, else its home, else '/'.

    As bubblewrap finds it (bubblewrap.c: new_cwd).
    """
    options = _options(place.told)
    asked = [one[1] for one in options if one[0] == "--chdir"]
    if asked:
        return asked[-1]
    homes = [one[2] for one in options if one[:2] == ("--setenv", "HOME")]
    try:
        wanted = [os.readlink(f"/proc/{place.launcher}/cwd"), *homes[-1:]]
        root = os.open(f"/proc/{place.init}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return "/"
    try:
        for path in wanted:
            try:
                os.close(
                    files.openat2(path, os.O_PATH | os.O_DIRECTORY, files.RESOLVE_IN_ROOT, directory=root)
                )
            except OSError:
                continue
            return path
    finally:
        os.close(root)
    return "/"


def _filters(told: Told) -> tuple[Filter, ...]:
    """Return the filter of system calls, read from where the launch had it read."""
    asked = [one[1] for one in _options(told) if one[0] == "--seccomp"]
    if not asked:
        return ()
    if told.filter:
        return (Filter(program=told.filter),)
    number = int(asked[-1]) - FIRST_FD
    if not 0 <= number < len(told.reads):
        raise LaunchFailed("the sandbox's filter of system calls is not to be found: nothing is started")
    path = told.reads[number][1]
    try:
        fd = files.open_plain(path, os.O_RDONLY)
        try:
            data = os.read(fd, MOST_FILTER)
        finally:
            os.close(fd)
    except OSError as error:
        raise LaunchFailed(
            f"cannot read the sandbox's filter of system calls '{path}': {(error.strerror or '').lower()}",
            hint="Without it nothing is started in there; start the sandbox anew.",
        ) from error
    return (Filter(program=data),)


def limits(pid: int, asked: Sequence[str] = ()) -> tuple[Limit, ...]:
    """Return the resource limits of a process, none above our own, nor above those `asked` ("7:soft:hard") for."""
    import resource

    found_: list[Limit] = []
    told = {int(number): (int(soft), int(hard)) for number, soft, hard in (one.split(":") for one in asked)}
    for line in proc.read(f"/proc/{pid}/limits").decode(errors="replace").splitlines()[1:]:
        name = LIMITS.get(line[:26].strip(), "")
        number = getattr(resource, f"RLIMIT_{name.upper()}", -1) if name else -1
        if number < 0:
            continue
        soft, hard = (-1 if word == "unlimited" else int(word) for word in line[26:].split()[:2])
        most_soft, most_hard = told.get(number, (-1, -1))
        hard = _least(hard, most_hard, resource.getrlimit(number)[1])
        soft = _least(soft, most_soft, hard)
        found_.append(Limit(name=name, soft=soft, hard=hard))
    return tuple(found_)


def _least(*numbers: int) -> int:
    """Return the smallest of some limits; -1 is none."""
    return min((one for one in numbers if one != -1), default=-1)
