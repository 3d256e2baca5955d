"""A small healthy tree of real packages, to be copied and spoiled: a core OS, a platform, two nodes on it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from redpak import paths
from redpak.node import prove
from redpak.node.create import create
from redpak.packages import keys, keystore
from redpak.packages.finding import Finding
from tests.rpms import Config, Ghost, Link, Maker

DATABASE = "var/lib/rpm"
NODES = {"platform": "platform", "app": "platform/app", "tool": "platform/tool"}
PATHS = """\
  path: /nodes/$NODE_ALIAS/usr/bin:/nodes/$NODE_ALIAS/usr/sbin:/nodes/$NODE_ALIAS/opt/bin
  ldpath: /nodes/$NODE_ALIAS/usr/lib64:/nodes/$NODE_ALIAS/usr/lib
"""
CONFIG = """\
headers: {{alias: {alias}, name: {alias}, info: test}}
exports:
{exports}
- {{mode: Restricted, mount: /nodes/$NODE_ALIAS/usr, path: $NODE_PATH/usr}}
- {{mode: Restricted, mount: /nodes/$NODE_ALIAS/share, path: $NODE_PATH/share}}
config:
{paths}{config}
"""
CORE = """\
- {mode: Restricted, mount: /usr}
- {mode: Symlink, mount: /bin, path: usr/bin}
- {mode: Symlink, mount: /lib64, path: usr/lib64}
- {mode: Symlink, mount: /lib, path: usr/lib}
- {mode: Restricted, mount: /etc}"""


class World:
    """The healthy tree, and everything that is needed to make another one of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.maker = maker = Maker(folder / "make")
        self.nodes = folder / "nodes"
        self.core = folder / "core"
        self.libz = maker.library("libz9.so.1", {"zfun": "Z_1", "znew": "Z_2"})
        libui = maker.library("libui.so.1", ["ui"], [self.libz])
        program = "int zfun(void); int ui(void); int main(void) { return ui() + zfun() - 2; }"
        self.rpms: dict[str, list[str]] = {
            "core": [
                maker.rpm("core-tools", "1", files={"/usr/bin/sh": ("#! core\n", 0o755)},
                          provides=["/bin/sh", "rtld(GNU_HASH)"]),
                maker.rpm("core-ca", "2024", files={"/usr/share/ca/list": "one\n"}, provides=["ca = 2024"]),
            ],
            "platform": [
                maker.rpm("plat-z", "1.2", files={
                    "/usr/lib64/libz9.so.1.2": (self.libz, 0o755), "/usr/lib64/libz9.so.1": Link("libz9.so.1.2"),
                    "/usr/share/doc/plat-z/README": "read me\n",
                }, auto=True, provides=["z-api = 3", "compression"]),
                maker.rpm("plat-ui", "2", files={
                    "/usr/lib64/libui.so.1": (libui, 0o755), "/usr/bin/ui": ("#! ui\n", 0o755),
                    "/usr/sbin/uid": ("#! uid\n", 0o755), "/etc/ui.conf": Config("colour=blue\n"),
                    "/var/cache/ui": Ghost(),
                }, auto=True, requires=["plat-z >= 1", "(ca if plat-z)", "/bin/sh"], conflicts=["app-old"]),
                maker.rpm("plat-bus", "1", files={"/usr/share/bus/x": "bus\n"}, obsoletes=["bus-old < 2"]),
            ],
            "app": [
                maker.rpm("app-nav", "1", files={
                    "/usr/bin/nav": (maker.program(program, [libui, self.libz], flags=["-nostdlib", "-nostartfiles"]),
                                     0o755),
                    "/usr/share/nav/map": "map\n",
                }, auto=True, requires=["plat-ui >= 2", "(plat-bus or plat-pipe)", "z-api >= 3"]),
                maker.rpm("app-data", "1", arch="noarch", files={"/usr/share/data/d": "data\n"}, requires=["app-nav"]),
            ],
            "tool": [maker.rpm("tool", "1", files={"/usr/bin/tool": ("#! tool\n", 0o755)}, requires=["plat-z"])],
        }  # fmt: skip
        maker.plant(self.core, self.rpms["core"])
        for folder_ in ("usr/lib", "usr/lib64", "etc"):
            (self.core / folder_).mkdir(parents=True, exist_ok=True)
        for alias, place in NODES.items():
            create(
                str(self.nodes / place),
                alias=alias,
                system_node=False,
                model="full" if alias == "platform" else None,
            )
            (self.nodes / place / "share").mkdir()
            self.configure(self.nodes, alias)
            maker.plant(self.nodes / place, self.rpms[alias])
        trust(self.nodes / "platform", maker.key)

    def configure(self, nodes: Path, alias: str, *, exports: str = "", config: str = "") -> None:
        """Write a node's configuration."""
        lead = CORE if alias == "platform" else ""
        text = CONFIG.format(
            alias=alias,
            exports="\n".join(part for part in (lead, exports) if part),
            paths=PATHS,
            config=config,
        )
        (nodes / NODES[alias] / "etc/redpak.yaml").write_text(text)

    def copy(self, to: Path) -> Tree:
        """Return a copy that may be spoiled."""
        shutil.copytree(self.nodes, to / "nodes", symlinks=True)
        shutil.copytree(self.core, to / "core", symlinks=True)
        return Tree(self, to)


