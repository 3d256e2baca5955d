"""Transactions by rpm itself: what comes out, and what no package can do."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from redpak.errors import Busy, Refused
from redpak.kernel import mount, ns
from redpak.node import generations, install
from redpak.packages import overlay
from redpak.packages.model import Transaction
from redpak.packages.transaction import RpmFailed, RpmRefused
from tests.conftest import Program
from tests.host.package_site import Place, comes, goes, snapshot
from tests.rpmfile import File, Script, Trigger
from tests.rpms import Config, Content, Dir, Link, Maker

pytestmark = pytest.mark.needs("rpm", "bwrap")

ROOT = os.geteuid() == 0


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "made")


@pytest.fixture
def node(pool: Path, maker: Maker) -> Place:
    return Place(pool / "node", maker)


def test_a_package_becomes_a_generation(node: Place, maker: Maker) -> None:
    app = maker.rpm("app", files={
        "/usr/bin/app": ("#!/bin/sh\necho app\n", 0o755), "/etc/app.conf": Config("x=1\n"),
        "/usr/share/app": Dir(), "/usr/share/app/empty": Dir(), "/usr/share/app/link": Link("../app"),
    })  # fmt: skip
    assert node.change(app) == 1
    assert node.packages() == ["app-1-1"]
    assert node.tree("usr/bin/app").stat().st_mode & 0o7777 == 0o755
    assert os.readlink(node.tree("usr/share/app/link")) == "../app"
    assert node.tree("usr/share/app/empty").is_dir()
    assert (node.path / "etc/app.conf").read_text() == "x=1\n"
    assert (node.path / "usr/bin/app").resolve() == node.tree("usr/bin/app")
    assert ("install", "app-1-1.x86_64", "") in node.said
    node.sound()


def test_nothing_of_the_core_is_taken_along(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("app", files={"/usr/share/doc/app/README": "x"}))
    found = {str(path.relative_to(node.tree("."))) for path in node.tree("usr").rglob("*") if path.is_file()}
    assert found == {"usr/share/doc/app/README"}
    assert not os.path.lexists(node.tree("bin"))
    assert sorted(os.listdir(node.path / "var/lib")) == ["rpm"]


def test_what_did_not_change_is_the_same_file_in_the_next_generation(node: Place, maker: Maker) -> None:
    node.change(
        maker.rpm("app", files={"/usr/share/app/old": "old"}),
        maker.rpm("other", files={"/usr/bin/other": "o"}),
    )
    first = node.generation
    before = snapshot(first / "tree")
    node.change(
        comes(
            maker.rpm("app", "2", files={"/usr/share/app/old": "new"}), "upgrade", replaces=["app-1-1.x86_64"]
        )
    )
    assert (first / "tree/usr/bin/other").stat().st_ino == node.tree("usr/bin/other").stat().st_ino
    assert node.tree("usr/share/app/old").read_text() == "new"
    assert snapshot(first / "tree") == before
    assert ("upgrade", "app-2-1.x86_64", "") in node.said
    node.sound()


def test_a_removed_package_takes_its_files_along(node: Place, maker: Maker) -> None:
    node.change(
        maker.rpm("app", files={"/usr/bin/app": "x", "/etc/app.conf": "c", "/usr/share/app/a/b": "y"}),
        maker.rpm("other", files={"/usr/bin/other": "o"}),
    )
    node.change(goes("app-1-1.x86_64"))
    assert node.packages() == ["other-1-1"]
    assert sorted(path.name for path in node.tree("usr").rglob("*") if path.is_file()) == ["other"]
    assert not (node.path / "etc/app.conf").exists()
    node.sound()


def test_scriptlets_triggers_and_their_words(node: Place, maker: Maker) -> None:
    app = maker.rpm("app", files={"/usr/share/app/x": "x"}, scripts={
        "pre": "echo before", "post": "echo after; echo made >/var/lib/made-by-app; mkdir /usr/share/app/cache",
        "posttrans": "-- lua\nprint('from lua')",
    })  # fmt: skip
    node.change(app)
    assert [line for line in node.output.splitlines() if line] == ["before", "after", "from lua"]
    assert (node.path / "var/lib/made-by-app").read_text() == "made\n"
    assert node.tree("usr/share/app/cache").is_dir()
    assert install.history(node.site)[-1].output == ("before", "after", "from lua")


def test_a_failing_pre_leaves_everything_as_it_was(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("good", files={"/etc/good": "1"}))
    before = snapshot(node.path)
    bad = maker.rpm(
        "bad", files={"/etc/good.d/x": "2"}, scripts={"pre": "echo oh; echo 2 >>/etc/good; exit 3"}
    )
    with pytest.raises(RpmFailed, match="bad"):
        node.change(bad)
    assert snapshot(node.path) == before
    assert node.packages() == ["good-1-1"]


def test_a_failing_post_is_told_and_no_more(node: Place, maker: Maker) -> None:
    assert node.change(maker.rpm("app", files={"/usr/bin/app": "x"}, scripts={"post": "exit 1"})) == 1
    assert "warning: %post(app-1-1.x86_64) scriptlet failed, exit status 1" in node.output


def test_packages_that_do_not_fit_are_refused_by_rpm_itself(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("app", files={"/usr/bin/app": "x"}))
    before = snapshot(node.path)
    with pytest.raises(RpmRefused, match="nothing-has-this is needed by needy"):
        node.change(maker.rpm("needy", requires=["nothing-has-this"]))
    with pytest.raises(RpmRefused, match="conflicts with"):
        node.change(maker.rpm("enemy", conflicts=["app"]))
    with pytest.raises(RpmRefused, match="file /usr/bin/app"):
        node.change(maker.rpm("thief", files={"/usr/bin/app": "y"}))
    with pytest.raises(RpmRefused, match="is needed by"):
        node.change(maker.rpm("user", requires=["app"]), goes("app-1-1.x86_64"))
    assert snapshot(node.path) == before


def test_a_test_changes_nothing(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("app"))
    before = snapshot(node.path)
    assert node.change(maker.rpm("new", scripts={"pre": "exit 1"}), test=True) == 0
    with pytest.raises(RpmRefused):
        node.change(maker.rpm("needy", requires=["nothing-has-this"]), test=True)
    assert snapshot(node.path) == before


def test_what_is_in_the_way_goes_first(node: Place, maker: Maker) -> None:
    node.change(
        maker.rpm("old", provides=["feature"], files={"/usr/bin/f": "old"}),
        maker.rpm("user", requires=["feature"]),
    )
    new = maker.rpm("new", provides=["feature"], conflicts=["old"], files={"/usr/bin/f": "new"})
    node.change(new, goes("old-1-1.x86_64"))
    assert node.packages() == ["new-1-1", "user-1-1"]
    assert node.tree("usr/bin/f").read_text() == "new"
    poor = maker.rpm("poor", conflicts=["new"])
    with pytest.raises(RpmRefused, match="feature"):
        node.change(poor, goes("new-1-1.x86_64"))
    assert node.packages() == ["new-1-1", "user-1-1"]


def test_two_versions_side_by_side(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("kernel", "1", files={"/boot/vmlinuz-1": "1"}))
    node.change(comes(maker.rpm("kernel", "2", files={"/boot/vmlinuz-2": "2"})))
    assert node.packages() == ["kernel-1-1", "kernel-2-1"]
    node.change(goes("kernel-1-1.x86_64"))
    assert node.packages() == ["kernel-2-1"]
    assert os.listdir(node.tree("boot")) == ["vmlinuz-2"]


def test_downgrade_reinstall_and_obsoletes(node: Place, maker: Maker) -> None:
    two = maker.rpm("app", "2", files={"/usr/bin/app": "two"})
    node.change(two)
    node.change(
        comes(maker.rpm("app", "1", files={"/usr/bin/app": "one"}), "downgrade", replaces=["app-2-1.x86_64"])
    )
    assert node.packages() == ["app-1-1"]
    node.change(
        comes(maker.rpm("app", "1", files={"/usr/bin/app": "one"}), "reinstall", replaces=["app-1-1.x86_64"])
    )
    assert node.tree("usr/bin/app").read_text() == "one"
    heir = maker.rpm("heir", obsoletes=["app < 3"], files={"/usr/bin/app": "heir"})
    node.change(comes(heir, replaces=["app-1-1.x86_64"]))
    assert node.packages() == ["heir-1-1"]


def test_configuration_that_was_edited_stays(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("app", "1", files={"/etc/app.conf": Config("default 1\n")}))
    (node.path / "etc/app.conf").write_text("mine\n")
    node.change(comes(maker.rpm("app", "2", files={"/etc/app.conf": Config("default 2\n")}), "upgrade"))
    assert (node.path / "etc/app.conf").read_text() == "mine\n"
    assert (node.path / "etc/app.conf.rpmnew").read_text() == "default 2\n"


def test_files_that_were_there_before_the_first_transaction_are_taken_over(node: Place, maker: Maker) -> None:
    (node.path / "usr/bin").mkdir(parents=True, exist_ok=True)
    (node.path / "usr/bin/by-hand").write_text("mine")
    node.change(maker.rpm("app", files={"/usr/bin/app": "x"}))
    assert sorted(os.listdir(node.tree("usr/bin"))) == ["app", "by-hand"]
    assert (node.path / "usr/bin/by-hand").read_text() == "mine"


def test_a_package_cannot_take_a_name_of_the_nodes_own_directory(node: Place, maker: Maker) -> None:
    (node.path / "child").mkdir()
    with pytest.raises(Refused, match="'/child'"):
        node.change(maker.rpm("app", files={"/child/x": "x"}))
    assert generations.current(str(node.path)) == ""


def test_owners_are_kept_where_they_can_be_and_rights_only_in_the_database(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("app", files={
        "/usr/bin/capable": File(data=b"x", mode=0o755, caps="cap_net_raw=ep"),
        "/usr/bin/set-id": ("x", 0o4755), "/usr/share/app/mine": ("x", 0o640, "daemon"),
    }))  # fmt: skip
    assert node.tree("usr/bin/set-id").stat().st_mode & 0o7777 == 0o755  # see test_package_attacks
    assert "security.capability" not in os.listxattr(node.tree("usr/bin/capable"))
    if ROOT:
        assert node.tree("usr/share/app/mine").owner() == "daemon"
    said = subprocess.run(
        ["rpm", "--dbpath", node.generation / "rpmdb", "-q", "--qf", "[%{FILENAMES} %{FILEUSERNAME}\n]", "app"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "/usr/share/app/mine daemon" in said


# ---- the family ----


@pytest.fixture
def child(node: Place, maker: Maker) -> Place:
    node.change(
        maker.rpm(
            "base",
            provides=["base-api = 1"],
            files={"/usr/share/base/list": "base\n", "/etc/base.conf": "b\n"},
        )
    )
    return Place(node.path / "child", maker)


def test_what_an_ancestor_has_is_not_needed_again(child: Place, maker: Maker) -> None:
    child.change(maker.rpm("app", requires=["base-api >= 1"], files={"/usr/bin/app": "x"}))
    assert child.packages() == ["app-1-1"]


def test_files_of_an_ancestor_are_in_the_way(child: Place, maker: Maker) -> None:
    with pytest.raises(RpmRefused, match="/usr/share/base/list"):
        child.change(maker.rpm("thief", files={"/usr/share/base/list": "mine"}))


def test_a_child_cannot_replace_what_its_ancestor_has(child: Place, maker: Maker) -> None:
    with pytest.raises(Refused, match="base-1-1"):
        child.change(comes(maker.rpm("base", "2"), "upgrade"))
    with pytest.raises(Refused, match="base-1-1"):
        child.change(maker.rpm("heir", obsoletes=["base < 3"]))
    assert generations.current(str(child.path)) == ""


def test_an_ancestors_trigger_fires_for_a_childs_files(pool: Path, maker: Maker) -> None:
    parent = Place(pool / "parent", maker)
    parent.change(maker.rpm("indexer", triggers=[
        Trigger(kind="file", on=("/usr/share/index",), body="cat >/var/lib/index; echo indexed"),
    ]))  # fmt: skip
    child = Place(parent.path / "child", maker)
    child.change(maker.rpm("data", files={"/usr/share/index/a": "a"}))
    assert "indexed" in child.output
    assert (child.path / "var/lib/index").read_text() == "/usr/share/index/a\n"
    assert not (parent.path / "var/lib/index").exists()


VANDAL = """
for f in /usr/share/base/list /etc/base.conf /usr/share/app/old /etc/passwd /usr/bin/env; do
    echo vandal >>$f; chmod 777 $f; rm -f $f
