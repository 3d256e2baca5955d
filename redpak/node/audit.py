"""Audit nodes: from the signature of each header to its digests, and from those to every file on disk."""

from __future__ import annotations

from redpak.node import prove_cache, prove_disk, prove_tree
from redpak.packages.finding import Finding
from redpak.record import Record


class Audited(Record):
    """One node, or core OS, and what was found."""

    path: str
    name: str
    packages: int
    findings: tuple[Finding, ...]  # faults and notes
    skipped: str = ""  # why it was not looked at

    @property
    def clean(self) -> bool:
        """Whether there is nothing but notes."""
        return all(one.grade == "note" for one in self.findings)


def audit(path: str, *, family: bool = False, core: str = "") -> list[Audited]:
    """Return what is wrong with the packages of the node at `path`, of its ancestors and core OS too with `family`.

    Every file is read. Raises NotFound when there is no node.
    """
    from redpak.node import tree

    node = tree.spelled(path)[-1].rstrip("/")
    if not tree.is_node(node):
        raise tree.no_node(path, node, to_make=False)
    cache = prove_cache.Cache("", fresh=True)
    forest = prove_tree.forest(node, core=core, cache=cache, beneath=False)
    at = forest.at_path(node)
    return [look(forest, one) for one in (forest.chain(at) if family else [at])]


def look(forest: prove_tree.Forest, at: int) -> Audited:
    """Return what is wrong with one member."""
    member = forest.members[at]
    skipped = ""
    found: list[Finding] = []
    if member.trouble:
        found = [database(forest, at, member.trouble)]
    elif member.layer.database != "rpm":
        skipped = f"its packages are not rpm's ({member.layer.database})"
    elif member.layer.tree == "/":
        skipped = "the host's own files are its package manager's: type 'rpm -Va'"
    else:
        found = prove_disk.examine(forest, at, fresh=True)
        found += [database(forest, one, why) for one, why in forest.wrong.items()]
    return Audited(
        path=member.path,
        name=member.name,
        packages=len(forest.facts(at)),
        findings=tuple(sorted(found, key=lambda one: (one.grade, one.kind, one.package, one.file))),
        skipped=skipped,
    )


def database(forest: prove_tree.Forest, at: int, why: str) -> Finding:
    """Return that a database cannot be read."""
    member = forest.members[at]
    return Finding(
        kind="database", place=member.path, name=member.name, file=member.layer.rpmdb,
        text=f"the package database cannot be read: {why}", hint="Roll back, or restore it from a backup.",
    )  # fmt: skip
