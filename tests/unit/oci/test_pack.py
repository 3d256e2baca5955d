"""The file with all compiled modules: used while it tells the truth, never trusted beyond that, never needed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from redpak.oci import pack
from tests.patience import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[3]
WHERE = "import redpak.oci.options as m; print(type(m.__loader__).__name__)"
ENTRY = "from redpak.oci import pack; used = pack.use();"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the package that has no compiled files."""
    shutil.copytree(
        REPOSITORY / "redpak",
        tmp_path / "redpak",
        ignore=shutil.ignore_patterns("__pycache__", "node", "packages"),
    )
    return tmp_path


def python(tree: Path, code: str, *words: str) -> str:
    """Run code in a Python that finds the package in `tree` only, and writes no compiled files; what it said."""
    head = f"import sys; sys.path.insert(0, {str(tree)!r}); sys.dont_write_bytecode = True;"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", head + code, *words],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    return done.stdout.strip()


def written(tree: Path) -> Path:
    """Write the pack and return its path."""
    return Path(python(tree, ENTRY + "assert pack.renew(used); print(pack.place())"))


def test_modules_come_from_it_and_from_their_sources_without_it(tree: Path) -> None:
    assert python(tree, ENTRY + WHERE) == "SourceFileLoader"
    at = written(tree)
    assert python(tree, ENTRY + WHERE) == "Pack"
    at.unlink()
    assert python(tree, ENTRY + WHERE) == "SourceFileLoader"


def test_a_module_from_it_is_like_any_other(tree: Path) -> None:
    written(tree)
    code = (
        "import redpak.oci.options as m, redpak.engine.native as p, ctypes;"
        "print(m.__file__, m.__package__, m.__name__, p.__path__, type(ctypes.__loader__).__name__)"
    )
    at = f"{tree}/redpak"
    expected = f"{at}/oci/options.py redpak.oci redpak.oci.options ['{at}/engine/native'] Pack"
    assert python(tree, ENTRY + code) == expected


def test_a_traceback_shows_the_line_of_the_source(tree: Path) -> None:
    written(tree)
    code = (
        "\nimport traceback, redpak.oci.options as m\nassert type(m.__loader__).__name__ == 'Pack'\n"
        "try: m.parse(['--no'], {})\nexcept Exception: print(traceback.format_exc())"
    )
    said = python(tree, ENTRY + code)
    assert f'File "{tree}/redpak/oci/options.py", line ' in said
    assert 'raise Usage(f"there is no option' in said


def test_an_edited_module_is_read_from_its_source_and_the_next_pack_has_it(tree: Path) -> None:
    written(tree)
    source = tree / "redpak/oci/options.py"
    at = source.stat()
    source.write_bytes(source.read_bytes().replace(b'TRUE = ("", "1"', b'TRUE = ("", "2"'))
    os.utime(source, ns=(at.st_atime_ns, at.st_mtime_ns + 1))  # the same second, the same length
    code = ENTRY + WHERE + "; print(m.TRUE[1], used.outdated, pack.renew(used))"
    assert python(tree, code) == "SourceFileLoader\n2 True True"
    assert python(tree, code) == "Pack\n2 False False"


def test_a_module_that_is_gone_is_not_imported(tree: Path) -> None:
    written(tree)
    (tree / "redpak/oci/options.py").unlink()
    code = ENTRY + "\ntry: import redpak.oci.options\nexcept ImportError: print('gone')"
    assert python(tree, code) == "gone"


def test_what_is_damaged_is_not_used(tree: Path) -> None:
    at = written(tree)
    good = at.read_bytes()
    code = ENTRY + WHERE
    for bad in (b"", good[:5], good[: pack.HEAD], good[:1000], b"\0" * len(good), b"x" + good[1:]):
        at.write_bytes(bad)
        assert python(tree, code) == "SourceFileLoader", bad[:40]
    half = len(good) // 2
    at.write_bytes(good[:half])  # the index is whole: what lies behind the end is not there
    everything = ENTRY + "import redpak.oci.main, redpak.oci.store, redpak.kernel.tty; print(used.outdated)"
    assert python(tree, everything) == "True"
    flipped = bytearray(good)
    start = good.index(b"there is no option")
    flipped[start] ^= 1
    at.write_bytes(flipped)
    assert python(tree, code) == "SourceFileLoader"


def test_that_of_another_python_or_another_directory_is_not_used(tree: Path, tmp_path: Path) -> None:
    at = written(tree)
    python(tree, ENTRY + "sys.version += ' '; used.outdated = True; assert pack.renew(used)")
    assert python(tree, ENTRY + WHERE) == "SourceFileLoader"
    written(tree)
    assert python(tree, ENTRY + WHERE) == "Pack"
    moved = tmp_path / "moved"
    shutil.copytree(tree / "redpak", moved / "redpak")
    assert (moved / "redpak/oci/__pycache__" / at.name).exists()
    assert python(moved, ENTRY + WHERE) == "SourceFileLoader"


def test_only_the_owner_of_the_installation_writes_it(tree: Path) -> None:
    room = tree / "redpak/oci"
    if os.geteuid() == 0:
        os.chown(room, 12345, 12345)
    else:
        room.chmod(0o555)
    assert python(tree, ENTRY + "print(pack.renew(used))") == "False"
    assert not (room / "__pycache__").exists()
    room.chmod(0o755)


def test_of_many_who_miss_it_one_writes_it(tree: Path) -> None:
    room = os.open(tree / "redpak/oci", os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(room, fcntl.LOCK_EX)
    assert python(tree, ENTRY + "print(pack.renew(used))") == "False"
    os.close(room)
    assert python(tree, ENTRY + "print(pack.renew(used))") == "True"


def test_it_is_left_alone_while_it_fits(tree: Path) -> None:
    at = written(tree)
    before = at.stat()
    assert python(tree, ENTRY + WHERE + "; print(pack.renew(used))") == "Pack\nFalse"
    assert at.stat() == before or at.stat().st_ino == before.st_ino
    assert oct(at.stat().st_mode & 0o7777) == "0o644"
    assert list(at.parent.glob("pack*")) == [at]


def test_it_has_what_the_frequent_commands_import(tree: Path) -> None:
    written(tree)
    modules = [
        "oci.main",
        "oci.create",
        "oci.start",
        "oci.delete",
        "oci.state",
        "oci.exec",
        "oci.run",
        "oci.kill",
        "oci.foreground",
    ]
    modules += ["cgroup.manager", "engine.native.start", "engine.native.inside", "engine.native.root"]
    code = "".join(f"import redpak.{one};" for one in modules)
    code += (
        "print(sorted(n for n, m in sys.modules.items() if n.startswith('redpak') and type(m.__loader__).__name__"
        " != 'Pack'))"
    )
    assert python(tree, ENTRY + code) == "['redpak', 'redpak.oci', 'redpak.oci.pack']"
