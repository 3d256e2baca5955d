"""What a repository is configured to be: every key of dnf.conf(5)'s repository sections, with its type and default."""

from __future__ import annotations

import os
import re

from redpak.errors import BadConfig, Fault, RedpakError
from redpak.origin import COMMAND_LINE, Origin
from redpak.packages import inifile
from redpak.packages import variables as variables_of
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from redpak.packages.inifile import Section

NEVER = -1  # metadata_expire
TYPES = ("rpm-md", "rpm", "repomd", "rpmmd", "yum", "YUM")
SECRETS = ("password", "proxy_password", "username", "proxy_username")
# A value of these that cannot be understood must not fall back to a default that checks less.
GUARDS = (
    "gpgcheck",
    "repo_gpgcheck",
    "sslverify",
    "proxy_sslverify",
    "sslverifystatus",
    "allow_older_metadata",
)


class UnknownRepo(RedpakError):
    """A repository that was named on the command line is configured nowhere."""


class RepoConfig(Record):
    """One repository. Times are in seconds, rates in bytes a second."""

    id: str
    name: str = ""
    origin: Origin = COMMAND_LINE
    baseurl: tuple[str, ...] = ()
    mirrorlist: str = ""
    metalink: str = ""
    enabled: bool = True
    priority: int = 99
    cost: int = 1000
    gpgcheck: bool = False
    repo_gpgcheck: bool = False
    gpgkey: tuple[str, ...] = ()
    excludepkgs: tuple[str, ...] = ()
    includepkgs: tuple[str, ...] = ()
    skip_if_unavailable: bool = False
    module_hotfixes: bool = False
    metadata_expire: int = 48 * 3600  # NEVER: it never does
    username: str = ""
    password: str = ""
    sslverify: bool = True
    sslverifystatus: bool = False
    sslcacert: str = ""
    sslclientcert: str = ""
    sslclientkey: str = ""
    proxy: str = ""  # '' asks the environment, '_none_' is none
    proxy_username: str = ""
    proxy_password: str = ""
    proxy_auth_method: str = "any"
    proxy_sslverify: bool = True
    proxy_sslcacert: str = ""
    proxy_sslclientcert: str = ""
    proxy_sslclientkey: str = ""
    timeout: float = 30.0
    retries: int = 10  # 0: for ever
    minrate: int = 1000
    throttle: float = 0.0  # up to 1: a part of the bandwidth; 0: no limit
    bandwidth: int = 0
    ip_resolve: str = "whatever"  # or ipv4, ipv6
    max_parallel_downloads: int = 3
    max_downloads_per_mirror: int = 3
    fastestmirror: bool = False  # read; mirrors are taken in their own order, those that fail last
    user_agent: str = "redpak"
    type: str = ""
    mediaid: str = ""
    enablegroups: bool = True
    enabled_metadata: str = ""
    keepcache: bool = False
    countme: bool = False  # read, and nobody is counted
    deltarpm: bool = False  # read, and whole packages are fetched
    allow_older_metadata: bool = False  # not dnf's: take metadata that is older than what was seen
    notes: tuple[str, ...] = ()  # what a person should know about this configuration

    @property
    def path(self) -> str:
        """The file that configures it, '' for one of the command line."""
        return self.origin.file

    @property
    def source(self) -> str:
        """What its metadata is found by: the metalink, the mirror list or the first base URL."""
        return self.metalink or self.mirrorlist or (self.baseurl[0] if self.baseurl else "")

    def __repr__(self) -> str:
        shown = self.but(**{key: "***" for key in SECRETS if getattr(self, key)})
        return super(RepoConfig, shown).__repr__()


