"""A family's groups: one for each node, each inside its parent's, and in the innermost a leaf for every launch.

So children never exceed their ancestors, and a limit of an ancestor holds for all of its running descendants
together. Launches share the nodes' groups: whoever comes first makes them, whoever leaves last removes them; nothing
counts them but the kernel, which removes no group that has something in it. Processes are only in leaves, because
version 2 allows them nowhere else ("no internal processes", cgroup-v2.rst).

    redpak:var-nodes-base / redpak:maps / leaf-…            names are paths, escaped as systemd-escape(1) does
"""

from __future__ import annotations

import errno
import os

from redpak.cgroup import apply, layout, manager
from redpak.cgroup.group import Group
from redpak.cgroup.resources import CannotLimit, Impossible, Resources, from_plan
from redpak.errors import RedpakError, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from redpak.cgroup.layout import Layout
    from redpak.plan.model import Limit, Plan

LEAF = "leaf-"
PREFIX = "redpak:"  # of nodes' groups
WATCHED = ("pids", "freezer", "memory", "cpuacct", "")  # version 1: for pausing, statistics, and the end
LONGEST = 180
TRIES = 50
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:")


def escaped(path: str) -> str:
    """Return a path as one name: "/" is "-", and what is not plain is \\xNN. No two paths have the same name."""
    plain = []
    for byte in os.fsencode(path.strip("/")):
        letter = chr(byte)
        plain.append("-" if letter == "/" else letter if letter in _PLAIN else f"\\x{byte:02x}")
    name = "".join(plain) or "-"
    if len(name) <= LONGEST:
        return name
    from hashlib import sha256

    return f"{name[-100:]}:{sha256(os.fsencode(path)).hexdigest()[:32]}"


