"""The sealed merge: ancestors bind their descendants. Pure: it looks at nothing but its arguments.

Nodes are visited from the oldest to the leaf, inside a node the admin file (in admin mode) before the normal one;
the core OS's main.yaml gives defaults only. There are three rules:

- what is plain (a tag, a variable, a mount): the oldest that says it wins, another value below is a warning;
- what constrains (a namespace, a capability, a limit, a read-only mount): a descendant may tighten it, and every
  attempt to loosen it is a fault that names both places;
- what is the leaf's own (the Private modes) stays with the leaf, but what an ancestor keeps read-only for itself
  is not for descendants to write either.
"""

from __future__ import annotations

from redpak.config.model import SEALED, Merged
from redpak.config.sealed_caps import capabilities
from redpak.config.sealed_environ import environ
from redpak.config.sealed_exports import exports
from redpak.config.sealed_ledger import Ledger
from redpak.config.sealed_limits import cgroups, rlimits
from redpak.config.sealed_tags import identity, search_path, shares, tags
from redpak.errors import BadConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Context, Family, MergedTag
    from redpak.errors import Fault


def merge(family: Family, context: Context) -> Merged:
    """Return what a family says together. Raises BadConfig with every fault of the whole family at once."""
    ledger = Ledger(family, context)
    who = identity(ledger)
    ledger.scope = ledger.scope.but(uid=number(ledger, who, "user"), gid=number(ledger, who, "group"))
    found_tags = {**who, **tags(ledger)}
    found_shares = shares(ledger)
    found_capabilities = capabilities(ledger)
    found_rlimits = rlimits(ledger)
    found_cgroups = cgroups(ledger)
    found_environ = environ(ledger)
    path = search_path("path", found_environ, ledger)
    ldpath = search_path("ldpath", found_environ, ledger)
    found_exports = exports(ledger)
    if ledger.notes.faults:
        raise BadConfig(sorted(ledger.notes.faults, key=place))
    return Merged(
        profile=SEALED,
        family=family,
        exports=found_exports,
        sealed=tuple(ledger.sealed),
        environ=found_environ,
        tags=found_tags,
        shares=found_shares,
        capabilities=found_capabilities,
        path=path,
        ldpath=ldpath,
        cgroups=found_cgroups,
        rlimits=found_rlimits,
        reads=ledger.notes.sorted_reads(),
        contests=tuple(ledger.contests),
        warnings=tuple(ledger.notes.warnings),
    )


def place(fault: Fault) -> tuple[str, int, int]:
    """Return where a fault stands, for sorting."""
    return fault.origin.file, fault.origin.line, fault.origin.column


def number(ledger: Ledger, tags: dict[str, MergedTag], kind: str) -> str:
    """Return the number of set-user or set-group, for $UID and $GID; '' when nobody sets it.

    A name is looked up in the host's user database; an unknown one is a fault.
    """
    tag = tags.get(f"set-{kind}")
    if tag is None:
        return ""
    name = str(tag.value)
    if name.isascii() and name.isdigit():
        return name
    try:
        if kind == "user":
            import pwd

            return str(pwd.getpwnam(name).pw_uid)
        import grp

        return str(grp.getgrnam(name).gr_gid)
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        ledger.fault(tag.origin, f"there is no {kind} '{name}' on this host", "Give a number, or create it.")
        return ""
