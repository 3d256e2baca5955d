"""Carry a transaction out with rpm itself, in a tree and a database that are nobody's yet.

What comes out is a new tree, changed state files and a new database beside the old ones; whoever asked puts them in
their place. A plain directory (dnf's --installroot) has no such luxury: there rpm changes the files themselves.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from redpak.errors import RedpakError, Refused
from redpak.packages import nochown, rpmline, sandbox, scratchdb, view
from redpak.packages.header import Header
from redpak.packages.model import Item, Transaction
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redpak.engine.host import Host
    from redpak.packages.scratchdb import Base
    from redpak.packages.view import Place, View

    Progress = Callable[[str, str, str], None]  # kind, package, text

FLAGS = {  # dnf.conf(5) tsflags → options of rpm
    "noscripts": ("--noscripts", "--notriggers"),
    "notriggers": ("--notriggers",),
    "nodocs": ("--excludedocs",),
    "justdb": ("--justdb",),
    "nocontexts": ("--nocontexts",),
    "nocaps": ("--nocaps",),
    "nocrypto": ("--nosignature", "--nodigest"),
    "repackage": (),
    "test": (),
}
ERASE_FLAGS = frozenset(("noscripts", "notriggers", "justdb"))


class RpmFailed(RedpakError):
    """rpm could not do what was asked; nothing was changed (exit code 1). `lines` is what it said."""

    lines: tuple[str, ...] = ()


class RpmRefused(RpmFailed, Refused):
    """rpm finds that the packages do not fit together: dependencies, conflicts, files of others (exit code 3)."""


class Job(Record):
    """What rpm is to do, and to what."""

    work: str  # an empty directory of ours, on the file system of the site
    places: tuple[Place, ...] = ()  # the files of the family's layers, the node's own first
    base: tuple[bytes, ...] = ()  # headers of the core OS and the ancestors
    own: str = ""  # the node's database file, '' = none yet
    root: str = ""  # the plain directory to change, '' = `places`
    transaction: Transaction
    files: Mapping[str, str]  # nevra → package file
    keys: tuple[str, ...] = ()  # armored public keys
    gpgcheck: bool = False  # every package must be signed by one of them
    flags: frozenset[str] = frozenset()  # of FLAGS
    cache: str = ""  # a directory for filled databases
    arch: str = ""
    user: bool = False  # not the host's root
    ids: int = 1 << 32  # user ids that files can belong to


class Done(Record):
    """What rpm did."""

    output: tuple[str, ...]  # what scriptlets and rpm said
    view: View | None = None


def check_job(job: Job) -> None:
    """Raise RedpakError for what cannot be tried at all."""
    unknown = sorted(job.flags - FLAGS.keys())
    if unknown:
        raise RedpakError(
            f"'{unknown[0]}' is no flag of a transaction", hint=f"Use one of: {', '.join(FLAGS)}."
        )
    for item in job.transaction.items:
        if item.action != "remove" and item.nevra not in job.files:
            raise RedpakError(f"there is no file for package '{item.nevra}'")


def in_view(job: Job, host: Host, progress: Progress) -> tuple[Done, Base]:
    """Run rpm on a view of a node, with the scratch database. Call it inside (`inside.inside`). See `node.install`."""
    coming = headers_of(job)
    packages, others = lay_out(job)
    folders = sorted({os.path.dirname(path) for header in coming for path in header.paths()})
    tree = view.build(job.work, job.places, folders, user=job.user)
    database = f"{job.work}/memory/database"
    base = scratchdb.fill(database, [Header(blob) for blob in job.base], job.own, job.cache)
    add_keys(job, database)
    show_packages(others)
    room = sandbox.Room(view=tree.root, packages=packages)
    talk = rpm(job, host, room, coming, progress, database, base.highest)
    scratchdb.check(database, base)
    return Done(output=tuple(talk), view=tree), base


def in_place(job: Job, host: Host, progress: Progress) -> Done:
    """Run rpm on a plain directory. Call it inside."""
    database = f"{job.root}/{view.DATABASE}"
    os.makedirs(database, exist_ok=True)
    add_keys(job, database)
    packages, others = lay_out(job)
    show_packages(others)
    room = sandbox.Room(view=job.root, packages=packages, covered=sandbox.covered(job.root))
    talk = rpm(job, host, room, headers_of(job), progress, database, 0)
    return Done(output=tuple(talk))


def headers_of(job: Job) -> list[Header]:
    """Return the headers of the packages that come."""
    from redpak.packages.header import from_rpm

    found = []
    for item in job.transaction.items:
        if item.action != "remove":
            header = from_rpm(job.files[item.nevra])[1]
            if header.nevra != item.nevra:
                raise RedpakError(f"'{job.files[item.nevra]}' is not '{item.nevra}' but '{header.nevra}'")
            found.append(header)
    return found


def lay_out(job: Job) -> tuple[str, list[tuple[str, str]]]:
    """Make a directory of links to all package files: 'WORK/packages', '' when there are none.

    Returns it and (file, place) of those that cannot be linked: they are on another file system, or not ours.
    """
    items = [item for item in job.transaction.items if item.action != "remove"]
    if not items:
        return "", []
    folder = f"{job.work}/packages"
    os.mkdir(folder)
    others = []
    for item in items:
        at, source = f"{folder}/{package_name(item)}", os.path.realpath(job.files[item.nevra])
        try:
            os.link(source, at)
        except OSError:
            others.append((source, at))
    return folder, others


def show_packages(others: Sequence[tuple[str, str]]) -> None:
    """Mount package files that could not be linked. Raises OSError."""
    from redpak.kernel import mount

    for source, at in others:
        os.close(os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
        mount.bind(source, at)


def package_name(item: Item) -> str:
    """Return the file name under which rpm sees a package."""
    return f"{item.name}-{item.epoch}-{item.version}-{item.release}.{item.arch}.rpm"


def add_keys(job: Job, database: str) -> None:
    """Put the keys where rpm looks for them when it is told to read files (`_keyring fs`)."""
    if not job.gpgcheck or not job.keys:
        return
    folder = f"{database}/pubkeys"
    os.makedirs(folder, exist_ok=True)
    for number, key in enumerate(job.keys):
        with open(f"{folder}/{number}.key", "w", encoding="ascii", errors="ignore") as file:
            file.write(key)


def rpm(
    job: Job,
    host: Host,
    room: sandbox.Room,
    coming: Sequence[Header],
    progress: Progress,
    database: str,
    highest: int,
) -> list[str]:
    """Run rpm as often as it takes: it cannot remove and install in one call. Returns what was said.

    Raises RpmFailed, RpmRefused.
    """
    items = job.transaction.items
    leaving = [item for item in items if item.action == "remove"]
    arriving = [item for item in items if item.action != "remove"]
    filter_ = nochown.build() if job.user and job.ids == 1 else b""
    talk: list[str] = []
    told = rpmline.Listener(items, progress, talk)

    def call(*words: str) -> None:
        told.begin(words)
        command = [*start(job, room), *words]
        code = sandbox.run(host, room, command, filter_=filter_, hear=told.line)
        scratchdb.seal(database, whole=not job.root)
        if code:
            raise failure(told.said, code)

    test = ("--test",) if "test" in job.flags else ()
    beside = beside_others(arriving, coming, database)
    first = remove_first(leaving, coming, database) if leaving and arriving else False
    if leaving and first:
        call("-e", "-v", "--nodeps", *erase_flags(job, test), *labels(leaving))
    if new := [item for item in arriving if item.nevra not in beside]:
        call("-U", "-v", "--oldpackage", "--replacepkgs", *flags(job), *test, *files(new))
    if more := [item for item in arriving if item.nevra in beside and item.action != "reinstall"]:
        call("-i", "-v", "--oldpackage", "--replacepkgs", *flags(job), *test, *files(more))
    if again := [item for item in arriving if item.nevra in beside and item.action == "reinstall"]:
        call("--reinstall", "-v", "--oldpackage", *flags(job), *test, *files(again))
    if leaving and not first:
        call("-e", "-v", *erase_flags(job, test), *labels(leaving))
    if leaving and first and not test:
        confirm(job, host, room, highest, database)
    return talk


def start(job: Job, room: sandbox.Room) -> list[str]:
    """Return the start of rpm's command line for a job."""
    keys = not job.root or bool(job.keys)
    return rpmline.start(gpgcheck=job.gpgcheck, keys=keys, arch=job.arch, own_tmp="tmp" in room.covered)


