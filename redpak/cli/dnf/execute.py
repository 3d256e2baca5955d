"""From a goal to packages on disk: resolve, show, ask, download, check, change. Every changing command ends here."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.dnf import columns, transaction_table
from redpak.cli.dnf.confirm import confirmed
from redpak.cli.dnf.session import Failed, Silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redpak.cli.dnf.progress import Steps
    from redpak.cli.dnf.session import Session
    from redpak.packages.header import Header
    from redpak.packages.model import Item, Transaction
    from redpak.packages.problems import Unsolvable

REFUSED = 3  # exit code: descendants would break


def resolve_and_run(
    session: Session,
    *,
    allow_erasing: bool = False,
    reasons: Mapping[str, str] | None = None,
    adjust: Callable[[Transaction], Transaction] | None = None,
) -> int:
    """Solve the session's goal and carry it out; `reasons` are those that the command changes besides.

    `adjust` looks at the answer before it is shown, and returns it as it is to be shown.

    Returns the exit code. Raises Silent after a failure has been shown.
    """
    from redpak.packages.problems import Unsolvable

    erasing = allow_erasing or session.options.flag("allowerasing")
    conf = session.conf
    try:
        transaction = session.goal.resolve(
            best=conf.flag("best"),
            allow_erasing=erasing,
            skip_broken=is_lenient(session),
            weak_deps=conf.flag("install_weak_deps"),
        )
    except Unsolvable as problem:
        say_unsolvable(session, problem, erasing=erasing)
        raise Silent from None
    session.info("Dependencies resolved.")
    if adjust is not None:
        transaction = adjust(transaction)
    return carry(session, transaction, erasing=erasing, reasons=reasons or {})


def is_lenient(session: Session) -> bool:
    """Tell whether packages that cannot be installed are left out rather than an error."""
    return session.conf.flag("skip_broken") or not session.conf.flag("strict")


def say_unsolvable(session: Session, problem: Unsolvable, *, erasing: bool) -> None:
    """Print why nothing fits in dnf's form, then what the layers have to do with it and what may help."""
    session.err(f"Error: {problem.message}")
    ways = []
    if not erasing and has_conflicts(problem):
        ways.append("'--allowerasing' to command line to replace conflicting packages")
    if not is_lenient(session):
        ways.append("'--skip-broken' to skip uninstallable packages")
    if session.conf.flag("best") and session.conf.source("best") != "command line":
        ways.append("'--nobest' to use not only best candidate packages")
    if ways:
        session.info(f"(try to add {' or '.join(ways)})")
    if session.is_node:
        _say_places(session, problem)
    for text in problem.helps:
        session.err(f"what would help: {text}")
    if problem.hint:
        session.err(f"hint: {problem.hint}")
    if session.as_json:
        output.json(
            {"result": "unsolvable", "problems": problem.message.splitlines(), "helps": list(problem.helps)}
        )


def _say_places(session: Session, problem: Unsolvable) -> None:
    """Name the node or repository of every package in the chain."""
    places = dict.fromkeys(place for link in problem.chain for place in link.places)
    for place in places:
        note = " (not changed from here)" if place.locked else ""
        session.err(f"  {place.nevra}: {place.where}{note}")


def has_conflicts(problem: Unsolvable) -> bool:
    """Tell whether a package that would come stands in the way of others, so that erasing some might help."""
    return any(
        ("conflicts with" in link.text or "cannot install both" in link.text)
        and not any(place.locked for place in link.places)
        and any(not place.layer for place in link.places)
        for link in problem.chain
    )


def carry(session: Session, transaction: Transaction, *, erasing: bool, reasons: Mapping[str, str]) -> int:
    """Show a transaction, ask, and do it. Returns the exit code; raises RedpakError."""
    if transaction.problems:
        session.warn("\n" + "\n".join(transaction.problems))
    text = transaction_table.table(transaction, allow_erasing=erasing, origins=origins(session, transaction))
    if text:
        session.info(text)
    if not transaction.items:
        return _nothing(session, transaction, reasons)
    local = _bytes_here(session, transaction)
    for line in transaction_table.sizes(transaction, cached=local):
        session.info(line)
    if not descendants_agree(session, transaction):
        return REFUSED
    if session.options.flag("downloadonly"):
        session.info("DNF will only download packages for the transaction.")
    elif is_test(session):
        session.info("DNF will only download packages, install gpg keys, and check the transaction.")
    if not agreed(session):
        session.err("Operation aborted.")
        report(session, transaction, "aborted")
        return 1
    files = _files(session, transaction)
    if session.options.flag("downloadonly"):
        return _complete(session, transaction, "downloaded")
    return change(session, transaction, files, reasons)


def is_test(session: Session) -> bool:
    """Tell whether the transaction is only to be checked."""
    return "test" in session.conf.list("tsflags")


def _nothing(session: Session, transaction: Transaction, reasons: Mapping[str, str]) -> int:
    if reasons:
        from redpak.cli.dnf.past import remember_reasons

        remember_reasons(session, reasons)
    session.info("Nothing to do.")
    return _complete(session, transaction, "nothing")


def _complete(session: Session, transaction: Transaction, result: str, number: int = 0) -> int:
    session.info("Complete!")
    report(session, transaction, result, number)
    return 0


def agreed(session: Session) -> bool:
    if session.as_json and not session.conf.flag("assumeyes"):
        return False
    return confirmed(session)


