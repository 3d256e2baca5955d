"""What one command has to work with: the place, the configuration, repositories, packages. All made when asked for."""

from __future__ import annotations

import os
import sys
from functools import cached_property

from redpak import log
from redpak.cli import output
from redpak.cli.dnf.config import Conf, ConfigError, file_of
from redpak.errors import RedpakError, doing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redpak.cli.dnf.options import Parsed
    from redpak.packages.advisories import Wanted
    from redpak.packages.goal import Goal, Policy
    from redpak.packages.metadata import Metadata
    from redpak.packages.model import Reason, Site
    from redpak.packages.repoconfig import RepoConfig
    from redpak.packages.universe import Universe

DEBUG_DATA = "debugdata/rpms"  # where --debugsolver writes, beneath the working directory, as dnf does
VENDOR = "allow_vendor_change is disabled. "
VENDOR += "This option is currently not supported for downgrade and distro-sync commands"
USUAL = 2  # dnf's debug level at which it says what it does


class Failed(RedpakError):
    """What dnf reports as 'Error: …' with exit code 1."""


class Silent(RedpakError):
    """Failed, and everything has been said already."""

    def __init__(self, code: int = 1) -> None:
        super().__init__("")
        self.code = code


class Session:
    """One command line, with everything that it names.

    `program` is what the command line shown in the history begins with.
    """

    def __init__(self, options: Parsed, *, program: str = "dnf") -> None:
        self.options = options
        self.program = program
        self.keys_taken = self.keys_refused = 0  # keys of repositories, by the user
        self.only_installed = False  # set by commands that ask no repository
        self.below: Mapping[str, str] | None = None  # the generations of nodes beneath, once they were proved
        self.hidden_info = False  # set by commands whose standard output is data only: talk goes elsewhere

    # what is said ----------------------------------------------------------------------------------------------

    def out(self, text: str) -> None:
        """Print a line of the answer, even with --quiet."""
        output.write(log.printable(text) + "\n")

    def info(self, text: str) -> None:
        """Print a line about what is done, unless --quiet."""
        if not self.talkative:
            return
        if self.hidden_info:
            self.err(text)
        else:
            output.write(log.printable(text) + "\n")

    def debug(self, text: str) -> None:
        """Print a line for those who want to know, with --verbose."""
        if self.level > USUAL and not self.hidden_info:
            output.write(log.printable(text) + "\n")

    def err(self, text: str) -> None:
        """Print a warning or an error on standard error."""
        sys.stdout.flush()
        sys.stderr.write(log.printable(text) + "\n")
        sys.stderr.flush()

    def warn(self, text: str) -> None:
        """Print a warning, unless --quiet."""
        if not self.options.flag("quiet"):
            self.err(text)

    @cached_property
    def level(self) -> int:
        """How much is said: dnf's debug level."""
        if self.options.flag("quiet"):
            return 0
        if self.options.flag("verbose"):
            return 6
        return self.options.number("debuglevel", self.conf.number("debuglevel"))

    @property
    def talkative(self) -> bool:
        """Whether to say what is done."""
        return not self.as_json and self.level >= USUAL

    @property
    def as_json(self) -> bool:
        """Whether standard output is one JSON document."""
        return self.options.flag("json")

    # where and how ---------------------------------------------------------------------------------------------

    @property
    def root(self) -> str:
        """The directory whose packages are meant: of a node, or that of --installroot."""
        given = self.options.value("redpath") or self.options.value("installroot")
        return os.path.realpath(given)

    @property
    def is_node(self) -> bool:
        """Whether a node is meant."""
        return self.options.given("redpath")

    @cached_property
    def conf(self) -> Conf:
        """The [main] configuration."""
        return read_conf(self.options, self.root, is_node=self.is_node)

    @cached_property
    def site(self) -> Site:
        """The place whose packages are meant, with its family. Repositories and variables as the configuration says."""
        from redpak.node import site as sites

        releasever = self.options.value("releasever") or self.conf.text("releasever")
        arch = self.options.value("forcearch") or self.conf.text("arch")
        if self.is_node:
            place = sites.site_of(self.root, core=self.options.value("core_os"), releasever=releasever)
            place = place.but(arch=arch) if arch else place
        else:
            place = sites.installroot(self.root, releasever=releasever, arch=arch)
        return self._configured(place)

    def _configured(self, place: Site) -> Site:
        """Return the site with what the configuration says about directories."""
        cachedir = self.conf.text("cachedir")
        if cachedir and not self.is_node:
            cachedir = os.path.join(self.root, cachedir.lstrip("/"))
        if cachedir:
            place = place.but(cachedir=cachedir)
        asked = self.conf.list("reposdir")
        if asked:
            within = [os.path.join(self.root, name.lstrip("/")) for name in asked]
            found = [name for name in within if os.path.isdir(name)]
            use = found if found and self.conf.source("reposdir") == "file" else list(asked)
            place = place.but(repositories=tuple(use))
        if self.conf.source("varsdir") != "default":
            from redpak.node.site import variables

            known = dict(place.variables)
            more = variables(place.arch, known.get("releasever", ""), self.conf.list("varsdir"), None)
            place = place.but(variables=more)
        return place

    @cached_property
    def repositories(self) -> list[RepoConfig]:
        """Every repository, also the disabled ones, as their files and the command line say."""
        from redpak.cli.dnf.repositories import known

        return known(self)

    @cached_property
    def configs(self) -> list[RepoConfig]:
        """The repositories that are enabled."""
        return [config for config in self.repositories if config.enabled]

    @property
    def configs_by_id(self) -> dict[str, RepoConfig]:
        """The enabled repositories by their id."""
        return {config.id: config for config in self.configs}

    @cached_property
    def metadata(self) -> list[Metadata]:
        """The metadata of the enabled repositories, fetched where it is missing or expired."""
        from redpak.cli.dnf.repositories import synchronised

        return synchronised(self)

    @cached_property
    def universe(self) -> Universe:
        """All packages: installed in the family and available."""
        if not self.conf.flag("allow_vendor_change"):
            self.warn(VENDOR)
        return self.make_universe(available=not self.only_installed)

    @cached_property
    def installed(self) -> Universe:
        """The installed packages alone: no repository is asked."""
        return self.make_universe(available=False)

    @cached_property
    def reasons(self) -> Mapping[str, Reason]:
        """Why each package of the site is there: {"name.arch": reason}, from its history."""
        from redpak.cli.dnf.past import reasons

        return reasons(self.site)

    @cached_property
    def came_from(self) -> Mapping[str, str]:
        """Which repository each package of the site was installed from: {nevra: repository id}."""
        from redpak.cli.dnf.past import repositories

        return repositories(self.site)

    def make_universe(
        self,
        *,
        available: bool = True,
        filelists: bool = False,
        local: Sequence[str] = (),
        ignore_excludes: bool = False,
        empty: bool = False,
    ) -> Universe:
        """Return a universe. `local` are paths of .rpm files that take part; `empty`: nothing counts as installed."""
        from redpak.packages.universe import Universe

        return Universe(
            () if empty else self.site.layers,
            self.metadata if available else (),
            arch=self.site.arch,
            local=local,
            excludes=self.conf.list("excludepkgs"),
            includes=self.conf.list("includepkgs"),
            disable_excludes=("all",) if ignore_excludes else self.conf.list("disable_excludes"),
            filelists=filelists,
            reasons=self.reasons,
            cachedir=self.site.cachedir,
        )

    @cached_property
    def goal(self) -> Goal:
        """What is wanted of the universe."""
        from redpak.packages.goal import Goal

        return Goal(self.universe, policy(self))


