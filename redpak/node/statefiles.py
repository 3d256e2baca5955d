"""State files (etc, var, srv, home, root): shared by all generations, so put in place one by one after the commit.

A transaction leaves in its generation what they shall be (`state/`), a list of them (`state.json`), and hard links to
what they were (`before/`). Putting them in place can be repeated: whoever finds it unfinished does it again. Names
are found from the node's directory down without following a symbolic link: programs of the node may have made them.
"""

from __future__ import annotations

import filecmp
import os
import stat

from redpak import paths
from redpak.errors import RedpakError, Refused, doing
from redpak.node import generations, guard
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Literal

    Kind = Literal["directory", "file", "gone"]

# What says what a launch may do is whoever's the node is, not a package's: none brings, changes or removes it.
CONFIGURATIONS = frozenset((*paths.NORMAL_CONFIGS, *paths.ADMIN_CONFIGS))

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Change(Record):
    """One state file that a transaction changes."""

    path: str  # 'etc/app.conf'
    kind: Kind
    had: bool = False  # something was there, and is in `before` (for directories: is still there)
    stamp: str = ""  # of the new file, as far as moving it does not change it

    def data(self) -> dict[str, object]:
        """Return it for JSON."""
        return {name: getattr(self, name) for name in self.__fields__}


def mark_of(at: os.stat_result) -> str:
    """Return what tells whether a file was changed since: device, inode, size and time, but not its name."""
    return f"{at.st_dev}.{at.st_ino}.{at.st_size}.{at.st_mtime_ns}"


def gather(
    node: str,
    top: str,
    upper: str,
    state: str,
    before: str,
    keep: Callable[[str], bool],
    skip: Iterable[str] = (),
) -> list[Change]:
    """Move what an overlay collected of one top directory to `state`, and link what it replaces in `before`.

    `upper` is the collected directory; `keep` as in flatten; `skip` are paths that are nobody's business
    ('var/lib/rpm'). Returns the changes, parents first. Raises OSError.
    """
    found: list[Change] = []
    _gather(node, top, upper, state, before, keep, frozenset(skip), found)
    return found


def _gather(
    node: str,
    inner: str,
    upper: str,
    state: str,
    before: str,
    keep: Callable[[str], bool],
    skip: frozenset[str],
    found: list[Change],
) -> bool:
    """See gather. Tells whether anything was found."""
    from redpak.packages import flatten, overlay

    start = len(found)
    mine = own_kind(node, inner)
    here = Change(path=inner, kind="directory", had=mine == "directory")
    found.append(here)
    if mine == "other":
        found.append(_replaced(node, inner, before))
    os.makedirs(f"{state}/{inner}", exist_ok=True)
    entries = sorted(os.scandir(upper), key=lambda entry: entry.name)
    if here.had and overlay.is_opaque(upper):
        there = {entry.name for entry in entries}
        for name in sorted(own_names(node, inner) - there):
            _gone(node, f"{inner}/{name}", before, found)
    for entry in entries:
        path = f"{inner}/{entry.name}"
        if path in skip:
            continue
        at = entry.stat(follow_symlinks=False)
        if path in CONFIGURATIONS:
            same_configuration(node, path, entry.path)
            continue
        if overlay.is_whiteout(at):
            _gone(node, path, before, found)
        elif stat.S_ISDIR(at.st_mode):
            _gather(node, path, entry.path, state, before, keep, skip, found)
        else:
            if here.had and os.lstat(f"{node}/{inner}").st_dev != os.lstat(state).st_dev:
                hint = "Unmount it, or keep that part of the node on the node's file system."
                raise Refused(
                    f"'{node}/{inner}' is on a file system of its own: '/{path}' cannot be put there",
                    hint=hint,
                )
            flatten.settle(entry.path)
            os.rename(entry.path, f"{state}/{path}")
            had = own_kind(node, path) == "other"
            if had:
                keep_old(node, path, before)
            stamp = mark_of(os.lstat(f"{state}/{path}"))
            found.append(Change(path=path, kind="file", had=had, stamp=stamp))
    some = len(found) > start + 1
    same = here.had and _alike(node, inner, upper)
    if not some and (same or (not here.had and not keep(f"/{inner}"))):
        del found[start:]
        os.rmdir(f"{state}/{inner}")
        return False
    overlay.wipe_marks(upper)
    flatten.like(upper, f"{state}/{inner}")
    return True


