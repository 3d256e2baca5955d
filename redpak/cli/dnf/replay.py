"""`history undo|redo|rollback|store|replay`: transactions of the past, by packages that repositories have."""

from __future__ import annotations

import json
import os

from redpak.cli.dnf import past
from redpak.cli.dnf.confirm import asked
from redpak.cli.dnf.execute import resolve_and_run
from redpak.cli.dnf.session import Failed, Silent
from redpak.errors import doing
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redpak.cli.dnf.past import Entry
    from redpak.cli.dnf.session import Session
    from redpak.packages.model import Item, Transaction

VERSION = "1.0"
# What stored transactions call the actions; the second word is what happened to the packages that went in exchange.
WORDS = {"install": ("Install", "Obsoleted"), "upgrade": ("Upgrade", "Upgraded"),
         "downgrade": ("Downgrade", "Downgraded"), "reinstall": ("Reinstall", "Reinstalled"),
         "remove": ("Removed", "Removed")}  # fmt: skip
COMING = ("Install", "Upgrade", "Downgrade", "Reinstall")
EXTRA = 'Package nevra "{}", which is not present in the transaction file, was pulled into the transaction.'
GOING = ("Removed", "Upgraded", "Downgraded", "Reinstalled", "Obsoleted")


class Wish(Record):
    """What a replayed transaction wants of one package."""

    nevra: str
    action: str  # of COMING or GOING, or 'Reason Change'
    reason: str = ""


def run(session: Session, action: str, words: list[str]) -> int:
    """Do one of these. Returns the exit code."""
    if action == "replay":
        return _replay(session, words)
    entry = _one(session, action, words)
    match action:
        case "store":
            return _store(session, entry)
        case "redo":
            wishes = wishes_of(entry)
        case "undo":
            wishes = undone([entry], past.entries(session.site))
        case _:
            known = past.entries(session.site)
            wishes = undone([one for one in known if one.id > entry.id], known)
    return carry_wishes(session, wishes, ignore=True)


def _one(session: Session, action: str, words: list[str]) -> Entry:
    known = past.entries(session.site)
    if not words:
        if action != "store":
            session.err("No transaction ID or package name given.")
        raise Failed("No transaction ID or package name given.")
    if len(words) > 1:
        told = f"Found more than one transaction ID.\n'{action}' requires one transaction ID or package name."
        session.err(told)
        raise Failed(told)
    try:
        numbers = past.numbers_of(words[0], known, one=action)
    except Failed as error:
        session.err(error.message)
        raise Silent from None
    if not numbers:
        session.err(f"No transaction which manipulates package '{words[0]}' was found.")
        raise Silent
    found = [entry for entry in known if entry.id in numbers]
    if not found:
        raise Failed(f'Transaction ID "{words[0]}" not found.')
    if len(found) > 1:
        raise Failed("Found more than one transaction ID!")
    return found[0]


# ---- what is wanted ----


def wishes_of(entry: Entry) -> list[Wish]:
    """Return what a transaction did, to be done again."""
    wishes = []
    for item in entry.items:
        reason = dict(entry.reasons).get(f"{item.name}.{item.arch}", item.reason)
        wishes.append(Wish(nevra=item.nevra, action=WORDS[item.action][0], reason=reason))
        wishes += [Wish(nevra=nevra, action=_gone(item, nevra)) for nevra in item.replaces]
    return wishes


def _gone(item: Item, nevra: str) -> str:
    return "Obsoleted" if nevra in item.obsoletes else WORDS[item.action][1]


