"""The [main] configuration: dnf's defaults, then dnf.conf, then --setopt, then options of their own name."""

from __future__ import annotations

import os
from configparser import Error as IniError
from configparser import RawConfigParser

from redpak.errors import RedpakError, doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    Source = Literal["default", "file", "command line"]

FILE = "etc/dnf/dnf.conf"

FLAGS = {
    "allow_vendor_change": True,
    "assumeno": False,
    "assumeyes": False,
    "best": False,
    "cacheonly": False,
    "check_config_file_age": True,
    "clean_requirements_on_remove": True,
    "countme": False,
    "debug_solver": False,
    "defaultyes": False,
    "deltarpm": True,
    "diskspacecheck": True,
    "enabled": True,
    "exclude_from_weak_autodetect": True,
    "exit_on_lock": False,
    "fastestmirror": False,
    "gpgcheck": False,
    "gpgkey_dns_verification": False,
    "ignorearch": False,
    "install_weak_deps": True,
    "keepcache": False,
    "localpkg_gpgcheck": False,
    "module_obsoletes": False,
    "module_stream_switch": False,
    "obsoletes": True,
    "plugins": True,
    "protect_running_kernel": True,
    "proxy_sslverify": True,
    "repo_gpgcheck": False,
    "showdupesfromrepos": False,
    "skip_broken": False,
    "skip_if_unavailable": False,
    "sslverify": True,
    "strict": True,
    "upgrade_group_objects_upgrade": True,
    "zchunk": True,
}
NUMBERS = {
    "debuglevel": 2,
    "errorlevel": 3,
    "installonly_limit": 3,
    "max_parallel_downloads": 3,
    "max_downloads_per_mirror": 3,
    "recent": 7,
    "retries": 10,
}
# Values of these add up, from the file to the command line; an empty first one forgets what came before.
ADDED = {
    "exclude_from_weak": (),
    "excludepkgs": (),
    "includepkgs": (),
    "installonlypkgs": (
        "kernel", "kernel-PAE", "installonlypkg(kernel)", "installonlypkg(kernel-module)",
        "installonlypkg(vm)", "multiversion(kernel)",
    ),
    "protected_packages": ("glob:/etc/yum/protected.d/*.conf", "glob:/etc/dnf/protected.d/*.conf"),
    "tsflags": (),
}  # fmt: skip
LISTS: dict[str, tuple[str, ...]] = {
    "disable_excludes": (),
    "group_package_types": ("mandatory", "default", "conditional"),
    "history_record_packages": ("dnf", "rpm"),
    "reposdir": (),
    "varsdir": (),
}
TEXTS = {
    "arch": "",
    "bandwidth": "0",
    "basearch": "",
    "cachedir": "",
    "color": "auto",
    "comment": "",
    "destdir": "",
    "history_list_view": "commands",
    "installroot": "",
    "ip_resolve": "whatever",
    "logdir": "/var/log",
    "metadata_expire": "172800",
    "minrate": "1000",
    "multilib_policy": "best",
    "password": "",
    "persistdir": "",
    "proxy": "",
    "proxy_auth_method": "any",
    "proxy_password": "",
    "proxy_username": "",
    "releasever": "",
    "rpmverbosity": "info",
    "sslcacert": "",
    "sslclientcert": "",
    "sslclientkey": "",
    "throttle": "0",
    "timeout": "30",
    "user_agent": "",
    "username": "",
}
# Keys that ask nothing of us.
NOTHING = (
    "autocheck_running_kernel", "bugtracker_url", "color_list_available_downgrade", "color_list_available_install",
    "color_list_available_reinstall", "color_list_available_upgrade", "color_list_installed_extra",
    "color_list_installed_newer", "color_list_installed_older", "color_list_installed_reinstall",
    "color_search_match", "color_update_installed", "color_update_local", "color_update_remote", "config_file_path",
    "deltarpm_percentage", "enablegroups", "history_record", "log_compress", "log_rotate", "log_size",
    "logfilelevel", "metadata_timer_sync", "module_platform_id", "pluginconfpath", "pluginpath", "proxy_sslcacert",
    "proxy_sslclientcert", "proxy_sslclientkey", "reset_nice", "sslverifystatus", "system_cachedir", "transformdb",
)  # fmt: skip
RENAMED = {"exclude": "excludepkgs", "debug_level": "debuglevel"}
# Keys whose [main] value is the default of every repository.
FOR_REPOSITORIES = (
    "bandwidth", "gpgcheck", "ip_resolve", "metadata_expire", "minrate", "password", "proxy", "proxy_auth_method",
    "proxy_password", "proxy_username", "repo_gpgcheck", "retries", "skip_if_unavailable", "sslcacert",
    "sslclientcert", "sslclientkey", "sslverify", "throttle", "timeout", "username",
)  # fmt: skip
TRUE, FALSE = ("1", "yes", "true", "on"), ("0", "no", "false", "off")