def read_conf(options: Parsed, root: str, *, is_node: bool) -> Conf:
    """Return the configuration in force. Raises ConfigError."""
    conf = Conf()
    conf.path = file_of(root, options.value("config"), is_node=is_node)
    if conf.path:
        conf.read(conf.path)
    for key in ("assumeyes", "assumeno", "best", "clean_requirements_on_remove", "gpgcheck", "skip_broken"):
        if options.given(key):
            conf.set(key, options.flag(key))
    if options.given("gpgcheck"):
        conf.set("localpkg_gpgcheck", value=False)
    for option, key in (
        ("obsoletes", "obsoletes"),
        ("cacheonly", "cacheonly"),
        ("debugsolver", "debug_solver"),
    ):
        if options.flag(option):
            conf.set(key, value=True)
    for key in ("ip_resolve", "rpmverbosity", "comment", "color", "destdir"):
        if options.given(key):
            conf.set(key, options.value(key))
    if options.given("forcearch"):
        conf.set("ignorearch", value=True)
    if options.flag("nodocs"):
        conf.put("tsflags", "nodocs", "command line")
    if options.flag("test"):
        conf.put("tsflags", "test", "command line")
    if options.given("exclude"):
        conf.put("excludepkgs", ",".join(options.values("exclude")), "command line")
    if options.given("disableexcludes"):
        conf.set("disable_excludes", options.values("disableexcludes"))
    for text in options.values("setopt"):  # they win over options of their own name
        _setopt(conf, text)
    if options.flag("skip_broken"):
        conf.set("strict", value=False)
    return conf


