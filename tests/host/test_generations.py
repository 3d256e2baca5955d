"""Generations: going back, state files, leftovers, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from redpak.errors import NotFound, Refused
from redpak.node import generations, install
from redpak.node.site import site_of
from redpak.packages.transaction import RpmFailed
from tests.conftest import REPOSITORY, Program
from tests.host.conftest import children, ends
from tests.host.package_site import Place, comes, goes, snapshot
from tests.rpms import Config, Maker

pytestmark = pytest.mark.needs("rpm", "bwrap")


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "made")


@pytest.fixture
def node(pool: Path, maker: Maker) -> Place:
    return Place(pool / "node", maker)


def app(maker: Maker, version: str) -> str:
    """Return an app whose every file names its version."""
    return maker.rpm("app", version, files={
        "/usr/bin/app": f"app {version}\n", "/etc/app.conf": Config(f"conf {version}\n", noreplace=False),
        "/var/lib/app/state": f"state {version}\n", f"/usr/share/app/only-{version}": "x",
    })  # fmt: skip


def state(node: Place) -> list[str]:
    return [
        (node.path / name).read_text().strip()
        for name in ("usr/bin/app", "etc/app.conf", "var/lib/app/state")
    ]


def test_going_back_brings_the_old_content_as_a_new_generation(node: Place, maker: Maker) -> None:
    node.change(app(maker, "1"))
    first = node.generation
    node.change(comes(app(maker, "2"), "upgrade", replaces=["app-1-1.x86_64"]))
    assert state(node) == ["app 2", "conf 2", "state 2"]
    assert install.rollback(node.site, 1, command="rollback 1") == 3
    assert state(node) == ["app 1", "conf 1", "state 1"]
    assert node.packages() == ["app-1-1"]
    assert node.tree("usr/bin/app").stat().st_ino == (first / "tree/usr/bin/app").stat().st_ino
    node.sound()
    entries = install.history(node.site)
    assert [(entry.id, entry.parent, entry.rolled_back_to) for entry in entries] == [
        (1, 0, 0),
        (2, 1, 0),
        (3, 2, 1),
    ]
    assert install.rollback(node.site, 2) == 4
    assert state(node) == ["app 2", "conf 2", "state 2"]


def test_a_state_file_that_somebody_changed_stays_as_it_is(
    node: Place, maker: Maker, capfd: pytest.CaptureFixture[str]
) -> None:
    node.change(app(maker, "1"))
    node.change(comes(app(maker, "2"), "upgrade", replaces=["app-1-1.x86_64"]))
    (node.path / "etc/app.conf").write_text("mine\n")
    install.rollback(node.site, 1)
    assert state(node) == ["app 1", "mine", "state 1"]
    assert "'" + str(node.path / "etc/app.conf") + "' was changed since: left alone" in capfd.readouterr().err


@pytest.mark.needs("root")
def test_state_on_a_file_system_of_its_own_is_refused_before_anything_changes(
    node: Place, maker: Maker
) -> None:
    node.change(app(maker, "1"))
    before = node.generation
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", node.path / "var/lib/app"], check=True)
    try:
        with pytest.raises(Refused, match="file system of its own"):
            node.change(comes(app(maker, "2"), "upgrade", replaces=["app-1-1.x86_64"]))
    finally:
        subprocess.run(["umount", node.path / "var/lib/app"], check=True)
    assert node.generation == before
    assert state(node) == ["app 1", "conf 1", "state 1"]


def test_state_files_that_came_with_a_transaction_go_with_it(node: Place, maker: Maker) -> None:
    node.change(app(maker, "1"))
    node.change(maker.rpm("other", files={"/etc/other.conf": "x", "/var/lib/other/a": "a"}))
    install.rollback(node.site, 1)
    assert not (node.path / "etc/other.conf").exists()
    assert not (node.path / "var/lib/other/a").exists()
    install.rollback(node.site, 2)
    assert (node.path / "etc/other.conf").read_text() == "x"


@pytest.mark.parametrize("leads", ["", "generations/7"])
def test_nothing_is_tidied_away_when_the_link_to_the_packages_is_lost(
    node: Place, maker: Maker, leads: str
) -> None:
    node.change(app(maker, "1"))
    link = node.path / ".redpak/current"
    link.unlink()
    if leads:
        link.symlink_to(leads)
    (node.path / ".redpak/work/left").mkdir(parents=True)
    with pytest.raises(Refused, match="is lost") as refused:
        install.recover(str(node.path))
    assert "ln -sfn generations/1 " in refused.value.hint
    with pytest.raises(Refused, match="is lost"):
        node.change(maker.rpm("other"))
    with pytest.raises(Refused, match="is lost"):
        site_of(str(node.path))  # what lists packages does not say that there are none
    link.unlink(missing_ok=True)
    link.symlink_to("generations/1")
    install.recover(str(node.path))
    assert state(node) == ["app 1", "conf 1", "state 1"]


def test_going_back_to_what_is_not_there(node: Place, maker: Maker) -> None:
    node.change(app(maker, "1"))
    for number in (0, 7):
        with pytest.raises(NotFound):
            install.rollback(node.site, number)
    with pytest.raises(Refused):
        install.rollback(node.site, 1)


def test_reasons_are_kept_and_changed(node: Place, maker: Maker) -> None:
    node.change(comes(app(maker, "1"), reason="dependency"))
    assert dict(install.history(node.site)[-1].reasons) == {"app.x86_64": "dependency"}
    assert install.mark(node.site, {"app.x86_64": "user"}, command="mark install app") == 2
    node.change(comes(app(maker, "2"), "upgrade", reason="dependency", replaces=["app-1-1.x86_64"]))
    assert dict(install.history(node.site)[-1].reasons) == {"app.x86_64": "user"}
    node.change(goes("app-2-1.x86_64"))
    assert dict(install.history(node.site)[-1].reasons) == {}


def test_old_generations_go_and_their_history_stays(node: Place, maker: Maker) -> None:
    node.change(maker.rpm("app", "1", files={"/usr/bin/app": "1"}))
    for version in "2345":
        node.change(comes(maker.rpm("app", version, files={"/usr/bin/app": version}), "upgrade"))
    assert generations.numbers(str(node.path)) == [3, 4, 5]
    assert [(entry.id, entry.there) for entry in install.history(node.site)] == [
        (1, False), (2, False), (3, True), (4, True), (5, True)
    ]  # fmt: skip
    assert install.collect(str(node.path), keep=1) == [3, 4]
    node.sound()


def test_a_database_or_link_that_was_tampered_with_is_not_followed(node: Place, maker: Maker) -> None:
    node.change(app(maker, "1"))
    target = node.path.parent / "elsewhere"
    target.mkdir()
    (node.path / "var/lib/app/state").unlink()
    (node.path / "var/lib/app").rmdir()
    (node.path / "var/lib/app").symlink_to(target)
    with pytest.raises(RpmFailed, match="nothing was changed"):
        node.change(comes(app(maker, "2"), "upgrade", replaces=["app-1-1.x86_64"]))
    assert os.listdir(target) == []


# ---- killed ----

CHILD = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.host.package_site import Place, comes
class Known:
    key = Path({key!r}).read_text()
place = Place.__new__(Place)
place.path, place.maker, place.core, place.plain, place.said = Path({path!r}), Known, "host", False, []
print("ready", flush=True)
sys.stdin.readline()
place.change(comes({package!r}, "upgrade", replaces=[{old!r}]))
"""


