"""YAML: places, limits, and what hostile files are refused with."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpak.config.yamlfile import MAX_FAULTS, Mapping, Scalar, Sequence, parse
from redpak.errors import Fault


def read(data: bytes | str, *, aliases: bool = False) -> tuple[Scalar | Sequence | Mapping | None, list[str]]:
    faults: list[Fault] = []
    tree = parse(data.encode() if isinstance(data, str) else data, "f.yaml", faults, aliases=aliases)
    return tree, [str(fault) for fault in faults]


def plain(tree: Scalar | Sequence | Mapping | None) -> object:
    match tree:
        case Mapping():
            return {key.text: plain(value) for key, value in tree.items}
        case Sequence():
            return [plain(item) for item in tree.items]
        case Scalar():
            return tree.text
        case _:
            return None


def test_scalars_stay_the_text_that_was_written() -> None:
    tree, faults = read("a: no\nb: 027\nc: 22:22\nd: ~\ne: 1e3\nf: '0x10'\ng:\n")
    assert not faults
    assert plain(tree) == {"a": "no", "b": "027", "c": "22:22", "d": "~", "e": "1e3", "f": "0x10", "g": ""}


def test_every_node_knows_its_line_and_column() -> None:
    tree, _ = read("top:\n  - one\n  - key: two\n")
    assert isinstance(tree, Mapping)
    (key, items), *_ = tree.items
    assert isinstance(items, Sequence)
    assert (key.line, key.column) == (1, 1)
    assert [(item.line, item.column) for item in items.items] == [(2, 5), (3, 5)]
    assert items.items[0].origin.full() == "f.yaml:2:5"


def test_quotes_are_seen() -> None:
    tree, _ = read("[a, 'b', \"c\", '']")
    assert isinstance(tree, Sequence)
    assert [item.quoted for item in tree.items if isinstance(item, Scalar)] == [False, True, True, True]


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "a: 1\nb: 2\nA: 3\n", "{a: 1, b: 2,\n\na: 3}"])
def test_a_key_that_stands_twice_is_a_fault_that_names_both_lines(text: str) -> None:
    tree, faults = read(text)
    assert faults == [
        f"f.yaml:3:1: key '{'A' if 'A' in text else 'a'}' stands here again; line 1 has it already "
        "(Keep one of the two.)"
    ]
    assert plain(tree) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"a: \xff", "f.yaml:1:4: byte 0xff is not UTF-8"),
        ("a: 1".encode("utf-16"), "f.yaml:1:1: byte 0xff is not UTF-8"),
        ("a: 1\n# \u202e".encode(), "f.yaml:2:3: character U+202E changes the direction of text"),
        (b'a: "\\0"', "f.yaml:1:4: a value contains a NUL character"),
        (b"a: \x1b[31m", "f.yaml:1:4: not YAML: control characters are not allowed"),
        (b"a: 1\n---\nb: 1\n", "f.yaml:2:1: a second document starts here"),
        (b"a: !!python/object:os.system x", "f.yaml:1:4: tag 'tag:yaml.org,2002:python/object:os.system'"),
        (b"? [x]\n: 1\n", "f.yaml:1:3: a key must be a single word"),
        (b"a: b: c\n", "f.yaml:1:5: not YAML: mapping values are not allowed"),
        (b"a:\n\t- c\n", "f.yaml:2:1: not YAML: found character that cannot start any token"),
        (b"a: [1\n", "f.yaml:2:1: not YAML: "),
        (b"a: &x 1\n", "f.yaml:1:4: anchor '&x' is not allowed"),
        (b"a: *x\n", "f.yaml:1:4: alias '*x' is not allowed"),
    ],
)
def test_what_is_no_plain_configuration_is_refused_at_its_place(data: bytes, fault: str) -> None:
    _, faults = read(data)
    assert faults[0].startswith(fault), faults


def test_faults_do_not_stop_the_reading() -> None:
    _, faults = read("a: !x 1\nb: *y\nc: &z 1\nA: 2\n")
    assert [fault.split(":")[1] for fault in faults] == ["1", "2", "3", "4"]


def test_tags_that_say_nothing_new_are_admitted() -> None:
    assert plain(read("a: !!str 1\nb: ! 'x'\n")[0]) == {"a": "1", "b": "x"}


def test_a_byte_order_mark_is_no_fault() -> None:
    assert plain(read(b"\xef\xbb\xbfa: 1")[0]) == {"a": "1"}


def test_lenient_reading_follows_aliases() -> None:
    tree, faults = read("a: &x [1, &y 2]\nb: *x\nc: *y\n", aliases=True)
    assert not faults
    assert plain(tree) == {"a": ["1", "2"], "b": ["1", "2"], "c": "2"}


def test_an_alias_inside_what_it_names_is_refused() -> None:
    _, faults = read("a: &x [*x]\n", aliases=True)
    assert faults[0].startswith("f.yaml:1:8: alias '*x' has no anchor before it")


def bomb(levels: int, width: int = 9) -> bytes:
    text = "a0: &a0 x\n"
    for level in range(levels):
        text += f"a{level + 1}: &a{level + 1} [{', '.join([f'*a{level}'] * width)}]\n"
    return text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b"{a: " * 100_000,
        b"- " * 100_000,
        b"? " * 100_000,
        b"- a\n" * 200_000,
        b"".join(b"k%d: 1\n" % number for number in range(100_000)),
        b"a: 1\n" * 200_000,
        b"!" * 100_000,
        b"&a " * 100_000,
        b"x" * (1 << 20) + b"x",
        bomb(30),
        bomb(40, 1),
    ],
    ids=range(12),
)
def test_hostile_files_are_refused_quickly(data: bytes) -> None:
    before = time.process_time()
    _, faults = read(data, aliases=data.startswith(b"a0"))
    assert time.process_time() - before < 2
    assert 0 < len(faults) <= MAX_FAULTS + 1
    assert all(len(fault) < 300 for fault in faults)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.booleans())
def test_any_bytes_give_a_tree_or_a_fault(data: bytes, aliases: bool) -> None:
    tree, faults = read(data, aliases=aliases)
    if tree is None and not faults:
        text = data.decode().lstrip("\ufeff")
        assert all(
            not line.strip() or line.lstrip().startswith(("#", "---", "...", "%"))
            for line in text.splitlines()
        )


@given(st.text("[]{}:,&*!|>'\"%@`-? \n\tab#", max_size=60), st.booleans())
def test_any_punctuation_gives_a_tree_or_a_fault(text: str, aliases: bool) -> None:
    read(text, aliases=aliases)
