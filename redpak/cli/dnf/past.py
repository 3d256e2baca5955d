"""What the history knows: transactions, why each package is there, and where it came from."""

from __future__ import annotations

from redpak.cli.dnf.session import Failed
from redpak.node import history
from redpak.node.history import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redpak.cli.dnf.session import Session
    from redpak.packages.model import Reason, Site

__all__ = ["Entry", "entries", "numbers_of", "reasons", "remember_reasons", "repositories"]


def entries(site: Site) -> list[Entry]:
    """Return all transactions, the oldest first."""
    return history.entries(site)


def reasons(site: Site) -> dict[str, Reason]:
    """Return why packages are there: {"name.arch": reason}, as the newest transaction has it."""
    return history.reasons(site)  # type: ignore[return-value]  # written by ourselves


def repositories(site: Site) -> dict[str, str]:
    """Return where packages came from: {nevra: repository}."""
    known: dict[str, str] = {}
    for entry in entries(site):
        for item in entry.items:
            if item.action != "remove":
                known[item.nevra] = item.repo
    return known


def installed_before(entry: Entry, known: Sequence[Entry]) -> dict[str, tuple[str, str]]:
    """Return what earlier transactions installed: {"name.arch": (nevra, repository)}."""
    found: dict[str, tuple[str, str]] = {}
    for one in known:
        if one.id < entry.id:
            for item in one.items:
                if item.action != "remove":
                    found[f"{item.name}.{item.arch}"] = (item.nevra, item.repo)
    return found


def remember_reasons(session: Session, changed: Mapping[str, str]) -> int:
    """Write down other reasons, as a transaction of its own. Returns its number."""
    from redpak.cli.dnf.execute import command_line
    from redpak.node.install import mark

    return mark(session.site, changed, command=command_line(session))


def numbers_of(word: str, known: Sequence[Entry], *, one: str = "") -> set[int]:
    """Return the transactions that a word means: 3, last, last-1, 2..4, or a package; none is an empty set.

    `one` is the command that takes one transaction alone. Raises Failed.
    """
    last = known[-1].id if known else 0
    if ".." in word:
        first, _, end = word.partition("..")
        low, high = sorted((_end(first, last), _end(end, last)))
        if one and low != high:
            raise Failed(
                f"Found more than one transaction ID.\n'{one}' requires one transaction ID or package name."
            )
        return set(range(low, high + 1))
    number = _number(word, last)
    if number is not None:
        return {number}
    return {entry.id for entry in known if any(_matches(item, word) for item in entry.items)}


def _end(word: str, last: int) -> int:
    number = _number(word, last)
    if number is None:
        raise Failed(f"Can't convert '{word}' to transaction ID.\nUse '<number>', 'last', 'last-<number>'.")
    return number


def _number(word: str, last: int) -> int | None:
    if word == "last":
        return last
    if word.startswith("last-") and word[5:].isdigit():
        return last - int(word[5:])
    if word.lstrip("-").isdigit():
        number = int(word)
        return number if number > 0 else last + number
    return None


def _matches(item: object, word: str) -> bool:
    from fnmatch import fnmatchcase

    names = (getattr(item, "name", ""), getattr(item, "nevra", ""))
    return any(fnmatchcase(name, word) for name in names)
