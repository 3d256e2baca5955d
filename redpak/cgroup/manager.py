"""Make groups: by mkdir(2) in the hierarchies that there are (cgroupfs), by systemd, or not at all (none)."""

from __future__ import annotations

import errno
import os

from redpak.cgroup import apply, layout
from redpak.cgroup.folders import remove_tree
from redpak.cgroup.group import Group, load
from redpak.cgroup.resources import CONTROLLER, CannotLimit, Impossible, Resources
from redpak.errors import Busy, RedpakError, Refused, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cgroup.bus import Property
    from redpak.cgroup.layout import Layout

    Wanted = dict[str, str]

__all__ = ["KINDS", "Manager", "find", "load"]
KINDS = ("auto", "cgroupfs", "systemd", "none")
TRIES = 100  # somebody removes the group above between our mkdirs
COUNTED = ("cpu", "memory", "pids", "io")  # what is switched on for every group where it can be: statistics
LONGEST = 255  # a name


def find(kind: str = "auto") -> Manager:
    """Return who makes groups: "cgroupfs", "systemd", "none", or what suits this host.

    Raises Usage for another word, Refused where that one cannot be had, NotFound where no hierarchy is mounted.
    """
    if kind not in KINDS:
        raise Usage(
            f"there is no manager of control groups '{kind}'", hint=f"Choose one of: {', '.join(KINDS)}."
        )
    if kind == "systemd" or (kind == "auto" and leave_to_systemd()):
        from redpak.cgroup.systemd import SystemdManager

        return SystemdManager(layout.look())
    if kind == "none":
        return NoManager()
    return Manager(layout.look())


def leave_to_systemd() -> bool:
    """Tell whether systemd runs this host and our own group is its, not delegated to us."""
    if not os.path.isdir("/run/systemd/system"):
        return False
    found = layout.look()
    return not found.pure or not delegated(found)


def delegated(found: Layout) -> bool:
    """Tell whether our own version 2 group, or one above it, was delegated: what lies in it is ours to arrange.

    systemd marks it with an extended attribute (systemd.resource-control(5)); for an ordinary user it is enough that
    the directory and its files are theirs (cgroup-v2.rst, "Model of Delegation").
    """
    at = layout.base_v2(found)
    if os.geteuid() != 0:
        return os.access(at, os.W_OK) and os.access(f"{at}/cgroup.subtree_control", os.W_OK)
    while len(at) > len(found.v2):
        for name in ("user.delegate", "trusted.delegate"):
            try:
                if os.getxattr(at, name) == b"1":
                    return True
            except OSError:
                continue  # not marked, or an older kernel
        at = os.path.dirname(at)
    return False


