"""Prove a whole tree of nodes: packages, files, loader, signatures, launches. Nothing is changed, nothing is run."""

from __future__ import annotations

import os

from redpak.errors import RedpakError
from redpak.node import prove_cache, prove_plan, prove_tree
from redpak.packages.finding import Finding, of_data
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redpak.node.prove_cache import Cache
    from redpak.node.prove_tree import Forest
    from redpak.packages.facts import Facts, Place
    from redpak.packages.header import Header
    from redpak.packages.model import Site, Transaction
    from redpak.packages.universe import Universe

CHECKS = ("configuration", "dependencies", "files", "loader", "integrity", "metadata")


class Judged(Record):
    """One member of the tree, and what was found."""

    path: str
    name: str
    is_node: bool
    parent: str  # path, '' for none
    packages: int
    coherent: bool  # no fault of its own, and none of those it stands on
    stands_on: tuple[str, ...] = ()  # names of those above it that are not coherent by themselves
    faults: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()


class Report(Record):
    """A proof."""

    root: str
    coherent: bool
    arch: str
    members: tuple[Judged, ...]
    checks: tuple[str, ...] = CHECKS
    cached: tuple[tuple[str, int, int], ...] = ()  # check, how many were known, how many were asked for


class Broken(Record):
    """A node that a change would break, and how it comes about."""

    node: str  # alias
    path: str
    text: str
    chain: tuple[str, ...]  # one line a link, each package with its node
    hint: str = ""

    def __str__(self) -> str:
        """Show it to a person: the node, what breaks, and the chain beneath."""
        return "\n".join((f"{self.node} ({self.path}): {self.text}", *(f"  - {link}" for link in self.chain)))


def prove(root: str, *, core: str = "", fresh: bool = False) -> Report:
    """Prove the tree of nodes at and beneath `root`, with those above it and their core OS.

    `core` is what `site_of` takes; '' is what the families say. `fresh` uses nothing that an earlier proof found out.
    Raises NotFound, and RedpakError where something cannot be looked at.
    """
    from redpak.node import prove_disk, prove_view

    top = os.path.realpath(root)
    cache = prove_cache.Cache(f"{top}\0{core}", fresh=fresh)
    forest = prove_tree.forest(root, core=core, cache=cache)
    found: dict[int, list[Finding]] = {at: [] for at in range(len(forest.members))}
    configuration(forest, found, asked=bool(core))
    dependencies(forest, found)
    prove_disk.integrity(forest, found, fresh=fresh)
    prove_view.files(forest, found)
    prove_view.loader(forest, found)
    prove_disk.metadata(forest, found)
    unreadable(forest, found)
    cache.save()
    return report(top, forest, found)


def report(top: str, forest: Forest, found: Mapping[int, Sequence[Finding]]) -> Report:
    """Return what was found as a report."""
    members = []
    bad: set[int] = set()
    for at, member in enumerate(forest.members):
        ordered = sorted(found[at], key=lambda one: (one.kind, one.package, one.file, one.text))
        faults = tuple(one for one in ordered if one.grade == "fault")
        if faults:
            bad.add(at)
        above = [up for up in forest.chain(at)[:-1] if up in bad]
        members.append(Judged(
            path=member.path, name=member.name, is_node=member.launch is not None,
            parent=forest.members[member.parent].path if member.parent >= 0 else "",
            packages=forest.count(at), coherent=not faults and not above,
            stands_on=tuple(forest.members[up].name for up in above), faults=faults,
            notes=tuple(one for one in ordered if one.grade == "note"),
        ))  # fmt: skip
    asked, hits = forest.cache.asked, forest.cache.hits
    return Report(
        root=top, coherent=all(one.coherent for one in members), arch=forest.arch, members=tuple(members),
        cached=tuple((part, hits.get(part, 0), asked[part]) for part in sorted(asked)),
    )  # fmt: skip


def configuration(forest: Forest, found: dict[int, list[Finding]], *, asked: bool = False) -> None:
    """Check every launch: faults of the configuration, loosened settings, missing sources.

    `asked`: the core OS is not the one of the configuration, and not that of any launch here.
    """
    seen: dict[str, str] = {}
    for at in forest.nodes():
        launch = forest.members[at].launch
        if launch is None:
            continue
        first = forest.members[forest.chain(at)[0]]
        core = first.layer.tree if first.launch is None else "/"
        found[at] += launch.findings
        found[at] += prove_plan.missing_sources(launch, core, seen)
        if not asked:
            found[at] += prove_plan.other_core(launch, core, first.path)
    for at in forest.nodes():  # a fault of an ancestor's file shows in every descendant's plan
        above = {(one.file, one.text) for up in forest.chain(at)[:-1] for one in found[up]}
        found[at] = [one for one in found[at] if (one.file, one.text) not in above]


