"""`install --locked FILE`: exactly the packages of a lock, no more and no fewer."""

from __future__ import annotations

from redpak.cli.dnf import transaction_table
from redpak.cli.dnf.execute import REFUSED, agreed, change, descendants_agree, is_test, origins, report
from redpak.cli.dnf.session import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.lock import Lock
    from redpak.packages.model import Transaction


def run_locked(session: Session, args: Parsed) -> int:
    """Bring a site to what a lock says. Returns the exit code; raises Refused with every reason why it must not."""
    from redpak.node import lock as locks
    from redpak.packages import lock as files

    if args.values("packages"):
        raise Failed("--locked takes no packages: the lock says which")
    wanted = files.read(args.value("locked"))
    trusted = _key(args.value("locked_key")) if args.given("locked_key") else ""
    transaction = locks.transaction_of(session.site, wanted, trusted=trusted)
    changed = _changed_reasons(session, wanted)
    if not transaction.items:
        if changed:
            from redpak.cli.dnf.past import remember_reasons

            remember_reasons(session, changed)
        locks.remember(session.site, wanted)
        session.info("Nothing to do.\nComplete!")
        report(session, transaction, "nothing")
        return 0
    session.info(transaction_table.table(transaction, origins=origins(session, transaction)))
    for line in transaction_table.sizes(transaction):
        session.info(line)
    if not descendants_agree(session, transaction):
        return REFUSED
    if not agreed(session):
        session.err("Operation aborted.")
        report(session, transaction, "aborted")
        return 1
    return _carry_out(session, wanted, transaction, changed)


def _key(path: str) -> str:
    from redpak.errors import doing
    from redpak.packages.lock import public_key

    with doing("read the public key"), open(path, "rb") as file:
        return public_key(file.read(1 << 16))


def _changed_reasons(session: Session, wanted: Lock) -> dict[str, str]:
    """Return the reasons that the lock gives and the history does not."""
    from redpak.node.history import reasons
    from redpak.node.lock import reasons_of

    now = reasons(session.site)
    return {name: why for name, why in reasons_of(wanted).items() if now.get(name) != why}


def _carry_out(session: Session, wanted: Lock, transaction: Transaction, changed: Mapping[str, str]) -> int:
    from redpak.cli.dnf.downloads import confirmer, said_as_dnf_does
    from redpak.cli.dnf.progress import Downloads
    from redpak.node import lock as locks

    if any(item.action != "remove" for item in transaction.items):
        session.info("Downloading Packages:")
    with said_as_dnf_does(session):
        paths = locks.files(
            session.site, wanted, transaction, session.metadata,
            confirm=confirmer(session), progress=Downloads(session),
        )  # fmt: skip
    if session.options.flag("downloadonly"):
        session.info("Complete!")
        report(session, transaction, "downloaded")
        return 0
    code = change(session, transaction, paths, changed)
    if not code and not is_test(session):
        locks.remember(session.site, wanted)
    return code