class Manager:
    """Groups by mkdir(2): "cgroupfs"."""

    kind = "cgroupfs"
    more: tuple[Property, ...] = ()  # what else a unit shall be: systemd's alone

    def __init__(self, found: Layout) -> None:
        self.found = found

    def create(
        self,
        path: str,
        asked: Resources = Resources(),  # noqa: B008 - it is frozen
        *,
        pid: int = 0,
        exclusive: bool = True,
        lenient: bool | None = None,
    ) -> Group:
        """Make a group with its limits, in every hierarchy. It is empty, unless `pid` is put in.

        An absolute path begins at each hierarchy's mount, another one at our own group. With `exclusive` it must not
        hold processes: whoever ends it would end them. `lenient` (default: unless we are root) leaves out hierarchies
        that we may not write to, where no limit asks for them. Raises CannotLimit, Busy, Refused, RedpakError; then
        nothing is left behind.
        """
        parts = safe(path)
        if lenient is None:
            lenient = not apply.in_initial()
        if lenient and asked.oom_killer_off is False:  # as every new group has it: no reason to need one
            asked = asked.but(oom_killer_off=None)
        group = Group({}, ())
        made: list[str] = []
        try:
            self._directories(group, parts, asked, made, absolute=path.startswith("/"), lenient=lenient)
            if exclusive and not set(group.directories()) <= set(made):
                self._must_be_empty(group, path)
            apply.fresh(group, asked, self.found)
            if pid:
                group.add(pid)
        except BaseException:
            _undo(made)
            raise
        own = set(group.directories())
        group.made = tuple(reversed([one for one in made if one not in own]))
        return group

    def check(self, asked: Resources) -> None:
        """Say what cannot be had before anything is made: missing controllers, and what a version cannot do.

        Raises CannotLimit. What only the kernel knows (no such disk, no such processor) is told by `create`.
        """
        paths = dict(self.found.own)
        if self.found.v2:
            paths[""] = self.found.own_v2
        apply.planned(asked, Group(paths), self.found, fresh=True)

    def _directories(
        self,
        group: Group,
        parts: list[str],
        asked: Resources,
        made: list[str],
        *,
        absolute: bool,
        lenient: bool,
    ) -> None:
        from redpak.cgroup.writes import controllers

        wanted = controllers(asked)
        done: dict[str, str] = {}
        for name, mount in self.found.v1.items():
            if mount in done:
                if done[mount]:
                    group.paths[name] = done[mount]
                continue
            base = mount if absolute else self.found.own[name]
            needed = ("io" if name == "blkio" else name) in wanted - {"devices"}
            done[mount] = self.make(base, parts, made, cpuset=name == "cpuset", skip=lenient and not needed)
            if done[mount]:
                group.paths[name] = done[mount]
        if self.found.v2:
            needs = {one for one in wanted if self.found.version(one) == 2} - {"devices"}
            base = self.found.v2 if absolute else self._base(needs)
            at = self.make(base, parts, made, skip=lenient and not needs)
            if at:
                group.paths[""] = at
                self._enable(base, parts, needs, asked)

    def _base(self, needs: set[str]) -> str:
        """Return below which group of version 2 relative paths begin: one that can have groups with controllers.

        Processes and controllers for groups below exclude each other ("no internal processes", cgroup-v2.rst), so
        our own group will not do, unless it is the root, or already an inner one; then it is the one above.
        """
        at = layout.base_v2(self.found)
        if at == self.found.v2 or at != self.found.own_v2:
            return at
        if needs and needs <= set(_read(f"{at}/cgroup.subtree_control").split()):
            return at
        above = os.path.dirname(at)
        return above if os.access(above, os.W_OK) else at

    def make(
        self, base: str, parts: list[str], made: list[str], *, cpuset: bool = False, skip: bool = False
    ) -> str:
        """Make one directory and what is missing above it; '' where that is not allowed and need not be."""
        full = "/".join((base, *parts))
        for _ in range(TRIES):
            try:
                os.mkdir(full)
                made.append(full)
                if cpuset:
                    inherit_cpuset(full, new=True)
                return full
            except FileExistsError:
                if cpuset:
                    inherit_cpuset(full)
                return full
            except FileNotFoundError:
                at = base
                for part in parts[:-1]:
                    at = f"{at}/{part}"
                    try:
                        os.mkdir(at)
                        made.append(at)
                    except FileExistsError:
                        pass
                    except FileNotFoundError:
                        break  # removed again: once more from the top
                    except OSError as error:
                        if skip and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                            return ""
                        raise cannot_make(at, error) from error
                    if cpuset:
                        inherit_cpuset(at)
            except OSError as error:
                if skip and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                    return ""
                raise cannot_make(full, error) from error
        raise RedpakError(f"cannot make the control group '{full}': the group above it comes and goes")

    def _enable(self, base: str, parts: list[str], needs: set[str], asked: Resources) -> None:
        at, levels = base, [base]
        for part in parts[:-1]:
            at = f"{at}/{part}"
            levels.append(at)
        wanted = needs | {one for one in COUNTED if one in self.found.controllers}
        for level in levels:
            enable(level, wanted, needs, asked)

    def _must_be_empty(self, group: Group, path: str) -> None:
        pids = group.pids()
        if pids:
            hint = "Give every container a control group of its own."
            raise Busy(
                f"the control group '{path}' holds {len(pids)} processes of somebody else, such as {pids[0]}",
                hint=hint,
            )


class NoManager(Manager):
    """No groups at all: refuses every limit."""

    kind = "none"

    def __init__(self) -> None:
        super().__init__(layout.Layout())

    def create(
        self,
        path: str,  # noqa: ARG002 - it has no place
        asked: Resources = Resources(),  # noqa: B008 - it is frozen
        *,
        pid: int = 0,  # noqa: ARG002
        exclusive: bool = True,  # noqa: ARG002
        lenient: bool | None = None,  # noqa: ARG002
    ) -> Group:
        """Return a group that is none. Raises CannotLimit when anything but device rules is asked for."""
        self.check(asked)
        return Group({})

    def check(self, asked: Resources) -> None:
        """Raise CannotLimit when anything but device rules is asked for."""
        fields = [one for one in asked.given() if one != "devices"]
        if fields:
            hint = "Remove the limits, or choose another manager of control groups."
            said = [asked.said(one) for one in fields]
            raise CannotLimit(
                Impossible(
                    message=f"limit '{name}' cannot be had without control groups", hint=hint, because=where
                )
                for name, where in said
            )


