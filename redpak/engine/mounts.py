"""The mounts of a plan as bwrap's arguments: sources as descriptors, destinations judged, parents made passable."""

from __future__ import annotations

import os
import stat

from redpak.engine import destinations, sources
from redpak.engine.locate import Tree, locate
from redpak.engine.spec import Blob, Opened
from redpak.engine.spread import spread
from redpak.plan.ops import Bind, Dev, Dir, File, InheritFd, Lock, Mqueue, Proc, Symlink, Tmpfs
from redpak.record import assert_never

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.lowering import Lowering
    from redpak.plan.model import Op

# What uid 0 may write in a procfs by file mode alone, without any capability; bwrap's own test overlooks it.
PROC_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
PROC_HIDDEN = (
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
)  # readable for uid 0 in the same way


def mounts(work: Lowering) -> None:
    """Add every operation on the file tree."""
    apart = spread(work)
    tree = Tree(work.plan.but(mounts=apart.ops))
    work.listed += apart.listed
    made = {"/"}
    shown: dict[str, str] = {}  # destination of a bind → canonical host path
    locks: list[Lock] = []
    for op in apart.ops:
        if isinstance(op, Lock):
            locks.append(op)
            continue
        above = tree.cover(os.path.dirname(op.dst)) if op.dst != "/" else None
        if isinstance(above, Bind) and above.dst not in shown:
            continue  # the bind above was left out or refused, and so is what lies in it
        where = destinations.place(op, above, shown.get(above.dst, "") if above else "", work.trees)
        if where.reason:
            work.refuse(where.reason, where.hint, op.because)
            continue
        ready = source(work, op, shown, where) if isinstance(op, Bind) else ""
        if ready is None:
            continue
        if where.own and op.dst != "/":
            # bwrap makes parents of mount points with mode 0700; ordinary ids must pass
            parent, missing = os.path.dirname(op.dst), []
            while parent not in made and not (parent in tree.ops and not isinstance(tree.ops[parent], Dir)):
                missing.append(parent)
                made.add(parent)
                parent = os.path.dirname(parent)
            for folder in reversed(missing):
                if folder not in tree.ops:
                    work.args += ["--dir", folder]
        mount(work, op, where, ready)
    for folder in apart.sealed:
        work.args += ["--remount-ro", folder]
    for lock in locks:
        at = locate(work.plan, lock.dst)
        if at.what == "missing":
            work.refuse(f"the lock file '{lock.dst}' is not in the sandbox", "Export it first.", lock.because)
        work.args += ["--lock-file", lock.dst]


def source(work: Lowering, op: Bind, shown: dict[str, str], where: destinations.Place) -> str | None:
    """Return the number of the descriptor for a bind's source; None when there will be no mount."""
    path = op.src.literal
    if path is None:
        shown[op.dst] = ""
        return work.descriptor(Opened(path=str(op.src), pending=True, because=op.because))
    if not path.startswith("/") or "\0" in path:
        work.refuse(f"the source '{path}' is not an absolute path", "Write the whole path.", op.because)
        return None
    trees = (*work.trees, *((op.beneath,) if op.beneath and op.beneath != "/" else ()))
    try:
        found = sources.resolve(path, trees=trees, uid=work.host.uid)
    except sources.Untrusted as error:
        hint = "Name the link's target, outside of directories that others may change."
        work.refuse(f"the source '{path}' cannot be trusted: {error}", hint, op.because)
        return None
    except OSError as error:
        work.refuse(
            f"cannot look at '{path}': {(error.strerror or '').lower()}", "Check its path.", op.because
        )
        return None
    directory = stat.S_ISDIR(found.mode)
    if not found.mode:
        own = bool(sources.beneath(found.path, work.trees)) and op.kind == "any"
        if op.missing == "create" or (work.force and own and op.missing == "refuse"):
            work.create += [one for one in found.absent if one not in work.create]
            directory = True
        elif op.missing == "skip" or work.force:
            work.notes.append(f"{op.because}: '{path}' is missing, leaving out the mount '{op.dst}'")
            return None
        else:
            hint = "Make it, or start with --force to leave it out."
            work.refuse(f"the source '{path}' of '{op.dst}' is missing", hint, op.because)
            return None
    elif op.kind == "file" and directory:
        hint = "Use the mode without 'File'."
        work.refuse(
            f"the source '{path}' is a directory, and mode '{op.mode}' takes a file", hint, op.because
        )
        return None
    if where.mode and stat.S_ISDIR(where.mode) != directory:
        what = "directory" if directory else "file"
        hint = "Mount directories on directories, files on files."
        work.refuse(f"the {what} '{path}' cannot be mounted on '{where.host}'", hint, op.because)
        return None
    shown[op.dst] = found.path
    leased = sources.generation(found.path)
    if leased and leased not in work.leases:
        work.leases.append(leased)
    return work.descriptor(Opened(path=found.path, because=op.because))


