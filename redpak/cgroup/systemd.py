"""Groups by systemd: a scope, made over D-Bus, that systemd delegates to us (Delegate=yes). Version 2 only.

systemd is the one writer of its tree (systemd.io/CGROUP_DELEGATION): where it runs the host, a group outside of what
it delegated could be changed or removed by it at any time.
"""

from __future__ import annotations

import os

from redpak.cgroup import apply, bus, layout, writes
from redpak.cgroup.bus import get, properties
from redpak.cgroup.group import Group
from redpak.cgroup.manager import Manager, enable
from redpak.cgroup.resources import Resources
from redpak.errors import Busy, RedpakError, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cgroup.bus import Property
    from redpak.cgroup.layout import Layout

__all__ = ["ScopeGroup", "SystemdManager", "forget", "move_here", "properties", "unit_of", "update"]
WAIT_S = 20.0
ASK_EVERY_S = 1.0
LEFT_S = 2.0
LONGEST = 254  # the name of a unit; its group may have one letter more
FOREIGN = {"hugetlb", "rdma", "misc"}  # controllers that systemd knows nothing of
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\")
_FORM = "Write SLICE:PREFIX:NAME, such as user.slice:redpak:web."


def _user() -> bool:
    """Tell whether the user's own manager is meant: for everybody but the machine's root."""
    return not apply.in_initial()


def unit_of(path: str) -> tuple[str, str]:
    """Return (slice, scope) of "slice:prefix:name", as runc reads it. Raises Refused for what systemd would not take.

    Source: systemd.unit(5), systemd.slice(5).
    """
    words = path.split(":")
    if len(words) != 3 or not words[2] or "/" in path:
        raise Refused(f"'{path}' does not name a scope", hint=_FORM)
    place, prefix, name = words
    if name.endswith(".slice"):
        raise Refused(f"'{name}' is a slice, not a scope", hint="Name the container.")
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    wrong = sorted({*place, *prefix, *name} - _LETTERS)
    if wrong:
        hint = "Use letters, digits and any of -_. alone, and \\xNN for others, as systemd-escape(1) does."
        raise Refused(f"{path!r} does not name a scope: systemd takes no {wrong[0]!r} in it", hint=hint)
    if len(unit) > LONGEST:
        raise Refused(f"'{unit}' is too long for a scope's name", hint=f"At most {LONGEST} letters.")
    steps = place.removesuffix(".slice").split("-")
    if place and place != "-.slice" and (not place.endswith(".slice") or "" in steps or len(place) > LONGEST):
        raise Refused(
            f"'{place}' does not name a slice", hint="Write such as user.slice, or a-b.slice in a.slice."
        )
    return place, unit


def full(path: str) -> str:
    """Return "slice:prefix:name" of a name alone. Pure."""
    return path if ":" in path or "/" in path else f":redpak:{path}"


def within(own: str, name: str) -> str:
    """Return the group of a scope that a process in group `own` is in or below, "" if it is in another. Pure.

    A name that the kernel could take for one of a group's files has "_" before it (systemd.io/CGROUP_DELEGATION).
    """
    parts = own.split("/")
    for index, part in enumerate(parts):
        if part in (name, f"_{name}"):
            return "/".join(parts[: index + 1])
    return ""


def start_scope(
    name: str, place: str, pid: int, asked: Resources, more: tuple[Property, ...] = (), *, user: bool
) -> str:
    """Start a scope around a process, come back when the process is in it, and return the scope's group.

    `more` are other properties, which go before ours. Raises Busy when there is a scope of that name, RedpakError.
    """
    import time

    said: dict[str, Property] = {}
    for one in (
        ("Description", "s", [f"redpak {name}"]),
        ("Delegate", "b", ["true"]),
        ("DefaultDependencies", "b", ["false"]),
        ("CollectMode", "s", ["inactive-or-failed"]),
        ("PIDs", "au", ["1", str(pid)]),
        *((("Slice", "s", [place]),) if place else ()),
        *properties(asked),
        *more,
    ):
        said[one[0]] = one
    words = (name, "fail", *bus.told([*said.values()]), "0")
    try:
        _start(words, user=user)
    except Busy:
        group = _group_of(name, user=user)
        if not group or os.path.isdir(group):
            raise
        forget(name, user=user)  # nobody can be, or come, in a group that is gone: systemd has missed that
        _start(words, user=user)
    end, pause = time.monotonic() + WAIT_S, 0.001
    asks = time.monotonic() + ASK_EVERY_S
    while not (at := within(own_of(pid), name)):
        now = time.monotonic()
        gone = now > asks and _gone(name, user=user, within_s=0)
        if gone or now > end:
            forget(name, user=user)
            why = "it ended at once" if gone else f"not within {WAIT_S:g} s"
            journal = f"journalctl {'--user ' if user else ''}-u {name}"
            raise RedpakError(f"systemd did not start '{name}': {why}", hint=f"See {journal}.")
        if now > asks:
            asks = now + ASK_EVERY_S
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return at


