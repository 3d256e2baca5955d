"""What the loader takes, held against what packages promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from redpak.packages import elf, elfproof
from redpak.packages.elfproof import Wrong
from redpak.packages.ldso import Loader
from tests.rpms import Maker

pytestmark = pytest.mark.needs("cc")


class Root:
    """A root directory with one program that needs one library, which needs another."""

    def __init__(self, folder: Path) -> None:
        self.maker = maker = Maker(folder / "make")
        self.root = folder / "root"
        inner = maker.library("libinner.so.1", {"inner": "I_1"})
        self.outer = maker.library("libouter.so.1", {"outer": "O_1"}, [inner])
        source = "int outer(void); int main(void) { return outer(); }"
        flags = ["-nostdlib", "-nostartfiles"]
        self.put("usr/bin/p", maker.program(source, [self.outer], flags=flags))
        self.put("usr/lib64/libouter.so.1", self.outer)
        self.put("usr/lib64/libinner.so.1", inner)

    def put(self, path: str, data: bytes) -> None:
        """Write a file."""
        at = self.root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(data)

    def loader(self, *folders: str) -> Loader:
        """Return the loader of this root."""

        def look(path: str) -> str | None:
            at = self.root / path.lstrip("/")
            return str(at) if at.exists() else None

        return Loader(look, library_path=folders or ("/usr/lib64",), hwcaps=())

    def judged(
        self, *folders: str, owners: dict[str, str] | None = None, core: tuple[str, ...] = ()
    ) -> list[Wrong]:
        """Return what is wrong with the program; libouter is promised by the package 'outer'."""
        made = elfproof.load(self.loader(*folders), "/usr/bin/p")
        assert made is not None
        promised = {"libouter.so.1()(64bit)": {"outer"}}
        return elfproof.judge(
            made,
            providers=lambda name: promised.get(name, set()),
            owner=lambda file: (owners or {}).get(str(Path(file).relative_to(self.root)), "outer"),
            elsewhere=core.__contains__,
        ) + elfproof.undefined(made, elf.symbols)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def test_a_program_that_gets_what_it_needs_is_sound(root: Root) -> None:
    assert root.judged() == []


def test_a_missing_library_of_a_library_is_named_with_it(root: Root) -> None:
    (root.root / "usr/lib64/libinner.so.1").unlink()
    (wrong,) = root.judged()
    assert (wrong.kind, wrong.text) == (
        "missing-library", "library 'libinner.so.1', which '/usr/lib64/libouter.so.1' needs, is not found"
    )  # fmt: skip


def test_what_a_core_os_that_is_not_here_has_is_not_missed(root: Root) -> None:
    (root.root / "usr/lib64/libinner.so.1").unlink()
    assert root.judged(core=("libinner.so.1()(64bit)",)) == []


def test_an_older_library_earlier_in_the_path_lacks_a_version(root: Root) -> None:
    root.put("opt/lib/libouter.so.1", root.maker.library("libouter.so.1", {"outer": "O_0"}))
    assert [wrong.kind for wrong in root.judged("/opt/lib", "/usr/lib64")] == ["missing-version"]


def test_a_library_of_another_package_is_not_the_promised_one(root: Root) -> None:
    root.put("opt/lib/libouter.so.1", root.outer)
    (wrong,) = root.judged("/opt/lib", "/usr/lib64", owners={"opt/lib/libouter.so.1": "thief"})
    assert wrong.kind == "wrong-library"
    assert "promised by outer, but the loader takes '/opt/lib/libouter.so.1' of thief" in wrong.text


def test_a_symbol_that_nobody_defines_is_named(root: Root) -> None:
    root.put("usr/lib64/libouter.so.1", root.maker.library("libouter.so.1", {"other": "O_1"}))
    (wrong,) = root.judged()
    assert (wrong.kind, "'outer'" in wrong.text) == ("missing-symbol", True)


def test_a_file_that_is_no_library_stops_the_loader(root: Root) -> None:
    root.put("usr/lib64/libouter.so.1", b"#! not ELF\n")
    assert [wrong.kind for wrong in root.judged()] == ["unloadable-file"]
