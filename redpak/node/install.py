"""Change a site's packages: a transaction becomes a new generation, or nothing at all.

Everything is made in a work directory of the node, which nobody else looks into. Then it is written to disk, gets its
place among the generations, and one rename of the link `current` makes it the node's. Whoever is killed on the way
leaves the old generation as it was, and the next command removes the remains; whoever is killed after it leaves the
new one, and the next command puts its state files in place.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from redpak import log, paths
from redpak.errors import NotFound, Refused, doing
from redpak.node import collecting, generations, make_generation, older
from redpak.node import history as past
from redpak.node.history import Entry
from redpak.node.writing import holding, unchanged, writing
from redpak.packages import inside, scratchdb
from redpak.packages import transaction as rpm
from redpak.packages.inside import inside as in_child
from redpak.packages.model import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from redpak.packages.model import Item, Site

    Progress = Callable[[str, str, str], None]

__all__ = ["Entry", "carry_out", "collect", "history", "mark", "recover", "rollback"]

KEEP = 3  # generations that stay, the current one included


def carry_out(
    site: Site,
    transaction: Transaction,
    files: Mapping[str, str],
    *,
    command: str = "",
    comment: str = "",
    reasons: Mapping[str, str] | None = None,
    keys: Sequence[str] | None = None,
    test: bool = False,
    scripts: bool = True,
    flags: Iterable[str] = (),
    keep: int = KEEP,
    below: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> int:
    """Do what a transaction says and return the number of the new generation (of the history entry); 0 for a test.

    `files` are the packages by nevra, downloaded and checked. `reasons` ({"name.arch": reason}) goes before those of
    the items. `keys` are armored public keys, None = the site's own; they matter where the family demands gpgcheck.
    `test` only lets rpm check. `flags` are dnf's tsflags. `keep` generations stay. `below` is what `writing.below`
    said when the nodes beneath were proved not to break, None = nobody asked. `progress(kind, package, text)` hears
    of every step.

    Nothing has changed when it raises: Busy when somebody else is at it or the site is not as it was when the
    transaction was made, rpm.RpmRefused and rpm.RpmFailed with rpm's words, Refused, RedpakError. In a plain
    directory rpm may have stopped half way: then the history says "failed".
    """
    from redpak.engine import host

    wanted = {*flags, *(() if scripts else ("noscripts",)), *(("test",) if test else ())}
    who = inside.identity()
    job = rpm.Job(
        work="",
        transaction=transaction,
        files=dict(files),
        flags=frozenset(wanted),
        keys=tuple(keys_of(site) if keys is None else keys) if site.gpgcheck else (),
        gpgcheck=bool(site.gpgcheck),
        cache=os.path.join(site.cachedir or paths.cache(), "databases"),
        arch=site.arch,
        user=not who.root,
        ids=who.ids,
    )
    rpm.check_job(job)
    heard = listener(progress)
    entry = Entry(
        id=0,
        command=command,
        comment=comment,
        user=user_name(),
        begin=time.time(),
        items=transaction.items,
        skipped=tuple(one.nevra for one in transaction.skipped),
        releasever=dict(site.variables).get("releasever", ""),
    )
    ready = host.look()

    if not site.is_node:
        from redpak.node import plain

        return plain.carry_out(site, job, ready, entry, reasons or {}, heard)
    if site.own.database == "none":
        raise Refused(
            f"node '{site.own.name}' shows the packages of another one, and has none of its own",
            hint="Install into a node beneath it.",
        )
    with writing(site, command or "packages"):
        unchanged(site, below)
        job = job.but(base=base_headers(site), own=database_file(site))
        return in_child(
            lambda say: make_generation.carry_out(
                site, job, ready, entry, reasons or {}, keep, lambda *words: say(words)
            ),
            hear=heard,
        )


def listener(progress: Progress | None) -> Callable[[object], None]:
    """Return who hears what the child tells: warnings are ours, steps are for `progress`."""

    def heard(message: object) -> None:
        assert isinstance(message, tuple)
        kind, package, text = message
        if kind == "warning":
            log.warn(text)
        elif progress is not None:
            progress(kind, package, text)

    return heard


def user_name() -> str:
    """Return who is at work, for the history: 'root (0)'."""
    import pwd

    number = os.getuid()
    try:
        return f"{pwd.getpwuid(number).pw_name} ({number})"
    except KeyError:
        return f"({number})"


def keys_of(site: Site) -> list[str]:
    """Return the armored keys that a node trusts; a plain directory's are in its database, where rpm finds them."""
    if not site.is_node:
        return []
    from redpak.packages.keystore import keyring

    return [key.armored for key in keyring(site).keys]


