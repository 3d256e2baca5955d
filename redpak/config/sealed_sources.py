"""Can a writable source touch a read-only one? Decided on paths as written; node/plan.py repeats it on the disk.

A source is known exactly, or (with $PID, $UUID or $TODAY in it) by how it begins, or not at all: the output of
a command. What cannot be told apart counts as touching.
"""

from __future__ import annotations

from redpak import paths
from redpak.config.mountpath import is_at_or_beneath, is_beneath, normalise
from redpak.record import Record
from redpak.text import Ask, Run, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Node
    from redpak.text import Text

# What lies beneath these is another name of something else, and another one for every process (proc(5)).
ALIASES = ("/proc", "/dev/fd")
NAMES = ("/dev/stdin", "/dev/stdout", "/dev/stderr")


class Reach(Record):
    """Where a source may be: at `lead`, or when it is not `exact` at any path whose text begins with `lead`."""

    lead: str
    exact: bool = True


ANYWHERE = Reach(lead="/", exact=False)


def reach(source: Text, *, writable: bool) -> Reach:
    """Return where a source, as `clean` returns it, may be. A writable alias may be anywhere."""
    path = source.literal
    if path is None:
        if any(isinstance(part, Run) for part in source.parts):
            return ANYWHERE
        lead = source.parts[0]
        return Reach(lead=lead, exact=False) if isinstance(lead, str) else ANYWHERE
    if writable and (path in NAMES or path in ALIASES[1:] or any(is_beneath(path, top) for top in ALIASES)):
        return ANYWHERE
    return Reach(lead=path)


def may_touch(one: Reach, other: Reach) -> bool:
    """Tell whether one may be at, beneath or above the other."""
    if one.exact and other.exact:
        return is_at_or_beneath(one.lead, other.lead) or is_at_or_beneath(other.lead, one.lead)
    if one.exact:
        one, other = other, one
    if other.exact:
        return other.lead.startswith(one.lead) or is_at_or_beneath(_folder(one.lead), other.lead)
    return one.lead.startswith(other.lead) or other.lead.startswith(one.lead)


def how(source: Reach, sealed: Reach) -> str:
    """Say how a source touches a sealed one: '… what A shows read-only'."""
    if not (source.exact and sealed.exact):
        return "cannot be told from"
    if source.lead == sealed.lead:
        return "is"
    return "lies beneath" if is_beneath(source.lead, sealed.lead) else "contains"


def clean(source: Text) -> Text:
    """Return a source with normalised literal parts. Raises ValueError as `mountpath.normalise` does."""
    if source.literal is not None:
        return text(normalise(source.literal))
    lead = source.parts[0]
    if isinstance(lead, Ask):
        raise ValueError("is not absolute")
    if isinstance(lead, Run):
        return source
    normalise("".join(part if isinstance(part, str) else "x" for part in source.parts))
    folder, _, name = lead.rpartition("/")
    return text(f"{normalise(folder or '/').rstrip('/')}/{name}", *source.parts[1:])


def binding_files(node: Node) -> tuple[str, ...]:
    """Return the files of a node that say what binds its descendants, and where its packages are."""
    names = (*paths.NORMAL_CONFIGS, *paths.ADMIN_CONFIGS, paths.STATUS, paths.PACKAGES)
    return tuple(f"{node.real.rstrip('/')}/{name}" for name in names)


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "/"
