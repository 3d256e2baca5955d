"""A core OS as a file: the same answers as the core OS itself, and clear faults."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from redpak.errors import BadConfig, NotFound, RedpakError
from redpak.packages import core, manifest, manifest_package, rpmdb
from redpak.packages.header import MAGIC, Header
from redpak.packages.header_tags import KINDS
from redpak.packages.model import Layer
from tests.rpms import Config, Content, Dir, Ghost, Link, Maker

TREE: dict[str, Content] = {
    "/usr": Dir(), "/usr/bin": Dir(), "/usr/bin/x": b"x", "/usr/share": Dir(), "/bin": Link("usr/bin"),
}  # fmt: skip


def rpm_layer(root: Path) -> Layer:
    db = str(root / "var/lib/rpm")
    return Layer(
        name="core OS", kind="core", path=str(root), database="rpm", rpmdb=db, tree=str(root), state=str(root)
    )


def file_layer(path: Path) -> Layer:
    return Layer(name="core OS", kind="core", path=str(path), database="manifest")


def facts(header: Header) -> dict[str, Any]:
    """Return everything of a package that solver and proof ask for."""
    told = {
        kind: [one for one in getattr(header, kind) if not one[0].startswith("rpmlib(")] for kind in KINDS
    }
    files = [
        (f.path, f.mode, f.size, f.digest, f.link, f.flags, f.user, f.group, f.caps, f.color)
        for f in header.files()
    ]
    return {
        "nevra": header.nevra,
        "vendor": header.vendor,
        "files": files,
        "algorithm": header.digest_algorithm,
        **told,
    }


@pytest.fixture
def system(tmp_path: Path) -> Layer:
    """Return a small rpm core OS with all that a header can say."""
    maker = Maker(tmp_path)
    made = [
        maker.rpm("filesystem", "3", arch="noarch", files=TREE),
        maker.rpm(
            "bash", "5.2", "3", epoch=2,
            requires=["filesystem >= 3", "pre: filesystem", "(a if b)", "libc.so.6()(64bit)"],
            provides=["/bin/sh", "shell = 1:2-3"], conflicts=["old < 2"], obsoletes=["ancient <= 1"],
            recommends=["(x and y)"], suggests=["maybe"], supplements=["host > 1"], enhances=["more"],
            files={"/usr/bin/bash": (b"x", 0o755), "/usr/bin/sh": Link("bash"), "/etc/bashrc": Config("a"),
                   "/var/log/bash": Ghost(), "/usr/bin/own": ("x", 0o4755, "svc"), "/usr/bin/\u00fc": b"u"},
            scripts={"post": "echo"},
        ),
        maker.rpm("glibc", "2.36", provides=["libc.so.6()(64bit)", "libc.so.6(GLIBC_2.34)(64bit)"]),
    ]  # fmt: skip
    (tmp_path / "root").mkdir()
    maker.database(made, tmp_path / "root/var/lib/rpm")
    return rpm_layer(tmp_path / "root")


@pytest.mark.needs("rpm")
def test_what_is_read_is_what_was_written(system: Layer, tmp_path: Path) -> None:
    path = tmp_path / "core.json"
    manifest.write(str(path), system, arch="x86_64", releasever="12")
    read = manifest.read(str(path))
    assert (read.kind, read.arch, read.releasever) == ("rpm", "x86_64", "12")
    assert read.database == rpmdb.digest(system.rpmdb)
    mine = {header.nevra: facts(header) for header in core.headers(file_layer(path))}
    theirs = {header.nevra: facts(header) for header in core.headers(system)}
    assert mine == theirs
    assert read.digests == {header.nevra: header.digest for header in core.headers(system)}


@pytest.mark.needs("rpm")
def test_the_file_is_canonical_and_a_copy_of_it_is_itself(system: Layer, tmp_path: Path) -> None:
    path = tmp_path / "core.json"
    text = manifest.text(system, arch="x86_64")
    path.write_text(text)
    assert text == manifest.text(system, arch="x86_64")
    assert manifest.text(file_layer(path)) == text
    assert text.isascii()
    shuffled = dict(reversed(json.loads(text).items()))
    path.write_text(json.dumps(shuffled))
    assert manifest.text(file_layer(path)) == text


@pytest.mark.needs("rpm")
def test_rpm_answers_the_same_from_a_manifest(system: Layer, tmp_path: Path) -> None:
    path = tmp_path / "core.json"
    manifest.write(str(path), system)
    copy = tmp_path / "copy"
    subprocess.run(["rpm", f"--dbpath={copy}", "--initdb"], check=True)
    blobs = b"".join(MAGIC + header.blob for header in manifest.read(str(path)).headers)
    done = subprocess.run(
        ["rpmdb", f"--dbpath={copy}", "--importdb"], input=blobs, capture_output=True, check=True
    )
    assert not done.stderr

    def ask(db: object, *words: str) -> str:
        done = subprocess.run(["rpm", f"--dbpath={db}", *words], capture_output=True, text=True, check=False)
        assert not done.stderr
        return "\n".join(sorted(line for line in done.stdout.splitlines() if not line.startswith("rpmlib(")))

    for words in (["-qa", "--requires"], ["-qa", "--provides"], ["-qal"], ["-q", "--whatprovides", "/bin/sh"],
                  ["-qf", "/usr/bin/own"],
                  ["-qa", "--qf", "[%{FILENAMES} %{FILEMODES:perms} %{FILEDIGESTS}\n]"]):  # fmt: skip
        assert ask(copy, *words) == ask(system.rpmdb, *words)
        assert ask(copy, *words)


DEPENDENCIES = [
    ("bash", 0, ""), ("bash", 12, "5.2-1"), ("(a if b)", 0, ""), ("/bin/sh", 1280, ""), ("a b", 0, ""),
    ("a = 1", 0, ""), ("a", 8, ""), ("a", 0, "1"), ("a", 6, "1"), ("a", 10, "1:2 3"), ("x", 0x10000000 | 8, "1"),
    ("(a >= 1 or b)", 0, ""),
]  # fmt: skip


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_every_dependency_survives(dependency: tuple[str, int, str]) -> None:
    from redpak.packages.header_write import encode

    name, flags, evr = dependency
    header = Header(
        encode({"name": "p", "version": "1", "release": "1", "arch": "noarch",
                "requirename": [name], "requireflags": [flags], "requireversion": [evr]})
    )  # fmt: skip
    row = json.loads(json.dumps(manifest_package.packed(header)))
    assert list(manifest_package.faults(row)) == []
    assert Header(manifest_package.blob(row)).requires == (dependency,)


def good() -> dict[str, Any]:
    return {
        "schema": manifest.SCHEMA, "kind": "none", "arch": "x86_64", "releasever": "", "database": "",
        "packages": [
            {"name": "a", "version": "1", "release": "1", "arch": "noarch", "files": {"/opt/": [["x", 33188]]}},
        ],
    }  # fmt: skip


def test_a_manifest_by_hand_needs_little(tmp_path: Path) -> None:
    (tmp_path / "m").write_text(json.dumps(good()))
    (header,) = manifest.read(str(tmp_path / "m")).headers
    assert header.nevra == "a-1-1.noarch"
    assert [(file.path, file.user) for file in header.files()] == [("/opt/x", "root")]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    data = good()
    data.update(kind="apk", extra=1, arch=5)
    del data["database"]
    data["packages"] += [
        {"name": "b", "version": 1, "release": "", "arch": "noarch", "size": -1, "colour": "red"},
        {
            **data["packages"][0],
            "requires": ["ok", 5, ["x", "y"], []],
            "files": {"opt": [["a", 1]], "/x/": [["a/b", 1], ["a"]]},
        },
        "text",
        good()["packages"][0],
    ]
    (tmp_path / "m").write_text(json.dumps(data))
    with pytest.raises(BadConfig) as caught:
        manifest.read(str(tmp_path / "m"))
    assert [fault.message for fault in caught.value.faults] == [
        "'database' is missing",
        "'extra' is unknown",
        "arch: it is no text",
        "kind: it is none of rpm, dpkg, none",
        "packages[1]: 'release' is missing",
        "packages[1].version: it is no text",
        "packages[1].size: it is no number, or too large",
        "packages[1]: 'colour' is unknown",
        "packages[2].files['opt']: it is no directory with '/' at both ends",
        "packages[2].files['/x/'][0]: it is no file",
        "packages[2].files['/x/'][1]: it is no file",
        "packages[2].requires[1]: it is no dependency",
        "packages[2].requires[2]: it is no dependency",
        "packages[2].requires[3]: it is no dependency",
        "packages[3]: it is no object",
        "packages[4]: it is packages[0] again: 'a'",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is no JSON"), ("{", "it is no JSON"), ("[]", "it is no manifest"), ("{}", "schema: it is not"),
        ("[" * 100000, "it is no JSON"), ('{"schema": 1, "schema": 2}', "key 'schema' stands twice"),
        ('{"schema": "redpak core OS 1", "packages": 5}', "packages: it is no list"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "m").write_text(text)
    with pytest.raises(BadConfig) as caught:
        manifest.read(str(tmp_path / "m"))
    assert any(why in fault.message for fault in caught.value.faults)


def test_no_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        manifest.read(str(tmp_path / "m"))
    with pytest.raises(RedpakError, match="cannot read the manifest"):
        manifest.read(str(tmp_path))


def answers(core_os: Layer, node: Layer, rpms: list[str]) -> list[str]:
    """Return what the solver says to each package: that it can be installed, or why not."""
    from redpak.packages.goal import Goal
    from redpak.packages.problems import Unsolvable
    from redpak.packages.universe import Universe

    said = []
    for path in rpms:
        universe = Universe(
            [core_os, node], arch="x86_64", local=[path], cachedir=str(Path(node.path) / "cache")
        )
        goal = Goal(universe)
        (package,) = universe.add_files([path])
        goal.install_package(package)
        try:
            said.append(" ".join(item.nevra for item in goal.resolve().items))
        except Unsolvable as error:
            said.append(error.message)
    return said


@pytest.mark.needs("rpm")
@pytest.mark.parametrize("kind", ["rpm", "dpkg"])
def test_a_solver_answers_the_same_from_a_manifest(
    system: Layer, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redpak import paths

    monkeypatch.setattr(paths, "cache", lambda: str(tmp_path / "cache"))
    core_os = system
    if kind == "dpkg":
        root = tmp_path / "debian"
        (root / "var/lib/dpkg").mkdir(parents=True)
        (root / "usr/bin").mkdir(parents=True)
        (root / "usr/bin/sh").touch()
        (root / "bin").symlink_to("usr/bin")
        (root / "var/lib/dpkg/status").write_text(
            "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.21\n"
        )
        core_os = system.but(path=str(root), database="dpkg", rpmdb="", tree=str(root), state=str(root))
    path = tmp_path / "core.json"
    manifest.write(str(path), core_os)
    maker = Maker(tmp_path / "more")
    asked = (
        "/bin/sh",
        "/usr/bin/sh",
        "bash >= 2:5",
        "bash < 5",
        "(a if bash)",
        "deb(dpkg) > 1.20",
        "deb(dpkg) > 2",
        "dpkg",
    )
    rpms = [maker.rpm(f"p{number}", requires=[one]) for number, one in enumerate(asked)]
    rpms.append(maker.rpm("clash", conflicts=["libc.so.6()(64bit)"]))
    rpms.append(maker.rpm("killer", obsoletes=["bash"]))
    node = Layer(
        name="n", kind="node", path=str(tmp_path), database="rpm", rpmdb=str(tmp_path / "none"), locked=False
    )
    first = answers(core_os, node, rpms)
    assert first == answers(file_layer(path), node, rpms)
    fits = {number for number, text in enumerate(first) if text.startswith(("p", "clash", "killer"))}
    assert fits == ({0, 1, 2} if kind == "rpm" else {0, 1, 4, 5, 8, 9}), first
