"""HTTP as downloads need it: streams, ranges, redirects, proxies, TLS; secrets go to the hosts they are for only.

One `Client` belongs to one thread; it keeps a connection open for each host.
"""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
import time
import urllib.parse
import urllib.request

from redpak.packages.access import PORTS, Access, HttpError, access_of, origin, shown

__all__ = ["Access", "Client", "HttpError", "Response", "access_of", "origin", "shown"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 1 << 16  # bytes
MOST_REDIRECTS = 8
_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


class Response:
    """An answer whose body is being read."""

    def __init__(
        self, raw: http.client.HTTPResponse, url: str, access: Access, reset: Callable[[], None]
    ) -> None:
        self.url = url  # after redirects
        self.status = raw.status
        self.etag = raw.headers.get("ETag", "")
        self.modified = raw.headers.get("Last-Modified", "")
        self.start = 0  # offset of the body's first byte in the file
        self.total = -1  # bytes of the whole file, -1 unknown
        self._raw, self._access, self._reset = raw, access, reset
        length = raw.headers.get("Content-Length", "")
        if self.status == 206:
            self.start, self.total = _content_range(raw.headers.get("Content-Range", ""))
        elif length.isdigit():
            self.total = int(length)

    def chunks(self) -> Iterator[bytes]:
        """Return the body piece by piece. Raises HttpError when it breaks off or comes too slowly."""
        began = marked = time.monotonic()
        got = since = 0
        try:
            while True:
                chunk = self._raw.read1(CHUNK)
                if not chunk:
                    break
                got += len(chunk)
                since += len(chunk)
                yield chunk
                now = time.monotonic()
                if now - marked >= self._access.timeout:
                    if since / (now - marked) < self._access.minrate:
                        raise HttpError(
                            f"slower than {self._access.minrate} bytes a second: {shown(self.url)}"
                        )
                    marked, since = now, 0
                if self._access.bandwidth:
                    ahead = got / self._access.bandwidth - (now - began)
                    if ahead > 0:
                        time.sleep(min(ahead, self._access.timeout))
        except (OSError, http.client.HTTPException) as error:
            self._reset()
            raise HttpError(f"{_why(error)}: {shown(self.url)}") from error
        if self.total >= 0 and self.start + got < self.total:
            self._reset()
            raise HttpError(f"ended after {self.start + got} of {self.total} bytes: {shown(self.url)}")

    def close(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        if not self._raw.isclosed():
            self._reset()
        self._raw.close()


def _content_range(text: str) -> tuple[int, int]:
    """Return first byte and size of the whole from 'bytes 5-9/10'; (-1, -1) when it says something else."""
    unit, _, rest = text.partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isdigit():
        return -1, -1
    return int(first), int(total) if total.isdigit() else -1


class Client:
    """Connections of one thread to the hosts of one repository."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        """Close every connection."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def get(self, url: str, *, start: int = 0, unless_changed: str = "", etag: str = "") -> Response:
        """Ask for a URL, from byte `start` on, and follow redirects.

        `unless_changed` is the ETag or date that the first part had (If-Range). With `etag`, a file that is still
        the same is answered by status 304 (If-None-Match). Raises HttpError.
        """
        first = origin(url)
        if not first:
            raise HttpError(f"'{shown(url)}' is no http or https URL", lasting=True)
        headers = {"User-Agent": self.access.user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if unless_changed:
                headers["If-Range"] = unless_changed
        if etag:
            headers["If-None-Match"] = etag
        at = url
        for _ in range(MOST_REDIRECTS):
            response = self._once(at, headers)
            if response.status not in (301, 302, 303, 307, 308):
                return self._judged(response, start)
            target = response._raw.headers.get("Location", "")
            response.close()
            at = self._redirected(at, target)
        raise HttpError(f"more than {MOST_REDIRECTS} redirects: {shown(url)}", lasting=True)

    def _judged(self, response: Response, start: int) -> Response:
        status = response.status
        fine = status in (200, 304) or (status == 206 and start > 0 and response.start == start)
        if fine:
            return response
        response.close()
        told = f"Status code: {status} for {shown(response.url)}"
        if status == 206:
            told = f"another range than the one asked for: {shown(response.url)}"
        # 416: the part that we have is longer than the file; the caller starts over
        raise HttpError(told, status=status, lasting=400 <= status < 500 and status not in (408, 416, 429))

    def _redirected(self, at: str, target: str) -> str:
        there = urllib.parse.urljoin(at, target)
        if not target or not origin(there):
            raise HttpError(f"redirected to '{shown(target)}', which is no http or https URL", lasting=True)
        if at.startswith("https:") and not there.startswith("https:"):
            raise HttpError(f"redirected from https to plain http: {shown(there)}", lasting=True)
        return there

    def _once(self, url: str, headers: dict[str, str]) -> Response:
        parts = urllib.parse.urlsplit(url)
        target = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        if parts.query:
            target += f"?{parts.query}"
        sent = {**headers, **self._authorization(url)}
        proxy = self._proxy(parts)
        key = (origin(url), proxy)
        for fresh in (False, True):
            kept = key in self._open
            try:
                connection = self._connection(parts, proxy)
                if proxy and parts.scheme == "http":
                    sent.update(self._proxy_authorization(proxy))
                    target = f"{key[0]}{target}" if not target.startswith("http://") else target
                connection.request("GET", target, headers=sent)
                raw = connection.getresponse()
                return Response(raw, url, self.access, lambda: self._drop(key))
            except (OSError, http.client.HTTPException, UnicodeError) as error:
                self._drop(key)
                if kept and not fresh:  # a server may have closed a connection that was idle
                    continue
                raise HttpError(f"{_why(error)}: {shown(url)}") from error
        raise AssertionError("unreachable")

    def _drop(self, key: tuple[str, str]) -> None:
        connection = self._open.pop(key, None)
        if connection:
            connection.close()

    def _authorization(self, url: str) -> dict[str, str]:
        """Return the header with name and password: the URL's own, or the repository's for its own hosts."""
        parts = urllib.parse.urlsplit(url)
        if parts.username:
            name, word = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
        elif self.access.username and origin(url) in self.access.hosts:
            name, word = self.access.username, self.access.password
        else:
            return {}
        return {"Authorization": _basic(name, word)}

    def _proxy(self, parts: urllib.parse.SplitResult) -> str:
        if self.access.proxy == "_none_":
            return ""
        proxy = self.access.proxy
        if not proxy:
            known = urllib.request.getproxies_environment()
            proxy = known.get(parts.scheme, known.get("all", ""))
            if not proxy or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
                return ""
        if "://" not in proxy:
            proxy = f"http://{proxy}"
        if not proxy.startswith("http://"):
            raise HttpError(f"proxy '{shown(proxy)}' is no http proxy", lasting=True)
        return proxy

    def _proxy_authorization(self, proxy: str) -> dict[str, str]:
        parts = urllib.parse.urlsplit(proxy)
        name = self.access.proxy_username or urllib.parse.unquote(parts.username or "")
        word = self.access.proxy_password or urllib.parse.unquote(parts.password or "")
        return {"Proxy-Authorization": _basic(name, word)} if name else {}

    def _connection(self, parts: urllib.parse.SplitResult, proxy: str) -> http.client.HTTPConnection:
        key = (origin(parts.geturl()), proxy)
        found = self._open.get(key)
        if found is not None:
            return found
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        at = urllib.parse.urlsplit(proxy)
        peer = (at.hostname or "", at.port or 3128) if proxy else (host, port)
        made: http.client.HTTPConnection
        if parts.scheme == "https":
            made = http.client.HTTPSConnection(*peer, timeout=self.access.timeout, context=self._context())
            if proxy:
                made.set_tunnel(host, port, headers=self._proxy_authorization(proxy))
        else:
            made = http.client.HTTPConnection(*peer, timeout=self.access.timeout)
        if self.access.ip_resolve in _FAMILIES:
            family = _FAMILIES[self.access.ip_resolve]

            def dial(where: tuple[str, int], timeout: float, _source: object = None) -> socket.socket:
                return _dial(where, timeout, family)

            made._create_connection = dial  # type: ignore[attr-defined]
        self._open[key] = made
        return made

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            access = self.access
            try:
                self._tls = ssl.create_default_context(cafile=access.sslcacert or None)
                if access.sslclientcert:
                    self._tls.load_cert_chain(access.sslclientcert, access.sslclientkey or None)
            except (OSError, ssl.SSLError) as error:
                files = [f for f in (access.sslcacert, access.sslclientcert, access.sslclientkey) if f]
                raise HttpError(
                    f"cannot use the TLS files {', '.join(files)}: {_why(error)}", lasting=True
                ) from None
            if not access.sslverify:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE
        return self._tls


def _dial(where: tuple[str, int], timeout: float, family: int) -> socket.socket:
    """Connect by one family of addresses only (ip_resolve)."""
    last: OSError | None = None
    for kind, form, protocol, _, address in socket.getaddrinfo(*where, family, socket.SOCK_STREAM):
        made = socket.socket(kind, form, protocol)
        made.settimeout(timeout)
        try:
            made.connect(address)
        except OSError as error:
            last = error
            made.close()
        else:
            return made
    raise last or OSError(f"'{where[0]}' has no such address")


def _basic(name: str, word: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()


def _why(error: BaseException) -> str:
    """Return why a connection failed, in few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not valid ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error})"
    if isinstance(error, socket.gaierror):
        return "cannot resolve the host's name"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return (os.strerror(error.errno) if error.errno else str(error)).lower()
    if isinstance(error, http.client.RemoteDisconnected):
        return "the server closed the connection"
    return f"no valid answer ({type(error).__name__})"
