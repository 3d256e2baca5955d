"""Terminals: the master's way to the client, the pid file, and the descriptors that a container is given."""

from __future__ import annotations

import os
import stat

from redpak.errors import RedpakError, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.oci.options import Options


def sender(path: str) -> Callable[[int], None]:
    """Connect to the socket of --console-socket; return what sends a terminal's master there, and closes it.

    Raises RedpakError when nobody listens. Source: runc, docs/terminals.md; SCM_RIGHTS in unix(7).
    """
    import _socket as socket
    import sys

    from redpak.engine.native import sockets

    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sockets.connect(end, path)
    except OSError as error:
        raise RedpakError(
            f"cannot connect to the console socket '{path}': {(error.strerror or str(error)).lower()}",
            hint="Start the program that takes the terminal first.",
        ) from None

    def send(master: int) -> None:
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, master.to_bytes(4, sys.byteorder))
            end.sendmsg([b"/dev/ptmx"], [rights])
        except OSError as error:
            why = (error.strerror or "").lower()
            raise RedpakError(f"cannot send the terminal to '{path}': {why}") from None
        finally:
            os.close(master)
            end.close()

    return send


def check(options: Options, *, terminal: bool, detached: bool) -> None:
    """Raise Usage when a terminal has nobody to take it, or a socket waits for none."""
    given = options.text("console-socket")
    if terminal and detached and not given:
        raise Usage(
            "cannot allocate tty if the runtime will detach without setting console socket",
            hint="Name one with --console-socket, or set process.terminal to false.",
        )
    if given and not (terminal and detached):
        raise Usage(
            "cannot use console socket if the runtime will not detach or allocate tty",
            hint="Leave --console-socket out, or set process.terminal to true.",
        )


def write_pid(path: str, pid: int) -> None:
    """Write a pid file aside and rename it, so that nobody reads half a number. Raises RedpakError.

    A device or pipe is written to, and stays.
    """
    folder, name = os.path.split(path)
    aside = os.path.join(folder, f".{name}.{os.urandom(6).hex()}")  # nobody has it open yet
    try:
        kind = stat.S_IFMT(os.lstat(path).st_mode) if os.path.lexists(path) else stat.S_IFREG
        special = kind not in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR)
        how = os.O_NOFOLLOW if special else os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = os.open(path if special else aside, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY | how, 0o644)
        try:
            os.write(fd, b"%d" % pid)
            if not special:
                os.rename(aside, path)
        except BaseException:
            if not special:
                os.unlink(aside)
            raise
        finally:
            os.close(fd)
    except OSError as error:
        raise RedpakError(f"cannot write the pid file '{path}': {(error.strerror or '').lower()}") from None


def handed_on(options: Options) -> tuple[int, tuple[str, ...]]:
    """Return how many descriptors from 3 on the program gets, and the variables that tell it of them.

    First those of socket activation (sd_listen_fds(3), if they are meant for this process), then those of
    --preserve-fds. Raises Usage when one is not open.
    """
    listening = 0
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        word = os.environ.get("LISTEN_FDS", "")
        listening = int(word) if word.isascii() and word.isdigit() else 0
    count = listening + max(0, options.number("preserve-fds"))
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError:
            raise Usage(
                f"descriptor {fd} is to be preserved and is not open",
                hint="Open it, or lower --preserve-fds.",
            ) from None
    if not listening:
        return count, ()
    told = [f"LISTEN_FDS={listening}", "LISTEN_PID=1"]
    if os.environ.get("LISTEN_FDNAMES"):
        told.append(f"LISTEN_FDNAMES={os.environ['LISTEN_FDNAMES']}")
    return count, tuple(told)
