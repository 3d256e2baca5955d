"""What a path inside the sandbox is: which operation of the plan provides it, and which host file is behind it.

Follows symbolic links as the sandbox would (its own and those of the trees that it shows), inside the virtual tree
only. Opens nothing but, for `program`, the first bytes of the program's file.
"""

from __future__ import annotations

import os
import stat

from redpak.engine.interpreter import interpreter
from redpak.errors import CannotRun, NoProgram, RedpakError
from redpak.plan.model import SetVar
from redpak.plan.ops import Bind, Dev, File, InheritFd, Lock, Mqueue, Proc, Symlink
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from redpak.plan.model import Op, Plan

    What = Literal["host", "private", "made", "kernel", "missing", "loop", "unknown"]

MOST_LINKS = 40
EXEC_PATH = "/bin:/usr/bin"  # execvp(3) of the C library where PATH is unset


class Located(Record):
    """Where a path leads.

    `what`: "host" – the file `host` is behind it; "private" – a directory of this sandbox alone; "made" – a file
    that the launch fills; "kernel" – procfs, devices, message queues; "missing"; "loop"; "unknown" – a command decides.
    """

    path: str  # what was asked for
    real: str  # the path inside the sandbox after following links
    what: What
    op: Op | None = None  # the operation that provides it; None: bwrap's own root, or an implied parent
    host: str = ""
    via: tuple[str, ...] = ()  # symbolic links that were followed, inside the sandbox


class Tree:
    """The file tree of a plan: exact destinations, and the directories that they imply."""

    def __init__(self, plan: Plan) -> None:
        self.ops: dict[str, Op] = {}
        self.implied: set[str] = {"/"}
        for op in plan.mounts:
            if isinstance(op, Lock):
                continue
            self.ops[op.dst] = op
            parent = os.path.dirname(op.dst)
            while parent not in self.implied:
                self.implied.add(parent)
                parent = os.path.dirname(parent)

    def cover(self, path: str) -> Op | None:
        """Return the deepest operation at or above `path`; None: bwrap's own root. Follows no links."""
        while True:
            if path in self.ops:
                return self.ops[path]
            if path == "/":
                return None
            path = os.path.dirname(path)


def host_source(op: Bind) -> str:
    """Return the host path behind a bind, '' where a command decides."""
    return os.path.realpath(op.src.literal) if op.src.literal else ""


def locate(plan: Plan, path: str) -> Located:
    """Follow `path` (absolute) through the tree of the plan. Never raises for what the host does not let us see."""
    tree = Tree(plan)
    rest = [part for part in reversed(path.split("/")) if part and part != "."]
    via: list[str] = []
    here = "/"  # inside the sandbox, free of links
    op, behind = _at(tree, "/", None, "")

    def found(what: What, at: str) -> Located:
        host = behind if what in ("host", "missing") else ""
        return Located(path=path, real=at, what=what, op=op, host=host, via=tuple(via))

    while rest:
        part = rest.pop()
        if part == "..":
            here = os.path.dirname(here)
            op, behind = _walk(tree, here)
            continue
        step = f"{here.rstrip('/')}/{part}"
        exact = step in tree.ops
        op, behind = _at(tree, step, op, f"{behind.rstrip('/')}/{part}" if behind else "")
        link = ""
        if isinstance(op, Symlink):
            link = op.target
        elif isinstance(op, Bind):
            if not behind:
                return found("unknown", "/".join([step, *reversed(rest)]))
            try:
                at = os.lstat(behind)
            except OSError:
                if step not in tree.implied:
                    return found("missing", "/".join([step, *reversed(rest)]))
            else:
                if stat.S_ISLNK(at.st_mode):
                    link = os.readlink(behind)
        elif isinstance(op, (Proc, Dev, Mqueue)):
            return found("kernel", "/".join([step, *reversed(rest)]))
        elif isinstance(op, (File, InheritFd)):
            return found("missing" if rest else "made", "/".join([step, *reversed(rest)]))
        elif not exact and step not in tree.implied:
            return found("missing", "/".join([step, *reversed(rest)]))
        if link:
            via.append(step)
            if len(via) > MOST_LINKS:
                return found("loop", step)
            rest += [one for one in reversed(link.split("/")) if one and one != "."]
            if link.startswith("/"):
                here = "/"
            op, behind = _walk(tree, here)
            continue
        here = step
    if isinstance(op, Bind):
        return found("host" if behind else "unknown", here)
    if isinstance(op, (Proc, Dev, Mqueue)):
        return found("kernel", here)
    return found("private", here)


