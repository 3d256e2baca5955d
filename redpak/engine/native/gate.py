"""The gate of a created container: a socket in its state directory that its first process listens on.

Whoever may open the directory may open the gate, once. The connection tells whether the program's exec worked: it
closes when it did.
"""

from __future__ import annotations

import errno
import os

from redpak.errors import LaunchFailed, NotFound

HINT = "It has ended, or was started already."


def listen(path: str) -> int:
    """Return a socket that listens at `path`, which must not exist. Raises LaunchFailed."""
    import _socket as socket

    folder, name = os.path.split(path)
    try:
        at = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            end.bind(f"/proc/self/fd/{at}/{name}")  # sun_path holds 107 bytes
            os.chmod(name, 0o600, dir_fd=at)
            end.listen(1)
        finally:
            os.close(at)
    except OSError as error:
        raise LaunchFailed(f"cannot make the gate '{path}': {(error.strerror or '').lower()}") from error
    return end.detach()


def release(path: str) -> None:
    """Let the program behind the gate at `path` start; returns when its exec has worked.

    Raises NotFound where nobody waits (any more), NoProgram, CannotRun or LaunchFailed where the program or a start
    hook failed; it has ended then.
    """
    import _socket as socket

    from redpak.engine.native import wire

    folder, name = os.path.split(path)
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        try:
            at = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                end.connect(f"/proc/self/fd/{at}/{name}")
            finally:
                os.close(at)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
                raise NotFound(f"nobody waits at '{path}'", hint=HINT) from None
            raise LaunchFailed(f"cannot open the gate '{path}': {(error.strerror or '').lower()}") from error
        try:
            end.send(wire.GO, socket.MSG_NOSIGNAL)
            packet = end.recv(wire.MOST)  # no descriptor comes: the kernel room need not be loaded for that
        except (BrokenPipeError, ConnectionResetError):
            raise NotFound(f"nobody waits at '{path}'", hint=HINT) from None
    finally:
        end.close()
    if packet[:1] == wire.FAILED:
        raise wire.error_of(packet, name)


def accept(listener: int) -> int:
    """Wait until somebody opens the gate; return the connection, close-on-exec. The listener is closed."""
    import _socket as socket

    from redpak.engine.native import wire

    while True:
        end = socket.socket(fileno=listener)
        fd: int = end._accept()[0]  # type: ignore[attr-defined]
        end.detach()
        os.set_inheritable(fd, False)  # noqa: FBT003
        packet, _ = wire.receive(fd)
        if packet == wire.GO:
            os.close(listener)
            return fd
        os.close(fd)  # it looked and went away