def flags(job: Job) -> list[str]:
    """Return rpm's options for the transaction's flags."""
    given = job.flags - {"nocrypto"} if job.gpgcheck else job.flags
    return [word for flag in sorted(given) for word in FLAGS[flag]]


def erase_flags(job: Job, test: tuple[str, ...]) -> list[str]:
    """Return the same for removals. A test of a removal that installing depends on is done for real, in memory only."""
    words = [word for flag in sorted(job.flags & ERASE_FLAGS) for word in FLAGS[flag]]
    return [*words, *test]


def files(items: Sequence[Item]) -> list[str]:
    """Return the package files as the sandbox shows them."""
    return [f"{sandbox.PACKAGES}/{package_name(item)}" for item in items]


def labels(items: Sequence[Item]) -> list[str]:
    """Return how `rpm -e` is told of packages."""
    return [f"{item.name}-{item.version}-{item.release}.{item.arch}" for item in items]


def beside_others(arriving: Sequence[Item], coming: Sequence[Header], database: str) -> set[str]:
    """Return what is to be installed beside another package of its name (kernels, other architectures): nevra."""
    from redpak.packages import rpmdb

    names = {item.name for item in arriving if item.action == "install" and not item.replaces}
    again = {item.name for item in arriving if item.action == "reinstall"}
    if not names and not again:
        return set()
    there = [header for header in rpmdb.read(database) if header.name in names | again]
    known = {header.name for header in there}
    versions = [(header.name, header.arch) for header in there]
    coming_names = [header.name for header in coming]
    beside = set()
    for item in arriving:
        if item.action == "reinstall":
            alone = versions.count((item.name, item.arch)) < 2
        else:
            alone = item.name not in known and coming_names.count(item.name) < 2
        if item.name in names | again and not alone:
            beside.add(item.nevra)
    return beside