done 2>/dev/null
rm -rf /usr/share/base 2>/dev/null
true
"""


def test_a_scriptlet_cannot_write_to_an_ancestor_or_an_old_generation(child: Place, maker: Maker) -> None:
    parent = child.path.parent
    child.change(maker.rpm("app", files={"/usr/share/app/old": "old\n"}))
    old = child.generation
    before = snapshot(parent / ".redpak"), snapshot(parent / "etc"), snapshot(old / "tree")
    host = Path("/etc/passwd").read_bytes(), Path("/usr/bin/env").stat()
    child.change(maker.rpm("vandal", scripts={"post": VANDAL}))
    assert (snapshot(parent / ".redpak"), snapshot(parent / "etc"), snapshot(old / "tree")) == before
    now = Path("/etc/passwd").read_bytes(), Path("/usr/bin/env").stat()
    assert (
        now[0] == host[0] and now[1].st_mtime_ns == host[1].st_mtime_ns and now[1].st_mode == host[1].st_mode
    )


ESCAPE = """
import os, socket
def attempt(what, call):
    try:
        call()
        print("DONE", what)
    except OSError as error:
        print("refused", what, error.errno)
os.mkdir("/tmp/x") if not os.path.isdir("/tmp/x") else None
attempt("chroot", lambda: os.chroot("/tmp/x"))
for _ in range(64):
    os.chdir("..")
