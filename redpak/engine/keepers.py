"""Keepers of prepared trees: start one, find them, end them. What a prepared tree is: prepared.py."""

from __future__ import annotations

import fcntl
import os

from redpak.engine import prepared
from redpak.engine.spec import FIRST_FD
from redpak.errors import LaunchFailed, doing
from redpak.fs import stamp
from redpak.record import Record
from redpak.state import place, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.spec import LaunchSpec

ROOM = "warm"
WATCHED = (
    0x2 | 0x4 | 0x400 | 0x800 | 0x02000000
)  # MODIFY ATTRIB DELETE_SELF MOVE_SELF DONT_FOLLOW (inotify(7))
TIMEOUT_S = 10.0
SAID = 4096  # bytes of what bubblewrap may say when it fails


class Keeper(Record):
    """A prepared tree that is kept."""

    node: str
    socket: str
    pid: proc.Pid
    mounts: int


def folder() -> str:
    """Return the directory of the keepers' sockets, whether or not it is there.

    Raises Refused for one that others can change (`place.existing`).
    """
    return os.path.join(place.existing() or place.directory(), ROOM)


def start(spec: LaunchSpec, node: str) -> tuple[Keeper, bool]:
    """Return the keeper of a launch's tree and whether it is a new one, which is ready when this returns.

    Raises Unprepared for launches that cannot be prepared, LaunchFailed when the tree cannot be made.
    """
    halves = prepared.split(spec)
    helper = prepared.helper("redpak-keep")
    if not helper:
        raise prepared.Unprepared("there is no 'redpak-keep'", hint="Build it with './dev setup'.")
    where = place.ready(ROOM)
    name = prepared.name_of(spec, halves)
    guard = _alone(where)
    try:
        for known in everything():
            if os.path.basename(known.socket) == name:
                return known, False
        return _started(spec, halves, helper, where, name, node), True
    finally:
        os.close(guard)


def _alone(where: str) -> int:
    """Wait until nobody else prepares or sweeps; return the descriptor that says so for as long as it is open."""
    with doing(f"lock '{where}'"):
        guard = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(guard, fcntl.LOCK_EX)
    return guard


def _started(
    spec: LaunchSpec, halves: prepared.Halves, helper: str, where: str, name: str, node: str
) -> Keeper:
    import _socket

    from redpak.engine.native import sockets
    from redpak.engine.supervise import lease
    from redpak.kernel import files, inotify

    socket = os.path.join(where, name)
    with doing(f"make the socket '{socket}'"):
        try:
            os.unlink(socket)
        except FileNotFoundError:
            pass
        door = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            sockets.bind(door, socket)
        finally:
            os.umask(before)
        door.listen(64)
    opened: list[int] = []
    info, ready = os.pipe2(os.O_CLOEXEC)
    said, errors = os.pipe2(os.O_CLOEXEC)
    try:
        opened += [lease(path) for path in spec.leases]
        watch = inotify.init()
        opened.append(watch)
        with doing(f"watch the inputs of node '{node}'"):
            for path, known in prepared.inputs(spec):
                if known:
                    inotify.add_watch(watch, path, WATCHED)
            inotify.add_watch(watch, socket, WATCHED)  # a keeper that nobody can find must not live on
        home = os.open(where, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.append(home)
        program = files.open_plain(helper, os.O_PATH)
        sources = []
        for path in halves.sources:
            with doing(f"open '{path}'"):
                sources.append(files.open_plain(path, os.O_PATH))
        opened += [program, *sources]
        for path, known in prepared.inputs(spec):  # watched by now, so nothing can change unseen
            if not known.startswith("@") and stamp(path) != known:
                raise LaunchFailed(f"'{path}' has just changed", hint="Try again.")
        # As bubblewrap and redpak-keep get them: sources, redpak-keep itself, then what it holds.
        passed = [*sources, program, door.fileno(), watch, home, ready]
        numbers = list(range(FIRST_FD, FIRST_FD + len(passed)))
        _, own, at_door, at_watch, at_home, at_ready = [0, *numbers[len(sources) :]]
        argv = [
            spec.bwrap, "--unshare-pid", "--as-pid-1", "--cap-drop", "ALL", *halves.keep,
            "--ro-bind-fd", str(own), "/.pin/keep", "--info-fd", str(at_ready), "--chdir", "/", "--",
            "/.pin/keep", str(at_door), str(at_watch), str(at_home), name, *(["u"] if halves.user else []),
        ]  # fmt: skip
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 1000) for fd in passed]
        leases = opened[: len(spec.leases)]
        child = os.fork()
        if child == 0:
            _become(argv, dict(zip(numbers, high, strict=True)), leases, errors)
        for fd in (*high, errors, ready):  # so that the other ends tell when bubblewrap is gone
            os.close(fd)
        errors = ready = -1
        pid = _ready(info)
        if not pid or not _answers(socket):
            _reap(child, pid)
            told = os.read(said, SAID).decode(errors="replace").strip() or "it ended at once"
            raise LaunchFailed(f"the tree of node '{node}' cannot be prepared: {told}")
    except BaseException:
        try:
            os.unlink(socket)
        except FileNotFoundError:
            pass
        raise
    finally:
        door.close()
        for fd in (*opened, info, ready, said, errors):
            if fd >= 0:
                os.close(fd)
    found = proc.known(pid)
    if found is None:
        raise LaunchFailed(f"the keeper of node '{node}' ended at once", hint="Try again.")
    made = Keeper(node=node, socket=socket, pid=found, mounts=len(halves.sources))
    _write(made)
    return made


