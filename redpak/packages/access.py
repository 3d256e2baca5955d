"""How the hosts of a repository are reached, and what may be said of URLs. No network code: most runs need none."""

from __future__ import annotations

import urllib.parse

from redpak.errors import RedpakError
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.packages.repoconfig import RepoConfig

PORTS = {"http": 80, "https": 443}


class Access(Record):
    """How to reach the hosts of one repository. Times in seconds, rates in bytes a second."""

    username: str = ""
    password: str = ""
    hosts: tuple[str, ...] = ()  # origins ("https://host:443") that may see the name and password
    sslverify: bool = True
    sslcacert: str = ""
    sslclientcert: str = ""
    sslclientkey: str = ""
    proxy: str = ""  # '' asks the environment, '_none_' is none
    proxy_username: str = ""
    proxy_password: str = ""
    timeout: float = 30.0
    retries: int = 10  # 0: for ever
    minrate: int = 1000  # slower than this for `timeout` seconds is given up
    bandwidth: int = 0  # not faster than this, for each stream; 0: no limit
    ip_resolve: str = "whatever"
    user_agent: str = "redpak"

    def __repr__(self) -> str:
        hidden = {key: "***" for key in ("password", "proxy_password") if getattr(self, key)}
        return super(Access, self.but(**hidden)).__repr__()


def access_of(config: RepoConfig) -> Access:
    """Return how the hosts of a repository are reached. Those that its file names as its own get its password."""
    hosts = [origin(url) for url in (*config.baseurl, config.mirrorlist, config.metalink)]
    basic = config.proxy_auth_method in (
        "any",
        "basic",
    )  # the password is not shown by a method nobody asked for
    limit = config.throttle if config.throttle > 1 else config.throttle * config.bandwidth
    return Access(
        username=config.username,
        password=config.password,
        hosts=tuple(sorted({host for host in hosts if host})),
        sslverify=config.sslverify,
        sslcacert=config.sslcacert,
        sslclientcert=config.sslclientcert,
        sslclientkey=config.sslclientkey,
        proxy=config.proxy,
        proxy_username=config.proxy_username if basic else "",
        proxy_password=config.proxy_password if basic else "",
        timeout=config.timeout,
        retries=config.retries,
        minrate=config.minrate,
        bandwidth=int(limit / max(1, config.max_parallel_downloads)),
        ip_resolve=config.ip_resolve,
        user_agent=config.user_agent,
    )


class HttpError(RedpakError):
    """A URL could not be read. `lasting`: asking this URL again would not help."""

    def __init__(self, message: str, *, status: int = 0, lasting: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.lasting = lasting


def origin(url: str) -> str:
    """Return 'scheme://host:port' of a URL in lower case, '' when it is none of http(s)."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return ""
    if parts.scheme not in PORTS or not parts.hostname:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}"


def shown(url: str) -> str:
    """Return a URL for messages: without name and password."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
