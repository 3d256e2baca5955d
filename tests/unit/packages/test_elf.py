"""Reading ELF files. readelf and rpm's own elfdeps are the judges where they are installed."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpak.errors import RedpakError
from redpak.packages import elf
from redpak.packages.elf import BadElf
from tests.rpms import Maker


def dynamic_file(*, wide: bool, little: bool, weak: bool = False, cut: int = 0) -> bytes:
    """Return a library made by hand, of any class and byte order: soname, one need, versions, two symbols."""
    order = "<" if little else ">"
    strings = b"\0libx.so.1\0liby.so.2\0Y_1\0X_1\0mine\0theirs\0$ORIGIN/../lib\0"
    at = {name: strings.index(name + b"\0") for name in strings.split(b"\0") if name}
    head, segment = (64, 56) if wide else (52, 32)
    base = head + 2 * segment
    symbol, word = ("IBBHQQ", "Q") if wide else ("IIIBBH", "I")

    def one_symbol(name: bytes, section: int) -> bytes:
        fields = (at[name], 0x12, 0, section, 0, 0) if wide else (at[name], 0, 0, 0x12, 0, section)
        return struct.pack(order + symbol, *fields)

    parts = {
        "strings": strings,
        "symbols": bytes(struct.calcsize(order + symbol)) + one_symbol(b"theirs", 0) + one_symbol(b"mine", 5),
        "marks": struct.pack(order + "3H", 0, 2, 3),
        "hash": struct.pack(order + "6I", 1, 3, 2, 0, 0, 0),
        "needs": struct.pack(order + "HHIII", 1, 1, at[b"liby.so.2"], 16, 0)
        + struct.pack(order + "IHHII", 0, 2 if weak else 0, 2, at[b"Y_1"], 0),
        "defines": struct.pack(order + "HHHHIII", 1, 1, 1, 1, 0, 20, 28)
        + struct.pack(order + "II", at[b"libx.so.1"], 0)
        + struct.pack(order + "HHHHIII", 1, 0, 3, 1, 0, 20, 0)
        + struct.pack(order + "II", at[b"X_1"], 0),
    }
    places, data = {}, b""
    for name, part in parts.items():
        data += bytes(-len(data) % 8)
        places[name] = base + len(data)
        data += part
    data += bytes(-len(data) % 8)
    entries = [
        (1, at[b"liby.so.2"]), (14, at[b"libx.so.1"]), (29, at[b"$ORIGIN/../lib"]), (5, places["strings"]),
        (10, len(strings) - cut), (6, places["symbols"]), (11, struct.calcsize(order + symbol)), (4, places["hash"]),
        (0x6FFFFFF0, places["marks"]), (0x6FFFFFFE, places["needs"]), (0x6FFFFFFF, 1),
        (0x6FFFFFFC, places["defines"]), (0x6FFFFFFD, 2), (0, 0),
    ]  # fmt: skip
    dynamic = b"".join(struct.pack(order + 2 * word, *entry) for entry in entries)
    size = base + len(data) + len(dynamic)

    def one_segment(kind: int, offset: int, length: int) -> bytes:
        if wide:
            return struct.pack(order + "IIQQQQQQ", kind, 4, offset, offset, offset, length, length, 8)
        return struct.pack(order + "IIIIIIII", kind, offset, offset, offset, length, length, 4, 8)

    start = b"\x7fELF" + bytes([2 if wide else 1, 1 if little else 2, 1]) + bytes(9)
    start += struct.pack(order + "HHI" + 3 * word, 3, 62, 1, 0, head, 0)
    start += struct.pack(order + "IHHHHHH", 0, head, segment, 2, 0, 0, 0)
    segments = one_segment(1, 0, size) + one_segment(2, base + len(data), len(dynamic))
    return start + segments + data + dynamic


FORMS = [(wide, little) for wide in (True, False) for little in (True, False)]


@pytest.mark.parametrize(("wide", "little"), FORMS)
def test_both_classes_and_byte_orders_are_read(tmp_path: Path, wide: bool, little: bool) -> None:
    path = tmp_path / "libx.so.1"
    path.write_bytes(dynamic_file(wide=wide, little=little))
    read = elf.read(str(path))
    assert read is not None
    assert (read.bits, read.little, read.machine, read.kind) == (64 if wide else 32, little, 62, elf.DYN)
    assert (read.soname, read.needed, read.runpath) == ("libx.so.1", ("liby.so.2",), "$ORIGIN/../lib")
    assert read.needs == (("liby.so.2", "Y_1", False),)
    assert read.versions == ("X_1",)
    symbols = elf.symbols(str(path))
    assert symbols.undefined == (("theirs", "Y_1", "liby.so.2", False),)
    assert symbols.defined == {"mine": frozenset({"X_1"})}
    marker = "(64bit)" if wide else ""
    assert elf.provided(read, "libx.so.1") == [
        "libx.so.1()(64bit)" if wide else "libx.so.1", f"libx.so.1(X_1){marker}"
    ]  # fmt: skip
    assert elf.required(read) == [
        "liby.so.2()(64bit)" if wide else "liby.so.2", f"liby.so.2(Y_1){marker}"
    ]  # fmt: skip


def test_weak_versions_are_told_and_not_required(tmp_path: Path) -> None:
    path = tmp_path / "libx.so.1"
    path.write_bytes(dynamic_file(wide=True, little=True, weak=True))
    read = elf.read(str(path))
    assert read is not None
    assert read.needs == (("liby.so.2", "Y_1", True),)
    assert elf.required(read) == ["liby.so.2()(64bit)"]


def test_a_name_that_does_not_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(dynamic_file(wide=True, little=True, cut=1))
    with pytest.raises(BadElf, match="outside of its strings"):
        elf.read(str(tmp_path / "x"))


@pytest.mark.parametrize("data", [b"", b"\x7fEL", b"#!/bin/sh\n", b"MZ" + bytes(100)])
def test_what_is_no_elf_file_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert elf.read(str(tmp_path / "x")) is None
    assert elf.symbols(str(tmp_path / "x")) == ((), {})


def test_directories_and_pipes_are_none_and_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert elf.read(str(tmp_path)) is None
    assert elf.read(str(tmp_path / "pipe")) is None
    with pytest.raises(RedpakError, match="cannot read the program"):
        elf.read(str(tmp_path / "absent"))


@settings(max_examples=200)
@given(
    st.sampled_from(FORMS),
    st.lists(st.tuples(st.integers(4, 900), st.sampled_from((0, 1, 0x7F, 0x80, 0xFF))), min_size=1, max_size=8),
    st.integers(0, 900),
)  # fmt: skip
def test_a_mutated_file_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
    form: tuple[bool, bool],
    changes: list[tuple[int, int]],
    cut: int,
) -> None:
    data = bytearray(dynamic_file(wide=form[0], little=form[1]))
    for at, value in changes:
        data[at % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(data[: max(4, len(data) - cut)] if cut < 450 else data)
    for ask in (elf.read, elf.symbols):
        try:
            ask(str(path))
        except BadElf as error:
            assert "is no sound ELF file" in error.message


def test_counts_beyond_the_file_are_refused_at_once(tmp_path: Path) -> None:
    data = bytearray(dynamic_file(wide=True, little=True))
    at = data.index(struct.pack("<QQ", 0x6FFFFFFF, 1))
    data[at + 8 : at + 16] = struct.pack("<Q", 1 << 60)
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(BadElf, match="claims 1152921504606846976 libraries"):
        elf.read(str(tmp_path / "x"))


@pytest.mark.needs("rpm")
def test_rpms_own_generator_agrees_on_this_hosts_files() -> None:
    files = [
        path
        for path in ("/bin/sh", "/usr/bin/rpm", "/usr/bin/gpg", "/usr/bin/python3")
        if os.path.exists(path)
    ]
    folder = "/usr/lib/x86_64-linux-gnu"
    if os.path.isdir(folder):
        names = sorted(name for name in os.listdir(folder) if re.search(r"\.so\.[0-9]+$", name))
        files += [f"{folder}/{name}" for name in names[:: max(1, len(names) // 25)]]
    assert files
    for path in files:
        read = elf.read(os.path.realpath(path))
        if read is None:
            continue
        if read.interp and not os.stat(path).st_mode & 0o111:
            continue  # a library that can be run, but not in this mode (libcap): elfdeps asks the mode
        for option, mine in (
            ("--requires", elf.required(read)),
            ("--provides", elf.provided(read, read.soname)),
        ):
            done = subprocess.run(
                ["/usr/lib/rpm/elfdeps", option, os.path.realpath(path)],
                capture_output=True,
                text=True,
                check=True,
            )
            said = {
                line
                for line in done.stdout.splitlines()
                if not line.startswith("rtld(") or option == "--requires"
            }
            if option == "--requires" or read.soname:
                assert set(mine) == said, path


@pytest.mark.needs("cc", "program:readelf")
def test_readelf_counts_the_same_symbols(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    path = tmp_path / "libz.so.1"
    path.write_bytes(maker.library("libz.so.1", {"one": "Z_1", "two": "Z_2"}))
    mine = elf.symbols(str(path)).defined
    assert mine["one"] == {"Z_1"}
    assert mine["two"] == {"Z_2"}
    libc = next(
        (at for at in ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib64/libc.so.6") if os.path.exists(at)),
        "",
    )
    if not libc:
        return
    done = subprocess.run(["readelf", "--dyn-syms", "-W", libc], capture_output=True, text=True, check=True)
    said: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        parts = line.split()
        if (
            len(parts) >= 8
            and parts[0][:-1].isdigit()
            and parts[4] in ("GLOBAL", "WEAK", "UNIQUE")
            and parts[6] != "UND"
        ):
            name, _, version = parts[7].partition("@")
            said.setdefault(name, set()).add(version.lstrip("@"))
    mine = elf.symbols(libc).defined
    assert mine.keys() == said.keys()
    assert all(mine[name] == said[name] for name in ("memcpy", "printf", "pthread_create"))
    assert shutil.which("readelf")
