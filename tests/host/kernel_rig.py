"""Run a piece of Python in namespaces of its own, with calls of the kernel taken away if asked, and hear its result."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redpak.engine.native import tree
from redpak.kernel import libc, mount, ns
from tests.patience import PATIENCE_S

EVERY_CALL = tuple(sorted(libc.DISPENSABLE))
IN_USERNS = ns.CLONE_NEWUSER | ns.CLONE_NEWNS
AS_ROOT = ns.CLONE_NEWNS


def without(names: tuple[str, ...]) -> None:
    """Make the kernel answer ENOSYS to these calls of this process from now on."""
    for name in names:
        libc.NUMBERS[name] = -1
    tree._known.clear()


def inside(act: Callable[[], Any], flags: int = IN_USERNS, missing: tuple[str, ...] = ()) -> Any:
    """Return what `act` returns in a forked child with those namespaces (as JSON has it); OSErrors as [errno, text]."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        code = 1
        try:
            signal.alarm(int(PATIENCE_S))
            if flags & ns.CLONE_NEWUSER:
                ns.unshare_as(0, 0, flags & ~ns.CLONE_NEWUSER)
            elif flags:
                ns.unshare(flags)
            if flags & ns.CLONE_NEWNS:
                mount.keep_private()
            without(missing)
            try:
                result = act()
            except OSError as error:
                result = [error.errno, str(error.strerror)]
            with open(write, "w", encoding="utf-8", closefd=False) as file:
                json.dump(result, file)
            code = 0
        except BaseException:  # noqa: BLE001 - the child ends here
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write)
    with open(read, encoding="utf-8") as file:
        said = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, f"the child ended with {code}: {said}"
    return json.loads(said)


def both_ways(act: Callable[[], Any], flags: int = IN_USERNS) -> Any:
    """Return what `act` gives with the kernel's newer calls, having seen that it gives the same without them."""
    new = inside(act, flags)
    old = inside(act, flags, EVERY_CALL)
    assert new == old, f"with the newer calls: {new}\nwithout them: {old}"
    return new


def failing(act: Callable[[], object]) -> int:
    """Return the errno that `act` fails with, 0 when it does not."""
    try:
        act()
    except OSError as error:
        return error.errno or -1
    return 0


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def own_cgroup(at: Path) -> Path:
    """Mount the cgroup2 hierarchy here and return a new group in it."""
    mount.mount("cgroup2", str(at), "cgroup2")
    group = at / f"redpak-kernel-{os.getpid()}"
    group.mkdir()
    return group