def same_configuration(node: str, path: str, new: str) -> None:
    """Raise Refused unless a transaction left a configuration file of the node as it is. Raises OSError."""
    folder, name = os.path.split(path)
    with opened(node, folder) as fd:
        try:
            now = os.stat(name, dir_fd=fd, follow_symlinks=False)
            at = os.lstat(new)
            like = (now.st_mode, now.st_uid, now.st_gid) == (at.st_mode, at.st_uid, at.st_gid)
            here = f"/proc/self/fd/{fd}/{name}"
            if like and stat.S_ISREG(now.st_mode) and filecmp.cmp(here, new, shallow=False):
                return
        except FileNotFoundError:
            pass
    raise Refused(
        f"a package or its scriptlets would change '{node}/{path}', the node's configuration",
        hint="Only you do that: nothing was changed.",
    )


def _replaced(node: str, inner: str, before: str) -> Change:
    """Note that a directory takes the place of a file."""
    keep_old(node, inner, before)
    return Change(path=inner, kind="gone", had=True)


def _alike(node: str, inner: str, upper: str) -> bool:
    """Tell whether a directory of the node has the mode and owner that the transaction left it with."""
    with opened(node, inner) as fd:
        now, new = os.fstat(fd), os.stat(upper)
    return (now.st_mode, now.st_uid, now.st_gid) == (new.st_mode, new.st_uid, new.st_gid)


def _gone(node: str, path: str, before: str, found: list[Change]) -> None:
    """Note that a file or directory of the node goes; what only lower layers have is not ours to remove."""
    kind = own_kind(node, path)
    if kind and path in CONFIGURATIONS:
        same_configuration(node, path, "/dev/null")
    if kind == "directory":
        for name in sorted(own_names(node, path)):
            _gone(node, f"{path}/{name}", before, found)
        found.append(Change(path=path, kind="gone", had=False))
    elif kind == "other":
        keep_old(node, path, before)
        found.append(Change(path=path, kind="gone", had=True))


def keep_old(node: str, path: str, before: str) -> None:
    """Keep what a state file was."""
    from redpak.packages import flatten

    folder, name = os.path.split(path)
    os.makedirs(f"{before}/{folder}", exist_ok=True)
    with opened(node, folder) as fd:
        flatten.link(f"/proc/self/fd/{fd}/{name}", f"{before}/{path}")


class opened:  # noqa: N801 - reads as a verb: with opened(node, "etc") as fd:
    """Open a directory of a node for the block, following no symbolic link. Raises OSError."""

    def __init__(self, node: str, inner: str, make: list[str] | None = None) -> None:
        self.node = node
        self.inner = inner
        self.make = make
        self.fd = -1

    def __enter__(self) -> int:
        top = os.open(self.node, DIRECTORY)
        try:
            self.fd = guard.open_beneath(top, self.inner, make=self.make)
        finally:
            os.close(top)
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def own_kind(node: str, path: str) -> str:
    """Return what a node has at a path: 'directory', 'other', or '' for nothing."""
    folder, name = os.path.split(path)
    try:
        with opened(node, folder) as fd:
            at = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        if error.errno == 40:  # ELOOP: a symbolic link is in the way
            return ""
        raise
    return "directory" if stat.S_ISDIR(at.st_mode) else "other"


def own_names(node: str, path: str) -> set[str]:
    """Return the names in a directory of a node."""
    with opened(node, path) as fd:
        return set(os.listdir(fd))


# ---- after the commit ----


def put_in_place(node: str, generation: str, warn: Callable[[str], None]) -> None:
    """Bring a node's state files and links up to its current generation; does nothing where that is done.

    Call it under the node's lock, with the rights of who made the generation. Raises RedpakError.
    """
    if not os.path.lexists(f"{generation}/{generations.PENDING}"):
        return
    ready = f"{generation[len(node) + 1 :]}/{generations.STATE}"
    with doing("put the state files of the last transaction in place"):
        changes = read(f"{generation}/{generations.STATE_LIST}")
        for change in sorted(changes, key=lambda one: one.kind != "gone"):
            try:
                _put(node, ready, change)
            except OSError as error:
                if error.errno not in (17, 20, 21, 39, 40):  # EEXIST ENOTDIR EISDIR ENOTEMPTY ELOOP
                    raise
                warn(f"'{node}/{change.path}' is something else by now: left alone")
        for change in reversed(changes):
            if change.kind == "directory":
                _dress(node, ready, change)
        links(node, generation, warn)
        _remove(node, generation[len(node) + 1 :], generations.STATE)
        os.unlink(f"{generation}/{generations.PENDING}")