def remove_first(leaving: Sequence[Item], coming: Sequence[Header], database: str) -> bool:
    """Tell whether what goes is in the way of what comes.

    That is a conflict, a file of the same name, that it obsoletes what comes, or that it needs something of a package
    that is replaced.
    """
    from redpak.packages import rpmdb

    going = {item.nevra for item in leaving}
    names = {header.name for header in coming}
    there = rpmdb.read(database)
    old = [header for header in there if header.nevra in going]
    needed = {name for header in old for name, _, _ in header.requires}
    if any(needed & {name for name, _, _ in header.provides} for header in there if header.name in names):
        return True
    if any(name in names for header in old for name, _, _ in header.obsoletes):
        return True
    paths = {path for header in old for path in header.paths()}
    provided = {name for header in old for name, _, _ in header.provides}
    refused = {name for header in old for name, _, _ in header.conflicts}
    for header in coming:
        if any(
            name in provided or name.startswith("(") for name, _, _ in (*header.conflicts, *header.obsoletes)
        ):
            return True
        if refused & {name for name, _, _ in header.provides} or paths & set(header.paths()):
            return True
    return False


def confirm(job: Job, host: Host, room: sandbox.Room, highest: int, database: str) -> None:
    """Have rpm check the requirements of every package of the site, after a removal that nobody checked."""
    from redpak.packages import rpmdb

    own = [header for number, header in rpmdb.numbered(database) if number > highest and not header.is_key]
    if not own:
        return
    said: list[str] = []
    names = [f"{header.name}-{header.version}-{header.release}.{header.arch}" for header in own]
    words = [*start(job, room), "-V", "--nofiles", "--nosignature", "--nodigest", "--noscripts"]
    if sandbox.run(host, room, [*words, *names], hear=said.append):
        broken = [line for line in said if line.strip()]
        raise refusal("the packages would not fit together", broken)


def failure(said: Sequence[str], code: int) -> RpmFailed:
    """Return the error for what rpm said."""
    lines = [line for line in said if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith(("error:", "\t", "        "))]
    if any(line.startswith("error: Failed dependencies") for line in lines):
        broken = [line.strip() for line in lines if line.startswith(("\t", "        "))]
        return refusal("the packages do not fit together", broken)
    clash = [line.strip() for line in lines if " conflicts " in line and line.lstrip().startswith("file ")]
    if clash:
        return refusal("files of the packages are in the way of others", clash)
    untrusted = [line.strip() for line in lines if " does not verify: " in line]
    if untrusted:
        return refusal("packages cannot be trusted", untrusted)
    space = [line.strip() for line in lines if line.lstrip().startswith("installing package ")]
    if space:
        return refusal("there is no room for the packages", space)
    told = errors or lines[-3:] or [f"it ended with code {code}"]
    error = RpmFailed(f"rpm failed, and nothing was changed: {'; '.join(one.strip() for one in told[:5])}")
    error.lines = tuple(lines)
    return error


def refusal(what: str, lines: Sequence[str]) -> RpmRefused:
    """Return the error for packages that do not fit."""
    error = RpmRefused(f"{what}:" + "".join(f"\n  {line}" for line in lines))
    error.lines = tuple(lines)
    return error