def _at(tree: Tree, path: str, above: Op | None, behind: str) -> tuple[Op | None, str]:
    """Return what is at `path`, given the operation above it and the host path that this implies."""
    if path in tree.ops:
        op = tree.ops[path]
        return op, host_source(op) if isinstance(op, Bind) else ""
    if isinstance(above, Bind):
        return above, behind
    return above, ""


def _walk(tree: Tree, path: str) -> tuple[Op | None, str]:
    """Return operation and host path of a path without links."""
    op, behind = _at(tree, "/", None, "")
    here = "/"
    for part in path.split("/"):
        if part:
            here = f"{here.rstrip('/')}/{part}"
            op, behind = _at(tree, here, op, f"{behind.rstrip('/')}/{part}" if behind else "")
    return op, behind


def search_path(plan: Plan, environ: Mapping[str, str]) -> str | None:
    """Return the PATH that the program is searched in; None when a command decides."""
    for variable in plan.environ:
        if variable.key == "PATH":
            if not isinstance(variable, SetVar):
                return EXEC_PATH
            return environ.get("PATH", "") if variable.inherited else variable.value.literal
    if plan.choice("inherit-env") and "PATH" in environ:
        return environ["PATH"]
    return EXEC_PATH


def working_directory(plan: Plan) -> str:
    """Return where the program starts: 'chdir', else the caller's directory where the sandbox has it; '' if unknown."""
    chdir = plan.choice("chdir")
    if chdir:
        literal = chdir if isinstance(chdir, str) else getattr(chdir, "literal", None)
        return literal if literal and literal.startswith("/") else ""
    try:
        here = os.getcwd()
    except OSError:  # it was removed
        return ""
    at = locate(plan, here)
    return here if at.what == "private" or (at.what == "host" and os.path.isdir(at.host)) else ""


def program(plan: Plan, name: str, environ: Mapping[str, str]) -> RedpakError | None:
    """Say why `name` cannot be run inside (NoProgram: 127, CannotRun: 126), None where nothing speaks against it."""
    node = plan.node
    if "/" in name:
        folder = "/" if name.startswith("/") else working_directory(plan)
        return _runnable(plan, f"{folder.rstrip('/')}/{name.lstrip('/')}") if folder else None
    path = search_path(plan, environ)
    if path is None:
        return None
    worst: RedpakError = NoProgram(
        f"program '{name}' is not in the sandbox of node '{node}'",
        hint=f"It was looked for in {path}; export a directory that holds it, or set 'path'.",
    )
    for folder in path.split(":") if name else ():
        if not folder.startswith("/"):
            return None
        reason = _runnable(plan, f"{folder.rstrip('/')}/{name}")
        if reason is None:
            return None
        if isinstance(reason, CannotRun):
            worst = reason
    return worst


def _runnable(plan: Plan, path: str) -> RedpakError | None:
    at = locate(plan, path)
    if at.what in ("unknown", "kernel"):
        return None
    if at.what in ("missing", "loop"):
        where = f" ('{at.host}' on the host)" if at.host else ""
        return NoProgram(
            f"program '{path}' is not in the sandbox of node '{plan.node}'{where}",
            hint="Look at the mounts with 'redpak plan'.",
        )
    if at.what == "private":
        return CannotRun(f"'{path}' is a directory", hint="Name a program.")
    if at.what == "made":
        return CannotRun(f"'{path}' is a file that the launch fills, not a program", hint="Name a program.")
    try:
        mode = os.stat(at.host).st_mode
    except OSError as error:
        return CannotRun(f"cannot run '{path}': {(error.strerror or '').lower()} ('{at.host}' on the host)")
    if stat.S_ISDIR(mode):
        return CannotRun(f"'{path}' is a directory", hint="Name a program.")
    if not os.access(at.host, os.X_OK, effective_ids=True):
        return CannotRun(f"'{path}' may not be executed ('{at.host}' on the host)", hint="Check its mode.")
    needed = interpreter(at.host)
    if needed and locate(plan, needed).what in ("missing", "loop"):
        return CannotRun(
            f"'{path}' needs '{needed}', which is not in the sandbox of node '{plan.node}'",
            hint="Export the directory that holds it.",
        )
    return None