def _put(node: str, ready: str, change: Change) -> None:
    """Put one file in place. `ready`: the directory, in the node, where it is. Raises OSError."""
    folder, name = os.path.split(change.path)
    kind = own_kind(node, f"{ready}/{change.path}")
    match change.kind:
        case "directory":
            if kind != "directory":
                return
            with opened(node, folder, make=[]) as fd:
                try:
                    os.mkdir(name, 0o700, dir_fd=fd)
                except FileExistsError:
                    os.close(os.open(name, DIRECTORY, dir_fd=fd))  # anything but a directory is in the way
        case "file":
            if kind == "other":
                with opened(node, f"{ready}/{folder}") as source, opened(node, folder, make=[]) as fd:
                    os.rename(name, name, src_dir_fd=source, dst_dir_fd=fd)
        case "gone":
            try:
                with opened(node, folder) as fd:
                    try:
                        if change.had:
                            os.unlink(name, dir_fd=fd)
                        else:
                            os.rmdir(name, dir_fd=fd)
                    except IsADirectoryError:
                        pass  # put in place by an earlier try
            except FileNotFoundError:
                pass


def _dress(node: str, ready: str, change: Change) -> None:
    """Give a directory the mode, owner and times that the transaction left it with."""
    from redpak.packages import flatten

    try:
        with opened(node, f"{ready}/{change.path}") as source, opened(node, change.path) as fd:
            flatten.like(f"/proc/self/fd/{source}/.", f"/proc/self/fd/{fd}/.")
    except OSError:
        pass  # told already, or done by an earlier try


def links(node: str, generation: str, warn: Callable[[str], None]) -> None:
    """Make usr, opt … and var/lib/rpm of a node links to its current generation, for people and tools.

    What was there before the first transaction is in the generation's tree by now, and moved aside.
    """
    tree = f"{generation}/{generations.TREE}"
    for top in sorted(os.listdir(tree)):
        _point(node, top, f"{generations.CURRENT}/{generations.TREE}/{top}", generation)
    try:
        with opened(node, os.path.dirname(generations.RPM_DATABASE), make=[]):
            pass
        _point(
            node, generations.RPM_DATABASE, f"../../{generations.CURRENT}/{generations.DATABASE}", generation
        )
    except OSError:  # a program of the node put something else in the way: only people and tools miss it
        warn(f"'{node}/{generations.RPM_DATABASE}' cannot be made: left alone")
    for top in generations.TREE_TOPS:
        # a top that the tree has no longer
        at = f"{node}/{top}"
        if (
            os.path.islink(at)
            and not os.path.lexists(f"{tree}/{top}")
            and generations.CURRENT in os.readlink(at)
        ):
            os.unlink(at)


def _point(node: str, inner: str, target: str, generation: str) -> None:
    folder, name = os.path.split(inner)
    with opened(node, folder) as fd:
        try:
            if os.readlink(name, dir_fd=fd) == target:
                return
        except FileNotFoundError:
            pass
        except OSError:  # no link
            adopted = f"{generation}/{generations.ADOPTED}"
            if not os.path.lexists(f"{adopted}/{inner.replace('/', '-')}.wanted"):
                return  # nothing of the transaction's: somebody made it since
            os.rename(name, f"{adopted}/{inner.replace('/', '-')}", src_dir_fd=fd)
        aside = guard.aside_name()
        os.symlink(target, aside, dir_fd=fd)
        os.rename(aside, name, src_dir_fd=fd, dst_dir_fd=fd)


def _remove(node: str, folder: str, name: str) -> None:
    """Remove a directory of ours, in a directory of the node, with all that is in it."""
    with opened(node, folder) as fd:
        try:
            guard.remove(fd, name)
        except FileNotFoundError:
            pass


# ---- the list ----


def write(path: str, changes: Iterable[Change]) -> None:
    """Write the list of changes."""
    import json

    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump([change.data() for change in changes], file, ensure_ascii=False)


def read(path: str) -> list[Change]:
    """Read the list of changes; [] where there is none. Raises RedpakError."""
    import json

    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            said = json.load(file)
        found = [Change(**{name: entry[name] for name in Change.__fields__}) for entry in said]
        if strange := [change.path for change in found if not is_state(change)]:
            raise ValueError(f"{strange[0]!r} is no state file")
        return found
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RedpakError(
            f"'{path}' cannot be read: {error}", hint="Roll back to an older generation."
        ) from error


def is_state(change: Change) -> bool:
    """Tell whether a change is one that `gather` may have written: of a normal path in a state directory."""
    path = change.path
    return (
        isinstance(path, str)
        and path.partition("/")[0] in generations.STATE_TOPS
        and "\0" not in path
        and os.path.normpath(path) == path
        and path not in CONFIGURATIONS
        and change.kind in ("directory", "file", "gone")
    )


def touched(node: str, first: int, last: int) -> Iterator[tuple[int, Change]]:
    """Yield every change of the generations from `last` down to `first`."""
    for number in range(last, first - 1, -1):
        for change in read(f"{generations.directory(node, number)}/{generations.STATE_LIST}"):
            yield number, change
