"""Expansion of `$NAME` and `$(command)` in configuration strings. Runs nothing and changes nothing by itself.

Grammar: `\\$` is a dollar sign; `$NAME` takes the longest run of [0-9A-Za-z_]; `$(…)` with balanced
parentheses is a command; any other `$` vanishes. A name is looked up in the table of tags below (its case
counts), then in the caller's environment. What is found is expanded again, commands off.

What is only known when the program starts stays in the Text: `$(…)` as a Run part, `$PID`, `$UUID` and
`$TODAY` as Ask parts. Tags inside a command are expanded first, so that a Run's command is plain text; PID,
UUID and TODAY cannot stand inside a command (a fault) unless the scope answers them at once.

Faults, warnings and the variables that were read are collected in `scope.notes`: an expansion always returns
a Text, made of what could be expanded, so that all faults of a family can be reported together.
"""

from __future__ import annotations

from redpak import paths
from redpak.errors import Fault
from redpak.origin import DEFAULT, Origin
from redpak.record import Record
from redpak.text import Ask, Run, Text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.config.model import Context, Family, Node
    from redpak.text import Asked

    Piece = str | Run | Ask

MOST_DEPTH = 16  # values found in values
MOST_SIZE = 65536  # characters of one expanded string
MOST_TAGS = 4096  # values that one string may lead to
_NAME = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_DOLLAR = "Write \\$ for a dollar."
_ASKED = ("PID", "UUID", "TODAY")

# Tags that are a file of the node that defines the entry.
_NODE_FILES = {
    "REDNODE_CONF": paths.NORMAL_CONFIGS[0],
    "REDNODE_ADMIN": paths.ADMIN_CONFIGS[0],
    "REDNODE_STATUS": paths.STATUS,
    "REDNODE_REPODIR": paths.REPOSITORIES,
    "REDNODE_LOCK": paths.RPM_LOCK,
    "REDNODE_VARDIR": paths.RPM_DATABASE,
}
# Tags that are the caller's variable, or this when it is unset.
_VARIABLES = {
    "NODE_PREFIX": "",
    "redpak_MAIN": f"$NODE_PREFIX{paths.SYSTEM_CONFIG}/main.yaml",
    "redpak_TMPL": f"$NODE_PREFIX{paths.SYSTEM_CONFIG}/templates.d",
    "USER": "Unknown",
    "LOGNAME": "Unknown",
    "HOSTNAME": "localhost",
    "REDPESK_VERSION": "agl-redpesk9",
}


class Notes:
    """What expansions found out besides their result. Shared by all scopes of one merge; grows."""

    def __init__(self) -> None:
        self.reads: dict[str, str | None] = {}  # the caller's variables that were looked at; None = unset
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []

    def sorted_reads(self) -> tuple[tuple[str, str | None], ...]:
        """Return the reads as `Merged.reads` wants them."""
        return tuple(sorted(self.reads.items()))


class Scope(Record):
    """Where an entry was written, and what it may see. `scope.but(owner=…)` is the scope of another node."""

    family: Family
    owner: int  # index in family.nodes of the node that defines the entry; -1 is the core OS (main.yaml)
    context: Context
    uid: str = ""  # final user number when set-user or the command line gave one; "" = the caller's
    gid: str = ""  # final group number, likewise
    place: bool = False  # a path is expanded: a younger leaf's words in it may name one component, no more
    upstream: bool = False  # upstream-2.5: node paths as spelled, `#undef:KEY`, unknown tags silently nothing
    run: Callable[[str], str] | None = None  # runs a command at once; None: it stays a Run part
    ask: Callable[[Asked], str] | None = None  # answers PID, UUID, TODAY at once; None: they stay Ask parts
    notes: Notes


def expand(raw: str, scope: Scope, *, commands: bool = True, origin: Origin = DEFAULT) -> Text:
    """Return `raw` with its tags replaced. Faults and warnings (at `origin`) go to `scope.notes`.

    With `commands` off, a `$(…)` in `raw` is a fault when sealed; under upstream-2.5 its `$` vanishes.
    """
    if "$" not in raw:
        return text(raw)
    return _Expansion(raw, scope, origin).result(commands=commands)