def _become(argv: list[str], placed: dict[int, int], leases: list[int], errors: int) -> None:
    """Become bubblewrap, apart from the caller's session and terminal. Only system calls; never returns."""
    try:
        os.setsid()
        os.chdir("/")
        null = os.open("/dev/null", os.O_RDWR)
        for fd, source in ((0, null), (1, null), (2, errors)):
            os.dup2(source, fd, inheritable=True)
        for number, fd in placed.items():
            os.dup2(fd, number, inheritable=True)
        for fd in leases:
            os.set_inheritable(os.dup(fd), True)  # noqa: FBT003 - the keeper holds them by having them open
        os.execve(argv[0], argv, {})
    except OSError as error:
        os.write(2, f"cannot start '{argv[0]}': {error.strerror}".encode())
    finally:
        os._exit(125)


def _ready(info: int) -> int:
    """Return the pid that bubblewrap tells of, 0 where it ended first."""
    said = b""
    while part := os.read(info, SAID):
        said += part
    digits = said.partition(b'"child-pid":')[2].strip().partition(b"\n")[0].strip(b" ,}")
    return int(digits) if digits.isdigit() else 0


def _answers(socket: str) -> bool:
    """Tell whether a keeper gives its namespaces away: then its tree is complete."""
    import _socket

    from redpak.engine.native import sockets

    line = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        line.settimeout(TIMEOUT_S)
        sockets.connect(line, socket)
        return line.recv(1) != b""
    except OSError:
        return False
    finally:
        line.close()


def _reap(child: int, keeper: int) -> None:
    """End bubblewrap, and first the keeper, which is its child and would outlive it."""
    import signal

    for pid in filter(None, (keeper, child)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    try:
        os.waitpid(child, 0)
    except ChildProcessError:  # who started us ignores SIGCHLD
        pass


def _write(keeper: Keeper) -> None:
    import json

    from redpak.fs import write_atomically

    told = {"node": keeper.node, "pid": keeper.pid.pid, "start": keeper.pid.start, "mounts": keeper.mounts}
    write_atomically(f"{keeper.socket}.json", json.dumps(told).encode(), mode=0o600, durable=False)


def everything() -> list[Keeper]:
    """Return the keepers that live, and remove what others left. Raises Refused as `place.existing`."""
    import json

    where = folder()
    found: list[Keeper] = []
    for name in sorted(os.listdir(where)) if os.path.isdir(where) else ():
        base, dot, kind = name.partition(".")
        if not dot or kind != "json":
            continue
        path = os.path.join(where, name)
        try:
            with open(path, "rb") as file:
                told = json.load(file)
            pid = proc.Pid(pid=int(told["pid"]), start=int(told["start"]))
            keeper = Keeper(
                node=str(told["node"]), socket=os.path.join(where, base), pid=pid, mounts=int(told["mounts"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # just removed, or written by a later version
        if proc.alive(keeper.pid):
            found.append(keeper)
        else:
            forget(keeper.socket)
    return found


def sweep() -> None:
    """Remove what somebody left who was killed: half a record, sockets without. A keeper ends when its socket goes."""
    where = folder()
    if not os.path.isdir(where):
        return
    guard = _alone(where)
    try:
        names = set(os.listdir(where))
        for name in names:
            if name[0] == "." or ("." not in name and f"{name}.json" not in names):
                forget(os.path.join(where, name))
    finally:
        os.close(guard)


def forget(socket: str) -> None:
    """Remove the files of a keeper that is gone."""
    for path in (socket, f"{socket}.json"):
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def end(keeper: Keeper) -> None:
    """End a keeper. Programs that were started in its tree go on: they have a copy of it."""
    import select
    import signal

    try:
        fd = proc.opened(keeper.pid)
    except OSError:
        fd = -1
    if fd >= 0:
        try:
            signal.pidfd_send_signal(fd, signal.SIGTERM)
            select.select([fd], [], [], TIMEOUT_S)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)
    forget(keeper.socket)