def undone(entries: Sequence[Entry], known: Sequence[Entry]) -> list[Wish]:
    """Return what takes some successive transactions back: the difference between before them and after them."""
    come: dict[str, str] = {}  # packages that they brought: nevra -> what undoes that
    gone: dict[str, str] = {}
    again: dict[str, None] = {}
    for entry in sorted(entries, key=lambda one: one.id, reverse=True):
        for item in entry.items:
            if item.action == "reinstall":
                again[item.nevra] = None
            elif item.action == "remove":
                _put_back(item.nevra, "Install", come, gone)
            else:
                back = {"upgrade": "Downgrade", "downgrade": "Upgrade"}.get(item.action, "Removed")
                if gone.pop(item.nevra, None) is None:
                    come[item.nevra] = "Removed" if back == "Removed" else f"{back}d"
                for nevra in item.replaces:
                    _put_back(nevra, "Install" if nevra in item.obsoletes else back, come, gone)
    first = min((entry.id for entry in entries), default=0)
    before = next((dict(one.reasons) for one in reversed(known) if one.id < first), {})
    now = dict(known[-1].reasons) if known else {}
    wishes = [
        Wish(nevra=nevra, action=action, reason=now.get(_name_arch(nevra), "user"))
        for nevra, action in come.items()
    ]
    wishes += [
        Wish(nevra=nevra, action=action, reason=before.get(_name_arch(nevra), "user"))
        for nevra, action in gone.items()
    ]
    wishes += [
        Wish(nevra=nevra, action="Reinstall") for nevra in again if nevra not in come and nevra not in gone
    ]
    for entry in entries:
        if not entry.items:
            wishes += [_old_reason(name, before) for name in entry.changed]
    return wishes


def _put_back(nevra: str, action: str, come: dict[str, str], gone: dict[str, str]) -> None:
    if come.pop(nevra, None) is None:
        gone[nevra] = action


def _old_reason(name: str, before: Mapping[str, str]) -> Wish:
    return Wish(nevra=name, action="Reason Change", reason=before.get(name, "user"))


def _name_arch(nevra: str) -> str:
    from redpak.cli.dnf.transaction_table import taken_apart

    name, _, arch = taken_apart(nevra)
    return f"{name}.{arch}"


# ---- carrying it out ----


def carry_wishes(
    session: Session, wishes: Sequence[Wish], *, ignore: bool, source: str = "", extras_matter: bool = False
) -> int:
    """Ask the goal for all of it and carry the answer out. `ignore`: what is there, or gone, already is no error."""
    session.conf.set("clean_requirements_on_remove", value=False)
    session.conf.set("install_weak_deps", value=False)
    skip = session.options.flag("skip_unavailable")
    reasons: dict[str, str] = {}
    errors: list[str] = []
    warnings: list[str] = []
    for wish in wishes:
        if wish.action == "Reason Change":
            reasons[wish.nevra] = wish.reason
            continue
        told, lenient = _ask(session, wish, skip=skip, ignore=ignore)
        if told:
            (warnings if lenient else errors).append(told)
        elif wish.action in COMING and wish.reason:
            reasons[_name_arch(wish.nevra)] = wish.reason
    which = (
        f'while replaying the transaction from file "{source}"' if source else "while running a transaction"
    )
    if errors:
        raise Failed(f"The following problems occurred {which}:" + "".join(f"\n  {one}" for one in errors))
    known = {wish.nevra: wish for wish in wishes}

    def adjust(transaction: Transaction) -> Transaction:
        extras = [EXTRA.format(item.nevra) for item in transaction.items if item.nevra not in known]
        if extras and extras_matter:
            raise Failed(
                f"The following problems occurred {which}:" + "".join(f"\n  {one}" for one in extras)
            )
        warnings.extend(extras)
        return transaction.but(
            items=tuple(_as_before(item, known.get(item.nevra)) for item in transaction.items)
        )

    code = resolve_and_run(session, reasons=reasons, allow_erasing=True, adjust=adjust)
    if warnings:
        session.warn("Warning, the following problems occurred while running a transaction:")
        for one in warnings:
            session.warn(f"  {one}")
    return code


def _as_before(item: Item, wish: Wish | None) -> Item:
    """Return an item with the reason that the history knows, which decides under which heading a removal stands."""
    if wish is None or not wish.reason or item.action not in ("install", "remove"):
        return item
    return item.but(reason=wish.reason)


