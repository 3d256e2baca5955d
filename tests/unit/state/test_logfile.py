"""The log: lines with their time and stream, capped, and read while it grows and turns over."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from redpak.state import logfile
from redpak.state.logfile import Reader, Writer


def read(folder: Path) -> list[tuple[str, bool, bytes]]:
    reader = Reader(os.open(folder, os.O_RDONLY))
    try:
        return [(line.stream, line.whole, line.text) for line in reader.old()]
    finally:
        reader.close()


def test_lines_are_whole_however_they_came_and_streams_do_not_mix(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path))
    writer.feed("stdout", b"one\ntw")
    writer.feed("stderr", b"oops\n")
    writer.feed("stdout", b"o\n\nno end")
    writer.close()
    assert read(tmp_path) == [
        ("stdout", True, b"one"),
        ("stderr", True, b"oops"),
        ("stdout", True, b"two"),
        ("stdout", True, b""),
        ("stdout", False, b"no end"),
    ]


def test_a_line_says_when_and_where_it_was_read(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path))
    writer.feed("stdout", b"x y  z\n")
    writer.close()
    line = (tmp_path / "log").read_bytes()
    when, stream, mark, text = line.rstrip(b"\n").split(b" ", 3)
    assert (stream, mark, text) == (b"stdout", b"F", b"x y  z")
    assert len(when) == len("2026-11-22T08:40:01.123456Z")
    assert when.endswith(b"Z")


def test_a_long_line_becomes_parts_that_join_to_it(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path))
    long = os.urandom(40_000).replace(b"\n", b" ")
    writer.feed("stdout", long + b"\n")
    writer.close()
    parts = read(tmp_path)
    assert [whole for _, whole, _ in parts] == [False, False, True]
    assert b"".join(text for _, _, text in parts) == long


def test_the_log_never_takes_more_than_its_cap_and_keeps_the_youngest(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path), logfile.LEAST_BYTES)
    for number in range(5000):
        writer.feed("stdout", b"line %d\n" % number)
    writer.close()
    sizes = [(tmp_path / name).stat().st_size for name in ("log", "log.1")]
    assert sum(sizes) <= logfile.LEAST_BYTES
    lines = [text for _, _, text in read(tmp_path)]
    assert lines[-1] == b"line 4999"
    first = int(lines[0].split()[1])
    assert lines == [b"line %d" % number for number in range(first, 5000)]
    assert sum(sizes) > logfile.LEAST_BYTES // 3


def test_a_reader_misses_nothing_when_the_log_turns_over_and_its_directory_moves(tmp_path: Path) -> None:
    folder = tmp_path / "running"
    folder.mkdir()
    writer = Writer(str(folder), logfile.LEAST_BYTES)
    reader = Reader(os.open(folder, os.O_RDONLY))
    seen = list(reader.old())
    folder.rename(tmp_path / "ended")
    for number in range(2000):
        writer.feed("stdout", b"%d\n" % number)
        if number % 100 == 0:
            seen += reader.new()
    writer.close()
    seen += reader.new()
    reader.close()
    assert [line.text for line in seen] == [b"%d" % number for number in range(2000)]


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=60)), max_size=20))
def test_what_was_said_is_what_is_read(pieces: list[tuple[str, bytes]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(folder)
        for stream, data in pieces:
            writer.feed(stream, data)
        writer.close()
        for name in ("stdout", "stderr"):
            said = b"".join(data for stream, data in pieces if stream == name)
            got = b"".join(
                text + (b"\n" if whole else b"")
                for stream, whole, text in read(Path(folder))
                if stream == name
            )
            assert got == said


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(
        b"2026 stdout F ok\nhalf a li\n2026 nowhere F x\n2026 stdout X y\n2026 stdout F cut"
    )
    assert read(tmp_path) == [("stdout", True, b"ok")]


def test_a_line_after_one_that_a_full_disk_cut_off_is_whole(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:  # with so little room that a write ends in the middle
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        writer = Writer(str(tmp_path))
        writer.feed("stdout", b"a" * 40 + b"\n" + b"b" * 40 + b"\n" + b"c" * 40 + b"\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        writer.feed("stdout", b"d\n")
        writer.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    texts = [text for _, _, text in read(tmp_path)]
    assert texts[0] == b"a" * 40
    assert b"d" in texts
    assert texts[-1].startswith(b"there was no room for ")


def test_a_log_that_could_not_turn_over_grows_no_more_and_turns_over_when_it_can(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path), logfile.LEAST_BYTES)
    (tmp_path / logfile.OLDER).mkdir()  # in the way
    (tmp_path / logfile.OLDER / "x").touch()
    for number in range(2000):
        writer.feed("stdout", b"%d " % number + b"x" * 60 + b"\n")
    assert (tmp_path / logfile.FILE).stat().st_size <= logfile.LEAST_BYTES // 2
    (tmp_path / logfile.OLDER / "x").unlink()
    (tmp_path / logfile.OLDER).rmdir()
    (tmp_path / logfile.FILE).rename(
        tmp_path / logfile.OLDER
    )  # half of a turn: there was no room for the new name
    writer.feed("stdout", b"at last\n")
    writer.close()
    assert ("stdout", True, b"at last") in read(tmp_path)
    assert (tmp_path / logfile.OLDER).stat().st_size <= logfile.LEAST_BYTES // 2