def dependencies(forest: Forest, found: dict[int, list[Finding]]) -> None:
    """Check requirements, conflicts, obsoletes: by the solver and by a walk over the edges."""
    keys = {at: forest.keys(at) for at in range(len(forest.members))}
    missing = []
    for at, member in enumerate(forest.members):
        known = forest.cache.get("dependencies", member.path, keys[at])
        if known is None:
            missing.append(at)
        else:
            found[at] += [of_data(one) for one in known["findings"]]
            forest.counts[at] = known["packages"]
    if not missing:
        return
    from redpak.packages import prove as packages

    verdicts = packages.prove(forest.places(), arch=forest.arch, only=missing)
    for at in missing:
        findings = verdicts[at].findings
        found[at] += findings
        if not any(up in forest.wrong for up in forest.chain(at)):
            data = {"findings": [one.data() for one in findings], "packages": len(forest.facts(at))}
            forest.cache.put("dependencies", forest.members[at].path, keys[at], data)


def unreadable(forest: Forest, found: dict[int, list[Finding]]) -> None:
    """Report databases that cannot be read."""
    for at, why in forest.wrong.items():
        member = forest.members[at]
        found[at].append(
            Finding(
                kind="database",
                place=member.path,
                name=member.name,
                file=member.layer.rpmdb or member.layer.path,
                text=f"the package database cannot be read: {why}",
                hint="Roll back to an older generation, or restore it from a backup.",
            )
        )


# ---- what a transaction would break ----


def breaks(
    site: Site,
    transaction: Transaction,
    *,
    universe: Universe | None = None,
    headers: Mapping[str, Header] | None = None,
) -> list[Broken]:
    """Return the nodes beneath a site that a transaction would break; [] at once when there are none.

    `universe` is the one that the transaction was solved in; without it, one is made of what is in the cache.
    `headers` are those of packages that come from nowhere but an older generation, by nevra.
    Raises RedpakError when a package that comes cannot be found, or a database not be read.
    """
    from redpak.node import tree
    from redpak.packages import whatif
    from redpak.packages.facts import facts

    if not site.is_node or not transaction.items or not tree.child_nodes(site.path):
        return []
    cache = prove_cache.Cache(f"{site.path}\0breaks")
    forest = below(site, cache)
    at = len(site.layers) - 1
    places = forest.places()
    if forest.wrong:
        raise RedpakError(next(iter(forest.wrong.values())), hint="Type: redpak prove")
    cache.save()
    own = places[at].packages
    goes = [item.nevra for item in transaction.items if item.action == "remove"]
    goes += [nevra for item in transaction.items for nevra in item.replaces]
    old = headers or {}
    known = [
        facts(old[item.nevra]) for item in transaction.items if item.action != "remove" and item.nevra in old
    ]
    rest = transaction.but(items=tuple(item for item in transaction.items if item.nevra not in old))
    comes = known + (coming(site, rest, places, own, universe) if rest.items else [])
    change = whatif.change(at, own, goes=goes, comes=comes)
    return [
        Broken(
            node=forest.members[harm.place].name, path=forest.members[harm.place].path, text=one.text,
            chain=one.chain, hint=one.hint,
        )
        for harm in whatif.harms(places, [change], arch=site.arch)
        if harm.place > at
        for one in harm.telling
    ]  # fmt: skip


def coming(
    site: Site,
    transaction: Transaction,
    places: Sequence[Place],
    own: Sequence[Facts],
    universe: Universe | None,
) -> list[Facts]:
    """Return the packages that a transaction brings."""
    from redpak.packages import coming as coming_packages
    from redpak.packages.edges import Tree
    from redpak.packages.model import COMMAND_LINE
    from redpak.packages.prove import needed_paths

    items = [item for item in transaction.items if item.action != "remove"]
    files = [item for item in items if item.repo == COMMAND_LINE and os.path.isfile(item.location)]
    others = [item for item in items if item not in files]
    found = [coming_packages.of_file(item.location) for item in files]
    if others:
        if universe is None:
            universe = remembered(site)
        # lists of files are large: they are needed where somebody requires a path of the package that goes
        names = {item.name for item in others} | {name for item in others for name in item.replaces}
        paths = needed_paths(Tree(places))
        with_files = any(
            file[0] in paths
            for package in own
            if package.name in names or package.nevra in names
            for file in package.files
        )
        found += coming_packages.of_items(others, universe, with_files=with_files)
    return found


def remembered(site: Site) -> Universe:
    """Return the universe of a site from metadata that is in the cache."""
    from redpak.packages import metadata, repofile
    from redpak.packages.universe import Universe

    configs = repofile.configured(site)
    known = metadata.sync(configs, site=site, offline=True)
    return Universe(site.layers, known, arch=site.arch, cachedir=site.cachedir)


def below(site: Site, cache: Cache) -> Forest:
    """Return a site's layers and all nodes beneath it."""
    members: list[prove_tree.Member] = []
    for layer in site.layers:
        key, trouble = prove_tree.key_of(layer)
        members.append(prove_tree.Member(
            path=layer.path, name=layer.name, parent=len(members) - 1, layer=layer, key=key, trouble=trouble,
        ))  # fmt: skip
    at_path = {site.path: len(members) - 1}
    seen: dict[str, str] = {}
    for path, parent in prove_tree.nodes_of(site.path):
        if parent in at_path and path not in at_path:
            at_path[path] = len(members)
            launch = prove_plan.launch_of(path, cache, seen)
            members.append(prove_tree.member_of(launch, members, at_path[parent]))
    forest = prove_tree.Forest(members, cache)
    forest.arch = site.arch
    return forest
