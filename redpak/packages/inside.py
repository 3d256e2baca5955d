"""Run a function in a child with a mount namespace of its own, and there as root: really, or of a user namespace.

An ordinary user with a range of sub-ids (subuid(5)) gets them mapped by newuidmap(1), so that files can belong to
others than themselves; without one, only their own id is mapped, as 0. Whatever the child mounts goes with it, and it
goes with us.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
from typing import TYPE_CHECKING, TypeVar

from redpak import errors, log
from redpak.errors import RedpakError, Refused
from redpak.kernel import mount, ns, process
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Tell = Callable[[object], None]

T = TypeVar("T")

SUBIDS = (("uid", "/etc/subuid", "newuidmap"), ("gid", "/etc/subgid", "newgidmap"))
HEAD = struct.Struct("=I")


class Identity(Record):
    """Who the child is: `root` of the host, or of a user namespace with `ids` user ids."""

    root: bool
    ids: int  # how many user ids there are inside; 1: nobody but ourselves


def identity() -> Identity:
    """Return who a child will be."""
    if os.geteuid() == 0:
        return Identity(root=True, ids=1 << 32)
    ranges = subids()
    return Identity(root=False, ids=1 + ranges[0][1] if ranges else 1)


def subids() -> list[tuple[int, int]]:
    """Return our ranges of sub-ids, (first, count) for users and groups; [] unless both are there, and the tools."""
    import shutil

    from redpak.packages.diskfile import sub_ids
    from redpak.run import PATH

    found = []
    for _, file, tool in SUBIDS:
        ranges = [(first, min(count, 1 << 16)) for first, count in sub_ids(file, os.getuid()) if count]
        if not ranges or shutil.which(tool, path=PATH) is None:
            return []
        found.append(ranges[0])
    return found


def inside(work: Callable[[Tell], T], *, hear: Callable[[object], None] | None = None) -> T:
    """Return what `work(tell)` returns in the child; whatever it tells is heard here, in order, while it runs.

    What it returns, raises and tells is pickled. Raises what `work` raised, Refused where there are no user namespaces,
    RedpakError when the child was killed.
    """
    who = identity()
    sys.stdout.flush()
    sys.stderr.flush()
    said, telling = os.pipe2(os.O_CLOEXEC)
    going, go = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(said)
        os.close(go)
        _child(work, who, telling, going, parent)
    os.close(telling)
    os.close(going)
    result: T = _listen(pid, said, go, hear)
    return result


def _listen(pid: int, said: int, go: int, hear: Callable[[object], None] | None) -> Any:
    """Map the child's ids when it asks, pass on what it tells, and return its result. Closes both descriptors."""
    ended = False
    try:
        while (message := _receive(said)) is not None:
            kind, value = message
            if kind == "map":
                _map(pid)
                os.write(go, b"!")
            elif kind == "told" and hear is not None:
                hear(value)
            elif kind == "done":
                ended = True
                return value
            elif kind == "raise":
                ended = True
                raise value
    except KeyboardInterrupt:
        ended = True  # the same ^C has reached the child; or else it goes on until it has something to tell
        raise
    finally:
        if not ended:
            os.kill(pid, signal.SIGTERM)  # not collected yet, so it is still this one
        os.close(said)  # a child that tells us more fails, and tidies up
        os.close(go)
        _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    why = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    raise RedpakError(f"the child that changes packages {why}", hint="Run the command again.")


def _child(work: Callable[[Tell], T], who: Identity, telling: int, going: int, parent: int) -> None:
    """Be the child. Never returns."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is half done is tidied up
        try:
            _enter(who, telling, going)
            process.die_with_parent(signal.SIGKILL)  # a new user namespace undoes it, so not before
            if os.getppid() != parent:
                os._exit(1)
            result = work(lambda value: _send(telling, "told", value))
            _send(telling, "done", result)
            code = 0
        except KeyboardInterrupt:
            code = 130
        except BaseException as error:  # noqa: BLE001 - the parent raises it
            _send(telling, "raise", _portable(error))
    except OSError:
        pass  # the parent is gone
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _enter(who: Identity, telling: int, going: int) -> None:
    """Leave into the namespaces."""
    try:
        if who.root:
            ns.unshare(ns.CLONE_NEWNS)
        elif who.ids > 1:
            ns.unshare(ns.CLONE_NEWUSER | ns.CLONE_NEWNS)
            _send(telling, "map", None)
            if os.read(going, 1) != b"!":
                os._exit(1)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            os.setgroups([])
        else:
            ns.unshare_as(0, 0, ns.CLONE_NEWNS)
        mount.keep_private()
    except OSError as error:
        why = (error.strerror or "").lower()
        hint = "Allow them (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces), or be root."
        raise Refused(
            f"packages need a mount namespace of their own, and there is none: {why}", hint=hint
        ) from error


def _map(pid: int) -> None:
    """Map our id to 0 and our sub-ids to what follows, for a child in a new user namespace. Raises RedpakError."""
    from redpak.run import tool

    mine = (os.getuid(), os.getgid())
    for (_, _, program), own, (first, count) in zip(SUBIDS, mine, subids(), strict=True):
        words = [program, str(pid), "0", str(own), "1", "1", str(first), str(count)]
        tool(words, timeout_s=10, hint="Look at /etc/subuid and /etc/subgid.")


def _portable(error: BaseException) -> BaseException:
    """Return an error that survives being sent: itself, or one of the same kind that says the same."""
    try:
        if isinstance(error, Exception) and repr(pickle.loads(pickle.dumps(error))) == repr(error):
            return error
    except Exception:  # noqa: BLE001 - then in other words
        pass
    if isinstance(error, RedpakError):
        for name in ("Usage", "Refused", "NotFound", "Busy"):
            kind: type[RedpakError] = getattr(errors, name)
            if isinstance(error, kind):
                return kind(error.message, hint=error.hint)
        return RedpakError(error.message, hint=error.hint)
    log.debug(f"{type(error).__name__}: {error}")
    return RedpakError(f"changing packages failed: {type(error).__name__}: {error}")


def _send(fd: int, kind: str, value: object) -> None:
    data = pickle.dumps((kind, value))
    view = memoryview(HEAD.pack(len(data)) + data)
    while view:
        view = view[os.write(fd, view) :]


def _receive(fd: int) -> tuple[str, Any] | None:
    """Return the next message, None when the other end is gone."""
    head = _exactly(fd, HEAD.size)
    data = _exactly(fd, HEAD.unpack(head)[0]) if head else b""
    return pickle.loads(data) if data else None  # from our own child


def _exactly(fd: int, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        more = os.read(fd, size - len(parts))
        if not more:
            return b""
        parts += more
    return parts
