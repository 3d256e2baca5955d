"""Sockets at paths of any length."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from pathlib import Path

import pytest

from redpak.engine.native import sockets
from tests.doors import deep, listening


def pair(at: str) -> bytes:
    """Bind and listen at a path, connect to it, and return what came over."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        sockets.bind(server, at)
        server.listen()
        sockets.connect(client, at)
        with server.accept()[0] as end:
            end.send(b"word")
            return client.recv(10)


def test_every_length_around_the_limit_works(tmp_path: Path) -> None:
    short = tempfile.mkdtemp(prefix="", dir="/tmp")
    try:
        for length in range(sockets.LONGEST - 3, sockets.LONGEST + 4):
            at = f"{short}/".ljust(length - 2, "x") + "/s"
            os.makedirs(os.path.dirname(at), exist_ok=True)
            assert len(at) == length
            assert pair(at) == b"word"
            os.unlink(at)
            os.rmdir(os.path.dirname(at))
    finally:
        os.rmdir(short)
    assert pair(str(deep(tmp_path) / "s")) == b"word"


def test_a_relative_path_is_one_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(deep(tmp_path))
    assert pair("s") == b"word"
    assert Path("s").is_socket()


def test_who_connects_may_name_what_is_too_long_to_bind(tmp_path: Path) -> None:
    at = deep(tmp_path) / ("n" * 200)
    with listening(at), socket.socket(socket.AF_UNIX) as client:
        sockets.connect(client, str(at))
    with socket.socket(socket.AF_UNIX) as server, pytest.raises(OSError) as raised:
        sockets.bind(server, f"{at}2")
    assert raised.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_failures_have_their_numbers(far: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    at = deep(tmp_path) if far else Path()
    (at / "file").touch()
    for name, number in (("nothing", errno.ENOENT), ("file", errno.ECONNREFUSED), ("file/x", errno.ENOTDIR)):
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(OSError) as raised:
            sockets.connect(client, str(at / name))
        assert raised.value.errno == number
    with socket.socket(socket.AF_UNIX) as server, pytest.raises(OSError) as raised:
        sockets.bind(server, str(at / "file"))
    assert raised.value.errno == errno.EADDRINUSE