def killed(node: Place, maker: Maker, package: str, old: str, after_s: float) -> bool:
    """Upgrade in another process and kill it with all its children after a time; tell whether it was too late."""
    code = CHILD.format(
        root=str(REPOSITORY), key=str(maker.key_file), path=str(node.path), package=package, old=old
    )
    before = children()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"go\n")
        process.stdin.flush()
        try:
            process.wait(after_s)
            return True
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            for pid in children() - before:  # what it started follows it
                assert ends(pid)
            return False


def test_a_kill_at_any_moment_leaves_the_old_generation_or_the_new(node: Place, maker: Maker) -> None:
    versions = {version: app(maker, version) for version in ("1", "2")}
    node.change(versions["1"])
    outcomes = []
    began = time.monotonic()
    node.change(comes(versions["2"], "upgrade", replaces=["app-1-1.x86_64"]))
    # seconds: a kill then comes before the commit, after it; closing in on it
    earlier, later = 0.0, max(4.0, 4 * (time.monotonic() - began))
    for number in range(12):
        was = node.packages()[0].split("-")[1]
        new = "1" if was == "2" else "2"
        before = snapshot(node.generation / "tree")
        when = (earlier + later) / 2
        killed(node, maker, versions[new], f"app-{was}-1.x86_64", when)
        now = node.packages()[0].split("-")[1]
        outcomes.append(now == was)
        if now == was:
            earlier = when
            assert snapshot(node.generation / "tree") == before
        else:
            later = when
        if number % 4 == 3:
            earlier, later = earlier * 0.7, later * 1.3
        install.recover(str(node.path))
        assert node.packages() == [f"app-{now}-1"]
        assert state(node) == [f"app {now}", f"conf {now}", f"state {now}"]
        assert sorted(os.listdir(node.tree("usr/share/app"))) == [f"only-{now}"]
        node.sound()
    assert set(outcomes) == {True, False}, "no kill came before, or none after the commit"


