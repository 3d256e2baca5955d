"""Sockets for tests, at paths of any length: an address holds 107 bytes (unix(7)), so they go by their directory."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.patience import PATIENCE_S


@contextmanager
def listening(at: Path | str, kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    """Listen at a path until the block ends. Its file stays."""
    folder, name = os.path.split(at)
    door = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, kind) as end:
            end.settimeout(PATIENCE_S)
            end.bind(f"/proc/self/fd/{door}/.new")
            os.rename(".new", name, src_dir_fd=door, dst_dir_fd=door)  # which may be too long itself
            if kind == socket.SOCK_STREAM:
                end.listen()
            yield end
    finally:
        os.close(door)


def deep(folder: Path) -> Path:
    """Make a directory whose path alone fills an address, and return it."""
    at = folder / ("d" * 120) / ("e" * 120)
    at.mkdir(parents=True)
    return at