attempt("chroot-again", lambda: os.chroot("."))
print("ROOT", sorted(os.listdir("/")))
def write(path):
    with open(path, "w") as file:
        file.write("escaped")
for path in ("/usr/escaped", "/bin/escaped", "/proc/sys/kernel/hostname", "/packages/escaped", TARGET):
    attempt(path, lambda: write(path))
attempt("mknod", lambda: os.mknod("/view/usr/disk", 0o60660, os.makedev(8, 0)))
attempt("network", lambda: socket.create_connection(("127.0.0.1", 22), 1))
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print("MOUNT", libc.mount(b"none", b"/view/tmp", b"tmpfs", 0, None), libc.unshare(0x10000000))
print("PIDS", len([name for name in os.listdir("/proc") if name.isdigit()]))
"""


def test_a_scriptlet_that_leaves_its_chroot_finds_nothing_to_write(
    node: Place, maker: Maker, tmp_path: Path
) -> None:
    target = tmp_path / "secret"
    target.write_text("safe")
    script = Script(body=ESCAPE.replace("TARGET", repr(str(target))), program=("/usr/bin/python3", "-I"))
    node.change(maker.rpm("escape", scripts={"post": script}))
    said = node.output
    assert "DONE chroot-again" in said, said
    assert "'packages'" in said and "'view'" in said  # it did get out, into the sandbox
    for path in (
        "/usr/escaped",
        "/bin/escaped",
        "/proc/sys/kernel/hostname",
        "/packages/escaped",
        str(target),
    ):
        assert f"refused {path}" in said, said
    assert "refused mknod" in said and "refused network" in said
    assert "MOUNT -1 -1" in said
    assert int(said.split("PIDS ")[1].split()[0]) < 8
    assert target.read_text() == "safe"


# ---- signatures ----


def test_where_the_family_demands_it_every_package_is_signed_by_a_key_of_the_node(
    node: Place, maker: Maker
) -> None:
    assert node.site.gpgcheck
    with pytest.raises(RpmFailed, match="unsigned"):
        node.change(maker.rpm("unsigned", sign=False))
    with pytest.raises(RpmFailed, match="NOKEY"):
        install.carry_out(
            node.site,
            Transaction(items=(comes(path := maker.rpm("app")),)),
            {"app-1-1.x86_64": path},
            keys=(),
        )


def test_a_package_with_a_flipped_bit_is_refused(node: Place, maker: Maker) -> None:
    path = maker.rpm("app", files={"/usr/bin/app": "x" * 5000})
    data = bytearray(Path(path).read_bytes())
    data[-100] ^= 1
    Path(path).write_bytes(data)
    with pytest.raises(RpmFailed, match="app"):
        node.change(path)
    assert generations.current(str(node.path)) == ""


# ---- one at a time ----


def test_a_second_writer_is_told_who_is_at_it(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("app"))
    with open(node.path / ".redpak/lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("somebody (pid 1)\n")
        lock.flush()
        with pytest.raises(Busy, match="somebody"):
            node.change(maker.rpm("other"))


def test_a_transaction_for_what_was_before_is_refused(node: Place, maker: Maker) -> None:
    stale = node.site
    node.change(maker.rpm("app"))
    path = maker.rpm("other")
    with pytest.raises(Busy, match="changed by another command"):
        install.carry_out(stale, Transaction(items=(comes(path),)), {"other-1-1.x86_64": path})


# ---- plain directories ----


def test_a_plain_directory_is_changed_by_rpm_directly(tmp_path: Path, maker: Maker) -> None:
    root = Place(tmp_path / "root", maker, plain=True)
    (tmp_path / "root").mkdir()
    assert root.change(maker.rpm("app", files={"/usr/bin/app": "x", "/etc/app": "y"})) == 1
    assert (root.path / "usr/bin/app").read_text() == "x"
    assert root.packages() == ["app-1-1"]
    assert root.change(goes("app-1-1.x86_64")) == 2
    assert root.packages() == []
    assert not (root.path / "usr/bin/app").exists()
    assert [entry.id for entry in install.history(root.site)] == [1, 2]
    with pytest.raises(Refused):
        install.rollback(root.site, 1)


# ---- sub-ids ----


@pytest.mark.needs("subids")
def test_files_of_other_owners_are_installed_and_deleted_by_an_ordinary_user(
    node: Place, maker: Maker
) -> None:
    from redpak.node.change import delete

    files: dict[str, Content] = {
        "/usr/share/app": Dir(0o700, "daemon"),
        "/usr/share/app/x": ("x", 0o600, "daemon"),
    }
    node.change(
        maker.rpm("app", files={**files, "/var/lib/app": Dir(0o700, "daemon"), "/var/lib/app/y": "y"})
    )
    assert node.tree("usr/share/app").stat().st_uid not in (0, os.getuid())
    assert node.change(comes(maker.rpm("app", "2", files=files), "upgrade", replaces=["app-1-1.x86_64"])) == 2
    assert not (node.path / "var/lib/app").exists()
    assert install.collect(str(node.path), keep=1) == [1]
    assert delete(str(node.path)) == [str(node.path)]
    assert os.listdir(node.path.parent) == []


# ---- rpm's own questions ----


@pytest.mark.needs("userns")
@pytest.mark.parametrize("covered", [False, True], ids=["free", "covered"])
def test_an_ordinary_user_is_told_what_is_mounted_in_a_layer(tmp_path: Path, covered: bool) -> None:
    for name in ("lower/inner", "other", "at", "links"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lower/file").write_text("x")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ns.unshare_as(0, 0, ns.CLONE_NEWNS)
            mount.keep_private()
            if covered:
                mount.tmpfs(str(tmp_path / "lower/inner"))
            ns.unshare_as(0, 0, ns.CLONE_NEWNS)  # what was mounted before is locked in here
            stack = overlay.Stack(name="var", lowers=(str(tmp_path / "lower"), str(tmp_path / "other")))
            overlay.show(stack, str(tmp_path / "at"), str(tmp_path / "links"), user=True)
            os.write(writer, (tmp_path / "at/file").read_bytes())
        except Refused as error:
            os.write(writer, error.message.encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    told = os.read(reader, 4096).decode()
    os.close(reader)
    if covered:
        lower = tmp_path / "lower"
        assert told == (
            f"'{lower}' cannot be a layer for an ordinary user: something is mounted in it, at '{lower}/inner'"
        )
    else:
        assert told == "x"


def test_rpm_is_asked_about_a_node_or_its_whole_family(child: Place, maker: Maker, redpak: Program) -> None:
    child.change(maker.rpm("app", files={"/usr/bin/app": "x", "/etc/app.conf": "c"}))
    assert redpak("node", "rpm", child.path, "--", "-qa").out == "app-1-1.x86_64\n"
    everything = redpak("node", "rpm", "--all", child.path, "--", "-qa").out.split()
    assert {"app-1-1.x86_64", "base-1-1.x86_64"} <= set(everything)
    assert redpak("node", "rpm", child.path, "--", "-V", "app").code == 0
    (child.path / "etc/app.conf").write_text("changed")
    changed = redpak("node", "rpm", child.path, "--", "-V", "app")
    assert changed.code == 1 and "/etc/app.conf" in changed.out
    before = snapshot(child.path / ".redpak")
    assert redpak("node", "rpm", child.path, "--", "-e", "app").code != 0
    assert snapshot(child.path / ".redpak") == before


def test_generations_are_looked_after_by_hand(node: Place, maker: Maker, redpak: Program) -> None:
    for version in "123":
        node.change(comes(maker.rpm("app", version), "upgrade"))
    assert redpak("node", "collect", "--keep", "2", node.path).out == "removed generation 1\n"
    assert redpak("node", "collect", "--keep", "0", node.path).code == 2
    (node.path / ".redpak/work/1-dead").mkdir()
    assert redpak("node", "recover", node.path).out == f"recovered '{node.path}'\n"
    assert redpak("node", "recover", node.path).out == f"nothing to do in '{node.path}'\n"
