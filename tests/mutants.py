"""Faults to be planted into a copy of the healthy tree: what is done, and what it has to be called."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

from redpak.packages import rpmdb
from redpak.packages.header import Header
from tests.planted import NODES, Tree
from tests.rpms import Content, Link, key

Spoil = Callable[[Tree], object]


WANTED = [
    ("a name that nobody has", "nobody"), ("a version too high", "plat-z >= 9"),
    ("a version too low", "plat-z < 1"),
    ("another release", "plat-z = 1.2-9"), ("an epoch", "plat-z >= 1:0"), ("a path", "/usr/bin/nothing"),
    ("a soname", "libnone.so.4()(64bit)"), ("a version of a soname", "libz9.so.1(Z_9)(64bit)"),
    ("a sibling's package", "tool"), ("a rich and", "(plat-z and nobody)"), ("a rich or", "(nobody or none)"),
    ("a rich if", "(nobody if plat-z)"), ("a rich else", "(plat-z if nobody else none)"),
    ("a rich with", "(z-api >= 3 with nobody)"), ("a rich without", "(compression without plat-z)"),
    ("a nested one", "((nobody or none) if (plat-z and plat-ui))"),
]  # fmt: skip

CLASHES = [
    ("a name", "plat-z"), ("a version", "plat-z < 2"), ("what somebody provides", "z-api = 3"),
    ("the core", "core-ca"), ("its own node", "app-nav"), ("a rich and", "(plat-z and plat-ui)"),
    ("a rich unless", "(plat-bus unless nobody)"), ("a file", "/usr/bin/ui"),
]  # fmt: skip


# What a damaged library brings with it.
LOADER = (
    "unloadable-file", "missing-library", "missing-version", "missing-symbol", "wrong-library", "shadowed-library",
)  # fmt: skip


class Mutant:
    """One fault: what is done, and how it has to be called."""

    def __init__(
        self, name: str, kind: str, node: str, what: str, spoil: Spoil, also: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.kind = kind
        self.node = node
        self.what = what  # part of the package or file that has to be named
        self.spoil = spoil
        self.also = also  # kinds that come with it


def act(do: Callable[..., object], *words: object) -> Spoil:
    """Return what does something to a tree with these words."""
    return lambda tree: do(tree, *words)


def package(node: str, **said: object) -> Spoil:
    """Put a package named 'bad' into a node."""
    return lambda tree: tree.add(node, tree.maker.rpm("bad", "1", **{"arch": "noarch", **said}))  # type: ignore[arg-type]


def without(node: str, name: str) -> Spoil:
    """Take a package out of a node."""
    return lambda tree: tree.drop(node, name)


def dependencies() -> Iterator[Mutant]:
    """Yield missing requirements, conflicts, obsoleted and doubled packages."""
    for name, dep in WANTED:
        yield Mutant(
            f"requires {name}", "missing-requirement", "app", "bad-1-1", package("app", requires=[dep])
        )
    yield Mutant(
        "requires a child's package",
        "missing-requirement",
        "platform",
        "bad",
        package("platform", requires=["app-nav"]),
    )
    yield Mutant(
        "core package needs a node's",
        "missing-requirement",
        "core OS",
        "bad",
        package("core", requires=["plat-z"]),
    )
    yield Mutant(
        "a provider is gone", "missing-requirement", "platform", "plat-ui", without("core", "core-ca")
    )
    yield Mutant(
        "a shell is gone", "missing-requirement", "platform", "plat-ui", without("core", "core-tools")
    )
    gone = ("missing-library", "missing-file", "missing-symbol")
    yield Mutant(
        "a parent's package is gone",
        "missing-requirement",
        "app",
        "app-nav",
        without("platform", "plat-ui"),
        gone,
    )
    yield Mutant("a sibling is gone", "missing-requirement", "app", "app-data", without("app", "app-nav"))
    for name, dep in CLASHES:
        yield Mutant(f"conflicts with {name}", "conflict", "app", "bad-1-1", package("app", conflicts=[dep]))
    yield Mutant(
        "a parent conflicts with it",
        "conflict",
        "app",
        "plat-ui",
        lambda tree: tree.add("app", tree.maker.rpm("app-old")),
    )
    yield Mutant("the core conflicts with it", "conflict", "tool", "bad", package("core", conflicts=["tool"]))
    for name, dep, node in (
        ("a parent's", "plat-z", "app"), ("a parent's version", "plat-z < 2", "app"), ("the core's", "core-ca", "app"),
        ("its neighbour", "app-data", "app"), ("the core's, from above", "core-ca <= 2024", "platform"),
    ):  # fmt: skip
        yield Mutant(f"obsoletes {name}", "obsoleted", node, "bad-1-1", package(node, obsoletes=[dep]))
    yield Mutant("a parent obsoletes it", "obsoleted", "tool", "plat-bus", act(again, "tool", "bus-old", "1"))
    yield Mutant("the core obsoletes it", "obsoleted", "app", "bad", package("core", obsoletes=["app-data"]))
    for node, version in (("app", "1.3"), ("app", "1.2"), ("tool", "0.9")):
        spoil = act(again, node, "plat-z", version)
        yield Mutant(f"plat-z {version} again in {node}", "duplicate", node, f"plat-z-{version}", spoil)


def again(tree: Tree, node: str, name: str, version: str) -> None:
    """Put a package with the name of another one into a node."""
    folder = tree.maker.folder / f"again-{version}"
    tree.add(node, tree.maker.rpm(name, version, provides=["z-api = 3"], folder=folder))


def shadows() -> Iterator[Mutant]:
    """Yield files, programs and libraries that hide an ancestor's."""
    for name, path, content, kind in (
        ("a document", "/usr/share/doc/plat-z/README", "other\n", "file"),
        ("a configuration", "/etc/ui.conf", "colour=red\n", "file"),
        ("a core file", "/usr/share/ca/list", "two\n", "file"),
        ("a file by a link", "/usr/share/bus/x", Link("y"), "file"),
        ("a program", "/usr/bin/ui", ("#! mine\n", 0o755), "program"),
        ("a program elsewhere", "/usr/bin/uid", ("#! mine\n", 0o755), "program"),
        ("a program from sbin", "/usr/sbin/ui", ("#! mine\n", 0o755), "program"),
        ("a core program", "/usr/bin/sh", ("#! mine\n", 0o755), "program"),
    ):
        yield Mutant(f"hides {name}", f"shadowed-{kind}", "app", path, package("app", files={path: content}))

    for path, kind in (
        ("usr/bin/ui", "program"),
        ("usr/lib64/libui.so.1", "library"),
        ("usr/share/bus/x", "file"),
    ):
        spoil = act(litter, "app", path)
        yield Mutant(
            f"a {kind} of no package hides another", f"shadowed-{kind}", "app", f"/{path}", spoil, LOADER
        )
    extra = ("missing-symbol", "wrong-library", "missing-library", "missing-version", "shadowed-file")
    for name, path, link, what in (
        ("at the same path", "/usr/lib64/libz9.so.1", "", "libz9.so.1"),
        ("in another directory", "/usr/lib/libz9.so.1", "", "libz9.so.1"),
        ("by a link", "/usr/lib64/libz9.so.1.7", "/usr/lib64/libz9.so.1", "libz9.so.1"),
        ("by a link elsewhere", "/usr/lib/libz9.so.1.7", "/usr/lib/libz9.so.1", "libz9.so.1"),
        ("by its full name", "/usr/lib64/libz9.so.1.2", "", "libz9.so.1.2"),
        ("under the name of another", "/usr/lib64/libui.so.1", "", "libui.so.1"),
    ):
        yield Mutant(
            f"hides a library {name}", "shadowed-library", "app", what, act(library, path, link), extra
        )


