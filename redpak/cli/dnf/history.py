"""`history`: list, info, userinstalled, and undoing, redoing, going back by packages of the repositories."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.dnf import past, past_show
from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.session import Failed, Silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session

ACTIONS = ("list", "info", "redo", "replay", "rollback", "store", "undo", "userinstalled")
OPTIONS = (
    Option(flags=("--reverse",), dest="reverse", help="show the list in the other order"),
    Option(flags=("-o", "--output"), dest="output", kind="value", help="for store: the file to write"),
    Option(flags=("--ignore-installed",), dest="ignore_installed",
           help="for replay: do not mind packages that are installed already, or not any more"),
    Option(flags=("--ignore-extras",), dest="ignore_extras",
           help="for replay: do not mind packages that are pulled in besides"),
    Option(flags=("--skip-unavailable",), dest="skip_unavailable",
           help="for replay, undo, redo: leave out packages that no repository has"),
)  # fmt: skip
ARGUMENTS = (
    Argument(dest="action", count="?", metavar="COMMAND", help="list (default), " + ", ".join(ACTIONS[1:])),
    Argument(dest="transactions", count="*", metavar="TRANSACTION",
             help="a number, 'last', 'last-1', a range 2..4, or a package; for replay: a file"),
)  # fmt: skip


def run(session: Session, args: Parsed) -> int:
    """Show or use the history."""
    action, words = args.value("action", "list"), list(args.values("transactions"))
    if action not in ACTIONS:
        action, words = "list", [action, *words]
    match action:
        case "list":
            return _list(session, words, reverse=args.flag("reverse"))
        case "info":
            return _info(session, words)
        case "userinstalled":
            return _userinstalled(session)
        case _:
            from redpak.cli.dnf import replay

            return replay.run(session, action, words)


def meant(session: Session, words: list[str], entries: list[past.Entry]) -> set[int]:
    """Return the numbers that words stand for, of transactions that may not be there. Raises Silent."""
    wanted: set[int] = set()
    for word in words:
        try:
            numbers = past.numbers_of(word, entries)
        except Failed as error:
            session.err(error.message)
            raise Silent from None
        if not numbers:
            session.info(f"No transaction which manipulates package '{word}' was found.")
        wanted |= numbers
    return wanted


def _list(session: Session, words: list[str], *, reverse: bool) -> int:
    known = past.entries(session.site)
    wanted = meant(session, words, known)
    entries = [entry for entry in known[::-1] if entry.id in wanted or not words]
    if session.as_json:
        output.json([past_show.data(entry) for entry in entries])
    elif wanted or not words:
        session.out("\n".join(past_show.table(entries[::-1] if reverse else entries)))
    return 0


def _info(session: Session, words: list[str]) -> int:
    entries = past.entries(session.site)
    if not entries:
        session.err("No transactions")
        raise Failed("Failed history info")
    wanted = meant(session, words, entries) if words else {entries[-1].id}
    found = [entry for entry in entries[::-1] if entry.id in wanted]
    if session.as_json:
        output.json([past_show.data(entry) for entry in found])
    elif found:
        session.out(
            f"\n{'-' * 79}\n".join(
                "\n".join(past_show.details(entry, past.installed_before(entry, entries))) for entry in found
            )
        )
    return 0


def _userinstalled(session: Session) -> int:
    names = [package for package in session.installed.query().own() if package.reason in ("user", "unknown")]
    if session.as_json:
        output.json([str(package) for package in sorted(names)])
        return 0
    if not names:
        session.err("Error: No packages to list")
        raise Silent
    session.out("\n".join(["Packages installed by user", *(str(package) for package in sorted(names))]))
    return 0