class Tree:
    """A copy of the tree."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.maker = world.maker
        self.nodes = folder / "nodes"
        self.core = folder / "core"

    def root(self, name: str) -> Path:
        """Return the directory of a node, or of the core OS."""
        return self.core if name == "core" else self.nodes / NODES[name]

    def prove(self, *, fresh: bool = False) -> prove.Report:
        """Prove it."""
        return prove.prove(str(self.nodes), core=str(self.core), fresh=fresh)

    def faults(self) -> list[Finding]:
        """Return all faults of all members."""
        return [fault for member in self.prove().members for fault in member.faults]

    def add(self, name: str, *rpms: str) -> None:
        """Put packages into a node as rpm would, without asking whether they fit."""
        self.maker.plant(self.root(name), rpms)

    def drop(self, name: str, *packages: str) -> None:
        """Take packages away, with their files: the database is made anew."""
        kept = []
        for rpm in self.world.rpms[name]:
            if any(Path(rpm).name.startswith(package + "-") for package in packages):
                for path in self.maker.contents[rpm]:
                    self.root(name).joinpath(path[1:]).unlink(missing_ok=True)
            else:
                kept.append(rpm)
        self.replace_database(name, kept)

    def replace_database(self, name: str, rpms: Sequence[str]) -> None:
        """Make a node's database anew."""
        shutil.rmtree(self.root(name) / DATABASE)
        self.maker.database(rpms, self.root(name) / DATABASE)

    def flip(self, name: str, path: str, byte: int, bit: int = 0) -> None:
        """Change one bit of a file."""
        file = self.root(name) / path
        data = bytearray(file.read_bytes())
        data[byte % len(data)] ^= 1 << bit
        file.write_bytes(data)

    def rewrite(self, name: str, package: str, change: Callable[[bytes], bytes]) -> None:
        """Change the header of a package in the database: `change` gets the bytes and returns others."""
        at = self.root(name) / DATABASE / "rpmdb.sqlite"
        with sqlite3.connect(at) as connection:
            for number, blob in connection.execute("SELECT hnum, blob FROM Packages").fetchall():
                if package.encode() + b"\0" in blob[:4096]:
                    connection.execute("UPDATE Packages SET blob = ? WHERE hnum = ?", (change(blob), number))
        connection.close()


def trust(node: Path, armored: str) -> None:
    """Let a node trust a key."""
    for key in keys.parse(armored.encode()):
        keystore.store(os.path.join(node, paths.TRUSTED_KEYS), key)
