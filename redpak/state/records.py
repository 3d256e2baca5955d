"""Records of what was started detached: one directory each, in a directory named for its stage of life.

    <runtime directory>/<stage>/<id>/   record.json  plan.json  lock  exit.json  log  log.1

The stages are `STAGES`. A rename is the transition, so a record is always in exactly one stage, whoever is killed
when. The supervisor holds flock(2) on `lock` from before the record can be seen until it ends, however it ends:
whoever can take that lock knows that nobody looks after the sandbox any more. What is true then, `truth.py` finds out.
"""

from __future__ import annotations

import os

from redpak.errors import Busy, NotFound, RedpakError, Usage, doing
from redpak.fs import locked, write_atomically
from redpak.record import Record
from redpak.state import place
from redpak.state.proc import Pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
STAGES = ("starting", "running", "ended")
ASIDE = "aside"  # where records are made before they can be seen
LIVING = ("starting", "running")
NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
NAME = NAME_START | frozenset("0123456789_.-")
LONGEST_NAME = 64
STALE_S = 60  # how old something aside is before it is litter


class Exit(Record):
    """How it ended. `code` is None where nobody could know it."""

    code: int | None = None
    reason: str = ""  # '' = the program ended by itself
    ended: float = 0.0  # seconds since 1970
    oom: bool = False  # the kernel killed something of it for want of memory


class Entry(Record):
    """One record."""

    id: str
    name: str = ""
    node: str  # path of the node, or of the bundle
    command: tuple[str, ...] = ()
    engine: str = ""
    created: float = 0.0  # seconds since 1970
    boot: str = ""  # names the start of the host
    uid: int = -1
    by: dict[str, Any] = {}  # noqa: RUF012 - who started it: pid, terminal, sudo's user
    supervisor: Pid | None = None
    launcher: Pid | None = None  # what stands in for the program outside: the launch helper
    init: Pid | None = None  # the first process inside
    main: Pid | None = None  # the program
    cgroup: dict[str, Any] | None = None  # as redpak.cgroup's Group.to_dict() says it
    leases: tuple[str, ...] = ()  # generations of packages that are held
    log: str = ""  # path of the log, '' where there is none
    foreground: bool = False  # it is its own supervisor, and its record goes with it
    stage: str = "starting"
    path: str = ""  # of its directory
    exit: Exit | None = None
    broken: str = ""  # why it cannot be read


_PIDS = ("supervisor", "launcher", "init", "main")
_NOT_STORED = ("stage", "path", "exit", "broken")


