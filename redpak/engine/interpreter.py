"""What else has to be there for a program to start: the interpreter that it names."""

from __future__ import annotations

import os
import stat


def beginning(path: str, size_bytes: int) -> bytes:
    """Return how a file begins, b"" for what is none: a pipe of the sandbox's would keep us waiting. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return os.read(fd, size_bytes) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


def interpreter(path: str) -> str:
    """Return the program that the kernel starts a script or dynamic program with, '' for none or an unreadable file."""
    try:
        head = beginning(path, 4096)
    except OSError:
        return ""
    if head.startswith(b"#!"):
        words = head[2:256].split(b"\n", 1)[0].split()
        return os.fsdecode(words[0]) if words else ""
    if not head.startswith(b"\x7fELF\x02\x01"):
        return ""
    table = int.from_bytes(head[32:40], "little")  # e_phoff, e_phentsize, e_phnum: elf(5)
    size, count = int.from_bytes(head[54:56], "little"), int.from_bytes(head[56:58], "little")
    for index in range(count):
        entry = head[table + index * size :][:size]
        if len(entry) == size and size >= 40 and int.from_bytes(entry[:4], "little") == 3:  # PT_INTERP
            start, length = int.from_bytes(entry[8:16], "little"), int.from_bytes(entry[32:40], "little")
            return os.fsdecode(head[start : start + length].split(b"\0", 1)[0])
    return ""