def _start(words: tuple[str, ...], *, user: bool) -> None:
    try:
        bus.call("StartTransientUnit", "ssa(sv)a(sa(sv))", *words, user=user)
    except RedpakError as error:
        if "already" not in error.message:
            raise
        hint = "Give every container a name of its own."
        raise Busy(f"there is a scope '{words[0]}' already", hint=hint) from None


def _group_of(name: str, *, user: bool) -> str:
    """Return the directory of a scope's group, which may be gone; "" where systemd has no such scope."""
    unit = bus.unit_at(name, user=user)
    place = get(unit, "Scope", "ControlGroup", user=user) if unit else ""
    return place and f"{layout.look().v2}{place}"


def own_of(pid: int) -> str:
    """Return the version 2 group of a process, "" when it has ended."""
    try:
        lines = layout.read(f"/proc/{pid}/cgroup").splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::")), "")


class Placeholder:
    """A process that does nothing: a scope needs one to begin with. Dies when we do, at the latest."""

    def __init__(self) -> None:
        from signal import SIGKILL

        from redpak.kernel import process
        from redpak.kernel.clone import clone

        parent = os.getpid()
        self.pid, pidfd = clone()
        if pidfd >= 0:
            os.close(pidfd)
        if self.pid == 0:
            try:
                process.die_with_parent(SIGKILL)
                os.closerange(0, 65536)
                while os.getppid() == parent:
                    _pause()
            finally:
                os._exit(0)

    def end(self) -> None:
        """Kill it."""
        if self.pid > 0:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
            self.pid = 0


def _pause() -> None:
    import signal

    signal.pause()


class SystemdManager(Manager):
    """Scopes of the system's manager, or, for an ordinary user, of theirs."""

    kind = "systemd"

    def __init__(self, found: Layout) -> None:
        super().__init__(found)
        if not os.path.isdir("/run/systemd/system"):
            raise Refused("systemd does not run this host", hint="Choose the manager 'cgroupfs'.")
        if not found.pure:
            hint = "Choose the manager 'cgroupfs', or boot with systemd.unified_cgroup_hierarchy=1."
            raise Refused(
                f"systemd is only asked for groups of version 2, here is {found.words()}", hint=hint
            )

    def create(
        self,
        path: str,
        asked: Resources = Resources(),  # noqa: B008 - it is frozen
        *,
        pid: int = 0,
        exclusive: bool = True,  # noqa: ARG002 - a scope always is
        lenient: bool | None = None,  # noqa: ARG002 - systemd may do it or not
    ) -> Group:
        """Start the scope "slice:prefix:name" with its limits, around `pid` or, at first, a process that waits.

        A name alone is that of "redpak-NAME". Raises CannotLimit, Busy, Refused, RedpakError.
        """
        place, name = unit_of(full(path))
        user = _user()
        waiting = None if pid else Placeholder()
        try:
            at = start_scope(name, place, pid or (waiting.pid if waiting else 0), asked, self.more, user=user)
            group = ScopeGroup({"": f"{self.found.v2}{at}"}, (), name, user=user)
            group.placeholder = waiting
            try:
                self._hand_down(at, asked)
                apply.fresh(group, asked, self.found)
                if bus.UNTOLD.intersection(asked.given()):
                    update(group, asked)
            except BaseException:
                group.remove()
                raise
        except BaseException:
            if waiting:
                waiting.end()
            raise
        return group

    def _hand_down(self, at: str, asked: Resources) -> None:
        """Give a scope the controllers that systemd does not: it leaves them alone where they are."""
        needs = writes.controllers(asked) & FOREIGN & self.found.controllers
        above = os.path.dirname(at)
        folders = [""] if needs else []
        for part in above.split("/")[1:] if needs and above != "/" else ():
            folders.append(f"{folders[-1]}/{part}")
        for folder in folders:
            enable(f"{self.found.v2}{folder}", needs, needs, asked)


class ScopeGroup(Group):
    """A scope."""

    __slots__ = ("placeholder",)
    placeholder: Placeholder | None

    def settled(self) -> None:
        """End the process that kept the scope until somebody came in. Needless before our own end."""
        if self.placeholder:
            self.placeholder.end()
            self.placeholder = None

    def clone_fd(self) -> int:
        """See Group. -1 also where one process is all that there may be: a move counts nothing, a birth does."""
        try:
            alone = layout.read(f"{self.paths['']}/pids.max").strip() == "1"
        except OSError:
            alone = False
        return -1 if alone and self.placeholder else super().clone_fd()

    def add(self, pid: int) -> None:
        """Put a process in; where we may not move it (it is in another's slice), systemd does. Raises RedpakError."""
        try:
            super().add(pid)
        except RedpakError:
            bus.call("AttachProcessesToUnit", "ssau", self.unit, "", "1", str(pid), user=self.user)
        self.settled()

    def remove(self) -> None:
        """End the scope. Idempotent."""
        self.settled()
        super().remove()


