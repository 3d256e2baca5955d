"""The cache of parsed files: fast when it can be, never wrong, never trusted too much."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

from redpak import paths
from redpak.config import cache
from redpak.config.cache import entry_of, load_cached, pack, unpack
from redpak.config.model import NodeDoc
from redpak.errors import Fault
from tests.unit.config.documents import documents

REPOSITORY = Path(__file__).resolve().parents[3]
AGO_S = 60
TEXT = "headers:\n  alias: demo\nexports:\n- {mode: Restricted, mount: /a}\nconfig: {umask: 027, rlimits: {core: 0}}\n"


class Pool:
    """A configuration file and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "redpak.yaml"
        self.path = str(self.file)

    def write(self, text: str, *, new: bool = False) -> None:
        """Write the file; its times are a minute old, as far as they can be set, unless it is to be `new`."""
        self.file.write_text(text)
        if not new:
            self.age(self.file)

    def age(self, file: Path) -> None:
        """Make a file's modification a minute old."""
        then = file.stat().st_mtime - AGO_S
        os.utime(file, (then, then))

    def load(self, *, may_write: bool = True, lenient: bool = False) -> NodeDoc:
        """Load the file, which must have no faults."""
        faults: list[Fault] = []
        doc = load_cached(self.path, lenient=lenient, faults=faults, may_write=may_write)
        assert doc is not None, [str(fault) for fault in faults]
        return doc

    @property
    def entry(self) -> Path:
        """Where the strict reading is kept."""
        return Path(entry_of(self.path))

    def poison(self, alias: str = "poisoned") -> None:
        """Change what is kept, so that it shows whether it is used."""
        import marshal
        from zlib import crc32

        key, _ = marshal.loads(self.entry.read_bytes()[4:])
        said: object = (key, pack(self.load(may_write=False).but(alias=alias)))
        data = marshal.dumps(said)  # type: ignore[arg-type]
        self.entry.write_bytes(crc32(data).to_bytes(4, "big") + data)


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    monkeypatch.setattr(paths, "cache", lambda: str(tmp_path / "cache"))
    # The kernel sets the time of the last change of a file's data or owner; nobody can make that look old.
    monkeypatch.setattr(cache, "RACY_S", 0.0)
    monkeypatch.delenv("REDPAK_NO_CACHE", raising=False)
    found = Pool(tmp_path)
    found.write(TEXT)
    return found


def test_the_second_load_comes_from_the_cache(pool: Pool) -> None:
    first = pool.load()
    assert pool.load() == first
    pool.poison()
    assert pool.load().alias == "poisoned"


def test_both_ways_of_reading_are_kept_apart(pool: Pool) -> None:
    pool.write("headers: {alias: x}\nconfig: {verbose: 0o17}\n")
    assert pool.load().tags["verbose"].value == 15
    assert pool.load(lenient=True).tags["verbose"].value == 0
    assert pool.load().tags["verbose"].value == 15


def test_a_changed_file_is_read_again(pool: Pool) -> None:
    pool.load()
    pool.poison()
    pool.write("headers: {alias: other}")
    assert pool.load().alias == "other"


