"""A launch shows the current generation of every member of the family: sources in a node's usr, opt … lead there.

`NODE/usr` is a symbolic link for people and tools; a plan names the generation itself, so that a launch sees one
generation whole, whatever is installed meanwhile. Files of packages are shown read-only, whoever asks: they belong to
older generations, too. Costs a node without packages one readlink(2).
"""

from __future__ import annotations

import os

from redpak.errors import BadConfig, Fault, Refused, doing
from redpak.fs import stamp
from redpak.node import generations
from redpak.plan.model import FileInput, Rival
from redpak.plan.ops import Bind, Dir, Lock, Symlink
from redpak.text import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Family
    from redpak.node.generations import Generation
    from redpak.plan.model import Op, Plan

    Packages = dict[str, Generation]  # by the node's canonical path


def look(family: Family, *, may_write: bool) -> Packages:
    """Return the current generation of each member that has one; a transaction that was killed late is finished first.

    Raises Refused where that must be done and we may not (`may_write` False is for looking only), RedpakError.
    """
    found: Packages = {}
    for node in family.nodes:
        with doing("look for the node's packages", hint=f"Run: redpak node recover '{node.real}'"):
            generation = generations.look(node.real)
        if generation is None:
            continue
        if may_write and generations.is_pending(generation):
            finish(node.real)
        found[node.real] = generation
    return found


def finish(node: str) -> None:
    """Put the state files of the last transaction in place. Raises Refused."""
    from redpak.errors import Busy
    from redpak.node.install import recover

    if not os.access(f"{node}/{generations.LOCK}", os.W_OK, effective_ids=True):
        raise Refused(
            f"the last change of packages of node '{node}' was killed before it was complete",
            hint=f"Let its owner type: redpak node recover {node}",
        )
    try:
        recover(node)
    except Busy:
        now = generations.look(node)  # whoever holds the lock may be done with it
        if now is not None and generations.is_pending(now):
            raise


def inputs(family: Family, packages: Packages) -> tuple[FileInput, ...]:
    """Return what a launcher has to look at to notice another generation."""
    found = []
    for node in family.nodes:
        generation = packages.get(node.real)
        mark = f"@{generation.link}" if generation else ""
        found.append(FileInput(path=f"{node.real.rstrip('/')}/{generations.CURRENT}", stamp=mark))
    return tuple(found)


def apply(plan: Plan, family: Family, packages: Packages) -> Plan:
    """Return the plan with sources in the members' current generations. Raises BadConfig."""
    if not packages:
        return plan
    mounts: list[Op] = []
    rivals = list(plan.rivals)
    faults: list[Fault] = []
    files = list(plan.files)
    taken = {op.dst for op in plan.mounts}
    for op in plan.mounts:
        shown = mapped(op, family, packages) if isinstance(op, Bind) else op
        if not isinstance(op, Bind) or (shown is op and op.readonly):
            mounts.append(op)
        elif shown is not op:
            mounts.append(shown)
            if not op.readonly:
                asked, why = f"{op.mode}, writable", "files of packages only change by transactions"
                rivals.append(
                    Rival(thing=f"mount {op.dst}", kind="lost", asked=asked, why=why, because=op.because)
                )
        else:
            mounts += protected(op, packages, taken, faults, files)
    if faults:
        raise BadConfig(faults)
    return plan.but(
        mounts=tuple(sorted(mounts, key=lambda op: (op.dst, isinstance(op, Lock)))),
        rivals=tuple(rivals),
        files=tuple(sorted(files, key=lambda one: one.path)),
    )


def mapped(op: Bind, family: Family, packages: Packages) -> Bind:
    """Return a bind whose source lies in its node's current generation; `op` itself where it does not."""
    lead = op.src.parts[0] if op.src.parts else ""
    if not isinstance(lead, str) or not lead.startswith("/"):
        return op
    path = os.path.normpath(lead)
    path = path[1:] if path.startswith("//") else path
    for node in reversed(family.nodes):
        for root in (node.real, os.path.normpath(node.path)):
            if path.startswith(root.rstrip("/") + "/"):
                generation = packages.get(node.real)
                if generation is None:
                    return op
                inner = path[len(root.rstrip("/")) :]
                ends = lead.endswith("/") and len(op.src.parts) > 1
                if len(op.src.parts) > 1 and not ends and "/" not in inner[1:]:
                    return op  # the name of the top itself is not complete
                place = generations.mapped(node.real.rstrip("/") + inner, generation)
                if not place:
                    return op
                return op.but(src=text(place + ("/" if ends else ""), *op.src.parts[1:]), readonly=True)
    return op


def protected(
    op: Bind, packages: Packages, taken: set[str], faults: list[Fault], files: list[FileInput]
) -> list[Op]:
    """Return a writable bind with the generations in it read-only; note a fault where it shows nothing else."""
    lead = op.src.parts[0] if op.src.parts else ""
    path = os.path.realpath(lead) if isinstance(lead, str) and lead.startswith("/") else ""
    for node in packages:
        folder = f"{node}/{generations.FOLDER}"
        if path == folder or path.startswith(folder + "/"):
            message = f"export '{op.dst}' would make '{folder}' writable, where packages are kept"
            hint = "Use mode Restricted, or leave it out."
            faults.append(Fault(origin=op.because, message=message, hint=hint))
            return []
    if path in packages and op.src.literal is not None:
        return apart(op, path, taken, files)
    return [op]


def apart(op: Bind, node: str, taken: set[str], files: list[FileInput]) -> list[Op]:
    """Return a bind of a node's own directory entry by entry: writable as asked, but its generations read-only."""
    files.append(FileInput(path=node, stamp=stamp(node)))
    found: list[Op] = [Dir(dst=op.dst, because=op.because)]
    with doing("list the node's directory"):
        entries = sorted(os.scandir(node), key=lambda entry: entry.name)
    for entry in entries:
        at = f"{op.dst.rstrip('/')}/{entry.name}"
        if at in taken:
            continue
        if entry.is_symlink():
            found.append(Symlink(dst=at, target=os.readlink(entry.path), because=op.because))
        else:
            readonly = entry.name == generations.FOLDER
            found.append(op.but(dst=at, src=text(entry.path), readonly=readonly, missing="skip"))
    return found
