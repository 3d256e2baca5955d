"""Make a generation and commit it. Runs in the child that has a mount namespace of its own (`inside`)."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from redpak import paths
from redpak.errors import RedpakError, Refused, doing
from redpak.fs import sync_directory
from redpak.kernel import mount
from redpak.node import collecting, generations, history, statefiles
from redpak.node.history import Entry
from redpak.packages import flatten, rpmdb, scratchdb, view
from redpak.packages import transaction as rpm
from redpak.packages.header import Header
from redpak.packages.view import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redpak.engine.host import Host
    from redpak.node.statefiles import Change
    from redpak.packages.model import Layer, Site
    from redpak.packages.transaction import Job
    from redpak.packages.view import View

    Say = Callable[..., None]
    Keep = Callable[[str], bool]

SKIP = (generations.RPM_DATABASE,)  # the database is the generation's


def carry_out(
    site: Site, job: Job, host: Host, entry: Entry, reasons: Mapping[str, str], keep: int, say: Say
) -> int:
    """See install.carry_out. The node's lock is held."""
    node = site.path
    tidy(node, lambda text: say("warning", "", text))
    work = work_directory(node)
    places = tuple(place_of(layer) for layer in reversed(site.layers))
    job = job.but(work=work, places=places)
    try:
        with doing("change the packages", hint="Make room, or look at the file system."):
            done, base = rpm.in_view(job, host, say)
            if "test" in job.flags:
                return 0
            assert done.view is not None
            entry = entry.but(output=done.output)
            new = f"{work}/new"
            headers = database(work, new, base)
            say("verify", "", "")
            collect_files(node, done.view, places, new, headers)
            entry = finished(site, entry, headers, reasons)
            return commit(node, work, entry, keep, lambda text: say("warning", "", text))
    finally:
        drop(node, work)


def place_of(layer: Layer) -> Place:
    """Return where a layer's files are."""
    if layer.kind == "node":
        generation = generations.current(layer.path)
        return Place(
            tree=f"{generation}/{generations.TREE}" if generation else "", state=layer.path, spare=layer.path
        )
    return Place(tree=layer.tree, state=layer.state, host=layer.tree == "/")


def work_directory(node: str) -> str:
    """Make a directory for something unfinished."""
    with doing("make a work directory", hint="Make room, or look at the file system."):
        work = f"{node}/{generations.WORK}/{os.getpid()}-{os.urandom(4).hex()}"
        os.mkdir(work, 0o755)
    return work


def tidy(node: str, warn: Callable[[str], None]) -> None:
    """Remove what killed commands left, and finish the last transaction's state files. The node's lock is held."""
    with doing("remove the remains of a killed command"):
        collecting.refuse_lost(node)
        now = generations.current(node)
        newest = generations.number_of(now)
        try:
            left = os.listdir(f"{node}/{generations.WORK}")
        except FileNotFoundError:
            left = []
        for name in left:
            collecting.discard(node, name)
        for number in generations.numbers(node):
            if number > newest:  # it was never committed
                aside = f"{node}/{generations.WORK}/never-{number}"
                os.rename(generations.directory(node, number), aside)
                collecting.discard(node, os.path.basename(aside))
    if now:
        statefiles.put_in_place(node, now, warn)


def drop(node: str, work: str) -> None:
    """Remove the work directory with what is mounted in it; what cannot be removed now, the next command removes."""
    try:
        mount.detach(work)
    except OSError:
        pass  # EINVAL: nothing is mounted, or no more
    try:
        collecting.discard(node, os.path.basename(work))
    except OSError:
        pass  # the reason is what is being told already


# ---- what a generation is made of ----


def database(work: str, new: str, base: scratchdb.Base) -> list[Header]:
    """Write the node's own database; librpm has to find it sound. Returns its headers."""
    import shutil

    from redpak import run

    own = f"{work}/memory/own"
    headers = scratchdb.extract(f"{work}/memory/database", base, f"{own}/{scratchdb.FILE}")
    run.tool(
        ["rpmdb", "--dbpath", own, "--define", "_db_backend sqlite", "--verifydb"],
        timeout_s=scratchdb.PATIENCE_S,
        hint="Nothing was changed; this is a fault of redpak's.",
    )
    os.makedirs(f"{new}/{generations.DATABASE}")
    shutil.copyfile(f"{own}/{scratchdb.FILE}", f"{new}/{generations.DATABASE}/{scratchdb.FILE}")
    return headers