def test_what_was_not_finished_after_the_commit_is_finished_by_a_launch(node: Place, maker: Maker) -> None:
    from redpak.node.plan import plan_of

    node.change(app(maker, "1"))
    generation = node.generation
    # as if it had been killed right after the commit
    (node.path / "usr").unlink()
    (generation / "state/etc").mkdir(parents=True)
    os.rename(node.path / "etc/app.conf", generation / "state/etc/app.conf")
    (generation / "pending").touch()
    plan_of(str(node.path), may_write=True)
    assert state(node) == ["app 1", "conf 1", "state 1"]
    node.sound()


def test_the_disk_of_a_killed_command_is_given_back(node: Place, maker: Maker) -> None:
    node.change(app(maker, "1"))
    left = node.path / ".redpak/work/1-dead"
    (left / "upper/usr").mkdir(parents=True)
    (left / "upper/usr/big").write_bytes(b"x" * 100000)
    (left / "upper").chmod(0o500)
    never = node.path / ".redpak/generations/9"
    never.mkdir()
    assert install.unfinished(str(node.path))
    assert install.recover(str(node.path))
    assert not left.exists() and not never.exists()
    assert not install.unfinished(str(node.path))


def test_a_prepared_tree_goes_with_its_generation(node: Place, maker: Maker, redpak: Program) -> None:
    node.change(app(maker, "1"))
    with tempfile.TemporaryDirectory(prefix="rp-", dir="/tmp") as runtime:
        redpak.environ["REDPAK_RUNTIME_DIR"] = runtime
        config = "headers: {alias: n}\nexports:\n  - {mode: Restricted, mount: /app, path: $NODE_PATH/usr}\n"
        config += "".join(
            f"  - {{mode: Restricted, mount: {at}, path: {at}}}\n"
            for at in ("/usr", "/bin", "/lib", "/lib64")
        )
        (node.path / "etc").mkdir(exist_ok=True)
        (node.path / "etc/redpak.yaml").write_text(config)
        try:
            assert redpak("warm", node.path).code == 0
            shown = redpak("run", "--no-frozen", node.path, "/bin/cat", "/app/bin/app")
            assert shown.out == "app 1\n", shown
            assert str(node.path) in redpak("warm").out
            node.change(comes(app(maker, "2"), "upgrade", replaces=["app-1-1.x86_64"]))
            assert redpak("run", node.path, "/bin/cat", "/app/bin/app").out == "app 2\n"
            assert redpak("warm").out == ""
        finally:
            redpak("cool", "--all")
