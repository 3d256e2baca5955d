"""Groups by systemd: a scope, made over D-Bus, that systemd delegates to us (Delegate=yes). Version 2 only.

systemd is the one writer of its tree (systemd.io/CGROUP_DELEGATION): where it runs the host, a group outside of what
it delegated could be changed or removed by it at any time. D-Bus is spoken by busctl(1), which every such host has.
Limits are told to systemd as properties as well as written: otherwise its next reload would undo them.
"""

from __future__ import annotations

import os

from redpak.cgroup import apply, layout
from redpak.cgroup.group import Group
from redpak.cgroup.manager import Manager, safe
from redpak.cgroup.resources import NO_LIMIT, Resources
from redpak.errors import RedpakError, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cgroup.layout import Layout

BUS = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
INFINITY = (1 << 64) - 1
WAIT_S = 20.0
TIMEOUT_S = 30.0


def _user() -> bool:
    """Tell whether the user's own manager is meant: for everybody but the machine's root."""
    return not apply.in_initial()


def _environ(*, user: bool) -> dict[str, str]:
    """Return the variables by which the user's bus is found."""
    names = ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR")
    found = {name: os.environ[name] for name in names if name in os.environ}
    if user:
        found.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
    return found


def call(member: str, signature: str, *words: str, user: bool, ok: tuple[int, ...] = (0,)) -> str:
    """Call a method of systemd's manager. Raises RedpakError with what it said."""
    from redpak.run import tool

    where = ["--user"] if user else ["--system"]
    hint = "Log in so that a user manager runs (loginctl enable-linger), or choose cgroupfs." if user else ""
    argv = ["busctl", *where, "--quiet", "call", *BUS, member, signature, *words]
    done = tool(argv, timeout_s=TIMEOUT_S, ok=(0, 1), environ=_environ(user=user), hint=hint)
    if done.code not in ok:
        said = done.err.decode(errors="replace").strip().splitlines()
        raise RedpakError(f"systemd does not {member}: {said[-1] if said else 'no reason given'}", hint=hint)
    return done.text if done.code == 0 else done.err.decode(errors="replace")


