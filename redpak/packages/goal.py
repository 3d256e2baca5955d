"""What is asked for, as dnf 4 means it, turned into jobs for the solver, and its answer into a transaction.

Layers that do not change are locked package by package: the solver looks for answers that leave them alone.
Source of the semantics: dnf 4.14 (base.py), libdnf 0.69 (goal/Goal.cpp).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redpak.packages import problems, weak
from redpak.packages.model import Transaction
from redpak.packages.outcome import skipped, transaction_of
from redpak.packages.query import Query
from redpak.packages.reasons import pulled_in
from redpak.packages.select import Nevra, Selected, is_file, is_glob, select
from redpak.packages.wishes import INSTALLONLY, NoMatch, Note, Policy, Wishes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redpak.packages.package import Package
    from redpak.packages.problems import Problem
    from redpak.packages.select import Form
    from redpak.packages.solved import Solved

__all__ = ["INSTALLONLY", "Goal", "NoMatch", "Note", "Policy"]


class Goal(Wishes):
    """Jobs, collected; each method raises NoMatch for a spec that means nothing. `notes`: what dnf would say."""

    # ---- install ----

    def install(
        self,
        spec: str,
        *,
        strict: bool = True,
        repo: str = "",
        forms: Sequence[Form] = (),
        allow_reinstall: bool = False,
    ) -> None:
        """Install the best package of each name that a spec means; `strict`: or fail."""
        self._no_group(spec)
        meant = select(self.universe, spec, forms=forms, source=False)
        query = meant.query
        if repo and not query.repo(repo):
            query = Query(self.universe, ())
        if not query:
            raise self._no_match(spec, forms, repo)
        self.actions.add("install")
        if allow_reinstall and self._reinstall(meant, repo=repo):
            return
        query = self._advised(query, spec)
        if not query:
            raise NoMatch(spec, "none", f"No match for argument: {spec}")
        arch_is_glob = meant.nevra is not None and is_glob(meant.nevra.arch)
        if self.policy.multilib_policy == "all" or arch_is_glob:
            self._install_each_arch(spec, query.repo(repo) if repo else query, strict=strict)
        else:
            choices = self._choices(meant, query, repo=repo)
            if not choices:
                raise self._no_match(spec, forms, repo)
            for chosen in choices:
                self._jobs.install(chosen, f"install {spec}", weak=not strict)

    def _install_each_arch(self, spec: str, query: Query, *, strict: bool) -> None:
        installed = query.installed().by_name_arch()
        for name_arch, packages in query.available().by_name_arch().items():
            if name_arch in installed:
                self._already(installed[name_arch][:1])
                continue
            chosen = Query(self.universe, [package.id for package in packages])
            if self.policy.obsoletes:
                chosen = chosen.union(self.universe.query().obsoleting(chosen))
            self._jobs.install(chosen, f"install {spec}", weak=not strict)

    def _choices(self, meant: Selected, query: Query, *, repo: str = "", report: bool = True) -> list[Query]:
        """Return sets of packages of which one each is to be installed."""
        just_name = meant.nevra is not None and meant.nevra.just_name
        with_obsoletes = self.policy.obsoletes and just_name
        everything = self.universe.query()
        one_each = is_glob(meant.spec) and not is_file(meant.spec)
        if not one_each and not (meant.nevra is not None and meant.nevra.name == "*"):
            if with_obsoletes:
                query = query.union(everything.obsoleting(query))
            installed = query.installed()
            if report:
                self._already(installed)
            if repo:
                query = query.repo(repo).union(installed)
            return [query] if query else []
        installed = query.installed()
        offered = (query.repo(repo) if repo else query).available()
        locked = installed.difference(installed.own())
        installed = installed.named({package.name for package in offered}).union(locked)
        if report:
            self._already(installed)
        chosen = []
        for packages in offered.union(installed).by_name().values():
            same = Query(self.universe, [package.id for package in packages])
            chosen.append(same.union(everything.obsoleting(same)) if with_obsoletes else same)
        return chosen

    def install_package(self, package: Package, *, strict: bool = True) -> None:
        """Install exactly this package, unless it is installed in any version."""
        self.actions.add("install")
        same = (
            self.universe.query().installed().named([package.name]).where(lambda p: p.nevra == package.nevra)
        )
        if same:
            self._already(same)
            return
        one = Query(self.universe, [package.id])
        self._jobs.install(one, f"install {package.nevra}", weak=not strict)

    # ---- remove ----

    def remove(
        self, spec: str, *, forms: Sequence[Form] = (), only: Callable[[Package], bool] | None = None
    ) -> int:
        """Remove what a spec means, and what then nobody needs any more; return how many packages it meant.

        `only`: of these, those that pass this test (which repository a package came from is in the history).
        """
        self._no_group(spec)
        found = select(self.universe, spec, forms=forms).query.installed()
        own = found.own()
        if own and only is not None:
            own = own.where(only)
            if not own:
                text = f"All matches were installed from a different repository for argument: {spec}"
                raise NoMatch(spec, "other repo", text)
        if not own:
            raise self._not_installed(spec, forms, found)
        self.actions.add("remove")
        for package in own:
            self.remove_package(package, clean_deps=self.policy.clean_requirements_on_remove)
        return len(own)

    def remove_package(self, package: Package, *, clean_deps: bool = False) -> None:
        """Remove exactly this package."""
        self.actions.add("remove")
        self._jobs.erase(package.id, f"remove {package.nevra}", clean=clean_deps)

    def autoremove(self, specs: Iterable[str] = (), *, forms: Sequence[Form] = ()) -> None:
        """Remove what nobody asked for and nobody needs; with specs: these, and what they leave behind."""
        self.actions.add("remove")
        given = list(specs)
        marked = False
        for spec in given:
            try:
                self.remove(spec, forms=forms)
                marked = True
            except NoMatch as error:
                self.say(error.message)
        if given:
            if not marked:
                self.say("No packages marked for removal.", warning=True)
            return
        for package in self.universe.query().unneeded():
            self.remove_package(package)

    # ---- upgrade ----

    def upgrade(self, spec: str | None = None, *, repo: str = "") -> None:
        """Upgrade what a spec means, or everything."""
        everything = self.universe.query()
        if spec is None:
            self.actions.add("upgrade all")
            self._upgrade(everything, obsoletes=self.policy.obsoletes, repo=repo, spec="")
            return
        self._no_group(spec)
        self.actions.add("upgrade")
        meant = select(self.universe, spec)
        if not meant.query:
            raise NoMatch(spec, "none", f"No match for argument: {spec}")
        if not is_glob(spec) and meant.nevra is not None and meant.nevra.name:
            self._check_upgrade(spec, meant.nevra, meant.query)
        just_name = meant.nevra is not None and meant.nevra.just_name
        self._upgrade(meant.query, obsoletes=self.policy.obsoletes and just_name, repo=repo, spec=spec)

    def _check_upgrade(self, spec: str, nevra: Nevra, query: Query) -> None:
        own = self.universe.query().own()
        if self.policy.obsoletes and query.obsoleting(own):
            return
        same = own.named([nevra.name])
        if not same:
            self._refuse_locked(spec, self.universe.query().named([nevra.name]))
            self.say(f"Package {nevra.name} available, but not installed.", warning=True)
            raise NoMatch(spec, "not installed", f"No match for argument: {spec}")
        if nevra.arch and not is_glob(nevra.arch) and not same.arch(nevra.arch):
            self.say(
                f"Package {nevra.name}.{nevra.arch} available, but installed for different architecture.",
                warning=True,
            )

    def _upgrade(self, query: Query, *, obsoletes: bool, repo: str, spec: str) -> None:
        own = self.universe.query().own()
        same = query.named({package.name for package in own})
        offered = self.universe.query().available()
        if self.policy.obsoletes and spec:
            same = same.union(query.available().obsoleting(own))
        query = same
        if obsoletes:
            query = query.union(offered.obsoleting(query.own().union(query.upgrades())))
        if repo:
            query = query.repo(repo)
        query = self._advised(query, spec, upgrade=True)
        if query:
            offered = query.available()
            query = offered.union(query.own()).union(own.latest().named({package.name for package in query}))
            self._jobs.upgrade(query, f"upgrade {spec}" if spec else "upgrade everything")

    def upgrade_package(self, package: Package) -> bool:
        """Upgrade to exactly this package; False when it is not newer (which `notes` says)."""
        self.actions.add("upgrade")
        own = self.universe.query().own()
        one = Query(self.universe, [package.id])
        obsoleting = self.policy.obsoletes and one.obsoleting(own)
        same = own.named([package.name])
        if package.arch != "noarch":
            same = same.arch(package.arch, "noarch")
        if not obsoleting:
            if not same:
                self.say(f"Package {package.name} not installed, cannot update it.", warning=True)
                raise NoMatch(package.location, "not installed", f"No match for argument: {package.location}")
            if self._compare(max(same), package) >= 0:
                text = f"The same or higher version of {package.name} is already installed, cannot update it."
                self.say(text, warning=True)
                return False
        self._jobs.upgrade(one.union(same), f"upgrade to {package.nevra}")
        return True

    # ---- other versions ----

    def downgrade(self, spec: str, *, strict: bool = False) -> bool:
        """Go back to the highest older version; False when there is none (which `notes` says)."""
        self._no_group(spec)
        query = select(self.universe, spec).query
        if not query:
            raise NoMatch(spec, "none", f"No match for argument: {spec}")
        self.actions.add("downgrade")
        offered = query.available()
        names = {package.name for package in offered}
        own = self.universe.query().own().named(names)
        if not own:
            self._refuse_locked(spec, query)
            text = f"Packages for argument {spec} available, but not installed."
            raise NoMatch(spec, "not installed", text)
        done = False
        for name in sorted({package.name for package in own}):
            older = offered.named([name]).downgrades()
            if not older:
                text = f"Package {name} of lowest version already installed, cannot downgrade it."
                self.say(text, warning=True)
                continue
            self._jobs.install(older, f"downgrade {spec}", weak=not strict)
            done = True
        return done

    def downgrade_package(self, package: Package, *, strict: bool = False) -> bool:
        """Go back to exactly this package; False when it is not older (which `notes` says)."""
        self.actions.add("downgrade")
        same = self.universe.query().own().named([package.name]).arch(package.arch, "noarch")
        if not same:
            self.say(f"Package {package.name} not installed, cannot downgrade it.", warning=True)
            raise NoMatch(package.location, "not installed", f"No match for argument: {package.location}")
        if self._compare(min(same), package) <= 0:
            text = f"Package {package.name} of lower version already installed, cannot downgrade it."
            self.say(text, warning=True)
            return False
        one = Query(self.universe, [package.id])
        self._jobs.install(one, f"downgrade to {package.nevra}", weak=not strict)
        return True

    def reinstall(self, spec: str, *, repo: str = "") -> int:
        """Install the same versions again from repositories; return how many."""
        self._no_group(spec)
        meant = select(self.universe, spec)
        own = meant.query.own()
        if not own:
            self._refuse_locked(spec, meant.query)
            raise NoMatch(spec, "not installed", f"No match for argument: {spec}")
        self.actions.add("install")
        count = self._reinstall(meant, repo=repo)
        if not count:
            missing = ", ".join(package.nevra for package in own)
            raise NoMatch(spec, "not available", f"Installed package {missing} not available.")
        return count

    def _reinstall(self, meant: Selected, *, repo: str) -> int:
        offered = (meant.query.repo(repo) if repo else meant.query).available()
        by_nevra = {package.nevra: package for package in offered}
        count = 0
        for package in meant.query.own():
            again = by_nevra.get(package.nevra)
            if again is not None:
                self._jobs.install_exactly(again.id, f"reinstall {package.nevra}")
                count += 1
        return count

    def reinstall_package(self, package: Package) -> None:
        """Install exactly this package again."""
        self.actions.add("install")
        same = self.universe.query().own().named([package.name])
        if package.nevra not in {one.nevra for one in same}:
            self.say(f"Package {package.nevra} not installed, cannot reinstall it.", warning=True)
            raise NoMatch(package.location, "not installed", f"No match for argument: {package.location}")
        self._jobs.install_exactly(package.id, f"reinstall {package.nevra}")

    def distro_sync(self, spec: str | None = None) -> None:
        """Go to the versions that repositories offer, up or down."""
        self.actions.add("distro-sync")
        everything = self.universe.query()
        if spec is None:
            if not self.universe.locked():
                self._jobs.sync(None, "distro-sync")
                return
            own = everything.own()
            offered = everything.available().named({package.name for package in own})
            if self.policy.obsoletes:
                offered = offered.union(everything.available().obsoleting(own))
            self._jobs.sync(own.union(offered), "distro-sync")
            return
        self._no_group(spec)
        meant = select(self.universe, spec, source=False)
        self._refuse_locked(spec, meant.query)
        query = self._advised(meant.query.available(), spec)
        chosen = self._choices(meant, query) if query else []
        if not chosen:
            self.say(f"No package {spec} installed.")
        for packages in chosen:
            self._jobs.sync(packages, f"distro-sync {spec}")

    # ---- answers ----

    def resolve(
        self,
        *,
        best: bool = True,
        allow_erasing: bool = False,
        skip_broken: bool = False,
        weak_deps: bool = True,
    ) -> Transaction:
        """Solve. Raises Unsolvable with every problem."""
        solved, failed = self._solve(
            best=best, allow_erasing=allow_erasing, optional=skip_broken, weak_deps=weak_deps
        )
        if failed:
            raise problems.Unsolvable(failed)
        found = transaction_of(self.universe, solved, self._jobs, self.policy.installonlypkgs)
        if best and not skip_broken and not self._jobs.optional:
            return found
        if not self.actions & {"install", "upgrade", "upgrade all", "downgrade"}:
            return found
        return self._with_skipped(found, allow_erasing=allow_erasing)

    def _with_skipped(self, found: Transaction, *, allow_erasing: bool) -> Transaction:
        """Add what would have been chosen if it fitted: the same question, with the best versions or nothing."""
        solved, failed = self._solve(best=True, allow_erasing=allow_erasing, demand=True)
        if not failed or solved.fits:
            return found
        left_out = skipped(self.universe, solved, {item.nevra for item in found.items})
        return found.but(
            skipped=left_out, problems=tuple(problems.sentences(failed).lstrip("\n").split("\n"))
        )

    def _solve(
        self,
        *,
        best: bool,
        allow_erasing: bool,
        optional: bool = False,
        demand: bool = False,
        weak_deps: bool = True,
    ) -> tuple[Solved, list[Problem]]:
        jobs, policy = self._jobs, self.policy
        if "remove" in self.actions:
            own = self.universe.query(excluded=True).own()
            jobs.user_installed = [package.id for package in own if not pulled_in(package.reason)]
        jobs.protected = set(
            self.universe.query(excluded=True).own().named(policy.protected_packages).numbers
        )
        jobs.not_weak = weak.excluded(
            self.universe, policy.exclude_from_weak, detect=policy.exclude_from_weak_autodetect
        )
        jobs.many_versions = policy.installonlypkgs
        return jobs.solve(
            best=best,
            allow_erasing=allow_erasing,
            optional=optional,
            demand=demand,
            weak_deps=weak_deps,
            vendor_change=policy.allow_vendor_change,
            keep=policy.installonly_limit,
            running_kernel=policy.running_kernel,
            debug=policy.debug_solver,
        )