def litter(tree: Tree, node: str, path: str) -> None:
    """Leave a file in a node that no package has."""
    at = tree.root(node) / path
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text("#! of nobody\n")


def library(tree: Tree, path: str, link: str) -> None:
    """Put another libz9 into a node, at a path and behind a link."""
    made = tree.maker.library("libz9.so.1", {"zfun": "Z_1", "znew": "Z_2", "mine": "Z_3"})
    files: dict[str, Content] = {path: (made, 0o755)}
    if link:
        files[link] = Link(os.path.basename(path))
    tree.add("app", tree.maker.rpm("bad", "1", files=files, auto=True))


def bytes_on_disk() -> Iterator[Mutant]:
    """Yield flipped bits of files, missing files, wrong modes."""
    chosen = random.Random(8)
    for node, path in (
        ("platform", "usr/share/doc/plat-z/README"), ("platform", "usr/bin/ui"), ("platform", "usr/share/bus/x"),
        ("app", "usr/share/nav/map"), ("app", "usr/share/data/d"), ("tool", "usr/bin/tool"),
        ("core", "usr/share/ca/list"),
    ):  # fmt: skip
        called = "core OS" if node == "core" else node
        for _ in range(2):
            byte, bit = chosen.randrange(1 << 20), chosen.randrange(8)
            name = f"bit {bit} of {path}, byte {byte}"
            yield Mutant(name, "changed-file", called, path, act(Tree.flip, node, path, byte, bit))
    at = "usr/lib64/libz9.so.1.2"
    for byte in (17, 0x48, 4097):
        flip = act(Tree.flip, "platform", at, byte)
        yield Mutant(f"byte {byte} of a library", "changed-file", "platform", at, flip, LOADER)
    for node, path in (("platform", "usr/bin/ui"), ("app", "usr/share/nav/map"), ("tool", "usr/bin/tool")):
        yield Mutant(f"{path} is gone", "missing-file", node, path, act(unlink, node, path))
        yield Mutant(f"{path} is writable", "wrong-mode", node, path, act(open_to_all, node, path))
    yield Mutant("a link leads elsewhere", "changed-file", "platform", "libz9.so.1", relink, LOADER)
    lost = act(unlink, "platform", "usr/lib64/libui.so.1")
    yield Mutant("a library is gone", "missing-library", "app", "/usr/bin/nav", lost, ("missing-file",))