def base_headers(site: Site) -> tuple[bytes, ...]:
    """Return the headers of everything that is not the node's own."""
    from redpak.packages import core

    return tuple(
        header.blob for layer in site.layers[:-1] for header in core.headers(layer) if not header.is_key
    )


def database_file(site: Site) -> str:
    """Return the node's own database file, '' when it has none."""
    path = os.path.join(site.own.rpmdb, scratchdb.FILE) if site.own.rpmdb else ""
    return path if path and os.path.exists(path) else ""


# ---- the rest ----


def history(site: Site) -> list[Entry]:
    """Return all transactions of a site, oldest first."""
    return past.entries(site)


def mark(site: Site, reasons: Mapping[str, str], *, command: str = "", comment: str = "") -> int:
    """Write down other reasons ({"name.arch": reason}) for installed packages; returns the history's new number."""
    if not site.is_node:
        from redpak.node import plain

        return plain.mark(site, reasons, command, comment, user_name())
    entry = Entry(
        id=0,
        command=command,
        comment=comment,
        user=user_name(),
        begin=time.time(),
        changed=tuple(sorted(reasons)),
        releasever=dict(site.variables).get("releasever", ""),
    )
    with writing(site, command or "mark"):
        unchanged(site, None)
        return in_child(lambda _: older.again(site, entry, reasons, KEEP), hear=None)


def rollback(
    site: Site,
    number: int,
    *,
    command: str = "",
    comment: str = "",
    items: Sequence[Item] = (),
    below: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> int:
    """Give a node the content of generation `number` again, as a new generation; returns its number.

    `items` are what that changes, for the history; `below` as in carry_out.
    State files go back where nobody changed them since. Raises NotFound when there is no such generation (any
    more), Refused for a plain directory and for the current one, Busy.
    """
    if not site.is_node:
        raise Refused(
            f"'{site.path}' is a plain directory: it has no generations to go back to",
            hint="Undo transactions instead: history undo.",
        )
    now = generations.number_of(generations.current(site.path))
    if number == now:
        raise Refused(f"generation {number} is the current one", hint="List them with: redpak node history")
    if not os.path.isdir(generations.directory(site.path, number)) or number > now:
        raise NotFound(
            f"generation {number} of '{site.path}' is not there",
            hint="Old ones are removed in time; list what there is with: redpak node history",
        )
    entry = Entry(
        id=0,
        command=command,
        comment=comment,
        user=user_name(),
        begin=time.time(),
        items=tuple(items),
        rolled_back_to=number,
        releasever=dict(site.variables).get("releasever", ""),
    )
    heard = listener(progress)
    with writing(site, command or "rollback"):
        unchanged(site, below)
        return in_child(
            lambda say: older.roll_back(site, number, entry, KEEP, lambda *words: say(words)),
            hear=heard,
        )


def recover(node: str) -> bool:
    """Finish or remove what a killed command left in a node; tells whether there was anything. Raises Busy."""
    folder = f"{node}/{generations.FOLDER}"
    if not os.path.isdir(folder) or not unfinished(node):
        return False
    with holding(node, "recover"):
        in_child(
            lambda say: make_generation.tidy(node, say),
            hear=lambda text: log.warn(str(text)),
        )
    return True


def unfinished(node: str) -> bool:
    """Tell whether a node has remains of a killed command, or state files that are not in place."""
    with doing("look at the node's generations"):
        now = generations.current(node)
        if now and os.path.lexists(f"{now}/{generations.PENDING}"):
            return True
        newest = generations.number_of(now)
        try:
            left = os.listdir(f"{node}/{generations.WORK}")
        except FileNotFoundError:
            left = []
        return bool(left) or any(number > newest for number in generations.numbers(node))


def collect(node: str, *, keep: int = KEEP, age_s: float = 0.0) -> list[int]:
    """Remove generations but the newest `keep` and those younger than `age_s` seconds; returns their numbers.

    What a running sandbox uses stays. Raises Busy, RedpakError.
    """
    if not generations.current(node):
        return []
    with holding(node, "collect"):
        return in_child(lambda _: collecting.collect(node, keep, age_s))