def collect_files(
    node: str, made: View, places: Sequence[Place], new: str, headers: Sequence[Header]
) -> None:
    """Make the tree, and gather the state files, of a new generation out of what rpm did. Raises Refused, OSError."""
    view.unmount(made.work)
    own, others = places[0], places[1:]
    owned: set[str] = set()

    def keep(inner: str) -> bool:
        """Say whether an empty directory is wanted: a package's, or one that only a scriptlet can have made."""
        if not owned:
            owned.add("")
            owned.update(one.path for header in headers for one in header.files() if stat.S_ISDIR(one.mode))
        return inner in owned or (inner not in made.made and not view.shown(inner, others))

    tree = f"{new}/{generations.TREE}"
    state, before, adopted = (
        f"{new}/{name}" for name in (generations.STATE, generations.BEFORE, generations.ADOPTED)
    )
    for folder in (tree, state, before, adopted):
        os.mkdir(folder)
    changes: list[Change] = []
    layered = {stack.name for stack in made.stacks}
    for stack in made.stacks:
        if stack.name in view.STATE_TOPS:
            changes += statefiles.gather(node, stack.name, stack.upper, state, before, keep, SKIP)
            continue
        mine = own.of(stack.name)
        if os.path.isdir(mine) and not os.path.islink(mine):
            flatten.flatten(mine, stack.upper, f"{tree}/{stack.name}", keep, f"/{stack.name}")
        else:
            flatten.lift(stack.upper, f"{tree}/{stack.name}", keep, f"/{stack.name}")
    foreign = {(name, target) for name, target, mine_ in made.links if not mine_}
    for entry in sorted(os.scandir(made.root), key=lambda one: one.name):
        if entry.name in layered or entry.name in view.PASSING:
            continue
        if entry.is_symlink() and (entry.name, os.readlink(entry.path)) in foreign:
            continue
        if entry.name in view.STATE_TOPS and entry.is_dir(follow_symlinks=False):
            changes += statefiles.gather(node, entry.name, entry.path, state, before, keep, SKIP)
        elif entry.is_dir(follow_symlinks=False):
            flatten.lift(entry.path, f"{tree}/{entry.name}", keep, f"/{entry.name}")
        else:
            flatten.settle(entry.path)
            os.rename(entry.path, f"{tree}/{entry.name}")
        own_name = entry.name.startswith((paths.PACKAGES, ".rednode"))
        if own_name or (entry.name in view.STATE_TOPS and os.path.lexists(f"{tree}/{entry.name}")):
            raise Refused(
                f"a package has '/{entry.name}', which is the node's own", hint="Do not install it."
            )
    adopt(node, tree, adopted)
    if not os.path.islink(f"{node}/{generations.RPM_DATABASE}"):
        wanted(adopted, generations.RPM_DATABASE)
    statefiles.write(f"{new}/{generations.STATE_LIST}", changes)


def adopt(node: str, tree: str, adopted: str) -> None:
    """Note which directories of the node are in the tree by now, and make way for links to it. Raises Refused."""
    for top in sorted(os.listdir(tree)):
        at = f"{node}/{top}"
        if not os.path.lexists(at) or (os.path.islink(at) and generations.CURRENT in os.readlink(at)):
            continue
        if top not in generations.TREE_TOPS:
            raise Refused(
                f"a package has files in '/{top}', and '{at}' is there already", hint=f"Rename '{at}' first."
            )
        wanted(adopted, top)


def wanted(adopted: str, inner: str) -> None:
    """Note that something of the node's directory is to be replaced by a link."""
    name = inner.replace("/", "-")
    os.close(os.open(f"{adopted}/{name}.wanted", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def finished(site: Site, entry: Entry, headers: Sequence[Header], reasons: Mapping[str, str]) -> Entry:
    """Return the history's entry for a generation that is complete."""
    from redpak.packages.model import Transaction

    before = history.last(site)
    there = {f"{header.name}.{header.arch}" for header in headers if not header.is_key}
    return entry.but(
        parent=before.id if before else 0,
        end=time.time(),
        reasons=history.reasons_after(
            dict(before.reasons) if before else {}, Transaction(items=entry.items), reasons, there
        ),
        digest=rpmdb.digest_of(headers),
        parent_digest=before.digest if before else "",
    )


def next_number(node: str) -> int:
    """Return the number of the next generation: never used before."""
    past = history.kept(f"{node}/{generations.HISTORY}")
    return max((0, generations.number_of(generations.current(node)), *generations.numbers(node), *past)) + 1


def commit(node: str, work: str, entry: Entry, keep: int, warn: Callable[[str], None]) -> int:
    """Give WORK/new its place and make it the current generation. Returns its number."""
    new = f"{work}/new"
    number = next_number(node)
    with doing(
        "write the new generation", hint="Nothing was changed; make room, or look at the file system."
    ):
        with open(f"{new}/{generations.TRANSACTION}", "wb") as file:
            file.write(history.encode(entry.but(id=number)))
        os.close(os.open(f"{new}/{generations.PENDING}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        fd = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mount.sync_filesystem(fd)
        finally:
            os.close(fd)
        place = generations.directory(node, number)
        os.rename(new, place)
        sync_directory(os.path.dirname(place))
        link = f"{work}/current"
        os.symlink(f"generations/{number}", link)
        os.rename(link, f"{node}/{generations.CURRENT}")  # the commit
    try:
        sync_directory(f"{node}/{generations.FOLDER}")
        statefiles.put_in_place(node, place, warn)
        collecting.collect(node, keep, 0.0)
    except (RedpakError, OSError) as error:
        warn(f"the transaction is done, but not tidied up yet: {error}; the next command does it")
    return number
