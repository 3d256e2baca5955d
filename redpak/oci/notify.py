"""Readiness (sd_notify(3)): the container gets a socket of its own, and what it says there goes to $NOTIFY_SOCKET.

The container cannot reach the caller's socket, which lies outside of its root; and systemd would not know its pid.
"""

from __future__ import annotations

import os

from redpak.errors import RedpakError
from redpak.oci import life

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.engine.native.box import Box
    from redpak.oci.store import Container

INSIDE = "/run/notify"
FOLDER, SOCKET = "notify", "notify.sock"
MOST_BYTES = 4096


def prepare(container: Container, box: Box, outside: str) -> Box:
    """Make the directory for the container's socket; return the box that shows it and names it to the program."""
    from redpak.engine.native.box import Bind, MakeDir

    folder = f"{container.path}/{FOLDER}"
    try:
        os.mkdir(folder, 0o755)
    except OSError as error:
        raise RedpakError(f"cannot make '{folder}': {(error.strerror or '').lower()}") from None
    container.data["notify"] = outside
    container.save()
    settings = [one for one in box.process.environ if not one.startswith("NOTIFY_SOCKET=")]
    settings.append(f"NOTIFY_SOCKET={INSIDE}/{SOCKET}")
    steps = (*box.steps, MakeDir(dst=INSIDE), Bind(dst=INSIDE, source=folder, recursive=False))
    return box.but(steps=steps, process=box.process.but(environ=tuple(settings)))


def listen(container: Container) -> int:
    """Return the socket that the program will write to; call it before the gate is opened."""
    import _socket as socket

    from redpak.engine.native import sockets

    folder = f"{container.path}/{FOLDER}"
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sockets.bind(end, f"{folder}/{SOCKET}")
    os.chmod(f"{folder}/{SOCKET}", 0o777)
    return end.detach()


def watched(container: Container) -> tuple[int, Callable[[], bool]]:
    """Return the socket to poll, and what to call when something has come; it tells whether that was all."""
    listener = listen(container)

    def heard() -> bool:
        if b"READY=1" not in os.read(listener, MOST_BYTES).split(b"\n"):
            return False
        os.close(listener)
        _tell(str(container.data["notify"]), b"MAINPID=%d\nREADY=1\n" % container.pid)
        return True

    return listener, heard


def relay(container: Container, listener: int, heard: Callable[[], bool]) -> None:
    """Wait until the program says that it is ready, or ends."""
    import select

    pidfd = os.pidfd_open(container.pid)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    try:
        while life.alive(container):
            ready = dict(poll.poll())
            if listener in ready:
                if heard():
                    return
            elif pidfd in ready:
                return
    finally:
        os.close(pidfd)


def _tell(outside: str, message: bytes) -> None:
    import _socket as socket

    from redpak.engine.native import sockets

    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        if outside.startswith("@"):
            end.connect("\0" + outside[1:])
        else:
            sockets.connect(end, outside)
        end.send(message)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise RedpakError(f"cannot tell '{outside}' that the container is ready: {why}") from None
    finally:
        end.close()