def properties(asked: Resources) -> list[tuple[str, str, list[str]]]:
    """Return (property, signature, words) that say what `asked` says; what systemd has no word for is left out. Pure.

    Source: systemd.resource-control(5), org.freedesktop.systemd1(5).
    """
    from redpak.cgroup.writes import shares_to_weight

    found: list[tuple[str, str, list[str]]] = []

    def number(name: str, value: int | None) -> None:
        if value is not None:
            found.append((name, "t", [str(INFINITY if value < 0 else value)]))

    number("MemoryMax", asked.memory_max)
    number("MemoryHigh", asked.memory_high)
    number("MemoryLow", asked.memory_low if asked.memory_low is not None else asked.memory_soft)
    number("MemoryMin", asked.memory_min)
    swap = asked.swap_max
    if asked.memory_swap is not None and asked.memory_max is not None:
        swap = NO_LIMIT if asked.memory_swap < 0 else asked.memory_swap - asked.memory_max
    number("MemorySwapMax", swap)
    weight = asked.cpu_weight
    if weight is None and asked.cpu_shares is not None:
        weight = shares_to_weight(asked.cpu_shares)
    number("CPUWeight", weight)
    if asked.cpu_quota is not None:
        period = asked.cpu_period or 100_000
        number(
            "CPUQuotaPerSecUSec", -1 if asked.cpu_quota < 0 else max(1, asked.cpu_quota * 1_000_000 // period)
        )
    if asked.cpu_period is not None:
        number("CPUQuotaPeriodUSec", asked.cpu_period)
    number("TasksMax", asked.pids_max)
    for name, words in (("AllowedCPUs", asked.cpus), ("AllowedMemoryNodes", asked.mems)):
        if words:
            mask = sum(1 << one for one in apply.numbers(words))
            data = mask.to_bytes((mask.bit_length() + 7) // 8, "little")
            found.append((name, "ay", [str(len(data)), *map(str, data)]))
    plain = dict(asked.io_weight).get("")
    number("IOWeight", plain)
    return found


def unit_of(path: str) -> tuple[str, str]:
    """Return (slice, scope) of "slice:prefix:name", as runc reads it. Raises Refused."""
    words = path.split(":")
    if len(words) != 3 or not words[2] or "/" in path:
        raise Refused(
            f"'{path}' does not name a scope", hint="Write SLICE:PREFIX:NAME, such as user.slice:redpak:web."
        )
    place, prefix, name = words
    if name.endswith(".slice"):
        raise Refused(f"'{name}' is a slice, not a scope", hint="Name the container.")
    return place, f"{prefix}-{name}.scope" if prefix else f"{name}.scope"


def start_scope(name: str, place: str, pid: int, asked: Resources, *, user: bool) -> None:
    """Start a scope around a process, and come back when the process is in it. Raises RedpakError."""
    import time

    said: list[tuple[str, str, list[str]]] = [
        ("Description", "s", [f"redpak {name}"]),
        ("Delegate", "b", ["true"]),
        ("DefaultDependencies", "b", ["false"]),
        ("CollectMode", "s", ["inactive-or-failed"]),
        ("PIDs", "au", ["1", str(pid)]),
        *properties(asked),
    ]
    if place:
        said.insert(0, ("Slice", "s", [place]))
    words = [name, "fail", str(len(said))]
    for key, signature, value in said:
        words += [key, signature, *value]
    call("StartTransientUnit", "ssa(sv)a(sa(sv))", *words, "0", user=user)
    end, pause = time.monotonic() + WAIT_S, 0.001
    while f"/{name}" not in own_of(pid):
        if time.monotonic() > end:
            raise RedpakError(
                f"systemd did not start '{name}' within {WAIT_S:g} s", hint=f"See journalctl -u {name}."
            )
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


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

        A path without colons names the scope by its last component. Raises CannotLimit, Refused, RedpakError.
        """
        place, name = unit_of(path) if ":" in path else ("", f"redpak-{safe(path)[-1]}.scope")
        user = _user()
        waiting = None if pid else Placeholder()
        try:
            start_scope(name, place, pid or (waiting.pid if waiting else 0), asked, user=user)
            at = f"{self.found.v2}{own_of(pid or (waiting.pid if waiting else 0))}"
            group = ScopeGroup({"": at}, (), name, user=user)
            group.placeholder = waiting
            try:
                apply.fresh(group, asked, self.found)
            except BaseException:
                group.remove()
                raise
        except BaseException:
            if waiting:
                waiting.end()
            raise
        return group


class ScopeGroup(Group):
    """A scope."""

    __slots__ = ("placeholder",)
    placeholder: Placeholder | None

    def settled(self) -> None:
        """End the process that kept the scope until somebody came in. Needless before our own end."""
        if self.placeholder:
            self.placeholder.end()
            self.placeholder = None

    def add(self, pid: int) -> None:
        """Put a process in; where we may not move it (it is in another's slice), systemd does. Raises RedpakError."""
        try:
            super().add(pid)
        except RedpakError:
            call("AttachProcessesToUnit", "ssau", self.unit, "", "1", str(pid), user=self.user)
        self.settled()

    def remove(self) -> None:
        """End the scope. Idempotent."""
        self.settled()
        super().remove()


def update(group: Group, asked: Resources) -> None:
    """Tell systemd of new limits of a scope."""
    said = properties(asked)
    if said:
        words = [group.unit, "true", str(len(said))]
        for key, signature, value in said:
            words += [key, signature, *value]
        call("SetUnitProperties", "sba(sv)", *words, user=group.user)


def move_here(name: str) -> str:
    """Move this process into the scope `name`, which is started where it is not there; return the scope's path.

    For a family: its groups are made in the scope, by us, and the process waits in a leaf of it. Raises RedpakError.
    """
    import time

    user = _user()
    pid = os.getpid()
    end, pause = time.monotonic() + WAIT_S, 0.005
    while True:
        own = own_of(pid)
        if f"/{name}" in own:
            return own[: own.index(f"/{name}") + len(name) + 1]
        try:
            start_scope(name, "", pid, Resources(), user=user)
            return own_of(pid)
        except RedpakError as error:
            if "already" not in error.message:
                raise
        _join_scope(name, pid, user=user)
        if time.monotonic() > end:
            raise RedpakError(f"cannot enter the scope '{name}': it comes and goes", hint="Start again.")
        time.sleep(pause)
        pause = min(pause * 2, 0.2)


def _join_scope(name: str, pid: int, *, user: bool) -> None:
    """Try to put a process into the leaf of a scope that others have started; it may end, or not be ready yet."""
    unit = call("GetUnit", "s", name, user=user, ok=(0, 1)).partition('"')[2].partition('"')[0]
    place = get(unit, "Scope", "ControlGroup", user=user) if unit.startswith("/") else ""
    if not place:
        return
    leaf = f"{layout.look().v2}{place}/{layout.LEAF}"
    try:
        if not os.path.isdir(leaf):
            os.mkdir(leaf)
        apply.put(leaf, "cgroup.procs", str(pid))
    except PermissionError:  # from a session's group to ours is not ours to move
        call("AttachProcessesToUnit", "ssau", name, f"/{layout.LEAF}", "1", str(pid), user=user, ok=(0, 1))
    except OSError:
        return


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


def get(unit: str, kind: str, key: str, *, user: bool) -> str:
    """Return a property of a unit, "" where it has none."""
    from redpak.run import tool

    argv = ["busctl", "--user" if user else "--system", "get-property", BUS[0], unit, f"{BUS[0]}.{kind}", key]
    done = tool(argv, timeout_s=TIMEOUT_S, ok=(0, 1), environ=_environ(user=user))
    return done.text.partition('"')[2].rpartition('"')[0] if done.code == 0 else ""
