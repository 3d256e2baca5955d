"""One directory tree out of several: overlays of which only the topmost layer is ever written.

Layers are named by short links beside each other, so that neither their number, the length of their paths nor
characters that mount(2) would have to be told about matter.
"""

from __future__ import annotations

import os

from redpak.errors import RedpakError, Refused
from redpak.kernel import mount
from redpak.record import Record

OPTIONS = "index=off,metacopy=off,redirect_dir=off"
USER_OPTIONS = "userxattr"  # in a user namespace; it forbids metacopy and redirects by itself
UNSYNCED = "volatile"  # the upper layer is synchronised once, when it is complete; Linux 5.10
EINVAL = 22
MARKS = ("trusted.overlay.", "user.overlay.")  # extended attributes that overlayfs leaves in the upper layer
MOST_LAYERS = 500  # overlayfs's own limit


class Stack(Record):
    """One directory of the view: what is shown there, topmost first, and where changes go."""

    name: str  # 'usr'
    lowers: tuple[str, ...]
    upper: str = ""  # '' = nothing can change
    aside: str = ""  # overlayfs's own work directory, on the file system of `upper`


def show(stack: Stack, at: str, links: str, *, user: bool) -> None:
    """Mount a stack at the directory `at`. `links` is a directory in memory for short names.

    Raises RedpakError where the upper directory's file system cannot hold changes, Refused where an ordinary user
    (`user`) cannot have a layer, OSError as mount.overlay.
    """
    if len(stack.lowers) > MOST_LAYERS:
        raise RedpakError(f"'{stack.name}' would have {len(stack.lowers)} layers, more than {MOST_LAYERS}")
    if not stack.upper and len(stack.lowers) == 1:  # an overlay has two layers at least
        mount.bind(stack.lowers[0], at, recursive=True)
        return
    folder = os.path.join(links, stack.name)
    os.mkdir(folder)
    for number, lower in enumerate(stack.lowers):
        os.symlink(lower, f"{folder}/{number}")
    options = "lowerdir=" + ":".join(str(number) for number in range(len(stack.lowers)))
    if stack.upper:
        os.symlink(stack.upper, f"{folder}/u")
        os.symlink(stack.aside, f"{folder}/w")
        options += ",upperdir=u,workdir=w"
    before = os.open(".", os.O_PATH | os.O_CLOEXEC)
    options += f",{USER_OPTIONS if user else OPTIONS}"
    try:
        os.chdir(folder)
        try:
            mount.overlay(at, f"{options},{UNSYNCED}" if stack.upper else options)
        except OSError as error:
            if error.errno != EINVAL or not stack.upper:
                raise
            mount.overlay(at, options)
    except OSError as error:
        if user:
            _explain(stack.lowers, error)
        if error.errno == EINVAL:
            raise RedpakError(
                f"changes to '{stack.name}' cannot be kept beside '{stack.upper}': its file system is no place "
                "for the upper layer of an overlay",
                hint="Put the node on ext4, xfs, btrfs or tmpfs.",
            ) from error
        raise
    finally:
        os.fchdir(before)
        os.close(before)


def _explain(lowers: tuple[str, ...], error: OSError) -> None:
    """Raise Refused where mounts beneath a layer are the reason.

    In a new user namespace the mounts that were there before are locked: nobody may see what they cover, and an overlay
    shows its layers without what is mounted in them (mount_namespaces(7), "Restrictions on mount namespaces"; the
    kernel's clone_private_mount). So root of that namespace gets EINVAL.
    """
    if error.errno != EINVAL:
        return
    from redpak.kernel import mountinfo

    points = sorted({one.point for one in mountinfo.mounts()})
    for lower in lowers:
        inner = [at for at in points if at.startswith(f"{os.path.realpath(lower)}/")]
        if inner:
            more = f", and {len(inner) - 1} more" if len(inner) > 1 else ""
            raise Refused(
                f"'{lower}' cannot be a layer for an ordinary user: something is mounted in it, at '{inner[0]}'{more}",
                hint="Unmount that, or do it as root; the kernel lets no user namespace look beneath a mount.",
            ) from error


def is_whiteout(at: os.stat_result) -> bool:
    """Tell whether an entry of an upper layer says that the one below is gone."""
    import stat

    return stat.S_ISCHR(at.st_mode) and at.st_rdev == 0


def is_opaque(folder: str) -> bool:
    """Tell whether a directory of an upper layer hides all that is below it."""
    for name in MARKS:
        try:
            if os.getxattr(folder, name + "opaque", follow_symlinks=False) in (b"y", b"x"):
                return True
        except OSError:
            continue
    return False


def make_opaque(folder: str) -> None:
    """Let a directory of a lower layer hide all that is below it; for root only. Raises OSError."""
    os.setxattr(folder, MARKS[0] + "opaque", b"y")


def wipe_marks(path: str) -> None:
    """Remove what overlayfs noted on an entry of an upper layer. Raises OSError."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return  # a file system without extended attributes
    for name in names:
        if name.startswith(MARKS):
            os.removexattr(path, name, follow_symlinks=False)