def forget(unit: str, *, user: bool) -> None:
    """End a scope whose group is gone, and wait until systemd knows none of its name: it refuses a second one.

    Idempotent. A systemd that does not answer may keep the unit; the next scope of that name takes its place.
    """
    from redpak import log

    try:
        bus.call("StopUnit", "ss", unit, "replace", user=user)
    except RedpakError as error:  # it has none, as a rule
        log.debug(error.message)
    if not _gone(unit, user=user):
        log.debug(f"systemd knows of '{unit}' still")


def left_alone(path: str) -> None:
    """End a scope that has lost its processes; not one that has some: it is somebody else's.

    For what a killed `create` leaves, whose process that waits ends a moment after it. Raises Refused.
    """
    _, unit = unit_of(full(path))
    user = _user()
    try:
        group = "" if _gone(unit, user=user, within_s=LEFT_S) else _group_of(unit, user=user)
        if group and "populated 1" not in layout.read(f"{group}/cgroup.events"):
            forget(unit, user=user)
    except FileNotFoundError:
        forget(unit, user=user)
    except (RedpakError, OSError) as error:
        from redpak import log

        log.debug(str(error))


def _gone(unit: str, *, user: bool, within_s: float = WAIT_S) -> bool:
    """Wait until systemd has no such unit any more; tell whether it said so."""
    import time

    end, pause = time.monotonic() + within_s, 0.005
    try:
        while bus.unit_at(unit, user=user):
            if time.monotonic() > end:
                return False
            time.sleep(pause)
            pause = min(pause * 2, 0.1)
    except RedpakError:
        return False  # it does not answer: whoever waits for something else goes on
    return True


def update(group: Group, asked: Resources) -> None:
    """Tell systemd of new limits of a scope, which are written already: what the files of their controllers say now.

    One limit alone would not do: a quota is worth nothing without its period, and systemd writes all of a controller's.
    """
    at, which = group.paths[""], writes.controllers(asked)
    said = bus.in_force(at, which)
    if not said:
        return
    exact = layout.read(f"{at}/cpu.max").strip() if "cpu" in which else ""
    bus.call("SetUnitProperties", "sba(sv)", group.unit, "true", *bus.told(said), user=group.user)
    if exact:
        apply.put(at, "cpu.max", exact)  # systemd has written whole percents


def move_here(name: str) -> str:
    """Move this process into the scope `name`, which is started where it is not there; return the scope's path.

    For a family: its groups are made in the scope, by us, and the process waits in a leaf of it. Raises RedpakError.
    """
    import time

    user = _user()
    pid = os.getpid()
    end, pause = time.monotonic() + WAIT_S, 0.005
    while True:
        at = within(own_of(pid), name)
        if at:
            return at
        try:
            return start_scope(name, "", pid, Resources(), user=user)
        except Busy:
            pass
        why = _join_scope(name, pid, user=user)
        if time.monotonic() > end:
            raise RedpakError(f"cannot enter the scope '{name}': {why}", hint="Start again.")
        time.sleep(pause)
        pause = min(pause * 2, 0.2)


def _join_scope(name: str, pid: int, *, user: bool) -> str:
    """Try to put a process into the leaf of a scope that others have started; return why that failed, or "".

    The scope may end meanwhile, or not be ready yet.
    """
    group = _group_of(name, user=user)
    if not group:
        return "it comes and goes"
    leaf = f"{group}/{layout.LEAF}"
    try:
        if not os.path.isdir(leaf):
            os.mkdir(leaf)
        apply.put(leaf, "cgroup.procs", str(pid))
    except PermissionError:  # from a session's group to ours is not ours to move
        try:
            bus.call("AttachProcessesToUnit", "ssau", name, f"/{layout.LEAF}", "1", str(pid), user=user)
        except RedpakError as error:
            return error.message
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def come_near(at: str) -> None:
    """Move this process into a scope of its own below the user's manager, unless it can move processes to `at`.

    A process is moved by who may write to the group above both places (cgroup-v2.rst, "Delegation Containment"), and
    above a login session and the user's manager that is root: so the manager is asked, which asks the system's.
    """
    pid = os.getpid()
    top = layout.look().v2
    above = os.path.commonpath((f"{top}{own_of(pid)}", at))
    if not os.access(f"{above}/cgroup.procs", os.W_OK):
        start_scope(f"redpak:runtime-{pid}.scope", "", pid, Resources(), user=True)