def names(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Return (path of the member, name of its group), from the core OS's side to the leaf. Pure.

    The core OS ("/") has a group only where it has limits. In admin mode the groups have names of their own.
    """
    paths = [member.path for member in plan.family]
    if any(limit.node == "/" for limit in plan.limits) and "/" not in paths:
        paths.insert(0, "/")
    above, found = "", []
    for path in paths:
        below = path[len(above) :] if above and path.startswith(above + "/") else path
        found.append((path, f"{PREFIX}{escaped(below)}{'.admin' if plan.admin else ''}"))
        above = path.rstrip("/")
    return tuple(found)


def notes(limits: Iterable[Limit]) -> tuple[str, ...]:
    """Return what is done otherwise than it may look, for the user. Pure."""
    said = []
    for _, asked in from_plan(limits):
        if asked.cpu_weight is not None and asked.cpu_weight_nice is not None:
            name, where = asked.said("cpu_weight_nice")
            said.append(f"{where}: '{name}' and 'cpu.weight' are the same setting, 'cpu.weight' counts")
    return tuple(said)


def problems(plan: Plan) -> tuple[Impossible, ...]:
    """Return every reason for which the plan's limits cannot be had here, without making anything."""
    try:
        found = layout.look()
    except RedpakError as error:
        return (Impossible(message=error.message, hint=error.hint, because=plan.limits[0].because),)
    reasons: list[Impossible] = []
    root = plan.choice("cgroup-root")
    if not isinstance(root, str) and getattr(root, "literal", "") is None:
        because = next(
            (one.because for one in plan.choices if one.name == "cgroup-root"), plan.limits[0].because
        )
        hint = "Write the path of a control group."
        reasons.append(Impossible(message="'cgrouproot' comes from a command", hint=hint, because=because))
    elif root or not manager.leave_to_systemd():
        reasons += _not_ours(found, str(root), plan)
    for _, asked in from_plan(plan.limits):
        try:
            manager.Manager(found).check(asked)
        except CannotLimit as error:
            reasons += error.reasons
    return tuple(reasons)


def _not_ours(found: Layout, root: str, plan: Plan) -> list[Impossible]:
    """Say, once, that we may make no groups where they are needed."""
    try:
        places = _bases(found, root, _needs(asked for _, asked in from_plan(plan.limits)))
    except Refused as error:
        return [Impossible(message=error.message, hint=error.hint, because=plan.limits[0].because)]
    for at in places.values():
        while not os.path.exists(at) and len(at) > 1:
            at = os.path.dirname(at)
        if not os.access(at, os.W_OK):
            why, hint = apply.denied(at, "it is not writable")
            message = f"limit '{plan.limits[0].key}' cannot be had: {why}"
            return [Impossible(message=message, hint=hint, because=plan.limits[0].because)]
    return []


def _needs(asks: Iterable[Resources]) -> set[str]:
    """Return the controllers that some limits need together."""
    from redpak.cgroup.writes import controllers

    return {name for asked in asks for name in controllers(asked)}


def _bases(found: Layout, root: str, needs: set[str], more: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the group under which the family's are made, in each hierarchy that limits need, and in `more`."""
    wanted = {"blkio" if one == "io" else one for one in needs} | set(more)
    place = _within(found, root) if root else ""
    bases: dict[str, str] = {}
    for name, own in found.own.items():
        if name in wanted:
            bases[name] = f"{found.v1[name]}{place}" if root else own
    if found.v2 and ("" in wanted or any(found.version(one) == 2 for one in needs)):
        bases[""] = f"{found.v2}{place}" if root else layout.base_v2(found)
    return bases


class FamilyGroup(Group):
    """The leaf of one launch; knows the groups of its family."""

    __slots__ = ("levels",)

    def __init__(self, paths: dict[str, str], levels: tuple[tuple[str, dict[str, str]], ...]) -> None:
        made = tuple(at for _, level in reversed(levels) for at in dict.fromkeys(level.values()))
        super().__init__(paths, made)
        self.levels = levels

    def out_of_memory(self, limits: Iterable[Limit]) -> str:
        """Return why a process was killed for want of memory, as "limit 512M, FILE:LINE", '' when none was.

        It is the innermost limit that was hit; the machine itself may have had no memory left.
        """
        from redpak.cgroup import stats

        if not self.oom_killed():
            return ""
        told = {limit.node: limit for limit in limits if limit.key == "memory.max"}
        for node, paths in reversed(self.levels):
            if node in told and stats.ran_full(paths):
                return f"limit {told[node].value}, {told[node].because}"
        return "the machine has none left"


def enter(plan: Plan, label: str = "", *, kind: str = "auto") -> FamilyGroup:
    """Make the groups of a plan's family, with its limits, and an empty leaf for one launch.

    `label` becomes a part of the leaf's name. With systemd as the manager this process itself is moved into a scope
    first. Raises CannotLimit, Refused, RedpakError; then nothing is left behind.
    """
    asked = dict(from_plan(plan.limits))
    chain = names(plan)
    root = str(plan.choice("cgroup-root"))
    # a place that somebody named is theirs to arrange: systemd is not asked then
    boss = manager.find("cgroupfs" if root and kind == "auto" else kind)
    if boss.kind == "none":
        boss.check(next(iter(asked.values()), Resources()))
        return FamilyGroup({}, ())
    if boss.kind == "systemd":
        from redpak.cgroup import systemd

        root = systemd.move_here(f"{chain[0][1]}.scope")
    found = layout.look(again=boss.kind == "systemd")
    for _ in range(TRIES):
        work = _Entering(found, chain, asked, root)
        try:
            return work.enter(leaf_name(label))
        except _Gone:
            work.undo()  # whoever left last removed what we had just found; our leaf has another name next time
        except BaseException:
            work.undo()
            raise
    raise RedpakError(
        f"cannot make the control groups of '{plan.node}': they come and go", hint="Start again."
    )


class _Gone(Exception):
    """A group was removed under our hands."""


class _Entering:
    """One attempt."""

    def __init__(
        self, found: Layout, chain: tuple[tuple[str, str], ...], asked: dict[str, Resources], root: str
    ) -> None:
        self.found = found
        self.chain = chain
        self.asked = asked
        self.root = root
        self.boss = manager.Manager(found)
        self.needs = _needs(asked.values())
        self.made: list[str] = []

    def enter(self, leaf: str) -> FamilyGroup:
        """Make directories first, down to our leaf, which keeps the others from being removed; then write limits."""
        parts = [name for _, name in self.chain]
        bases = _bases(self.found, self.root, self.needs, WATCHED)
        needed = set(_bases(self.found, self.root, self.needs).values())
        levels: list[tuple[str, dict[str, str]]] = [(path, {}) for path, _ in self.chain]
        leaves: dict[str, str] = {}
        done: dict[str, str] = {}
        for name, base in bases.items():
            if base not in done:
                must = base in needed
                done[base] = self.boss.make(base, [*parts, leaf], self.made, skip=not must)
            if done[base]:
                leaves[name] = done[base]
                at = base
                for (_, paths), part in zip(levels, parts, strict=True):
                    at = f"{at}/{part}"
                    paths[name] = at
        family = FamilyGroup(leaves, tuple(levels))
        try:
            if "" in leaves and bases[""]:
                self._hand_down(bases[""], parts)
            for path, paths in levels:
                asked = self.asked.get(path, Resources())
                mine = any(at in self.made for at in paths.values())
                if "cpuset" in paths:  # from the top down: no group may have more than the one above
                    manager.inherit_cpuset(paths["cpuset"])
                self._limit(Group(paths), asked, shared=not mine)
            if "cpuset" in leaves:
                manager.inherit_cpuset(leaves["cpuset"])
        except CannotLimit:
            if not family.exists() or not all(os.path.isdir(at) for at in family.made):
                raise _Gone from None
            raise
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                raise _Gone from error
            raise RedpakError(f"cannot limit '{error.filename}': {error.strerror}") from error
        _sweep(levels[-1][1].values(), leaf)
        return family

    def undo(self) -> None:
        """Remove what we made and nobody uses."""
        for at in sorted(set(self.made), key=len, reverse=True):
            try:
                os.rmdir(at)
            except OSError:
                continue

    def _hand_down(self, base: str, parts: list[str]) -> None:
        """Give the groups in version 2's the controllers: from the base down to the innermost node's."""
        needs = {one for one in self.needs if self.found.version(one) == 2} - {"devices"}
        wanted = needs | {one for one in manager.COUNTED if one in self.found.controllers}
        asked = Resources(asked=tuple(one for each in self.asked.values() for one in each.asked))
        asked = asked.but(
            **{k: v for each in self.asked.values() for k, v in each.__dict__.items() if k != "asked"}
        )
        self._make_room(base, wanted)
        at = base
        for part in ("", *parts):
            at = f"{at}/{part}" if part else at
            manager.enable(at, wanted, needs, asked)

    def _make_room(self, base: str, wanted: set[str]) -> None:
        """Move the processes of a group that has to become an inner one into a leaf of it.

        Only in a group that is ours to arrange: a named one, a delegated one, the root of our own view.
        """
        has = set(layout.read(f"{base}/cgroup.subtree_control").split())
        if wanted <= has or not _holds_processes(base):
            return
        if not os.path.exists(f"{base}/cgroup.type"):  # the root of the hierarchy: the rule is not for it
            return
        if not (self.root or base == self.found.v2 or manager.delegated(self.found)):
            return  # `enable` says why it cannot be
        leaf = f"{base}/{layout.LEAF}"
        try:
            os.mkdir(leaf)
        except FileExistsError:
            pass
        except OSError as error:
            raise manager.cannot_make(leaf, error) from error
        for _ in range(TRIES):
            pids = layout.read(f"{base}/cgroup.procs").split()
            if not pids:
                return
            for pid in pids:
                try:
                    apply.put(leaf, "cgroup.procs", pid)
                except ProcessLookupError:
                    continue
                except OSError as error:
                    why, hint = apply.denied(leaf, (error.strerror or "").lower())
                    raise Refused(
                        f"cannot make room in the control group '{base}': {why}", hint=hint
                    ) from error

    def _limit(self, group: Group, asked: Resources, *, shared: bool) -> None:
        out = apply.planned(asked, group, self.found, fresh=not shared)
        if shared:
            from redpak.cgroup import restore

            out = [*restore.defaults(group.paths, {(at, file) for at, file, _ in out}, asked), *out]
        apply.write_all(asked, out)
        apply.check(asked, group, self.found)


def _within(found: Layout, root: str) -> str:
    """Return a place that somebody named, as a path from the root of each hierarchy: "/user.slice/x", or ""."""
    for mount in sorted({found.v2, *found.v1.values(), layout.TOP} - {""}, key=len, reverse=True):
        if root == mount or root.startswith(mount + "/"):
            root = root[len(mount) :]
            break
    parts = root.strip("/")
    return f"/{'/'.join(manager.safe(parts))}" if parts else ""


def _holds_processes(at: str) -> bool:
    try:
        return bool(layout.read(f"{at}/cgroup.procs").strip())
    except OSError:
        return False


def _who(pid: str) -> str:
    """Return when a process started (field 22 of /proc/PID/stat), '' when it is not there."""
    try:
        return layout.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def leaf_name(label: str = "") -> str:
    """Return a name for the leaf of a launch by this process: it tells others whether who made it still lives."""
    space = os.stat("/proc/self/ns/pid").st_ino
    tail = f".{escaped(label)}" if label else ""
    return f"{LEAF}{space}-{os.getpid()}-{_who('self')}-{os.urandom(3).hex()}{tail}"


def abandoned(name: str) -> bool:
    """Tell whether a leaf was made by a process that is no more; those of other pid namespaces: no."""
    words = name.removeprefix(LEAF).partition(".")[0].split("-")
    if not name.startswith(LEAF) or len(words) < 3 or words[0] != str(os.stat("/proc/self/ns/pid").st_ino):
        return False
    return _who(words[1]) != words[2]


def _sweep(folders: Iterable[str], own: str) -> None:
    """Remove leaves that a killed supervisor left in groups; those with processes stay: rmdir(2) refuses."""
    for folder in dict.fromkeys(folders):
        try:
            left = [name for name in os.listdir(folder) if name.startswith(LEAF) and name != own]
        except OSError:
            continue
        for name in left:
            if abandoned(name):
                try:
                    os.rmdir(f"{folder}/{name}")
                except OSError:
                    continue


def sweep() -> int:
    """Remove every group of ours, below our own in each hierarchy, that killed supervisors left behind; count them."""
    from redpak.cgroup.folders import tree

    found, count = layout.look(), 0
    tops = {*found.own.values(), *((layout.base_v2(found),) if found.v2 else ())}
    for top in tops:
        try:
            first = [
                entry.path for entry in os.scandir(top) if entry.name.startswith(PREFIX) and entry.is_dir()
            ]
        except OSError:
            continue
        for at in (path for one in first for path in reversed(tree(one))):
            name = os.path.basename(at)
            if name == layout.LEAF or (name.startswith(LEAF) and not abandoned(name)):
                continue
            try:
                os.rmdir(at)
                count += 1
            except OSError:
                continue  # in use
    return count