def _setopt(conf: Conf, text: str) -> None:
    """Obey one --setopt that is not about repositories."""
    key, equals, value = text.partition("=")
    if not equals or "=" in value or "." in key:
        return  # said or obeyed where repositories are read
    try:
        conf.put(key, value, "command line")
    except ValueError as error:
        raise ConfigError(f"Error parsing --setopt with key '{key}', value '{value}': {error}") from None


def policy(session: Session) -> Policy:
    """Return what the configuration says about every transaction."""
    from redpak.packages.goal import Policy

    conf = session.conf
    return Policy(
        obsoletes=conf.flag("obsoletes"),
        multilib_policy=conf.text("multilib_policy"),
        clean_requirements_on_remove=conf.flag("clean_requirements_on_remove"),
        installonlypkgs=conf.list("installonlypkgs"),
        installonly_limit=conf.number("installonly_limit"),
        protected_packages=protected(session),
        exclude_from_weak=conf.list("exclude_from_weak"),
        exclude_from_weak_autodetect=conf.flag("exclude_from_weak_autodetect"),
        allow_vendor_change=conf.flag("allow_vendor_change"),
        advisories=advisories(session),
        debug_solver=os.path.abspath(DEBUG_DATA) if conf.flag("debug_solver") else "",
    )


def protected(session: Session) -> tuple[str, ...]:
    """Return the packages that no transaction may remove: those configured, and those of files (glob:…)."""
    from glob import glob

    names: list[str] = []
    for word in session.conf.list("protected_packages"):
        if not word.startswith("glob:"):
            names.append(word)
            continue
        for path in sorted(glob(os.path.join(session.root, word[5:].lstrip("/")))):
            with doing("read the protected packages"), open(path, encoding="utf-8") as file:
                names += [line.strip() for line in file if line.strip() and not line.startswith("#")]
    return tuple(dict.fromkeys(names))


def advisories(session: Session) -> Wanted | None:
    """Return which advisories updates are to come from, None where all may."""
    from redpak.packages.advisories import Wanted

    options = session.options
    kinds = [kind for kind in ("bugfix", "enhancement", "newpackage", "security") if options.flag(kind)]
    asked = any(options.given(key) for key in ("advisory", "bugzilla", "cves", "severity"))
    minimal = options.command in ("upgrade-minimal", "update-minimal", "up-min")
    if not kinds and not asked and not minimal:
        return None
    if minimal and not kinds and not asked:
        kinds = ["bugfix", "enhancement", "newpackage", "security"]
    return Wanted(
        advisories=tuple(session.universe.advisories()),
        kinds=tuple(kinds),
        ids=options.values("advisory"),
        bugs=options.values("bugzilla"),
        cves=options.values("cves"),
        severities=options.values("severity"),
        minimal=minimal,
    )