def _ask(session: Session, wish: Wish, *, skip: bool, ignore: bool) -> tuple[str, bool]:
    """Ask the goal for one package. Returns why that is not possible, and whether that is only worth a warning."""
    universe, goal = session.universe, session.goal
    same = universe.query().where(lambda package: package.nevra == wish.nevra)
    if not same:
        return f'Cannot find rpm nevra "{wish.nevra}".', skip
    if wish.action in GOING:
        installed = same.own()
        if not installed:
            return f'Package nevra "{wish.nevra}" not installed for action "{wish.action}".', ignore
        if not skip or wish.action == "Removed":
            for package in installed:
                goal.remove_package(package)
        return "", True
    offered = same.available()
    if not offered:
        return f'Package nevra "{wish.nevra}" not available in repositories for action "{wish.action}".', skip
    if wish.action == "Reinstall":
        if not same.own():
            return f'Package nevra "{wish.nevra}" not installed for action "{wish.action}".', ignore
        goal.reinstall_package(offered[0])
        return "", True
    there = universe.query().own().named([offered[0].name]).arch(offered[0].arch)
    goal.install_package(offered[0], strict=session.conf.flag("strict"))
    if wish.action == "Install" and there and not offered.providing(session.conf.list("installonlypkgs")):
        return f'Package "{_name_arch(wish.nevra)}" is already installed for action "Install".', ignore
    return "", True


# ---- files ----


def stored(entry: Entry) -> dict[str, object]:
    """Return a transaction as dnf stores one."""
    rpms = []
    for item in entry.items:
        reason = dict(entry.reasons).get(f"{item.name}.{item.arch}", item.reason)
        rpms.append(
            {"action": WORDS[item.action][0], "nevra": item.nevra, "reason": reason, "repo_id": item.repo}
        )
        rpms += [
            {"action": _gone(item, nevra), "nevra": nevra, "reason": reason, "repo_id": "@System"}
            for nevra in item.replaces
        ]
    return {"rpms": rpms, "version": VERSION}


def _store(session: Session, entry: Entry) -> int:
    path = session.options.value("output", "transaction.json")
    if os.path.isfile(path) and not session.conf.flag("assumeyes"):
        question = f"\n{path} exists, overwrite? [y/N]: "
        if session.conf.flag("assumeno") or not asked(question=question):
            session.out(f"Not overwriting {path}, exiting.")
            return 0
    with doing("store the transaction"), open(path, "w", encoding="utf-8") as file:
        json.dump(stored(entry), file, indent=4, sort_keys=True)
        file.write("\n")
    session.out(f"Transaction saved to {path}.")
    return 0


def _replay(session: Session, words: list[str]) -> int:
    if not words:
        raise Failed("No transaction file name given.")
    if len(words) > 1:
        raise Failed("More than one argument given as transaction file name.")
    path = os.path.abspath(words[0])
    wishes = read(session, path)
    return carry_wishes(
        session,
        wishes,
        ignore=session.options.flag("ignore_installed"),
        source=path,
        extras_matter=not session.options.flag("ignore_extras"),
    )


def read(session: Session, path: str) -> list[Wish]:
    """Return what a stored transaction wants. Raises Failed with everything that is wrong with the file."""
    head = f'The following problems occurred while replaying the transaction from file "{path}":\n  '
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except OSError as error:
        session.err(str(error))
        raise Silent from None
    except ValueError as error:
        raise Failed(f"{head}Error parsing file: {error}") from None
    if not isinstance(data, dict):
        raise Failed(f'{head}Unexpected type of "rpms", array expected.')
    if "version" not in data:
        raise Failed(f'{head}Missing key "version".')
    major = str(data["version"]).partition(".")[0]
    if not major.isdigit():
        raise Failed(f'{head}Invalid major version "{major}", number expected.')
    if major != VERSION.partition(".")[0]:
        raise Failed(f'{head}Incompatible major version "{major}", supported major version is "1".')
    if data.get("groups") or data.get("environments"):
        raise Failed(f"{head}Groups are not supported.")
    rpms = data.get("rpms", [])
    if not isinstance(rpms, list):
        raise Failed(f'{head}Unexpected type of "rpms", array expected.')
    wishes, errors = [], []
    for one in rpms:
        missing = [key for key in ("action", "nevra") if not isinstance(one, dict) or key not in one]
        if missing:
            errors.append(f'Missing object key "{missing[0]}" in an rpm.')
        elif one["action"] not in (*COMING, *GOING, "Reason Change"):
            errors.append(
                f'Unexpected value of package action "{one["action"]}" for rpm nevra "{one["nevra"]}".'
            )
        else:
            wishes.append(Wish(nevra=one["nevra"], action=one["action"], reason=str(one.get("reason") or "")))
    if errors:
        raise Failed(head + "\n  ".join(errors))
    return wishes