def expand_again(first: Text, scope: Scope, *, origin: Origin = DEFAULT) -> Text:
    """Expand what is literal in an expanded text once more (upstream-2.5 does so for hostname and chdir)."""
    parts: list[Piece] = []
    for part in first.parts:
        if isinstance(part, str):
            parts.extend(expand(part, scope, origin=origin).parts)
        else:
            parts.append(part)
    return text(*parts)


class _Expansion:
    """One string being expanded."""

    def __init__(self, raw: str, scope: Scope, origin: Origin) -> None:
        self.raw = raw
        self.scope = scope
        self.origin = origin
        self.tags = 0  # looked up so far
        self.size = 0  # characters so far

    def result(self, *, commands: bool) -> Text:
        """Expand the string."""
        done = text(*self.pieces(self.raw, (), commands=commands))
        if self.size > MOST_SIZE:
            self.fault(f"'{_short(self.raw)}' expands to more than {MOST_SIZE} characters")
            return text()
        if self.tags > MOST_TAGS:
            self.fault(f"'{_short(self.raw)}' refers to more than {MOST_TAGS} values")
            return text()
        return done

    def pieces(
        self, raw: str, within: tuple[str, ...], *, commands: bool, nested: bool = False
    ) -> list[Piece]:
        """Expand `raw`, found through the tags `within`; `nested` means inside a command."""
        done: list[Piece] = []
        at = 0
        while at < len(raw) and self.size <= MOST_SIZE and self.tags <= MOST_TAGS:
            dollar = raw.find("$", at)
            if dollar < 0:
                dollar = len(raw)
            escaped = at < dollar < len(raw) and raw[dollar - 1] == "\\"
            plain = raw[at : dollar - 1] + "$" if escaped else raw[at:dollar]
            self.size += len(plain)
            done.append(plain)
            at = dollar + 1
            if escaped or dollar == len(raw):
                continue
            if raw[at : at + 1] == "(":
                at = self.command(raw, at, within, done, commands=commands, nested=nested)
                continue
            while at < len(raw) and raw[at] in _NAME:
                at += 1
            if at > dollar + 1:
                self.tag(raw[dollar + 1 : at], within, done, nested=nested)
        return done

    def command(
        self, raw: str, at: int, within: tuple[str, ...], done: list[Piece], *, commands: bool, nested: bool
    ) -> int:
        """Take the `(…)` at `at`, add its command to `done`; return where to go on."""
        end = _closing(raw, at)
        if end < 0 or not commands:
            if self.scope.upstream or within:
                return at  # the dollar vanishes
            if end < 0:
                self.fault(f"'{_short(raw[at - 1 :])}' has no closing parenthesis", _DOLLAR)
                return len(raw)
            where = "inside a command" if nested else "here"
            self.fault(f"a command cannot stand {where}: '{_short(raw[at - 1 : end + 1])}'", _DOLLAR)
            return end + 1
        inner = text(*self.pieces(raw[at + 1 : end], within, commands=False, nested=True))
        command = inner.literal or ""
        done.append(Run(command=command) if self.scope.run is None else self.scope.run(command))
        return end + 1

    def tag(self, name: str, within: tuple[str, ...], done: list[Piece], *, nested: bool) -> None:
        """Add the value of a tag to `done`."""
        self.tags += 1
        if name in _ASKED:
            asked: Asked = name  # type: ignore[assignment]
            if self.scope.ask is not None:
                done.append(self.scope.ask(asked))
            elif nested:
                self.fault(f"'${name}' cannot stand inside a command: it is only known at the start")
            else:
                done.append(Ask(name=asked))
        elif name in within:
            self.fault(f"'${name}' refers to itself", f"Set {name} to a value without ${name}.")
        elif len(within) >= MOST_DEPTH:
            self.fault(f"'${within[0]}' is nested more than {MOST_DEPTH} deep")
        else:
            value, final = _look_up(name, self.scope, self.origin)
            if final or "$" not in value:
                self.size += len(value)
                done.append(value)
            else:
                done.extend(self.pieces(value, (*within, name), commands=False, nested=nested))

    def fault(self, message: str, hint: str = "") -> None:
        """Note a fault, once."""
        fault = Fault(origin=self.origin, message=message, hint=hint)
        if fault not in self.scope.notes.faults:
            self.scope.notes.faults.append(fault)