def descendants_agree(
    session: Session, transaction: Transaction, *, headers: Mapping[str, Header] | None = None
) -> bool:
    """Tell whether nothing beneath the node breaks, or that was wanted; show what breaks and why.

    `headers`: those of the packages that come, by nevra, where they are in no repository.
    """
    if not session.is_node:
        return True
    from redpak.node.prove import breaks
    from redpak.node.writing import below

    session.below = below(
        session.site.path
    )  # before they are proved: who changes meanwhile is noticed at the end
    universe = None if headers is not None else session.universe
    broken = breaks(session.site, transaction, universe=universe, headers=headers)
    if not broken:
        return True
    session.err("Nodes beneath this one that it breaks:")
    for one in broken:
        session.err(str(one))
    if session.options.flag("break_descendants"):
        return True
    session.err("Error: the transaction would break nodes beneath this one")
    session.err("hint: Change those nodes first, or use --break-descendants.")
    report(session, transaction, "refused")
    return False


def origins(session: Session, transaction: Transaction) -> dict[str, str]:
    """Return where the packages that go came from: {nevra: "@repository"}."""
    from redpak.cli.dnf.past import repositories

    if not any(item.action == "remove" for item in transaction.items):
        return {}
    known = repositories(session.site)
    return {nevra: f"@{repo}" for nevra, repo in known.items()}


def _bytes_here(session: Session, transaction: Transaction) -> int:
    """Return how many of the bytes to download are on this machine: file:// repositories and files named."""
    from redpak.cli.dnf.repositories import is_local

    here = (
        {config.id for config in session.configs if is_local(config)}
        if _wants_repositories(transaction)
        else set()
    )
    return sum(
        item.download_size for item in transaction.items if item.repo in here or item.repo.startswith("@")
    )


def _wants_repositories(transaction: Transaction) -> bool:
    return any(not item.repo.startswith("@") for item in transaction.items)


def _files(session: Session, transaction: Transaction) -> dict[str, str]:
    """Download and check what comes. Returns {nevra: path}."""
    from redpak.cli.dnf.downloads import fetched

    coming = [item for item in transaction.items if item.action != "remove"]
    if not coming:
        return {}
    session.info("Downloading Packages:")
    return fetched(session, transaction)


def change(
    session: Session, transaction: Transaction, files: Mapping[str, str], reasons: Mapping[str, str]
) -> int:
    from redpak.cli.dnf.progress import Steps
    from redpak.node.install import carry_out
    from redpak.packages.transaction import RpmFailed, RpmRefused

    session.info("Running transaction check")
    session.info("Transaction check succeeded.")
    session.info("Running transaction test")
    steps = Steps(session, transaction)
    try:
        number = carry_out(
            session.site,
            transaction,
            files,
            command=command_line(session),
            comment=session.conf.text("comment"),
            reasons=dict(reasons),
            test=is_test(session),
            flags=flags_of(session),
            below=session.below,
            progress=steps,
        )
    except RpmRefused as error:
        told = error.message.partition("\n")[2]
        raise Failed(f"Transaction test error:\n{told}\n") from None
    except RpmFailed as error:
        _say_failed(session, transaction, steps)
        raise Failed("Transaction failed", hint=error.message) from None
    if is_test(session):
        session.info("Transaction test succeeded.")
        return _complete(session, transaction, "tested")
    steps.finish()
    done = transaction_table.done(transaction)
    if not session.as_json:
        session.out("\n" + "\n".join(done) + "\n")
    return _complete(session, transaction, "done", number)


def flags_of(session: Session) -> list[str]:
    """Return the flags of a transaction; of one that rpm does not know, dnf says so and goes on."""
    from redpak.packages.transaction import FLAGS

    known = []
    for flag in session.conf.list("tsflags"):
        if flag not in FLAGS:
            session.err(f"Invalid tsflag in config file: {flag}")
        elif flag != "test":
            known.append(flag)
    return known


def _say_failed(session: Session, transaction: Transaction, steps: Steps) -> None:
    """Print what scriptlets said and which packages could not be installed."""
    steps.begin()
    steps.failures()
    failed = {text for text in steps.said if text.endswith((": install failed", ": erase failed"))}
    names = [item.nevra for item in transaction.items if any(f" {item.nevra}: " in text for text in failed)]
    if names:
        session.info("\n" + "\n".join(["Failed:", *columns.spread(names)]) + "\n")


def command_line(session: Session) -> str:
    """Return the command as the history shows it: what was typed after the program's name."""
    return " ".join(session.options.words)


def report(session: Session, transaction: Transaction, result: str, number: int = 0) -> None:
    if session.as_json:
        output.json(
            {
                "result": result,
                "id": number or None,
                "items": [item_data(item) for item in transaction.items],
                "skipped": [
                    {"nevra": one.nevra, "repo": one.repo, "why": one.why} for one in transaction.skipped
                ],
                "problems": list(transaction.problems),
            }
        )


def item_data(item: Item) -> dict[str, object]:
    """Return an item for JSON."""
    return {
        "action": item.action,
        "nevra": item.nevra,
        "name": item.name,
        "epoch": item.epoch,
        "version": item.version,
        "release": item.release,
        "arch": item.arch,
        "repo": item.repo,
        "reason": item.reason,
        "because": item.because,
        "download_size": item.download_size,
        "install_size": item.install_size,
        "checksum": item.checksum,
        "replaces": list(item.replaces),
    }
