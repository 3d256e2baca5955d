"""A group that exists: put processes in, change its limits, freeze, kill, ask, remove.

One object for all layouts: `paths` has a directory for every hierarchy, version 2's under "". Where a thing can be
done in both versions (hybrid), version 1's own controller is used first, because there membership is certain.
"""

from __future__ import annotations

import errno
import os

from redpak.cgroup.folders import GONE, remove_tree, rmdir, tree
from redpak.cgroup.layout import read
from redpak.errors import RedpakError, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.cgroup.resources import Resources

FREEZE_S = 10.0
KILL_S = 10.0
SIGKILL = 9


class Group:
    """A group, or several of the same name in as many hierarchies."""

    __slots__ = ("held", "made", "paths", "unit", "user")

    def __init__(
        self, paths: dict[str, str], made: tuple[str, ...] = (), unit: str = "", *, user: bool = False
    ) -> None:
        self.paths = paths
        self.made = made  # directories above ours that were made for it, lowest first
        self.unit = unit  # the systemd unit that it is; user: of the user's own manager
        self.user = user
        self.held: tuple[int, ...] = ()

    # what it is

    def to_dict(self) -> dict[str, Any]:
        """Return it for a state file, {} where it is none at all; `load` is the way back."""
        if not self.paths:
            return {}
        return {"paths": self.paths, "made": list(self.made), "unit": self.unit, "user": self.user}

    def directories(self) -> tuple[str, ...]:
        """Return each directory once."""
        return tuple(dict.fromkeys(self.paths.values()))

    def main(self, *controllers: str) -> str:
        """Return the directory of the first of some controllers that there is, else of version 2, else any; or ''."""
        for name in controllers:
            if name in self.paths:
                return self.paths[name]
        return self.paths.get("") or next(iter(self.paths.values()), "")

    def exists(self) -> bool:
        """Tell whether any of it is there."""
        return any(os.path.isdir(path) for path in self.directories())

    # going in

    def doors(self, *, unified: bool = False) -> list[int]:
        """Open what a new, single-threaded process writes b"0" to in order to be in; the caller closes them.

        `unified`: version 2 as well, for a process that was not cloned into `clone_fd()`. A pure version 2 group has
        no other door. Raises RedpakError.
        """
        if self.held:
            return [os.dup(fd) for fd in self.held]
        fds: list[int] = []
        self._come_near()
        try:
            for path in self.directories():
                if path != self.paths.get(""):
                    fds.append(os.open(f"{path}/tasks", os.O_WRONLY | os.O_CLOEXEC))
            if unified and "" in self.paths:  # last: it waits, and then the others would wait too
                fds.append(os.open(f"{self.paths['']}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        except OSError as error:
            for fd in fds:
                os.close(fd)
            raise _failed("enter", error) from error
        return fds

    def hold(self) -> None:
        """Open the doors now: for who is about to become a user that may not. Who opened them is what counts then.

        From now on `doors` gives these, and `clone_fd` none, because clone3(2) asks who calls it.
        """
        self.held = tuple(self.doors(unified=True))

    def let_go(self) -> None:
        """Close what `hold` opened."""
        for fd in self.held:
            os.close(fd)
        self.held = ()

    def clone_fd(self) -> int:
        """Open version 2's directory for CLONE_INTO_CGROUP; -1 where there is none. The caller closes it."""
        if "" not in self.paths or self.held:
            return -1
        self._come_near()
        return os.open(self.paths[""], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _come_near(self) -> None:
        """Let our children enter a scope of the user's manager, where we ourselves are outside of that manager."""
        if self.unit and self.user:
            from redpak.cgroup import systemd

            systemd.come_near(self.paths[""])

    def add(self, pid: int) -> None:
        """Put a process in, with all its threads. Takes some milliseconds (see the package). Raises RedpakError."""
        word = str(pid).encode()
        for path in self.directories():
            try:
                _write(f"{path}/cgroup.procs", word)
            except OSError as error:
                raise _failed(f"put process {pid} into", error) from error

    def settled(self) -> None:
        """Its first process is in: what kept it until then goes."""

    # limits

    def update(self, asked: Resources) -> None:
        """Change limits; what `asked` does not mention stays. Raises CannotLimit, perhaps when a part is changed."""
        from redpak.cgroup import apply

        apply.update(self, asked)

    # life

    def pids(self, *, recursive: bool = True) -> list[int]:
        """Return the processes in it, in our numbering, sorted; those that we cannot see are left out."""
        found: set[int] = set()
        tops = {self.main("pids", "freezer", "devices", "memory"), self.paths.get("", "")} - {""}
        for top in tops:
            for folder in tree(top) if recursive else (top,):
                try:
                    found.update(map(int, read(f"{folder}/cgroup.procs").split()))
                except OSError as error:
                    if error.errno == errno.EOPNOTSUPP:  # a threaded group: its processes are listed above it
                        continue
                    if error.errno not in GONE:
                        raise _failed("list the processes of", error) from error
        return sorted(found - {0})

    def _freezer(self) -> tuple[str, bool]:
        """Return the directory that freezes and whether it is version 1's. Raises Refused."""
        if "freezer" in self.paths:
            return self.paths["freezer"], True
        at = self.paths.get("", "")
        if not at or not os.path.exists(f"{at}/cgroup.freeze"):
            hint = "Version 2 needs Linux 5.2, version 1 its freezer controller."
            raise Refused("these processes cannot be frozen: they have no group that can", hint=hint)
        return at, False

    def frozen(self) -> bool:
        """Tell whether it is frozen, by itself or by a group above."""
        try:
            at, old = self._freezer()
            if old:
                return read(f"{at}/freezer.state").strip() == "FROZEN"
            return "frozen 1" in read(f"{at}/cgroup.events")
        except (OSError, Refused):
            return False

    def freeze(self) -> None:
        """Stop every process in it, and come back when all have stopped.

        Raises Refused without a freezer, RedpakError when they do not stop within 10 s (then it is thawed again).
        """
        at, old = self._freezer()
        try:
            if old:
                self._freeze_v1(at)
            else:
                self._freeze_v2(at)
        except OSError as error:
            raise _failed("freeze", error) from error

    def _freeze_v1(self, at: str) -> None:
        import time

        end, pause = time.monotonic() + FREEZE_S, 0.0005
        while True:
            _write(
                f"{at}/freezer.state", b"FROZEN"
            )  # again and again: new children may have escaped the first
            if read(f"{at}/freezer.state").strip() == "FROZEN":
                return
            if time.monotonic() > end:
                _write(f"{at}/freezer.state", b"THAWED")
                raise _stuck(at)
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def _freeze_v2(self, at: str) -> None:
        import select
        import time

        events = os.open(f"{at}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            waiting = select.poll()
            waiting.register(events, select.POLLPRI)
            _write(f"{at}/cgroup.freeze", b"1")
            end = time.monotonic() + FREEZE_S
            while b"frozen 1" not in os.pread(events, 4096, 0):
                left_s = end - time.monotonic()
                if left_s <= 0:
                    _write(f"{at}/cgroup.freeze", b"0")
                    raise _stuck(at)
                waiting.poll(left_s * 1000)
        finally:
            os.close(events)

    def thaw(self) -> None:
        """Let every process go on. Raises Refused without a freezer."""
        at, old = self._freezer()
        try:
            _write(f"{at}/freezer.state" if old else f"{at}/cgroup.freeze", b"THAWED" if old else b"0")
        except OSError as error:
            raise _failed("thaw", error) from error

    def kill(self, signal: int = SIGKILL) -> None:
        """Send a signal to every process in it and below. Processes made meanwhile get SIGKILL too.

        Other signals go to those that are there now. Raises RedpakError when processes are left after 10 s of SIGKILL.
        """
        if signal != SIGKILL:
            for pid in self.pids():
                _signal(pid, signal)
            return
        at = self.paths.get("", "")
        there = self.pids()
        if os.getpid() in there:
            raise Refused(
                f"we are in the control group '{self.main()}' ourselves", hint="Do it from outside."
            )
        try:
            if at and os.path.exists(f"{at}/cgroup.kill"):  # Linux 5.14: at once, forks included
                _write(f"{at}/cgroup.kill", b"1")
            elif there:
                self.freeze()  # else forks might be faster than we
        except OSError as error:
            if error.errno not in GONE:
                raise _failed("kill", error) from error
        except RedpakError:
            pass  # there is no freezer, or not in time
        self._kill_one_by_one()

    def _kill_one_by_one(self) -> None:
        import time

        end, pause = time.monotonic() + KILL_S, 0.0005
        while True:
            left = [pid for pid in self.pids() if not _zombie(pid)]
            if not left:
                return
            for pid in left:
                _signal(pid, SIGKILL)
            if "freezer" in self.paths:  # version 1: who is frozen does not die
                try:
                    _write(f"{self.paths['freezer']}/freezer.state", b"THAWED")
                except OSError:
                    pass  # it is gone, or a group above is frozen: the end will tell
            if time.monotonic() > end:
                raise RedpakError(
                    f"{len(left)} processes of '{self.main()}' do not die, the first is {left[0]}",
                    hint="They wait for a device or a file system of the kernel.",
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    # asking

    def stats(self) -> dict[str, Any]:
        """Return what it has used, in the shape of `data` in runc's `events --stats`."""
        from redpak.cgroup import stats

        return stats.stats(self.paths)

    def pressure(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return how much was waited for cpu, memory and io (Documentation/accounting/psi.rst); {} without."""
        from redpak.cgroup import stats

        return stats.pressure(self.paths)

    def oom_killed(self) -> int:
        """Return how many of its processes the kernel has killed for want of memory."""
        from redpak.cgroup import stats

        return stats.oom_killed(self.paths)

    def oom_watch(self) -> tuple[int, int]:
        """Return (descriptor, poll(2) events): poll says when something happens with the memory; then ask again.

        The caller closes it. Version 2: a pread of the descriptor arms it again. Raises Refused without the controller.
        """
        import select

        if "memory" in self.paths:
            at = self.paths["memory"]
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            try:
                control = os.open(f"{at}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    _write(f"{at}/cgroup.event_control", f"{event} {control}".encode())
                finally:
                    os.close(control)
            except OSError as error:
                os.close(event)
                raise _failed("watch the memory of", error) from error
            return event, select.POLLIN
        try:
            fd = os.open(f"{self.paths.get('', '')}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise Refused("its memory is not counted: it has no memory controller") from None
        os.read(fd, 4096)
        return fd, select.POLLPRI

    # the end

    def remove(self) -> None:
        """Kill what is left and remove it, with all below, and what was made above it and is empty now. Idempotent.

        Raises RedpakError when processes do not die.
        """
        if not self.paths:
            return
        left = [path for path in self.directories() if not rmdir(path)]
        if left:
            self.kill()
            for path in left:
                remove_tree(path, tries=45)
        for path in self.made:
            rmdir(path)
        if self.unit:
            from redpak.cgroup import systemd

            systemd.forget(self.unit, user=self.user)


def load(told: dict[str, Any]) -> Group:
    """Return the group of a state file (`Group.to_dict`)."""
    return Group(
        dict(told.get("paths", {})),
        tuple(told.get("made", ())),
        str(told.get("unit", "")),
        user=bool(told.get("user", False)),
    )


def _stuck(at: str) -> RedpakError:
    return RedpakError(
        f"the processes of '{at}' did not stop within {FREEZE_S:g} s; they go on",
        hint="One of them waits for a device or a file system of the kernel.",
    )


def _failed(act: str, error: OSError) -> RedpakError:
    where = os.path.dirname(str(error.filename)) if error.filename else ""
    why = (error.strerror or "").lower()
    if error.errno in GONE:
        return RedpakError(f"cannot {act} the control group '{where}': it is gone")
    return RedpakError(f"cannot {act} the control group '{where}': {why}")


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise RedpakError(f"cannot signal process {pid} of a control group: {error.strerror}") from error


def _zombie(pid: int) -> bool:
    """Tell whether a process has ended and only waits for its parent: it does not hold the group."""
    try:
        return read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] in ("Z", "X")
    except (OSError, IndexError):
        return True