def new(*, node: str, command: tuple[str, ...], name: str, plan: bytes, uid: int) -> tuple[Entry, int]:
    """Make a record in stage 'starting'; return it and the descriptor that holds its lock.

    Raises Usage for a bad name, Busy for one that something living has, RedpakError where it cannot be written.
    """
    import fcntl
    import time

    from redpak.state import proc

    if name:
        check_name(name)
    root = place.ready()
    for stage in STAGES:
        place.ready(stage)
    aside = os.path.join(place.ready(ASIDE), os.urandom(6).hex())
    os.mkdir(aside, place.MODE)
    lock = os.open(os.path.join(aside, "lock"), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with locked(os.path.join(root, "registry.lock"), "claim a name", wait=True):
            taken = {one.id for one in everything()}
            while (chosen := os.urandom(4).hex()) in taken:
                continue
            if name:
                _free(name)
            entry = Entry(
                id=chosen, name=name, node=node, command=command, created=time.time(), boot=proc.boot(), uid=uid,
                by=_who(), log="log", path=aside,
            )  # fmt: skip
            write_atomically(os.path.join(aside, "plan.json"), plan, mode=0o600, durable=False)
            entry = entry.but(log=os.path.join(root, "{stage}", chosen, "log"))
            save(entry)
            at = os.path.join(root, "starting", chosen)
            os.rename(aside, at)
    except BaseException:
        os.close(lock)
        remove_tree(aside)
        raise
    return entry.but(path=at), lock


def check_name(name: str) -> None:
    """Raise Usage unless `name` can name something that runs."""
    if not name or len(name) > LONGEST_NAME or name[0] not in NAME_START or not all(c in NAME for c in name):
        hint = "Begin with a letter; then letters, digits, '_', '.' and '-'; at most 64."
        raise Usage(f"'{name}' cannot be a name", hint=hint)


def _free(name: str) -> None:
    from redpak.state import truth

    for one in everything():
        if one.name == name and one.stage in LIVING:
            settled = truth.settle(one)
            if settled is not None and settled.stage in LIVING:
                hint = f"Choose another name, or run: redpak stop {name}"
                raise Busy(f"the name '{name}' is taken by {one.id}, which runs", hint=hint)


def _who() -> dict[str, Any]:
    who: dict[str, Any] = {"pid": os.getpid()}
    for fd in (0, 1, 2):
        try:
            who["terminal"] = os.ttyname(fd)
            break
        except OSError:
            continue
    if os.environ.get("SUDO_USER"):
        who["sudo"] = os.environ["SUDO_USER"]
    return who


def save(entry: Entry) -> None:
    """Write a record out. Only its supervisor does, or who makes it."""
    import json

    shown = {key: getattr(entry, key) for key in entry.__fields__ if key not in _NOT_STORED}
    for key in _PIDS:
        one = shown.get(key)
        shown[key] = {"pid": one.pid, "start": one.start} if one else None
    data = json.dumps({"redpak-record": VERSION, **shown}).encode()
    write_atomically(os.path.join(entry.path, "record.json"), data, mode=0o600, durable=False)


def move(entry: Entry, stage: str) -> Entry:
    """Take a record to another stage; return it as it is then. Raises RedpakError where it is gone."""
    folder, name = os.path.split(entry.path)
    to = os.path.join(os.path.dirname(folder), stage, name)
    with doing(f"move the record of {entry.id} to '{stage}'"):
        os.rename(entry.path, to)
    return entry.but(path=to, stage=stage)


def finish(entry: Entry, exit_: Exit) -> Entry:
    """Note how it ended, unless that is known already, and take the record to 'ended'."""
    import json

    at = os.path.join(entry.path, "exit.json")
    if not os.path.exists(at):
        shown = {"code": exit_.code, "reason": exit_.reason, "ended": exit_.ended, "oom": exit_.oom}
        try:
            write_atomically(at, json.dumps(shown).encode(), mode=0o600, durable=False)
        except RedpakError:
            if not os.path.isdir(entry.path):
                raise
            # No room: the stage alone must say that it ended.
    done = move(entry, "ended")
    return done.but(exit=_exit(done.path))


def load(path: str, stage: str) -> Entry | None:
    """Return the record in a directory, None where it is gone (moved on). One that cannot be read says why."""
    import json

    try:
        with open(os.path.join(path, "record.json"), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        if not os.path.isdir(path):
            return None
        return _unreadable(path, stage, "it has no record.json")
    except OSError as error:
        return _unreadable(path, stage, (error.strerror or str(error)).lower())
    try:
        given = json.loads(data)
        if given.pop("redpak-record") != VERSION:
            return _unreadable(path, stage, "its record is of another version of redpak")
        for key in _PIDS:
            given[key] = Pid(**given[key]) if given.get(key) else None
        given["command"] = tuple(given["command"])
        given["leases"] = tuple(given["leases"])
        entry = Entry(**given, stage=stage, path=path)
    except (ValueError, KeyError, TypeError, AttributeError):
        return _unreadable(path, stage, "its record.json is damaged")
    entry = entry.but(log=os.path.join(path, "log") if entry.log else "")
    return entry.but(exit=_exit(path)) if stage == "ended" else entry


def _unreadable(path: str, stage: str, why: str) -> Entry:
    exit_ = _exit(path) if stage == "ended" else None
    return Entry(id=os.path.basename(path), node="?", stage=stage, path=path, exit=exit_, broken=why)


def _exit(path: str) -> Exit:
    import json

    try:
        with open(os.path.join(path, "exit.json"), "rb") as file:
            return Exit(**json.loads(file.read()))
    except FileNotFoundError:
        return Exit(reason="how it ended could not be written down")
    except (OSError, ValueError, TypeError):
        return Exit(reason="what was written down of its end cannot be read")


def has_exit(entry: Entry) -> bool:
    """Tell whether it was written down how it ended."""
    return os.path.exists(os.path.join(entry.path, "exit.json"))


def everything() -> list[Entry]:
    """Return every record as it lies there, oldest first. Raises Refused for a runtime directory that is not ours."""
    root = place.existing()
    found: dict[str, Entry] = {}
    if not root:
        return []
    for stage in (
        STAGES
    ):  # in the order of life: one that moves on meanwhile is seen later, or twice, never not at all
        for name in _names(os.path.join(root, stage)):
            entry = load(os.path.join(root, stage, name), stage)
            if entry is not None:
                found[entry.id] = entry
    return sorted(found.values(), key=lambda one: (one.created, one.id))


def again(entry: Entry) -> Entry:
    """Return a record as it is now, whatever stage it is in. Raises NotFound where it was removed."""
    root = os.path.dirname(os.path.dirname(entry.path))
    for _ in range(2):
        for stage in STAGES:
            now = load(os.path.join(root, stage, entry.id), stage)
            if now is not None:
                return now
    raise NotFound(f"{entry.id} was removed", hint="Run 'redpak ps --all'.")


def opened(entry: Entry) -> int:
    """Open a record's directory, wherever it is by now; the caller closes it. Raises NotFound where it was removed."""
    for _ in range(len(STAGES) + 1):
        try:
            return os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            entry = again(entry)
    raise NotFound(f"{entry.id} was removed", hint="Run 'redpak ps --all'.")


def _names(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except FileNotFoundError:
        return []


def remove(entry: Entry) -> None:
    """Remove the record of something that ended: taken aside by a rename first, so that it is never half there."""
    aside = os.path.join(place.ready(ASIDE), f"{entry.id}-{os.urandom(4).hex()}")
    with doing(f"remove the record of {entry.id}"):
        try:
            os.rename(entry.path, aside)
        except FileNotFoundError:
            return
        remove_tree(aside)


def remove_tree(path: str) -> None:
    """Remove a record's directory: files only, it has no directories in it."""
    try:
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)
    except FileNotFoundError:
        pass


def sweep_aside() -> None:
    """Remove what was left aside by starts and removals that were killed."""
    import fcntl
    import time

    root = place.existing()
    folder = os.path.join(root, ASIDE)
    for name in _names(folder) if root else ():
        path = os.path.join(folder, name)
        try:
            if time.time() - os.lstat(path).st_mtime < STALE_S:
                continue
            lock = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            remove_tree(path)
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(path)
        except BlockingIOError:
            continue  # it is being made, slowly
        finally:
            os.close(lock)
