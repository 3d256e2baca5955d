"""What the first process of a sandbox tells the one that makes it, over a socket that closes at exec.

One message is one packet: a letter, then fields with a NUL between them. Nothing in it is code; a sandbox that has
gone bad can lie about itself and no more.
"""

from __future__ import annotations

import os

from redpak.errors import CannotRun, LaunchFailed, NoProgram, RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.origin import Origin

BORN = b"B"  # pid: the process that the stage made
MAPS = b"M"  # write the id maps now
ROOM = b"R"  # namespaces are there: hooks, then tell to go on
CONSOLE = b"C"  # with the terminal's master
NOTIFY = b"N"  # number of a filter, with its notify descriptor
WARNING = b"W"  # text
READY = b"G"  # at the gate
FAILED = b"F"  # kind, act, path, errno, because
GO = b"!"

MOST = 1 << 16
ENOENT, EACCES, ENOEXEC, ENOTDIR, ELOOP = 2, 13, 8, 20, 40


class Failed(Exception):
    """A failure that is no system call's: says what is wrong itself. `kind`: "" (125), "126" or "127"."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class Doing:
    """What the child is at, kept for the message when a call fails."""

    __slots__ = ("act", "because", "path")

    def __init__(self) -> None:
        self.act = "start"
        self.path = ""
        self.because = ""

    def now(self, act: str, path: str = "", because: Origin | None = None) -> None:
        """Remember: `act` is a verb with its object, `path` the thing, `because` who asked for it."""
        self.act, self.path = act, path
        self.because = (
            str(because) if because is not None and (because.file or because.note != "default") else ""
        )


def failure(doing: Doing, error: BaseException) -> bytes:
    """Return the packet that tells of an error."""
    kind, number = "", 0
    said = str(error) or type(error).__name__
    path = doing.path
    if isinstance(error, OSError):
        number = error.errno or 0
        said = (error.strerror or said).lower()
        if (
            isinstance(error.filename, str)
            and error.filename
            and not error.filename.startswith("/proc/self/fd/")
        ):
            path = doing.path or error.filename
        if doing.act == "run":
            kind = "127" if number == ENOENT else "126"
    elif isinstance(error, Failed):
        kind = error.kind
    fields = (
        kind,
        doing.act,
        path,
        str(number),
        said,
        doing.because,
        "1" if isinstance(error, Failed) else "",
    )
    return FAILED + b"\0".join(os.fsencode(one).replace(b"\0", b"?") for one in fields)[: MOST - 1]


def error_of(packet: bytes, name: str) -> RedpakError:
    """Return the error that a packet tells of; `name` is the sandbox's."""
    fields = [os.fsdecode(one) for one in packet[1:].split(b"\0")]
    kind, act, path, _, said, because, whole = (*fields, *("",) * 7)[:7]
    prefix = f"{because}: " if because else ""
    thing = f" '{path}'" if path else ""
    message = f"{prefix}{said}" if whole else f"{prefix}cannot {act}{thing}: {said}"
    match kind:
        case "127":
            return NoProgram(message, hint="Look at what the sandbox holds.")
        case "126":
            return CannotRun(message, hint="Check its mode and its interpreter.")
        case _:
            advice = "Ask for no more than 'ulimit -H' shows here. " if act.startswith("limit") else ""
            return LaunchFailed(message, hint=f"{advice}Nothing of '{name}' was left running.")


def send(fd: int, packet: bytes, handed: int = -1) -> None:
    """Send one packet, with a descriptor if `handed` is one. Raises OSError."""
    from redpak.kernel.tty import send_fds

    send_fds(fd, packet, (handed,) if handed >= 0 else ())


def send_long(fd: int, letter: bytes, body: bytes) -> None:
    """Send a packet whose body may be larger than a packet: then it is in a file in memory. Raises OSError."""
    if len(body) < MOST // 2:
        send(fd, letter + body)
        return
    file = os.memfd_create("body", os.MFD_CLOEXEC)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(file, view) :]
        send(fd, letter, file)
    finally:
        os.close(file)


def long_body(packet: bytes, handed: int) -> bytes:
    """Return the body of what send_long sent, and close the file that came with it."""
    if handed < 0:
        return packet[1:]
    parts = []
    at = 0
    while part := os.pread(handed, 1 << 20, at):
        parts.append(part)
        at += len(part)
    os.close(handed)
    return b"".join(parts)


def receive(fd: int) -> tuple[bytes, int]:
    """Return the next packet and a descriptor that came with it (-1: none); b"" when the other end is closed."""
    from redpak.kernel.tty import receive_fds

    try:
        packet, handed = receive_fds(fd, MOST)
    except ConnectionResetError:
        return b"", -1
    for extra in handed[1:]:
        os.close(extra)
    return packet, handed[0] if handed else -1
