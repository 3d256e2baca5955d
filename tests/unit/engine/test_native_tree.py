"""Options of file systems, as lists of words and as the newer calls take them."""

from __future__ import annotations

import pytest

from redpak.engine.native import tree

LABEL = "u:object_r:type_t:s0:c1,c2"


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("size=1,ro,,mode=7", [("size", "1"), ("ro", None), ("mode", "7")]),
        ("lowerdir=/a\\,b,upperdir=/c", [("lowerdir", "/a\\,b"), ("upperdir", "/c")]),
        (f'mode=7,context="{LABEL}",ro', [("mode", "7"), ("context", LABEL), ("ro", None)]),
        ('rootcontext="a:b:c:s0"', [("rootcontext", "a:b:c:s0")]),
        ('upperdir=/a",workdir=/b"', [("upperdir", '/a"'), ("workdir", '/b"')]),
        ('context="a,ro', [("context", "a,ro,")]),  # the kernel refuses it
    ],
)
def test_a_list_of_options_is_split_as_mount_does(data: str, options: list[tree.Option]) -> None:
    assert tree.split_options(data) == options


@pytest.mark.parametrize("fstype", ["tmpfs", "overlay"])
def test_a_label_stands_in_quotes_where_mount_is_called(fstype: str) -> None:
    assert tree._classic_options(fstype, [("context", LABEL), ("mode", "7")]) == (
        0,
        f'context="{LABEL}",mode=7',
    )
