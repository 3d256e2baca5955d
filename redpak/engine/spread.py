"""Mounts inside a read-only directory that a node supplies: the directory is shown entry by entry.

bwrap must not look for a mount point in files that a node ships (`destinations`): a symlink there, or one that is
swapped in meanwhile, would lead it out of the sandbox. So a read-only directory with something mounted in it, a root
file system with /proc in it say, becomes a memory file system of the sandbox, made read-only when it is complete:
its entries are bound one by one, symlinks are made anew, and mount points are made where nobody else makes names.
What appears in the directory later is not seen; its stamp is an input, so that a frozen launcher notices.
"""

from __future__ import annotations

import os
import stat

from redpak.engine import destinations, sources
from redpak.engine.locate import Tree
from redpak.fs import stamp
from redpak.plan.model import FileInput
from redpak.plan.ops import Bind, Dir, Lock, Symlink, Tmpfs
from redpak.record import Record
from redpak.text import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.lowering import Lowering
    from redpak.plan.model import Op

MOST_ENTRIES = 1000  # each is a mount; the kernel allows 100,000 in a namespace (fs.mount-max)


class Spread(Record):
    """The operations to carry out, the directories to make read-only after them, and what was listed."""

    ops: tuple[Op, ...]
    sealed: tuple[str, ...] = ()
    listed: tuple[FileInput, ...] = ()


def spread(work: Lowering) -> Spread:
    """Return the plan's operations with every such directory taken apart. Only reads; refusals go to `work`."""
    plan = work.plan
    tree = Tree(plan)
    apart: dict[str, str] = {}  # destination of a bind to take apart → canonical host path
    for op in plan.mounts:
        above = None if op.dst == "/" or isinstance(op, Lock) else tree.cover(os.path.dirname(op.dst))
        if isinstance(above, Bind) and above.readonly and above.dst not in apart:
            host = host_directory(work, above)
            if host and destinations.place(op, above, host, work.trees).astray:
                apart[above.dst] = host
    if not apart:
        return Spread(ops=plan.mounts)
    ops: dict[str, Op] = {op.dst: op for op in plan.mounts if not isinstance(op, Lock)}
    folders: dict[str, FileInput] = {}
    for dst, host in apart.items():
        bind = ops[dst]
        assert isinstance(bind, Bind)
        take_apart(work, bind, dst, host, ops, folders)
    made = [op for op in ops.values() if op.dst != "/" or not isinstance(op, Tmpfs)]
    # an empty directory in a memory file system that becomes read-only stays writable as one of its own
    shown = Tree(plan.but(mounts=tuple(made)))
    final = [
        Tmpfs(dst=op.dst, because=op.because)
        if isinstance(op, Dir) and lies_in(op.dst, shown, folders)
        else op
        for op in made
    ]
    locks = [op for op in plan.mounts if isinstance(op, Lock)]
    return Spread(
        ops=(*sorted(final, key=lambda op: op.dst), *locks),
        sealed=tuple(sorted(folders, reverse=True)),
        listed=tuple(folders.values()),
    )


def lies_in(dst: str, tree: Tree, folders: dict[str, FileInput]) -> bool:
    """Tell whether a destination's own file system is one that is made read-only."""
    parent = os.path.dirname(dst)
    while parent != "/" and (parent not in tree.ops or isinstance(tree.ops[parent], Dir)):
        parent = os.path.dirname(parent)
    return parent in folders


def host_directory(work: Lowering, bind: Bind) -> str:
    """Return the canonical host directory behind a bind, '' where it is none, or not to be had (others report it)."""
    path = bind.src.literal
    if path is None or not path.startswith("/") or "\0" in path:
        return ""
    try:
        found = sources.resolve(path, trees=work.trees, uid=work.host.uid)
    except (sources.Untrusted, OSError):
        return ""
    return found.path if stat.S_ISDIR(found.mode) else ""


def take_apart(
    work: Lowering, bind: Bind, dst: str, host: str, ops: dict[str, Op], folders: dict[str, FileInput]
) -> None:
    """Put the entries of `host` into `ops` instead of a bind of it at `dst`; deeper where a mount lies deeper."""
    # stamped before it is listed: an entry that comes meanwhile makes a launcher stale, never fresh
    folders[dst] = FileInput(path=host, stamp=stamp(host))
    ops[dst] = Tmpfs(dst=dst, because=bind.because)
    try:
        with os.scandir(host) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        said = (error.strerror or "").lower()
        work.refuse(f"cannot list '{host}': {said}", "Let the launching user read it.", bind.because)
        return
    if len(ops) + len(entries) > MOST_ENTRIES:
        hint = "Mount outside of that directory."
        work.refuse(f"'{host}' has too many entries to mount something in it", hint, bind.because)
        return
    for entry in entries:
        at = f"{dst.rstrip('/')}/{entry.name}"
        if at in ops:
            continue  # hidden by what is mounted there
        deeper = any(other.startswith(at + "/") for other in ops)
        if entry.is_symlink():
            # something mounted beneath it is refused with the link's name, as beneath any symbolic link
            ops[at] = Symlink(dst=at, target=os.readlink(entry.path), because=bind.because)
        elif deeper and entry.is_dir(follow_symlinks=False):
            take_apart(work, bind, at, entry.path, ops, folders)
        else:
            ops[at] = bind.but(dst=at, src=text(entry.path), kind="any", missing="refuse")