def safe(path: str) -> list[str]:
    """Return the components of a path. Raises Refused for one that leads elsewhere, or that the kernel keeps."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for part in parts:
        if part == ".." or "\n" in part or "\0" in part or len(os.fsencode(part)) > LONGEST:
            raise Refused(f"'{path}' cannot name a control group", hint="Use plain names, without '..'.")
    if not parts:
        raise Refused(f"'{path}' does not name a control group of its own", hint="Name one below it.")
    return parts


def _read(path: str) -> str:
    try:
        return layout.read(path)
    except OSError:
        return ""


def inherit_cpuset(at: str, *, new: bool = False) -> None:
    """Give a new cpuset group of version 1 the processors and memory nodes of the one above: it begins with none.

    Whoever makes that one at the same moment may not have got so far: then it is done here, or nobody could enter ours
    (ENOSPC). Raises RedpakError. Source: cgroup-v1/cpusets.rst.
    """
    above = os.path.dirname(at)
    try:
        for file in ("cpuset.cpus", "cpuset.mems"):
            if new or not layout.read(f"{at}/{file}").strip():
                words = layout.read(f"{above}/{file}").strip()
                higher = f"{os.path.dirname(above)}/{file}"
                if not words and os.path.exists(higher) and os.access(f"{above}/{file}", os.W_OK):
                    inherit_cpuset(above)
                    words = layout.read(f"{above}/{file}").strip()
                apply.put(at, file, words)
    except OSError as error:
        raise cannot_make(at, error) from error


def cannot_make(at: str, error: OSError) -> RedpakError:
    """Return why a group could not be made, and what to do."""
    why, hint = (error.strerror or "").lower(), ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        folder = os.path.dirname(at)
        why, hint = apply.denied(folder, why)
        return Refused(f"cannot make the control group '{at}': {why}", hint=hint)
    if error.errno == errno.EAGAIN:
        why, hint = (
            "there are as many groups as the one above allows",
            "Raise its cgroup.max.descendants or .depth.",
        )
    return RedpakError(f"cannot make the control group '{at}': {why}", hint=hint)


def enable(at: str, wanted: set[str], needs: set[str], asked: Resources) -> None:
    """Let the groups in version 2 group `at` have controllers: all that are needed, the others where it can be done.

    Raises CannotLimit.
    """
    has = set(_read(f"{at}/cgroup.subtree_control").split())
    more = wanted - has
    if not more:
        return
    more &= set(_read(f"{at}/cgroup.controllers").split()) | needs
    try:
        apply.put(at, "cgroup.subtree_control", " ".join(f"+{one}" for one in sorted(more)))
        return
    except OSError:
        pass  # one by one then: which is it?
    reasons = []
    for one in sorted(more):
        try:
            apply.put(at, "cgroup.subtree_control", f"+{one}")
        except OSError as error:
            if one in needs:
                reasons.append(_not_enabled(at, one, error, asked))
    if reasons:
        raise CannotLimit(reasons)


def _not_enabled(at: str, name: str, error: OSError, asked: Resources) -> Impossible:
    field = next((one for one in asked.given() if CONTROLLER.get(one) == name), "unified")
    said, where = asked.said(field)
    why, hint = (error.strerror or "").lower(), ""
    if error.errno == errno.ENOENT:
        why = f"the groups above do not hand the {name} controller down to '{at}'"
        hint = f"Have it delegated: systemctl edit user@.service, Delegate=cpu cpuset io memory pids; or +{name} above."
    elif error.errno == errno.EBUSY:
        why = f"'{at}' holds processes, so the groups in it cannot have the {name} controller"
        hint = (
            "Start from a group of its own: systemd-run --scope -p Delegate=yes COMMAND, or set 'cgrouproot'."
        )
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        why, hint = apply.denied(at, why)
    return Impossible(message=f"limit '{said}' cannot be had: {why}", hint=hint, because=where)


def _undo(made: list[str]) -> None:
    for at in reversed(made):
        try:
            remove_tree(at)
        except (OSError, RedpakError):
            continue  # it has come into use: who uses it removes it
