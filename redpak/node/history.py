"""What was done to a site's packages: one JSON document a transaction, in its generation, or kept when that is gone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from redpak.errors import NotFound, RedpakError
from redpak.node import generations
from redpak.packages.model import Item
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from redpak.packages.model import Site, Transaction

PLAIN = "var/lib/redpak/history"  # beneath a plain directory (dnf's --installroot)
SCHEMA = 1


class Entry(Record):
    """One transaction."""

    id: int  # also the generation's number
    parent: int = 0  # the generation that it started from, 0 = none
    command: str = ""  # as typed
    comment: str = ""
    releasever: str = ""
    user: str = ""  # who did it: name and number, "root (0)"
    begin: float = 0.0  # seconds since 1970
    end: float = 0.0
    result: str = "done"  # "done", "failed" (plain directories only)
    items: tuple[Item, ...] = ()
    skipped: tuple[str, ...] = ()  # nevra of what was left out
    reasons: tuple[tuple[str, str], ...] = ()  # ("name.arch", reason) of every package then installed; sorted
    changed: tuple[str, ...] = ()  # packages ("name.arch") that got another reason without being changed
    output: tuple[str, ...] = ()  # what scriptlets and rpm said
    digest: str = ""  # rpmdb.digest of the database after it
    parent_digest: str = ""  # the same before it
    rolled_back_to: int = 0  # for a roll-back: whose content it has
    there: bool = True  # the generation itself is still there

    @property
    def altered(self) -> int:
        """How many packages it changed."""
        return len(self.items)

    def data(self) -> dict[str, object]:
        """Return it for JSON."""
        said = {name: getattr(self, name) for name in self.__fields__ if name != "there"}
        return {
            "schema": SCHEMA,
            **said,
            "items": [{name: getattr(item, name) for name in Item.__fields__} for item in self.items],
            "reasons": dict(self.reasons),
        }


def parse(text: str, where: str, *, there: bool = True) -> Entry:
    """Return the entry that a document says. Raises RedpakError."""
    import json

    try:
        said = json.loads(text)
        items = tuple(
            Item(**{name: _frozen(entry[name]) for name in Item.__fields__ if name in entry})
            for entry in said["items"]
        )
        names = [name for name in Entry.__fields__ if name in said and name != "there"]
        rest: dict[str, Any] = {name: _frozen(said[name]) for name in names}
        return Entry(
            **{**rest, "items": items, "reasons": tuple(sorted(said["reasons"].items())), "there": there}
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RedpakError(
            f"the transaction in '{where}' cannot be read: {error}", hint="Move the file away."
        ) from error


def _frozen(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


def encode(entry: Entry) -> bytes:
    """Return an entry as its file's content."""
    import json

    return json.dumps(entry.data(), indent=1, sort_keys=True, ensure_ascii=False).encode(
        "utf-8", "surrogateescape"
    )


def read(path: str, *, there: bool = True) -> Entry:
    """Read one entry. Raises FileNotFoundError, RedpakError."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read(), path, there=there)


def entries(site: Site) -> list[Entry]:
    """Return all transactions of a site, oldest first. Raises RedpakError."""
    found: dict[int, Entry] = {}
    if not site.is_node:
        for number in kept(f"{site.path}/{PLAIN}"):
            found[number] = read(f"{site.path}/{PLAIN}/{number}.json")
        return [found[number] for number in sorted(found)]
    newest = generations.number_of(generations.current(site.path))
    for number in kept(f"{site.path}/{generations.HISTORY}"):
        found[number] = read(f"{site.path}/{generations.HISTORY}/{number}.json", there=False)
    for number in generations.numbers(site.path):
        if number <= newest:
            try:
                found[number] = read(f"{generations.directory(site.path, number)}/{generations.TRANSACTION}")
            except FileNotFoundError:
                continue  # collected meanwhile
    return [found[number] for number in sorted(found)]


def kept(folder: str) -> list[int]:
    """Return the numbers of the documents in a directory."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    numbers = [name[:-5] for name in names if name.endswith(".json")]
    return [int(number) for number in numbers if number.isascii() and number.isdigit()]


def entry(site: Site, number: int) -> Entry:
    """Return one transaction. Raises NotFound."""
    for one in entries(site):
        if one.id == number:
            return one
    raise NotFound(f"there is no transaction {number}", hint="List them with: redpak node history")


def last(site: Site) -> Entry | None:
    """Return the newest transaction, None before the first."""
    if site.is_node:
        generation = generations.current(site.path)
        try:
            return read(f"{generation}/{generations.TRANSACTION}") if generation else None
        except FileNotFoundError:
            return None
    numbers = kept(f"{site.path}/{PLAIN}")
    return read(f"{site.path}/{PLAIN}/{max(numbers)}.json") if numbers else None


def reasons(site: Site) -> dict[str, str]:
    """Return why each package of a site is installed: {"name.arch": reason}; what is not in it is unknown."""
    newest = last(site)
    return dict(newest.reasons) if newest else {}


def reasons_after(
    before: Mapping[str, str], transaction: Transaction, said: Mapping[str, str], there: set[str]
) -> tuple[tuple[str, str], ...]:
    """Return the reasons after a transaction. `there` are the packages installed then ("name.arch")."""
    now = dict(before)
    for item in transaction.items:
        name = f"{item.name}.{item.arch}"
        if item.action == "install":
            now[name] = item.reason
        elif item.action != "remove" and item.reason != "unknown":
            known = now.get(name, "unknown")
            now[name] = (
                "user" if "user" in (known, item.reason) else item.reason if known == "unknown" else known
            )
    now.update(said)
    return tuple(sorted((name, why) for name, why in now.items() if name in there))
