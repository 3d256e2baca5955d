"""A real HTTP server for the tests: ranges, ETags, passwords, redirects, and faults that are asked for by path."""

from __future__ import annotations

import base64
import hashlib
import os
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests.patience import PATIENCE_S


class Web:
    """What the server does, and what it was asked."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.url = ""
        self.asked: list[tuple[str, dict[str, str]]] = []  # path, headers
        self.password = ""  # "user:word"; '' = none is asked for
        self.redirects: dict[str, str] = {}  # path: where to
        self.broken: dict[str, int] = {}  # path: status that it is answered with
        self.cut: dict[str, list[int]] = {}  # path: after how many bytes the next answers break off
        self.endless: set[str] = set()  # paths that never end
        self.replaced: dict[str, bytes] = {}  # path: other content
        self.ranges = True
        self.gate = threading.Event()  # no answer before it is set
        self.gate.set()

    def paths(self) -> list[str]:
        """Return the paths that were asked for."""
        return [path for path, _ in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        web = self.web
        web.asked.append((self.path, dict(self.headers.items())))
        path = unquote(self.path.partition("?")[0])
        web.gate.wait(PATIENCE_S)
        if web.password:
            told = "Basic " + base64.b64encode(web.password.encode()).decode()
            if self.headers.get("Authorization") != told:
                return self._empty(401)
        if path in web.redirects:
            return self._empty(302, Location=web.redirects[path])
        if path in web.broken:
            return self._empty(web.broken[path])
        data = web.replaced.get(path)
        if data is None:
            try:
                data = (web.folder / path.lstrip("/")).read_bytes()
            except OSError:
                return self._empty(404)
        return self._send(path, data)

    def do_CONNECT(self) -> None:
        """Be a proxy for TLS: pass bytes on, both ways, until one side has had enough."""
        self.web.asked.append((f"CONNECT {self.path}", dict(self.headers.items())))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: there, there: self.connection}
            while True:
                for one in select.select(list(ends), [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    ends[one].sendall(data)

    def _send(self, path: str, data: bytes) -> None:
        tag = '"' + hashlib.sha256(data).hexdigest()[:16] + '"'
        start, wanted = 0, self.headers.get("Range", "")
        condition = self.headers.get("If-Range", tag)
        if self.web.ranges and wanted and condition == tag:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= len(data):
                return self._empty(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("ETag", tag)
        if path in self.web.endless:
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                self.close_connection = True
            return None
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cuts = self.web.cut.get(path)
        end = cuts.pop(0) if cuts else len(data)
        self.wfile.write(data[start:end])
        if end < len(data):
            self.close_connection = True
        return None

    def _empty(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away is what some tests are about


@contextmanager
def serving(folder: Path | str, *, certificate: str = "", key: str = "") -> Iterator[Web]:
    """Serve a directory on a port of this host until the block ends; by TLS with a certificate."""
    web = Web(folder)
    handler = type("Handler", (_Handler,), {"web": web})
    server = _Server(("127.0.0.1", 0), handler)
    scheme = "http"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    web.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def self_signed(folder: Path) -> tuple[str, str]:
    """Make a certificate of 127.0.0.1 that signs itself; return its path and its key's."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "server.crt", folder / "server.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    os.chmod(secret, 0o600)
    return str(certificate), str(secret)
