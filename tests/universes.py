"""Universes for the tests: layers with databases made by rpm, repositories made by createrepo_c's library."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from redpak.packages.decompress import decompress
from redpak.packages.goal import Goal, Policy
from redpak.packages.model import Layer, Transaction
from redpak.packages.universe import Universe
from tests.rpms import Maker

if TYPE_CHECKING:
    from redpak.packages.model import Reason


class Files:
    """What a universe needs of a repository's metadata, without fetching: the files as they lie on the disk."""

    def __init__(self, folder: Path, **config: object) -> None:
        self.folder = folder
        self.id = folder.name
        self.sha256 = hashlib.sha256((folder / "repodata/repomd.xml").read_bytes()).hexdigest()
        defaults = {
            "priority": 99,
            "cost": 1000,
            "excludepkgs": (),
            "includepkgs": (),
            "module_hotfixes": False,
        }
        self.config = SimpleNamespace(**(defaults | config))
        self.opened: list[str] = []

    def listed(self, kind: str) -> str | None:
        """Return the path of a file, None when there is none."""
        found = sorted(self.folder.glob(f"repodata/{kind}.*"))
        return str(found[0]) if found else None

    def file(self, kind: str) -> str:
        """Return the path of a decompressed file, '' when there is none."""
        self.opened.append(kind)
        packed = self.listed(kind)
        if packed is None:
            return ""
        plain = self.folder / f"{kind}.xml"
        if not plain.exists():
            digest = hashlib.sha256(Path(packed).read_bytes()).hexdigest()
            decompress(packed, str(plain), checksum=f"sha256:{digest}")
        return str(plain)


class Worlds:
    """Makes universes in one directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.maker = Maker(folder)
        self.rpm = self.maker.rpm
        self.repos: dict[str, Files] = {}

    def repo(
        self, name: str, *rpms: str, updateinfo: str = "", compression: str = "gz", **config: object
    ) -> Files:
        """Make a repository that later universes have."""
        made = Files(self.maker.repo(name, rpms, updateinfo=updateinfo, compression=compression), **config)
        self.repos[name] = made
        return made

    def layer(self, name: str, *rpms: str, locked: bool = True) -> Layer:
        """Make a layer with these packages installed; without any, it is what it was before."""
        path = self.folder / "layers" / name
        if rpms:
            shutil.rmtree(path, ignore_errors=True)
            self.maker.database(rpms, path / "var/lib/rpm")
        return Layer(
            name=name, kind="node" if name == "node" else "core", path=str(path), database="rpm",
            rpmdb=str(path / "var/lib/rpm"), locked=locked,
        )  # fmt: skip

    def universe(
        self, *layers: Layer, reasons: Mapping[str, Reason] | None = None, **options: Any
    ) -> Universe:
        """Return a universe of these layers and all repositories."""
        repos = cast("Sequence[Any]", list(self.repos.values()))
        return Universe(
            layers, repos, arch="x86_64", reasons=reasons, cachedir=str(self.folder / "cache"), **options
        )

    def goal(
        self,
        *installed: str,
        above: Sequence[Layer] = (),
        reasons: Mapping[str, Reason] | None = None,
        policy: Policy | None = None,
        **options: Any,
    ) -> Goal:
        """Return a goal for a node with these packages, beneath some layers."""
        node = self.layer("node", *installed, locked=False)
        return Goal(self.universe(*above, node, reasons=reasons, **options), policy)


def done(transaction: Transaction) -> list[str]:
    """Return a transaction as 'action nevra', sorted."""
    return sorted(f"{item.action} {item.nevra}" for item in transaction.items)
