"""Transactions of the history as dnf prints them."""

from __future__ import annotations

import time

from redpak.cli.dnf import columns
from redpak.cli.dnf.execute import item_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redpak.cli.dnf.past import Entry
    from redpak.packages.model import Item

NARROW = 24  # columns of the command line where the terminal is 80 wide
LONG = {"install": "Install", "upgrade": "Upgrade", "downgrade": "Downgrade", "reinstall": "Reinstall",
        "remove": "Removed", "reason": "Reason Change", "obsoleted": "Obsoleted"}  # fmt: skip
SHORT = {"install": "I", "upgrade": "U", "downgrade": "D", "reinstall": "R", "remove": "E", "reason": "C",
         "obsoleted": "O"}  # fmt: skip


def table(entries: Sequence[Entry]) -> list[str]:
    """Return the list of transactions."""
    room = columns.terminal()
    wide = room - 55 if room > 79 else NARROW
    lines = [
        f"{'ID':<6} | {'Command line':<{wide}} | {'Date and time':<16} | {'Action(s)':<14} | {'Altered':<7}",
        "-" * (6 + 3 + wide + 3 + 16 + 3 + 14 + 3 + 7),
    ]
    for entry in entries:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.begin))
        command = entry.command[:wide]
        kinds, count = actions(entry)
        mark = " " if entry.result == "done" else "*" if not entry.end else "#"
        lines.append(f"{entry.id:6} | {command:<{wide}} | {when} | {kinds[:14]:<14} | {count:4} {mark}{mark}")
    return lines


def actions(entry: Entry) -> tuple[str, int]:
    """Return what a transaction did in a word or some letters, and with how many packages."""
    kinds: list[str] = []
    count = 0
    for item in entry.items:
        kinds.append(item.action)
        count += 2 if item.action == "reinstall" else 1  # both packages count, as they do for dnf
    gone = {nevra for item in entry.items for nevra in item.obsoletes}  # several may take the place of one
    kinds += ["obsoleted"] * len(gone)
    count += len(gone)
    changed = 0 if entry.items else len(entry.changed)
    if changed:
        return LONG["reason"], changed
    names = set(kinds)
    if len(names) == 1 and "reinstall" not in names:
        return LONG[names.pop()], count
    return ", ".join(sorted(SHORT[name] for name in names)), count


def details(entry: Entry, before: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return all that is known of a transaction; `before`: nevra and repository of earlier packages by name.arch."""
    lines = [f"Transaction ID : {entry.id}", f"Begin time     : {_moment(entry.begin)}"]
    if entry.parent_digest:
        lines.append(f"Begin rpmdb    : {entry.parent_digest}")
    if entry.end:
        lines.append(f"End time       : {_moment(entry.end)} {_duration(entry.end - entry.begin)}")
    if entry.digest:
        lines.append(f"End rpmdb      : {entry.digest}")
    success = (
        "Success" if entry.result == "done" else f"Failure: {entry.result}" if entry.end else "** Aborted **"
    )
    lines += [
        f"User           : {entry.user}",
        f"Return-Code    : {success}",
        f"Releasever     : {entry.releasever}",
        f"Command Line   : {entry.command}",
        f"Comment        : {entry.comment}",
        "Packages Altered:",
    ]
    rows = altered(entry, before)
    verb = max((len(row[0]) for row in rows), default=0)
    name = max((len(row[1]) for row in rows), default=0)
    lines += [f"    {action:<{verb}} {package:<{name}} @{repo}" for action, package, repo in rows]
    if entry.output:
        lines.append("Scriptlet output:")
        lines += [f"{number:4} {line}" for number, line in enumerate(entry.output, 1)]
    return lines


def altered(entry: Entry, before: Mapping[str, tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Return what happened to each package: (word, nevra, repository)."""
    rows = []
    for item in entry.items:
        rows.append((LONG[item.action], item.nevra, item.repo))
        gone = {"upgrade": "Upgraded", "downgrade": "Downgraded", "reinstall": "Reinstalled"}.get(
            item.action, ""
        )
        for nevra in item.replaces:
            word = "Obsoleted" if nevra in item.obsoletes else gone
            if word and (word, nevra, "@System") not in rows:  # several may take the place of one
                rows.append((word, nevra, "@System"))
    for name in () if entry.items else entry.changed:
        nevra, repo = before.get(name, (name, ""))
        rows.append((LONG["reason"], nevra, repo))
    return rows


def _moment(stamp: float) -> str:
    return time.strftime("%c", time.localtime(stamp))


def _duration(passed: float) -> str:
    for limit, unit, size in ((300, "seconds", 1), (18000, "minutes", 60), (432000, "hours", 3600)):
        if passed < limit:
            return f"({int(passed // size)} {unit})"
    return f"({int(passed // 86400)} days)"


def data(entry: Entry) -> dict[str, object]:
    """Return a transaction for JSON."""
    return {
        "id": entry.id,
        "parent": entry.parent,
        "command": entry.command,
        "user": entry.user,
        "begin": entry.begin,
        "end": entry.end,
        "result": entry.result,
        "comment": entry.comment,
        "items": [_item(item) for item in entry.items],
        "reasons": dict(entry.reasons),
    }


def _item(item: Item) -> dict[str, object]:
    return item_data(item)
