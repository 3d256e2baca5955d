"""What a Box can say that a plan cannot: overlays, copies, shifted owners, clocks, parameters, ids, hooks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from redpak.engine.native import start
from redpak.engine.native.box import Bind, Box, Caps, Hook, IdMap, Limit, NewMount, Process, Space
from tests.host.test_native_leaks import box

pytestmark = pytest.mark.needs("userns")
PATH = ("PATH=/usr/bin:/bin",)
EVERYTHING = (1 << 41) - 1


def said(asked: Box, script: str, **more: object) -> tuple[list[str], tuple[str, ...]]:
    """Run a script in a sandbox; return its output's words and the warnings."""
    reader, writer = os.pipe()
    process = asked.process.but(args=("sh", "-c", script), environ=PATH, **more)
    running = start.create(asked.but(process=process), stdio=(0, writer, 2))
    os.close(writer)
    running.release()
    with os.fdopen(reader) as pipe:
        words = pipe.read().split()
    assert running.wait() == 0
    warnings = running.warnings
    running.close()
    return words, warnings


def with_steps(*steps: Bind | NewMount, **more: object) -> Box:
    asked = box("sh")
    return asked.but(steps=(*asked.steps, *steps), **more)


@pytest.mark.needs("overlay")
def test_an_overlay_takes_writes_and_shows_the_layers(tmp_path: Path) -> None:
    for name in ("one", "two", "upper", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "one/a").write_text("first")
    (tmp_path / "two/b").write_text("second")
    data = f"lowerdir={tmp_path}/one:{tmp_path}/two,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    asked = with_steps(NewMount(dst="/o", fstype="overlay", data=data))
    words, _ = said(asked, "cat /o/a; echo; cat /o/b; rm /o/a; echo new >/o/c")
    assert words == ["first", "second"]
    assert sorted(os.listdir(tmp_path / "upper")) == ["a", "c"]
    assert stat.S_ISCHR((tmp_path / "upper/a").lstat().st_mode)
    assert sorted(os.listdir(tmp_path / "one")) == ["a"]


def test_a_memory_file_system_may_begin_with_what_lay_there(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").write_text("content")
    (tmp_path / "link").symlink_to("sub/file")
    asked = with_steps(Bind(dst="/c", source=str(tmp_path)), NewMount(dst="/c", fstype="tmpfs", copy_up=True))
    assert said(asked, "cat /c/link; touch /c/new; stat -f -c %T /c")[0] == ["contenttmpfs"]
    assert sorted(os.listdir(tmp_path)) == ["link", "sub"]


@pytest.mark.needs("root")
@pytest.mark.parametrize("own_users", [False, True])
def test_owners_are_shifted(tmp_path: Path, *, own_users: bool) -> None:
    (tmp_path / "file").write_text("")
    tmp_path.chmod(0o755)  # its owner is somebody else inside
    ids = (IdMap(inside=0, outside=100000 if own_users else 5000, count=1000),)
    asked = with_steps(Bind(dst="/i", source=str(tmp_path), idmap=(ids, ids)))
    if own_users:
        maps = (IdMap(inside=0, outside=100000, count=1000),)
        asked = asked.but(uid_map=maps, gid_map=maps, deny_setgroups=False)
    else:
        spaces = tuple(space for space in asked.spaces if space.kind != "user")
        asked = asked.but(spaces=spaces, uid_map=(), gid_map=(), deny_setgroups=False)
    assert said(asked, "stat -c '%u %g' /i/file")[0] == (["0", "0"] if own_users else ["5000", "5000"])


@pytest.mark.needs("clocks")
def test_clocks_names_and_parameters_are_its_own() -> None:
    asked = box("sh").but(
        spaces=(*box("sh").spaces, Space(kind="time")),
        offsets=(("boottime", 1000000, 0),),
        hostname="boxed",
        domainname="domain",
        sysctl=(("net.ipv4.ip_forward", "1"),),
    )
    words, _ = said(
        asked,
        "cut -d. -f1 /proc/uptime; cd /proc/sys; cat kernel/hostname kernel/domainname net/ipv4/ip_forward",
    )
    assert int(words[0]) > 1000000
    assert words[1:] == ["boxed", "domain", "1"]


def test_rights_are_exactly_those_that_were_asked_for() -> None:
    one = 1 << 10
    asked = Caps(bounding=one | 1, effective=one, permitted=one, inheritable=one, ambient=one)
    limits = (Limit(name="nofile", soft=77, hard=99),)
    script = "grep ^Cap /proc/self/status; ulimit -n; umask; cat /proc/self/oom_score_adj"
    words, warnings = said(box("sh"), script, caps=asked, rlimits=limits, umask=0o27, oom_score_adj=500)
    assert [int(word, 16) for word in words[1:10:2]] == [one, one, one, one | 1, one]
    assert words[10:] == ["77", "0027", "500"]
    assert warnings == ()


@pytest.mark.needs("root")
def test_a_capability_that_is_not_to_be_had_is_a_warning() -> None:
    from redpak.kernel import rights

    lacking = EVERYTHING & ~rights.bounding()
    if not lacking:
        pytest.skip("root has every capability here")
    asked = box("sh")
    spaces = tuple(space for space in asked.spaces if space.kind != "user")
    whole = Caps(bounding=EVERYTHING, effective=EVERYTHING, permitted=EVERYTHING)
    words, warnings = said(
        asked.but(spaces=spaces, uid_map=(), gid_map=(), deny_setgroups=False),
        "grep CapEff /proc/self/status",
        caps=whole,
    )
    assert int(words[1], 16) == EVERYTHING & ~lacking
    assert "not to be had here: CAP_" in warnings[0]


def test_a_working_directory_is_made_before_the_root_is_read_only() -> None:
    asked = box("sh").but(root_readonly=True, make_cwd=True)
    words, _ = said(asked, "pwd; touch /x 2>/dev/null || echo read-only", cwd="/made/here")
    assert words == ["/made/here", "read-only"]


def test_hooks_get_the_state_and_may_ignore_it(tmp_path: Path) -> None:
    told = tmp_path / "told"
    hooks = (
        Hook(path="/bin/true"),
        Hook(path="/bin/sh", args=("sh", "-c", f"cat >{told}; echo $WHO >>{told}"), environ=("WHO=me",)),
    )
    running = start.create(
        box("true").but(hooks_create=hooks),
        state=lambda pid, status: f"{status} {pid}\n".encode() + b"x" * 70000,
    )
    running.release()
    assert running.wait() == 0
    assert told.read_text().startswith(f"creating {running.pid}\n")
    assert told.read_text().endswith("xme\n")
    running.close()


def test_process_one_reaps_orphans_and_hands_signals_on() -> None:
    import signal

    reader, writer = os.pipe()
    script = "trap 'exit 42' TERM; (sleep 0 & exit) & wait; echo ready; while :; do sleep 0.05; done"
    asked = box("sh").but(init=True, process=Process(args=("sh", "-c", script), environ=PATH))
    running = start.create(asked, stdio=(0, writer, 2))
    os.close(writer)
    running.release()
    with os.fdopen(reader) as pipe:
        assert pipe.readline() == "ready\n"
        signal.pidfd_send_signal(running.pidfd, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(running.wait()) == 42
    running.close()