def unlink(tree: Tree, node: str, path: str) -> None:
    """Remove a file."""
    (tree.root(node) / path).unlink()


def open_to_all(tree: Tree, node: str, path: str) -> None:
    """Let everybody write to a file."""
    (tree.root(node) / path).chmod(0o777)


def relink(tree: Tree) -> None:
    """Let a link of a package lead to another file."""
    link = tree.nodes / "platform/usr/lib64/libz9.so.1"
    link.unlink()
    link.symlink_to("libui.so.1")


def bytes_in_database() -> Iterator[Mutant]:
    """Yield flipped bits in headers, and headers whose signature is missing or somebody else's."""
    chosen = random.Random(9)

    broken = (
        "database", "missing-requirement", "missing-file", "changed-file", "wrong-mode", "wrong-owner", "conflict",
        "duplicate", "missing-library", "shadowed-file", "wrong-signature", "changed-header",
    )  # fmt: skip
    names = {"platform": ("plat-z", "plat-bus"), "app": ("app-nav", "app-data"), "tool": ("tool",)}
    for node, name in [(node, name) for node, some in names.items() for name in some]:
        for _ in range(3):
            at, bit = chosen.randrange(1 << 20), chosen.randrange(7)
            spoil = act(flip_header, node, name, at, bit)
            yield Mutant(
                f"bit {bit} of byte {at} in {name}'s header", "changed-header", node, "", spoil, broken
            )
    for node in NODES:
        bad = "bad-1-1"
        yield Mutant(f"no signature in {node}", "missing-signature", node, bad, package(node, sign=False))
        stranger = package(node, sign=key("stranger"))
        yield Mutant(f"a stranger's signature in {node}", "wrong-signature", node, bad, stranger)
    for node, name in (("platform", "plat-bus"), ("app", "app-data"), ("tool", "tool")):
        spoil = act(Tree.rewrite, node, name, unsigned_by_one_bit)
        yield Mutant(f"a broken signature of {name}", "wrong-signature", node, name, spoil)
    yield Mutant("another package's signature", "wrong-signature", "platform", "plat-bus", swapped)