# Keys that dnf knows and that ask nothing of us. `cachedir` of one repository: all share one cache.
IGNORED = frozenset({
    "cachedir", "deltarpm_percentage", "protected_packages", "async", "failovermethod", "mirrorlist_expire",
    "http_caching", "metadata_expire_filter", "ui_repoid_vars", "autorefresh", "keeppackages", "mdpolicy",
    "sslverifyhost",
})  # fmt: skip
ALIASES = {"exclude": "excludepkgs"}
_FLAGS = {
    "1": True,
    "yes": True,
    "true": True,
    "on": True,
    "0": False,
    "no": False,
    "false": False,
    "off": False,
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError(f"'{text}' is neither yes nor no")
    return _FLAGS[text.lower()]


def _amount(text: str, units: Mapping[str, int], what: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([A-Za-z]?)", text)
    if not match or (match[2] and match[2].lower() not in units):
        raise ValueError(f"'{text}' is no {what}")
    return float(match[1]) * units.get(match[2].lower(), 1)


def _seconds(text: str) -> int:
    if text in ("-1", "never"):
        return NEVER
    return int(_amount(text, _SECONDS, "time such as 90, 5m, 6h or 2d"))


def _patience(text: str) -> float:
    return float(_amount(text, _SECONDS, "time such as 30 or 1m"))


def _rate(text: str) -> int:
    return int(_amount(text, _BYTES, "number of bytes such as 1000 or 10k"))


def _throttle(text: str) -> float:
    if not text.endswith("%"):
        return _amount(text, _BYTES, "rate such as 100k, or percentage")
    share = _amount(text[:-1], {}, "percentage") / 100
    if share > 1:
        raise ValueError(f"'{text}' is more than 100%")
    return share


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"'{text}' is no number") from None


def _count(text: str) -> int:
    number = _number(text)
    if number < 0:
        raise ValueError(f"'{text}' is negative")
    return number


def words(text: str) -> tuple[str, ...]:
    """Split a list as dnf does: at white space and commas."""
    return tuple(text.replace(",", " ").split())


def _addresses(text: str) -> str:
    known = {"4": "ipv4", "ipv4": "ipv4", "6": "ipv6", "ipv6": "ipv6", "whatever": "whatever"}
    if text.lower() not in known:
        raise ValueError(f"'{text}' is not one of ipv4, ipv6, whatever")
    return known[text.lower()]


def _authentication(text: str) -> str:
    if text not in ("any", "none", "basic", "digest", "negotiate", "ntlm", "digest_ie", "ntlm_wb"):
        raise ValueError(f"'{text}' is no method of authentication")
    return text


_READERS: dict[str, Callable[[str], object]] = {
    "metadata_expire": _seconds, "timeout": _patience, "minrate": _rate, "bandwidth": _rate,
    "throttle": _throttle, "ip_resolve": _addresses, "proxy_auth_method": _authentication,
    "retries": _count, "max_parallel_downloads": _count, "max_downloads_per_mirror": _count,
    "proxy": lambda text: text or "_none_",
}  # fmt: skip


def _reader(key: str) -> Callable[[str], object]:
    if key in _READERS:
        return _READERS[key]
    default = getattr(RepoConfig, key)
    if isinstance(default, bool):
        return _flag
    if isinstance(default, int):
        return _number
    return words if isinstance(default, tuple) else str


KEYS = tuple(key for key in RepoConfig.__fields__ if key not in ("id", "origin", "notes"))
READERS: dict[str, Callable[[str], object]] = {key: _reader(key) for key in KEYS}


def set_key(config: RepoConfig, key: str, text: str) -> RepoConfig:
    """Return the repository with one key set from text. Raises KeyError when dnf has no such key, ValueError.

    Lists of patterns grow: an empty first item (`excludepkgs=,x`) or an empty value starts them anew.
    """
    key = ALIASES.get(key, key)
    if key in IGNORED:
        return config
    value = READERS[key](text)
    if key in ("excludepkgs", "includepkgs") and isinstance(value, tuple):
        anew = not text.strip() or text.lstrip().startswith(",")
        value = value if anew else (*getattr(config, key), *value)
    return config.but(**{key: value})


def from_section(
    section: Section, path: str, variables: Mapping[str, str], base: RepoConfig, faults: list[Fault]
) -> RepoConfig:
    """Return what a section of a `.repo` file configures; `base` holds the defaults. Faults are appended."""
    config = base.but(
        id=variables_of.substitute(section.id, variables),
        origin=Origin(file=path, line=section.line),
        name="",
    )
    if not inifile.valid_id(config.id):
        faults.append(Fault(origin=config.origin, message=f"'{config.id}' cannot be the id of a repository"))
    seen = {entry.key: entry for entry in section.entries}  # the last one counts
    for entry in seen.values():
        try:
            config = set_key(config, entry.key, variables_of.substitute(entry.value, variables).strip())
        except KeyError:
            config = config.but(notes=(*config.notes, f"unknown key '{entry.key}', ignoring"))
        except ValueError as error:
            where = Origin(file=path, line=entry.line)
            faults.append(Fault(origin=where, message=f"'{entry.key}' of repository '{config.id}': {error}"))
    if config.deltarpm:
        config = config.but(notes=(*config.notes, "'deltarpm' has no effect: whole packages are downloaded"))
    if not config.name:
        note = f"Repository '{config.id}' is missing name in configuration, using id."
        config = config.but(name=config.id, notes=(*config.notes, note))
    return config


def unusable(config: RepoConfig) -> str:
    """Return in dnf's words why no packages can come from a repository, or ''."""
    if config.type and config.type not in TYPES:
        return f"Repository '{config.id}' has unsupported type: 'type={config.type}', skipping."
    if not config.source:
        return f"Repository '{config.id}' has no mirror or baseurl set."
    return ""


def base_of(main: Mapping[str, str], *, keep: Iterable[str] = KEYS) -> RepoConfig:
    """Return the defaults of repositories that [main] changes. Raises BadConfig."""
    config = RepoConfig(id="main")
    faults = []
    for key, text in main.items():
        # what to exclude in [main] counts for all packages, and is no default of repositories
        if key not in keep or ALIASES.get(key, key) in ("excludepkgs", "includepkgs", "enabled", "name"):
            continue
        try:
            config = set_key(config, key, text)
        except ValueError as error:
            faults.append(Fault(origin=COMMAND_LINE, message=f"'{key}': {error}"))
    if faults:
        raise BadConfig(faults)
    return config


def of_path(label: str, path: str, variables: Mapping[str, str], base: RepoConfig) -> RepoConfig:
    """Return a repository of `--repofrompath`: a label and a URL or a directory."""
    url = variables_of.substitute(path, variables)
    if "://" not in url:
        url = "file://" + os.path.abspath(url)
    if not inifile.valid_id(label):
        raise BadConfig([Fault(origin=COMMAND_LINE, message=f"'{label}' cannot be the id of a repository")])
    return base.but(id=label, name=label, baseurl=(url,), origin=COMMAND_LINE)


def matching(configs: Sequence[RepoConfig], pattern: str) -> list[str]:
    """Return the ids that a name or a glob means."""
    from fnmatch import fnmatchcase

    if any(char in pattern for char in "*?["):
        return [config.id for config in configs if fnmatchcase(config.id, pattern)]
    return [config.id for config in configs if config.id == pattern]
