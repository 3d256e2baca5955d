"""A program in a container with its streams, as `kubectl exec` has it: by WebSocket, from a world's own network.

Source: RFC 6455; the protocol v4.channel.k8s.io of Kubernetes: each message is a channel's number and its bytes.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from urllib.parse import urlsplit

from tests.clients.world import World
from tests.patience import PATIENCE_S

STDIN, STDOUT, STDERR, ERROR = 0, 1, 2, 3
BINARY, CLOSE = 2, 8
PROTOCOL = "v4.channel.k8s.io"


class Stream:
    """The streams of a program at an address that the engine gave."""

    def __init__(self, world: World, url: str) -> None:
        parts = urlsplit(url)
        words = world.argv(["busybox", "nc", str(parts.hostname), str(parts.port)], {})
        self.pipe = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        key = base64.b64encode(os.urandom(16)).decode()
        self._write(
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Protocol: {PROTOCOL}\r\nOrigin: http://{parts.netloc}\r\n\r\n".encode()
        )
        self.buffer = b""
        self.deadline = time.monotonic() + PATIENCE_S
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self.seen = {STDOUT: b"", STDERR: b"", ERROR: b""}

    def _write(self, data: bytes) -> None:
        assert self.pipe.stdin is not None
        self.pipe.stdin.write(data)
        self.pipe.stdin.flush()

    def _more(self) -> None:
        assert self.pipe.stdout is not None
        left = self.deadline - time.monotonic()
        assert left > 0 and select.select([self.pipe.stdout], [], [], left)[0], (
            f"nothing more comes: {self.seen}"
        )
        data = os.read(self.pipe.stdout.fileno(), 65536)
        assert data, f"the engine has closed the connection: {self.seen}"
        self.buffer += data

    def send(self, data: bytes) -> None:
        """Write to the program's standard input, at most 120 bytes at once."""
        message = bytes([STDIN]) + data
        assert len(message) < 126
        self._write(
            bytes([0x80 | BINARY, 0x80 | len(message), 0, 0, 0, 0]) + message
        )  # a mask is a must; nought will do

    def _message(self) -> tuple[int, bytes]:
        """Return the kind and the contents of the next message."""
        header = 2
        while True:
            if len(self.buffer) >= header:
                size = self.buffer[1] & 0x7F
                wide = {126: 2, 127: 8}.get(size, 0)
                if len(self.buffer) >= header + wide:
                    size = int.from_bytes(self.buffer[2 : 2 + wide], "big") if wide else size
                    start = header + wide
                    if len(self.buffer) >= start + size:
                        kind, message = self.buffer[0] & 0xF, self.buffer[start : start + size]
                        self.buffer = self.buffer[start + size :]
                        return kind, message
            self._more()

    def until(self, channel: int, text: bytes) -> None:
        """Wait until the program has written a text."""
        while text not in self.seen[channel]:
            kind, message = self._message()
            assert kind != CLOSE, self.seen
            if message:
                self.seen[message[0]] += message[1:]

    def end(self) -> int:
        """Wait until the program has ended; return its exit code."""
        kind = BINARY
        while kind != CLOSE and not self.seen[ERROR]:
            kind, message = self._message()
            if kind != CLOSE and message:
                self.seen[message[0]] += message[1:]
        self.pipe.kill()
        self.pipe.communicate()
        said = json.loads(self.seen[ERROR] or b"{}")
        if said.get("status") == "Success":
            return 0
        (code,) = [one["message"] for one in said["details"]["causes"] if one["reason"] == "ExitCode"]
        return int(code)