def flip_header(tree: Tree, node: str, name: str, at: int, bit: int) -> None:
    """Change one bit of the values of a header that are signed."""

    def flipped(blob: bytes) -> bytes:
        region = Header(blob).signed_bytes()  # magic, sizes, index, values, and what ends them
        tags = int.from_bytes(region[8:12], "big")
        start = 8 + 16 * int.from_bytes(blob[:4], "big")
        inside = start + at % (len(region) - 32 - 16 * tags)
        return blob[:inside] + bytes([blob[inside] ^ 1 << bit]) + blob[inside + 1 :]

    tree.rewrite(node, name, flipped)


def unsigned_by_one_bit(blob: bytes) -> bytes:
    """Return a header with one bit of its signature changed."""
    signature = Header(blob).signature
    at = blob.index(signature) + len(signature) - 3
    return blob[:at] + bytes([blob[at] ^ 4]) + blob[at + 1 :]


def swapped(tree: Tree) -> None:
    """Give a package the signature of another."""
    headers = {header.name: header for header in rpmdb.read(str(tree.root("platform") / "var/lib/rpm"))}
    mine, other = headers["plat-bus"].signature, headers["plat-z"].signature
    assert len(mine) == len(other)
    tree.rewrite("platform", "plat-bus", lambda blob: blob.replace(mine, other))


def launches() -> Iterator[Mutant]:
    """Yield loosened settings, missing sources, and metadata that went back in time."""
    for name, above, below in (
        ("gpgcheck", "gpgcheck: true", "gpgcheck: false"),
        ("a namespace", "share_net: disabled", "share_net: enabled"),
        ("the filter", "seccomp: default", "seccomp: none"),
        ("a limit", "rlimits: {nofile: 100}", "rlimits: {nofile: 200}"),
        (
            "a capability",
            "capabilities: [{cap: net_admin, add: 0}]",
            "capabilities: [{cap: net_admin, add: 1}]",
        ),
    ):
        spoil = act(loosen, above, below)
        yield Mutant(f"loosens {name}", "loosened-setting", "app", "redpak.yaml", spoil)
    opened = act(export, "tool", "- {mode: Public, mount: /nodes/platform/usr, path: $NODE_PATH/usr}")
    yield Mutant("opens a mount", "loosened-setting", "tool", "redpak.yaml", opened)
    for node in NODES:
        yield Mutant(
            f"a source is gone in {node}", "missing-source", node, "share", act(rmdir, node, "share")
        )
        yield Mutant(f"older metadata in {node}", "older-metadata", node, "base.json", act(replayed, node))
    for source in ("/nowhere/data", "$NODE_PATH/maps"):
        spoil = act(export, "app", f"- {{mode: Restricted, mount: /maps, path: {source}}}")
        yield Mutant(f"{source} is not there", "missing-source", "app", source.rpartition("/")[2], spoil)


def loosen(tree: Tree, above: str, below: str) -> None:
    """Let a node allow what its parent forbids."""
    tree.world.configure(tree.nodes, "platform", config=f"  {above}\n")
    tree.world.configure(tree.nodes, "app", config=f"  {below}\n")


def export(tree: Tree, node: str, line: str) -> None:
    """Add an export to a node's configuration."""
    tree.world.configure(tree.nodes, node, exports=line)


def rmdir(tree: Tree, node: str, path: str) -> None:
    """Remove a directory of a node."""
    (tree.root(node) / path).rmdir()


def replayed(tree: Tree, name: str) -> None:
    """Let a node see newer metadata, then put the old one back."""
    from redpak.node.site import site_of
    from redpak.packages import metadata, repofile

    rpm = tree.world.rpms["tool"]
    node = tree.root(name)
    place = tree.nodes.parent / "repo"
    (node / "etc/yum.repos.d").mkdir(exist_ok=True)
    text = tree.maker.repo_file("base", place, repo_gpgcheck=0)
    (node / "etc/yum.repos.d/base.repo").write_text(text)
    tree.maker.repo("base", rpm, folder=place, revision="20", timestamp=2000)
    site = site_of(str(node), core=str(tree.core))
    assert metadata.sync(repofile.configured(site), site=site)
    tree.maker.repo("base", rpm, folder=place, revision="10", timestamp=1000)


MUTANTS = [*dependencies(), *shadows(), *bytes_on_disk(), *bytes_in_database(), *launches()]