def mount(work: Lowering, op: Op, where: destinations.Place, ready: str) -> None:
    """Add the arguments for one operation whose destination is good."""
    dst = op.dst
    if not where.own and isinstance(op, (File, InheritFd)) and stat.S_ISDIR(where.mode):
        work.refuse(f"'{dst}' is a directory, and a file is to be there", "Mount it elsewhere.", op.because)
        return
    match op:
        case Bind(readonly=readonly):
            work.args += ["--ro-bind-fd" if readonly else "--bind-fd", ready, dst]
        case Dir():
            work.args += ["--dir" if where.own else "--tmpfs", dst]
        case Tmpfs():
            work.args += ["--tmpfs", dst]
        case Proc():
            work.args += ["--proc", dst]
            cover_proc(work, dst)
        case Dev():
            work.args += ["--dev", dst]
        case Mqueue():
            work.args += ["--mqueue", dst]
        case Symlink(target=target):
            symlink(work, op, target, where)
        case File(content=content):
            fd = work.descriptor(Blob(content=content, because=op.because))
            work.args += ["--perms", "0644", "--file" if where.own else "--ro-bind-data", fd, dst]
        case InheritFd(fd=fd):
            if not 3 <= fd <= 9:
                hint = "Leave one of the descriptors 3 to 9 open."
                work.refuse(f"descriptor {fd} cannot be passed on", hint, op.because)
            elif fd in work.keep:
                hint = "A descriptor can be read once."
                work.refuse(f"descriptor {fd} is used twice", hint, op.because)
            work.keep.append(fd)
            work.args += ["--perms", "0644", "--file" if where.own else "--ro-bind-data", str(fd), dst]
        case Lock():
            raise AssertionError("locks are added after all mounts")
        case _:
            assert_never(op)


def symlink(work: Lowering, op: Symlink, target: str, where: destinations.Place) -> None:
    """Add a symbolic link; in a host directory nothing is ever made."""
    if where.own:
        work.args += ["--symlink", target, op.dst]
    else:
        hint = "Choose a place in a directory of the sandbox's own."
        work.refuse(f"a symbolic link cannot be made on '{where.host}'", hint, op.because)


def cover_proc(work: Lowering, dst: str) -> None:
    """Take from uid 0 what file modes alone would let it do in a procfs."""
    if work.host.uid != 0 or work.become[0] > 0:
        return
    for path in PROC_READ_ONLY:
        if os.path.exists(path):
            fd = work.descriptor(Opened(path=path))
            work.args += ["--ro-bind-fd", fd, dst.rstrip("/") + path[len("/proc") :]]
    for path in PROC_HIDDEN:
        if os.path.exists(path):
            fd = work.descriptor(Opened(path="/dev/null"))
            work.args += ["--ro-bind-fd", fd, dst.rstrip("/") + path[len("/proc") :]]
