"""Generations made out of older ones: going back, and changing what is only written down."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from redpak.errors import doing
from redpak.node import generations, history, make_generation, statefiles
from redpak.packages import flatten, rpmdb, scratchdb
from redpak.packages.model import SYSTEM, Item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redpak.node.history import Entry
    from redpak.node.make_generation import Say
    from redpak.node.statefiles import Change
    from redpak.packages.header import Header
    from redpak.packages.model import Action, Site


def again(site: Site, entry: Entry, reasons: Mapping[str, str], keep: int) -> int:
    """Make a generation with the content of the current one, and other reasons."""
    node = site.path
    make_generation.tidy(node, lambda _: None)
    work = make_generation.work_directory(node)
    try:
        with doing("change the history"):
            new = f"{work}/new"
            os.mkdir(new)
            headers = same(node, generations.current(node), new)
            return make_generation.commit(
                node, work, make_generation.finished(site, entry, headers, reasons), keep, lambda _: None
            )
    finally:
        make_generation.drop(node, work)


def same(node: str, source: str, new: str) -> list[Header]:
    """Fill a new generation with the tree and database of another ('' = what the node has). Returns its headers."""
    import shutil

    tree = f"{new}/{generations.TREE}"
    adopted = f"{new}/{generations.ADOPTED}"
    os.mkdir(adopted)
    if source:
        flatten.flatten(f"{source}/{generations.TREE}", "", tree, lambda _: True)
        old = f"{source}/{generations.DATABASE}"
    else:
        os.mkdir(tree)
        old = f"{node}/{generations.RPM_DATABASE}"
        for top in generations.TREE_TOPS:
            if os.path.isdir(f"{node}/{top}") and not os.path.islink(f"{node}/{top}"):
                flatten.flatten(f"{node}/{top}", "", f"{tree}/{top}", lambda _: True)
        make_generation.adopt(node, tree, adopted)
        make_generation.wanted(adopted, generations.RPM_DATABASE)
    os.mkdir(f"{new}/{generations.DATABASE}")
    if os.path.exists(f"{old}/{scratchdb.FILE}"):
        shutil.copyfile(f"{old}/{scratchdb.FILE}", f"{new}/{generations.DATABASE}/{scratchdb.FILE}")
    return rpmdb.read(f"{new}/{generations.DATABASE}")


def roll_back(site: Site, number: int, entry: Entry, keep: int, say: Say) -> int:
    """Make a generation with the content of an older one. State files go back where nobody changed them since."""
    node = site.path

    def warn(text: str) -> None:
        say("warning", "", text)

    make_generation.tidy(node, warn)
    work = make_generation.work_directory(node)
    try:
        with doing("roll back"):
            new = f"{work}/new"
            os.mkdir(new)
            older = generations.directory(node, number)
            headers = same(node, older, new)
            for name in (generations.STATE, generations.BEFORE):
                os.mkdir(f"{new}/{name}")
            changes = restored(node, number, new, warn)
            statefiles.write(f"{new}/{generations.STATE_LIST}", changes)
            reasons = dict(history.read(f"{older}/{generations.TRANSACTION}").reasons)
            now = generations.number_of(generations.current(node))
            before = rpmdb.read(f"{generations.current(node)}/{generations.DATABASE}")
            entry = entry.but(items=difference(before, headers, origins(site)))
            entry = make_generation.finished(site, entry, headers, reasons)
            return make_generation.commit(
                node, work, entry.but(parent=now, reasons=tuple(sorted(reasons.items()))), keep, warn
            )
    finally:
        make_generation.drop(node, work)


def origins(site: Site) -> dict[str, str]:
    """Return which repository each package came from, as far as the history knows: by nevra."""
    return {
        item.nevra: item.repo
        for entry in history.entries(site)
        for item in entry.items
        if item.action != "remove"
    }


def difference(
    before: Sequence[Header], after: Sequence[Header], known: Mapping[str, str]
) -> tuple[Item, ...]:
    """Return what happened to the packages between two databases, sorted by name."""
    from redpak.packages import evr

    gone = {header.nevra: header for header in before if not header.is_key}
    new = {header.nevra: header for header in after if not header.is_key}
    same = gone.keys() & new.keys()
    left: dict[tuple[str, str], list[Header]] = {}
    for nevra in gone.keys() - same:
        left.setdefault((gone[nevra].name, gone[nevra].arch), []).append(gone[nevra])
    items = []
    for nevra in sorted(new.keys() - same):
        header = new[nevra]
        old = left.pop((header.name, header.arch), [])
        action: Action = "install"
        if old:
            action = "upgrade" if evr.compare(old[0].evr, header.evr) < 0 else "downgrade"
        items.append(item_of(header, action, known.get(nevra, SYSTEM), [one.nevra for one in old]))
    for headers in left.values():
        items += [item_of(header, "remove", SYSTEM, []) for header in headers]
    return tuple(sorted(items, key=lambda item: item.nevra))


def item_of(header: Header, action: Action, repo: str, replaces: Sequence[str]) -> Item:
    """Return a package as an item."""
    return Item(
        action=action, name=header.name, epoch=header.epoch, version=header.version, release=header.release,
        arch=header.arch, repo=repo, install_size=header.size, replaces=tuple(replaces),
    )  # fmt: skip


def restored(node: str, number: int, new: str, warn: Callable[[str], None]) -> list[Change]:
    """Gather what brings the state files back to what they were in generation `number`."""
    now = generations.number_of(generations.current(node))
    latest: dict[str, Change] = {}
    earliest: dict[str, tuple[int, Change]] = {}
    for at, change in statefiles.touched(node, number + 1, now):
        latest.setdefault(change.path, change)
        earliest[change.path] = (at, change)
    missing = [n for n in range(number + 1, now + 1) if not os.path.isdir(generations.directory(node, n))]
    if missing:
        warn(f"generation {missing[0]} is gone: state files that it changed are left alone")
    found: list[Change] = []
    for path in sorted(latest):
        at, first = earliest[path]
        if latest[path].kind == "directory" or first.kind == "directory":
            continue
        if any(n < at for n in missing):
            continue
        if not is_as_left(node, latest[path]):
            warn(f"'{node}/{path}' was changed since: left alone")
            continue
        kept = f"{generations.directory(node, at)}/{generations.BEFORE}/{path}"
        there = statefiles.own_kind(node, path) == "other"
        if there:
            statefiles.keep_old(node, path, f"{new}/{generations.BEFORE}")
        if first.had:
            to = f"{new}/{generations.STATE}/{path}"
            os.makedirs(os.path.dirname(to), exist_ok=True)
            flatten.copy(kept, to)
            mark = statefiles.mark_of(os.lstat(to))
            found.append(statefiles.Change(path=path, kind="file", had=there, stamp=mark))
        elif there:
            found.append(statefiles.Change(path=path, kind="gone", had=True))
    return found


def is_as_left(node: str, change: Change) -> bool:
    """Tell whether a state file is as its last transaction left it."""
    folder, name = os.path.split(change.path)
    try:
        with statefiles.opened(node, folder) as fd:
            at = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return change.kind == "gone"
    return change.kind == "file" and statefiles.mark_of(at) == change.stamp
