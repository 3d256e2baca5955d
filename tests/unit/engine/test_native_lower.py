"""What bwrap is told, as a Box."""

from __future__ import annotations

import os

import pytest

from redpak.engine.native import box, lower
from redpak.engine.spec import Blob, LaunchSpec, Opened
from redpak.errors import LaunchFailed
from redpak.text import text

READ_ONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8


def lowered(*args: str, **more: object) -> box.Box:
    """Return the Box of a LaunchSpec with these arguments."""
    opened = (Opened(path="/usr"), Blob(content=text("hello")))
    spec = LaunchSpec(
        bwrap="", args=args, descriptors=opened, program=("sh",), uid=os.geteuid(), gid=os.getegid(), **more  # type: ignore[arg-type]
    )  # fmt: skip
    return lower.box(spec, "test", {11: b"hello"}, {9: 33})


def test_binds_keep_their_order_and_their_flags() -> None:
    first, second, _ = lowered("--ro-bind-fd", "10", "/a", "--bind-fd", "10", "/b", "--tmpfs", "/c").steps
    assert isinstance(first, box.Bind)
    assert isinstance(second, box.Bind)
    assert (first.dst, first.source, first.rec_set) == ("/a", "/usr", READ_ONLY | NOSUID | NODEV)
    assert (second.dst, second.rec_set) == ("/b", NOSUID | NODEV)


def test_a_file_has_its_content_and_its_mode() -> None:
    made = lowered("--perms", "0600", "--file", "11", "/etc/x", "--ro-bind-data", "11", "/etc/y").steps
    assert made == (
        box.MakeFile(dst="/etc/x", content=b"hello", mode=0o600),
        box.MakeFile(dst="/etc/y", content=b"hello", mode=0o644, mount=True),
    )


def test_the_environment_begins_empty() -> None:
    words = ("--setenv", "A", "1", "--setenv", "B", "2", "--unsetenv", "A", "--setenv", "B", "3")
    assert lowered(*words).process.environ == ("B=3",)


def test_capabilities_are_those_that_were_added() -> None:
    kept = lowered("--unshare-user", "--cap-drop", "ALL", "--cap-add", "CAP_KILL", "--cap-add", "CAP_CHOWN")
    assert kept.process.caps == box.Caps(bounding=33, effective=33, permitted=33, inheritable=33, ambient=33)
    assert lowered("--cap-drop", "ALL").process.caps == box.Caps()


def test_user_namespaces_are_forbidden_from_outside_the_programs_own() -> None:
    made = lowered("--unshare-user", "--disable-userns", "--uid", "7", "--gid", "8")
    assert made.sysctl == (("user.max_user_namespaces", "1"),)
    assert made.nested == (7, 8)
    assert [(one.inside, one.outside) for one in made.uid_map] == [(0, os.geteuid())]
    assert (made.process.uid, made.process.gid) == (7, 8)


def test_joined_namespaces_are_those_that_are_open() -> None:
    spaces = lowered("--pidns", "9", "--unshare-net").spaces
    assert box.Space(kind="pid", path="/proc/self/fd/33") in spaces
    assert box.Space(kind="net") in spaces


def test_a_shared_pid_namespace_shows_the_hosts_processes() -> None:
    assert isinstance(lowered("--proc", "/proc").steps[0], box.Bind)
    assert isinstance(lowered("--unshare-pid", "--proc", "/proc").steps[0], box.NewMount)


def test_an_unknown_word_is_not_passed_over() -> None:
    with pytest.raises(LaunchFailed, match="--overlay"):
        lowered("--overlay", "/x")
