"""Calls of a gRPC server on a Unix socket: one answer for one question, in this thread.

Source: "gRPC over HTTP2" of gRPC's documentation; RFC 9113 (HTTP/2), which the package `h2` speaks.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

PREFIX_BYTES = 5  # one byte that says whether the message is compressed, four for its length
CODES = {2: "UNKNOWN", 3: "INVALID_ARGUMENT", 4: "DEADLINE_EXCEEDED", 5: "NOT_FOUND", 12: "UNIMPLEMENTED"}


class CallFailed(Exception):
    """The server has answered with an error: `code` is its name in gRPC, or its number."""

    def __init__(self, method: str, code: str, text: str) -> None:
        super().__init__(f"{method}: {code}: {text}")
        self.code = code
        self.text = text


class Channel:
    """A connection to a gRPC server, for one call after the other."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.http.initiate_connection()
        self._flush()

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def call(self, method: str, message: bytes, *, timeout_s: float) -> bytes:
        """Return the server's answer to a message. Raises CallFailed; TimeoutError when it takes too long."""
        stream = self.http.get_next_available_stream_id()
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", f"/{method}"), (":authority", "localhost"),
            ("te", "trailers"), ("content-type", "application/grpc"),
        ]  # fmt: skip
        self.http.send_headers(stream, headers)
        self._send(stream, b"\0" + len(message).to_bytes(PREFIX_BYTES - 1, "big") + message)
        answer, said = self._receive(stream, time.monotonic() + timeout_s, method)
        status = int(said.get("grpc-status", "2"))
        if status:
            raise CallFailed(method, CODES.get(status, str(status)), unquote(said.get("grpc-message", "")))
        size = int.from_bytes(answer[1:PREFIX_BYTES], "big")
        assert answer[:1] == b"\0", "the answer is compressed, and nobody asked for that"
        assert len(answer) == PREFIX_BYTES + size, "the answer is not one whole message"
        return answer[PREFIX_BYTES:]

    def _send(self, stream: int, data: bytes) -> None:
        most = min(self.http.local_flow_control_window(stream), self.http.max_outbound_frame_size)
        assert len(data) <= most, (
            f"a message of {len(data)} bytes has to wait for the server, which nothing here does"
        )
        self.http.send_data(stream, data, end_stream=True)
        self._flush()

    def _flush(self) -> None:
        self.socket.sendall(self.http.data_to_send())

    def _receive(self, stream: int, deadline: float, method: str) -> tuple[bytes, dict[str, str]]:
        """Return the bytes of an answer, and its headers and trailers."""
        answer, said = b"", dict[str, str]()
        while True:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError(f"{method}: the server has closed the connection")
            for event in self.http.receive_data(data):
                if isinstance(event, ConnectionTerminated):
                    raise ConnectionError(f"{method}: the server ends the connection: {event}")
                if getattr(event, "stream_id", stream) != stream:
                    continue  # of a call that took too long
                match event:
                    case ResponseReceived() | TrailersReceived():
                        said |= {str(name): str(value) for name, value in event.headers or ()}
                    case DataReceived():
                        answer += event.data or b""
                        self.http.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                    case StreamReset():
                        raise CallFailed(method, "RESET", str(event.error_code))
                    case StreamEnded():
                        self._flush()
                        return answer, said
            self._flush()