class Conf:
    """The values in force, and where each comes from. Keys are dnf's; an unknown key is a KeyError."""

    def __init__(self) -> None:
        self._values: dict[str, bool | int | str | tuple[str, ...]] = {
            **FLAGS, **NUMBERS, **ADDED, **LISTS, **TEXTS,
        }  # fmt: skip
        self._sources: dict[str, Source] = {}
        self.path = ""  # the file that was read, '' for none
        self.notes: list[str] = []  # values of the file that are ignored, as dnf says it
        self.unknown: list[str] = []  # keys that nobody knows, as they were written

    def flag(self, key: str) -> bool:
        """Return a truth value."""
        return bool(self._values[_name(key)])

    def number(self, key: str) -> int:
        """Return a number."""
        return int(self._values[_name(key)])  # type: ignore[arg-type]

    def text(self, key: str) -> str:
        """Return a text."""
        return str(self._values[_name(key)])

    def list(self, key: str) -> tuple[str, ...]:
        """Return a list, frozen."""
        found = self._values[_name(key)]
        return found if isinstance(found, tuple) else (str(found),)

    def source(self, key: str) -> Source:
        """Tell where a value comes from."""
        return self._sources.get(_name(key), "default")

    def repository_defaults(self) -> tuple[tuple[str, str], ...]:
        """Return what repositories inherit where their own file says nothing: keys that somebody set."""
        return tuple((key, _written(self._values[key])) for key in FOR_REPOSITORIES if key in self._sources)

    def put(self, key: str, value: str, source: Source) -> None:
        """Set a value as it is written in a file or after --setopt. Raises ValueError for what it cannot be."""
        known = _name(key)
        if known not in self._values:
            if known not in NOTHING:
                self.unknown.append(key)
            return
        if known in FLAGS:
            self._values[known] = truth(value)
        elif known in NUMBERS:
            self._values[known] = _whole(known, value)
        elif known in ADDED:
            self._values[known] = added(self.list(known), value)
        elif known in LISTS:
            self._values[known] = tuple(value.replace(",", " ").split())
        else:
            self._values[known] = value
        self._sources[known] = source

    def set(self, key: str, value: bool | int | str | tuple[str, ...]) -> None:  # noqa: FBT001
        """Set a value that an option of its own name gave."""
        self._values[_name(key)] = value
        self._sources[_name(key)] = "command line"

    def read(self, path: str) -> None:
        """Read the [main] section of a file. Raises RedpakError."""
        parser = RawConfigParser(strict=False, allow_no_value=True)
        with doing("read the configuration"):
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    parser.read_file(file)
            except IniError as error:
                first = str(error).splitlines()[0]
                raise RedpakError(f"'{path}' is no dnf configuration: {first}") from None
        for key, value in parser.items("main") if parser.has_section("main") else ():
            try:
                self.put(key, value or "", "file")
            except ValueError as error:
                told = f"Invalid configuration value: {key}={value} in {path}; {error}"
                if key.endswith("gpgcheck"):  # the default checks less
                    raise ConfigError(told) from None
                self.notes.append(told)
        self.unknown.clear()  # newer versions of dnf know more keys


def truth(value: str) -> bool:
    """Return what a written truth value means. Raises ValueError."""
    low = value.strip().lower()
    if low in TRUE:
        return True
    if low in FALSE:
        return False
    raise ValueError(f"invalid boolean value '{value}'")


def _whole(key: str, value: str) -> int:
    """Return what a written number means. Raises ValueError."""
    if key != "installonly_limit":
        return int(value)
    number = 0 if value in ("<off>", "0") else int(value)
    if number == 1:  # the running kernel stays beside the newest
        raise ValueError("value 1 is not allowed")
    return number


def added(before: Iterable[str], value: str) -> tuple[str, ...]:
    """Return a list with the elements of `value` after it; `value` that begins with a comma or is empty starts anew."""
    pieces = value.replace(",", " , ").split()
    start: list[str] = [] if not pieces or pieces[0] == "," else list(before)
    return tuple([*start, *(piece for piece in pieces if piece != ",")])


def _name(key: str) -> str:
    return RENAMED.get(key, key)


def _written(value: bool | int | str | tuple[str, ...]) -> str:  # noqa: FBT001
    if isinstance(value, bool):
        return "1" if value else "0"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def file_of(root: str, asked: str, *, is_node: bool) -> str:
    """Return the configuration file to read, '' when there is none. `asked` is what --config says."""
    if asked:
        if not os.path.isfile(asked):
            raise ConfigError(f'Config file "{asked}" does not exist')
        return asked
    inside = os.path.join(root, FILE)
    if os.path.isfile(inside):
        return inside
    outside = f"/{FILE}"
    return outside if not is_node and os.path.isfile(outside) else ""


class ConfigError(RedpakError):
    """The [main] configuration is wrong (exit code 1, as in dnf)."""
