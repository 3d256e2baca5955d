"""Nodes and plain directories with packages, changed through `node.install` itself."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from redpak.node import generations, install
from redpak.node.create import create
from redpak.node.site import installroot, site_of
from redpak.packages.header import from_rpm
from redpak.packages.model import Item, Site, Transaction
from tests.rpms import Maker


def comes(path: str, action: Any = "install", reason: Any = "user", replaces: Iterable[str] = ()) -> Item:
    """Return the item of a package file that comes."""
    header = from_rpm(path)[1]
    return Item(
        action=action, name=header.name, epoch=header.epoch, version=header.version, release=header.release,
        arch=header.arch, repo="test", reason=reason, replaces=tuple(replaces), location=path,
    )  # fmt: skip


def goes(nevra: str) -> Item:
    """Return the item of a package that is removed; without an epoch."""
    rest, _, arch = nevra.rpartition(".")
    name, version, release = rest.rsplit("-", 2)
    return Item(
        action="remove", name=name, epoch=0, version=version, release=release, arch=arch, repo="@System"
    )


class Place:
    """A node (or, with `plain`, a directory) whose packages change."""

    def __init__(self, path: Path, maker: Maker, *, core: str = "host", plain: bool = False) -> None:
        self.path = path
        self.maker = maker
        self.core = core
        self.plain = plain
        self.said: list[tuple[str, str, str]] = []
        if not plain:
            create(str(path), alias=path.name, system_node=False)

    @property
    def site(self) -> Site:
        """The site as it is now."""
        return installroot(str(self.path)) if self.plain else site_of(str(self.path), core=self.core)

    def change(self, *items: Item | str, **options: object) -> int:
        """Carry out items; a path is a package to install."""
        whole = tuple(comes(one) if isinstance(one, str) else one for one in items)
        files: Mapping[str, str] = {item.nevra: item.location for item in whole if item.location}
        self.said = []
        return install.carry_out(
            self.site,
            Transaction(items=whole),
            files,
            command="test",
            keys=[self.maker.key],
            progress=lambda *step: self.said.append(step),
            **options,  # type: ignore[arg-type]
        )

    @property
    def output(self) -> str:
        """What scriptlets and rpm said in the last change."""
        return "\n".join(text for kind, _, text in self.said if kind == "output")

    @property
    def generation(self) -> Path:
        """The current generation."""
        return Path(generations.current(str(self.path)))

    def tree(self, inner: str) -> Path:
        """Return a file of the current generation."""
        return self.generation / "tree" / inner

    def packages(self) -> list[str]:
        """Ask rpm what the node has."""
        folder = str(self.path / "var/lib/rpm") if self.plain else str(self.generation / "rpmdb")
        done = subprocess.run(
            ["rpm", "--dbpath", folder, "-qa", "--qf", "%{NAME}-%{VERSION}-%{RELEASE}\n"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return sorted(line for line in done.stdout.split() if not line.startswith("gpg-pubkey"))

    def sound(self) -> None:
        """Check that the database is whole, agrees with the files, and that nothing is left behind."""
        where = self.generation / "rpmdb/rpmdb.sqlite"
        with sqlite3.connect(f"file:{where}?immutable=1", uri=True) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
        assert os.listdir(self.path / ".redpak/work") == []
        assert not (self.generation / "pending").exists()
        assert not (self.generation / "state").exists()
        assert (self.path / "var/lib/rpm").resolve() == self.generation / "rpmdb"


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return everything in a directory: mode, owner, size, content or target, inode."""
    found: dict[str, tuple[object, ...]] = {}
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(here, name)
            at = path.lstat()
            content: object = None
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = path.read_bytes()
            found[str(path.relative_to(folder))] = (at.st_mode, at.st_uid, at.st_gid, at.st_ino, content)
    return found
