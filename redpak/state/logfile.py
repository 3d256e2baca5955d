"""The log of what a detached program says: written by its supervisor, capped, and followed while it grows.

A line is `2026-11-22T08:40:01.123456Z stdout F text`: when its end was read, where it was written, and F for a whole
line or P for a part of one that goes on in the next (the form of Kubernetes' container logs). Stream `redpak` is what
redpak itself says. Two files: when `log` is full it becomes `log.1`, and what that held is gone.
"""

from __future__ import annotations

import os

from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "log"
OLDER = "log.1"
MOST_BYTES = 4 << 20  # of both files
LEAST_BYTES = 64 << 10
LONGEST = 16 << 10  # bytes of one line; a longer one becomes several
STREAMS = ("stdout", "stderr", "redpak")


class Line(Record):
    """One line, without its newline."""

    time: str  # RFC 3339, UTC
    stream: str
    whole: bool
    text: bytes


def stamp(seconds: float) -> str:
    """Return a moment as the log writes it; such texts sort as the moments do."""
    import time

    whole = int(seconds)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((seconds - whole) * 1e6):06d}Z"


class Writer:
    """Appends to the log in a record's directory; the directory may be renamed meanwhile."""

    def __init__(self, folder: str, most_bytes: int = MOST_BYTES) -> None:
        self.most = max(most_bytes, LEAST_BYTES) // 2
        self.folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.rests = dict.fromkeys(STREAMS, b"")
        self.size = 0
        self.lost = 0  # bytes that could not be written
        self.cut = False  # the last line in the file has no end: there was no room for it
        self.fd = self._open()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(FILE, flags, 0o600, dir_fd=self.folder)
        self.size = os.fstat(fd).st_size
        return fd

    def feed(self, stream: str, data: bytes) -> None:
        """Take what a stream said; whole lines are written at once, the rest waits for its end."""
        import time

        now = stamp(time.time())
        *lines, rest = (self.rests[stream] + data).split(b"\n")
        out = []
        for line in lines:
            while len(line) > LONGEST:
                out.append(f"{now} {stream} P ".encode() + line[:LONGEST])
                line = line[LONGEST:]
            out.append(f"{now} {stream} F ".encode() + line)
        while len(rest) > LONGEST:
            out.append(f"{now} {stream} P ".encode() + rest[:LONGEST])
            rest = rest[LONGEST:]
        self.rests[stream] = rest
        self._write(out)

    def _write(self, lines: list[bytes]) -> None:
        for line in lines:
            if self.size and self.size + len(line) + 1 > self.most and not self._rotate():
                self.lost += len(line) + 1
                continue
            data = b"\n" + line + b"\n" if self.cut else line + b"\n"
            try:
                done = os.write(self.fd, data)
            except OSError:  # no room: the program must not be held up, nor end, for its log
                self.lost += len(line) + 1
                continue
            self.size += done
            self.cut = done < len(data)
            self.lost += len(data) - done

    def _rotate(self) -> bool:
        """Begin a new file; False where there is no room even for its name: then the old one grows no more."""
        try:
            os.rename(FILE, OLDER, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except FileNotFoundError:
            pass  # an earlier turn came no further
        except OSError:
            return False
        try:
            fd = self._open()
        except OSError:
            return False
        os.close(self.fd)
        self.fd, self.cut = fd, False
        return True

    def close(self) -> None:
        """Write out lines that have no end, and close."""
        import time

        now = stamp(time.time())
        left = [(stream, rest) for stream, rest in self.rests.items() if rest]
        self._write([f"{now} {stream} P ".encode() + rest for stream, rest in left])
        if self.lost:
            self._write([f"{now} redpak F there was no room for {self.lost} bytes of this log".encode()])
        os.close(self.fd)
        os.close(self.folder)


def parse(line: bytes) -> Line | None:
    """Return a line of the file as a Line, None where it is damaged (a full disk cuts lines off)."""
    words = line.split(b" ", 3)
    if len(words) != 4 or words[2] not in (b"F", b"P"):
        return None
    stream = words[1].decode(errors="replace")
    if stream not in STREAMS:
        return None
    return Line(time=words[0].decode(errors="replace"), stream=stream, whole=words[2] == b"F", text=words[3])


def _lines(data: bytes) -> Iterator[Line]:
    for line in data.split(b"\n"):
        one = parse(line) if line else None
        if one is not None:
            yield one


class Reader:
    """Reads the log in an open directory, which it closes, and goes on as it grows.

    The directory may be renamed, and the log rotated, meanwhile.
    """

    def __init__(self, folder: int) -> None:
        self.folder = folder
        self.fd = -1
        self.rest = b""

    def close(self) -> None:
        """Close it."""
        for fd in (self.fd, self.folder):
            if fd >= 0:
                os.close(fd)

    def _open(self, name: str) -> int:
        try:
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.folder)
        except FileNotFoundError:
            return -1

    def old(self) -> Iterator[Line]:
        """Return all that was said until now, oldest first; `new` goes on where it ends."""
        self.fd = self._open(
            FILE
        )  # before the older one: a rotation in between repeats lines, and loses none
        older = self._open(OLDER)
        if older >= 0:
            try:
                same = self.fd >= 0 and os.fstat(older).st_ino == os.fstat(self.fd).st_ino
                if not same:
                    yield from _lines(_all(older))
            finally:
                os.close(older)
        yield from self.new()

    def new(self) -> Iterator[Line]:
        """Return what was said since the last call."""
        while True:
            if self.fd < 0:
                self.fd = self._open(FILE)
                if self.fd < 0:
                    return
            whole, newline, self.rest = (self.rest + _all(self.fd)).rpartition(b"\n")
            yield from _lines(whole + newline)
            try:
                moved = os.stat(FILE, dir_fd=self.folder).st_ino != os.fstat(self.fd).st_ino
            except FileNotFoundError:
                return  # between two names: the next call sees the new file
            if not moved:
                return
            whole, newline, self.rest = (self.rest + _all(self.fd)).rpartition(
                b"\n"
            )  # what came before the move
            yield from _lines(whole + newline)
            os.close(self.fd)
            self.fd, self.rest = -1, b""

    def wait(self) -> int:
        """Return an inotify descriptor that becomes readable when there may be more, or the record moved on."""
        from redpak.kernel import inotify

        fd = inotify.init()
        mask = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_MOVE_SELF
        inotify.add_watch(fd, f"/proc/self/fd/{self.folder}", mask)
        return fd


def _all(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 1 << 18):
        parts.append(part)
    return b"".join(parts)
