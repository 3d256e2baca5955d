"""`rollback`: go back to the packages of an earlier transaction, as they were on disk: nothing is downloaded."""

from __future__ import annotations

from redpak.cli.dnf import past, transaction_table
from redpak.cli.dnf.execute import REFUSED, agreed, command_line, descendants_agree, report
from redpak.cli.dnf.options import Argument, Option
from redpak.errors import NotFound, Refused
from redpak.packages.model import SYSTEM, Item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.header import Header
    from redpak.packages.model import Action, Transaction

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (
    Argument(dest="transaction", count="?", metavar="TRANSACTION",
             help="a transaction of the history: its number, 'last-1' …; the one before the last when left out"),
)  # fmt: skip


def run(session: Session, args: Parsed) -> int:
    """Go back to an earlier generation, as a new transaction."""
    from redpak.node.install import rollback

    site = session.site
    if not site.is_node:
        raise Refused(
            f"'{site.path}' is no node and keeps no generations",
            hint="Use 'history rollback', which takes packages from the repositories.",
        )
    wanted = _wanted(session, args.value("transaction"))
    transaction, headers = difference(session, wanted)
    text = transaction_table.table(transaction)
    if text:
        session.info(text)
    if not descendants_agree(session, transaction, headers=headers):
        return REFUSED
    if not agreed(session):
        session.err("Operation aborted.")
        report(session, transaction, "aborted")
        return 1
    number = rollback(
        site,
        wanted,
        command=command_line(session),
        comment=session.conf.text("comment"),
        items=transaction.items,
        below=session.below,
    )
    session.info(f"Went back to the packages of transaction {wanted}.\nComplete!")
    report(session, transaction, "done", number)
    return 0


def _wanted(session: Session, word: str) -> int:
    known = past.entries(session.site)
    if not known:
        raise NotFound(f"node '{session.site.path}' has no transaction to go back to")
    if not word and not known[-1].parent:
        raise NotFound(
            f"node '{session.site.path}' had no packages before its only transaction",
            hint="Take that one back with: redpak node history PATH undo last",
        )
    if not word:
        return known[-1].parent
    numbers = past.numbers_of(word, known) & {entry.id for entry in known}
    if not numbers:
        raise NotFound(f"there is no transaction '{word}'", hint="See 'redpak node history PATH'.")
    if len(numbers) > 1:
        raise NotFound(
            f"'{word}' means several transactions: {', '.join(map(str, sorted(numbers)))}",
            hint="Name one of them.",
        )
    return numbers.pop()


def difference(session: Session, number: int) -> tuple[Transaction, dict[str, Header]]:
    """Return what changes when generation `number` is taken instead of the present one, and its packages by nevra.

    Raises NotFound.
    """
    import os

    from redpak.node.generations import DATABASE, directory
    from redpak.packages import rpmdb
    from redpak.packages.model import Transaction

    folder = os.path.join(directory(session.site.path, number), DATABASE)
    if number and not os.path.isdir(folder):
        raise NotFound(
            f"the generation of transaction {number} is no longer kept",
            hint=f"Use 'history rollback {number}', which takes packages from the repositories.",
        )
    now = {(one.name, one.arch): one for one in rpmdb.read(session.site.own.rpmdb)}
    then = {(one.name, one.arch): one for one in rpmdb.read(folder)} if number else {}
    return Transaction(items=tuple(_items(now, then))), {header.nevra: header for header in then.values()}


def _items(now: Mapping[tuple[str, str], Header], then: Mapping[tuple[str, str], Header]) -> list[Item]:
    from redpak.packages import evr

    items = []
    for key in sorted({*now, *then}):
        before, after = now.get(key), then.get(key)
        if before is None and after is not None:
            items.append(_item("install", after))
        elif after is None and before is not None:
            items.append(_item("remove", before))
        elif before is not None and after is not None:
            order = evr.compare(after.evr, before.evr)
            if order:
                action: Action = "upgrade" if order > 0 else "downgrade"
                items.append(_item(action, after).but(replaces=(before.nevra,)))
    return items


def _item(action: Action, header: Header) -> Item:
    return Item(
        action=action, name=header.name, epoch=header.epoch or 0, version=header.version, release=header.release,
        arch=header.arch, repo=SYSTEM, reason="user", install_size=header.size,
    )  # fmt: skip
