"""What Goal needs to say: what holds for a transaction, dnf's remarks, and why a spec means nothing here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redpak.errors import RedpakError
from redpak.packages.jobs import Jobs
from redpak.packages.model import COMMAND_LINE
from redpak.packages.select import select
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

    from redpak.packages.advisories import Wanted
    from redpak.packages.package import Package
    from redpak.packages.query import Query
    from redpak.packages.select import Form
    from redpak.packages.universe import Universe

    MatchKind = Literal["none", "excluded", "not installed", "not available", "locked", "group", "other repo"]

INSTALLONLY = (
    "kernel", "kernel-PAE", "installonlypkg(kernel)", "installonlypkg(kernel-module)", "installonlypkg(vm)",
    "multiversion(kernel)",
)  # fmt: skip


class NoMatch(RedpakError):
    """A spec means no package that the command could work on. `message` is dnf's."""

    def __init__(self, spec: str, kind: MatchKind, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.spec = spec
        self.kind = kind


class Note(Record):
    """Something that dnf says while it reads a command."""

    text: str
    warning: bool = False


class Policy(Record):
    """What holds for the whole transaction: the names are those of dnf's configuration."""

    obsoletes: bool = True
    multilib_policy: str = "best"
    clean_requirements_on_remove: bool = True
    installonlypkgs: tuple[str, ...] = INSTALLONLY
    installonly_limit: int = 3  # versions that are kept; 0: all
    protected_packages: tuple[str, ...] = ()  # names, globs are allowed
    exclude_from_weak: tuple[str, ...] = ()  # specs
    exclude_from_weak_autodetect: bool = True
    allow_vendor_change: bool = True
    running_kernel: str = ""  # nevra of the kernel that is kept and protected
    advisories: Wanted | None = None  # only updates that these advisories speak of
    debug_solver: str = ""  # directory that the solver's question and answer are written to, as a test case


class Wishes:
    """What all kinds of wishes share. `notes`: what dnf would say; `actions`: which commands were given."""

    def __init__(self, universe: Universe, policy: Policy | None = None) -> None:
        self.universe = universe
        self.policy = policy or Policy()
        self.notes: list[Note] = []
        self.actions: set[str] = set()
        self._jobs = Jobs(universe)

    def say(self, text: str, *, warning: bool = False) -> None:
        """Note what dnf would say now."""
        self.notes.append(Note(text=text, warning=warning))

    def _already(self, packages: Iterable[Package]) -> None:
        for package in packages:
            where = f" (in {package.layer.name})" if package.locked and package.layer else ""
            self.say(f"Package {package.nevra} is already installed{where}.")

    def _compare(self, one: Package, other: Package) -> int:
        return self.universe.pool.compare(one.id, other.id)

    def _advised(self, query: Query, spec: str, *, upgrade: bool = False) -> Query:
        """Keep what the wanted advisories speak of."""
        if self.policy.advisories is None or not query:
            return query
        found = self.policy.advisories.of(query, upgrade=upgrade)
        if not found and upgrade:
            count = len(query.upgrades().by_name())
            if count:
                which = f' for "{spec}", but' if spec else ", but"
                noun = "update" if count == 1 else "updates"
                self.say(f"No security updates needed{which} {count} {noun} available", warning=True)
        elif not found:
            self.say(f'No security updates for argument "{spec}"', warning=True)
        return found

    def _no_group(self, spec: str) -> None:
        if spec.startswith("@") and not spec.startswith(COMMAND_LINE):
            raise NoMatch(
                spec, "group", f"Module or Group '{spec[1:]}' is not available.",
                hint="Name the packages of the group: groups and modules are not supported.",
            )  # fmt: skip

    def _no_match(self, spec: str, forms: Sequence[Form], repo: str) -> NoMatch:
        hidden = select(
            self.universe, spec, within=self.universe.query(excluded=True), forms=forms, source=False
        ).query
        if repo:
            hidden = hidden.repo(repo)
        modular = [self.universe.modular.get(number, "") for number in hidden.numbers]
        if modular and all(modular):
            text = f"All matches were filtered out by modular filtering for argument: {spec}"
            return NoMatch(spec, "excluded", text, hint=f"Choose another package: {modular[0]}.")
        if hidden:
            text = f"All matches were filtered out by exclude filtering for argument: {spec}"
            return NoMatch(spec, "excluded", text)
        return NoMatch(spec, "none", f"No match for argument: {spec}")

    def _not_installed(self, spec: str, forms: Sequence[Form], found: Query) -> NoMatch:
        self._refuse_locked(spec, found)
        within = self.universe.query(excluded=True).installed()
        if select(self.universe, spec, within=within, forms=forms, source=False).query:
            text = f"All matches were filtered out by exclude filtering for argument: {spec}"
            return NoMatch(spec, "excluded", text)
        return NoMatch(spec, "not installed", f"No match for argument: {spec}")

    def _refuse_locked(self, spec: str, meant: Query) -> None:
        """Raise NoMatch when what is meant is installed, and only in layers that do not change."""
        installed = meant.installed()
        if not installed or installed.own():
            return
        where = ", ".join(sorted({f"'{package.layer.name}'" for package in installed if package.layer}))
        raise NoMatch(
            spec, "locked", f"No match for argument: {spec} (it is installed in {where})",
            hint=f"Change it in {where}: what an ancestor brings is not touched from here.",
        )  # fmt: skip