def test_a_change_that_keeps_size_and_time_is_seen(pool: Pool) -> None:
    pool.write("headers: {alias: one}")
    at = pool.file.stat()
    pool.load()
    pool.write("headers: {alias: two}")
    while pool.file.stat().st_ctime_ns == at.st_ctime_ns:  # one tick of the kernel's clock
        os.utime(pool.file, ns=(at.st_atime_ns, at.st_mtime_ns))
    os.utime(pool.file, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert (pool.file.stat().st_size, pool.file.stat().st_mtime_ns) == (at.st_size, at.st_mtime_ns)
    assert pool.load().alias == "two"


def test_another_file_in_its_place_is_read(pool: Pool) -> None:
    pool.load()
    aside = pool.folder / "aside"
    aside.write_text("headers: {alias: other}")
    aside.rename(pool.file)
    assert pool.load().alias == "other"


def test_files_that_share_an_entry_do_not_mix(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.load()
    kept = entry_of(pool.path)
    monkeypatch.setattr(cache, "entry_of", lambda *_args, **_options: kept)
    other = Pool(pool.folder / "other")
    other.folder.mkdir()
    other.write("headers: {alias: other}")
    assert other.load().alias == "other"
    assert pool.load().alias == "demo"


def test_a_file_changed_just_now_is_not_kept(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "RACY_S", 2.0)
    pool.write(TEXT, new=True)
    pool.load()
    assert not pool.entry.exists()


def test_a_dry_run_leaves_nothing_behind(pool: Pool) -> None:
    pool.load(may_write=False)
    assert not (pool.folder / "cache").exists()


def test_it_can_be_switched_off(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.load()
    pool.poison()
    monkeypatch.setenv("REDPAK_NO_CACHE", "1")
    assert pool.load().alias == "demo"


def test_a_document_with_faults_is_not_kept(pool: Pool) -> None:
    pool.write("headers: {alias: a b}")
    for _ in range(2):
        faults: list[Fault] = []
        assert load_cached(pool.path, faults=faults) is None
        assert len(faults) == 1
    assert not pool.entry.exists()


def test_an_absent_file_is_a_fault_with_and_without_a_cache(pool: Pool) -> None:
    pool.load()
    pool.file.unlink()
    faults: list[Fault] = []
    assert load_cached(pool.path, faults=faults) is None
    assert "no such file" in faults[0].message


def test_a_torn_or_altered_entry_is_a_miss(pool: Pool) -> None:
    first = pool.load()
    whole = pool.entry.read_bytes()
    flipped = whole.replace(b"demo", b"demn")
    assert flipped != whole
    for data in (b"", whole[:3], whole[:100], whole + b"x", flipped, b"\0" * 100):
        pool.entry.write_bytes(data)
        assert pool.load(may_write=False) == first


def test_an_entry_of_other_code_is_a_miss(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.load()
    pool.poison()
    now = cache.version()
    monkeypatch.setattr(cache, "version", lambda: f"{now}x")
    assert pool.load().alias == "demo"


def test_what_others_could_have_written_is_not_trusted(pool: Pool) -> None:
    pool.load()
    pool.poison()
    pool.entry.chmod(0o620)
    assert pool.load(may_write=False).alias == "demo"
    pool.entry.chmod(0o600)
    assert pool.load(may_write=False).alias == "poisoned"
    pool.entry.parent.chmod(0o750)
    assert pool.load().alias == "demo"


def test_a_link_is_not_followed(pool: Pool) -> None:
    pool.load()
    pool.poison()
    elsewhere = pool.folder / "elsewhere"
    pool.entry.rename(elsewhere)
    pool.entry.symlink_to(elsewhere)
    assert pool.load(may_write=False).alias == "demo"


@pytest.mark.needs("root")
def test_what_belongs_to_somebody_else_is_not_trusted(pool: Pool) -> None:
    pool.load()
    pool.poison()
    os.chown(pool.entry, 12345, 12345)
    assert pool.load(may_write=False).alias == "demo"
    os.chown(pool.entry, 0, 0)
    os.chown(pool.entry.parent, 12345, 12345)
    assert pool.load().alias == "demo"


def test_a_cache_that_cannot_be_written_is_no_fault(pool: Pool) -> None:
    (pool.folder / "cache").write_text("in the way")
    assert pool.load().alias == "demo"


def test_entries_are_the_users_alone(pool: Pool) -> None:
    pool.load()
    assert pool.entry.stat().st_mode & 0o777 == 0o600
    assert pool.entry.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(pool.entry.parent) == [pool.entry.name]


def test_a_launch_that_finds_its_entry_imports_no_yaml(pool: Pool) -> None:
    pool.load()
    program = (
        "import sys; from redpak import paths; paths.cache = lambda: sys.argv[2]\n"
        "from redpak.config.cache import load_cached\n"
        "faults = []; doc = load_cached(sys.argv[1], faults=faults)\n"
        "assert doc.alias == 'demo' and not faults\n"
        "print(*sorted({'yaml', 're', 'typing', 'enum', 'json', 'dataclasses', 'hashlib', 'ctypes', "
        "'redpak.config.load', 'redpak.config.settings'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program, pool.path, str(pool.folder / "cache")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(REPOSITORY)},
        check=True,
    )
    assert done.stdout == "\n"


@settings(max_examples=50)
@given(documents())
def test_packing_loses_nothing(doc: NodeDoc) -> None:
    import marshal

    assert unpack(marshal.loads(marshal.dumps(pack(doc)))) == doc