def _closing(raw: str, opening: int) -> int:
    """Return where the parenthesis at `opening` is closed, -1 if nowhere."""
    depth = 0
    for at in range(opening, len(raw)):
        if raw[at] == "(":
            depth += 1
        elif raw[at] == ")":
            depth -= 1
            if depth == 0:
                return at
    return -1


def _look_up(name: str, scope: Scope, origin: Origin) -> tuple[str, bool]:
    """Return a tag's value, and whether it is data that must not be expanded again."""
    if name.startswith(("NODE_", "LEAF_")) and name[5:] in ("ALIAS", "NAME", "PATH", "INFO"):
        value = _of_node(name[5:], scope, leaf=name[0] == "L")
        if scope.upstream:
            return value or f"#undef:{name}", False
        if (
            scope.place
            and name[0] == "L"
            and name != "LEAF_PATH"
            and scope.owner < len(scope.family.nodes) - 1
        ):
            _check_component(name, value, scope, origin)
        return value, True
    if name in _NODE_FILES:
        return f"{_of_node('PATH', scope, leaf=False)}/{_NODE_FILES[name]}", not scope.upstream
    if name == "UID":
        return scope.uid or str(scope.context.uid), True
    if name == "GID":
        return scope.gid or str(scope.context.gid), True
    found = _variable(name, scope)
    if found is not None:
        return found, False
    if name in _VARIABLES:
        return _VARIABLES[name], False
    if name == "CGROUPS_MOUNT_POINT":
        return _cgroup_mount(), True
    if not scope.upstream:
        scope.notes.warnings.append(
            Fault(
                origin=origin,
                message=f"'${name}' is neither a tag nor a variable, taking nothing",
                hint=_DOLLAR,
            )
        )
    return "", True


def _check_component(name: str, value: str, scope: Scope, origin: Origin) -> None:
    """Fault a leaf's word that would lead an ancestor's path to another place than one in its directory."""
    if value in ("", ".", "..") or "/" in value:
        fault = Fault(
            origin=scope.family.leaf.normal.alias_origin,
            message=f"'{value}' as ${name} cannot be a part of the path at {origin}",
            hint=f"Set headers.{name[5:].lower()} to a word without '/'.",
        )
        if fault not in scope.notes.faults:
            scope.notes.faults.append(fault)


def _variable(name: str, scope: Scope) -> str | None:
    value = scope.context.environ.get(name)
    scope.notes.reads[name] = value
    return value


def _of_node(what: str, scope: Scope, *, leaf: bool) -> str:
    """Return ALIAS, NAME, PATH or INFO of the leaf or of the entry's node; the core OS's path is ''."""
    family = scope.family
    if scope.owner < 0 and not leaf:
        defaults = family.defaults
        if what == "PATH" or defaults is None:
            return ""
        return {"ALIAS": defaults.alias, "NAME": defaults.name, "INFO": defaults.info}[what]
    node: Node = family.leaf if leaf else family.nodes[scope.owner]
    if what == "PATH":
        return node.path if scope.upstream else node.real
    return {"ALIAS": node.normal.alias, "NAME": node.normal.name, "INFO": node.normal.info}[what]


def _cgroup_mount() -> str:
    """Return the first cgroup2 mount point of this process (proc_pid_mounts(5)), else the usual one."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                fields = line.split(" ")
                if len(fields) > 2 and fields[2] == "cgroup2":
                    return fields[1]
    except OSError:
        pass  # no /proc: the usual place is as good an answer as any
    return "/sys/fs/cgroup"


def _short(raw: str) -> str:
    return raw if len(raw) <= 60 else raw[:57] + "…"
