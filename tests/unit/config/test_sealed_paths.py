"""Normal form and containment of paths."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpak.config.mountpath import is_at_or_beneath, is_beneath, normalise, parents

ABSOLUTE = st.lists(st.sampled_from(("a", "b", "ab", ".", "", "A")), max_size=5).map(
    lambda p: "/" + "/".join(p)
)


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/a/", "/a"),
        ("/a//b", "/a/b"),
        ("/./a/.", "/a"),
        ("/...", "/..."),
        ("/ a", "/ a"),
    ],
)
def test_a_path_has_one_form(path: str, normal: str) -> None:
    assert normalise(path) == normal


@pytest.mark.parametrize("path", ["", "a", "./a", "/..", "/a/../b", "/a/..", "/a\0b", "~"])
def test_what_is_not_a_plain_absolute_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|holds|goes)"):
        normalise(path)


@given(ABSOLUTE)
def test_the_normal_form_is_stable_and_what_the_library_says(path: str) -> None:
    assert normalise(normalise(path)) == normalise(path)
    assert normalise(path) == posixpath.normpath("/" + path.lstrip("/"))


@given(ABSOLUTE, ABSOLUTE)
def test_containment_is_by_component(one: str, other: str) -> None:
    one, other = normalise(one), normalise(other)
    ours, theirs = [p for p in one.split("/") if p], [p for p in other.split("/") if p]
    assert is_at_or_beneath(one, other) == (ours[: len(theirs)] == theirs)
    assert is_beneath(one, other) == (is_at_or_beneath(one, other) and one != other)
    assert is_beneath(one, other) == (other in parents(one))
