"""Launches while packages change: each sees one generation whole, and keeps it while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from redpak.node import generations, install
from redpak.node.plan import plan_of
from redpak.plan.ops import Bind
from tests.conftest import REPOSITORY, Program
from tests.host.package_site import Place, comes
from tests.rpms import Maker

pytestmark = pytest.mark.needs("rpm", "bwrap")

CONFIG = """
headers: {alias: node, name: node, info: packages}
exports:
- {mode: Restricted, mount: /bin, path: /bin}
- {mode: Restricted, mount: /lib, path: /lib}
- {mode: Restricted, mount: /lib64, path: /lib64}
- {mode: Restricted, mount: /usr, path: /usr}
- {mode: Private, mount: /node/usr, path: $NODE_PATH/usr}
- {mode: Private, mount: /var/lib/rpm, path: $NODE_PATH/var/lib/rpm}
config: {gpgcheck: false}
"""

CHANGES = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.host.package_site import Place, comes
place = Place.__new__(Place)
place.path, place.core, place.plain, place.said = Path({path!r}), "host", False, []
place.maker = type("Known", (), {{"key": ""}})
number = 0
while number < {count} or not Path({enough!r}).exists():
    place.change(comes(({packages!r})[number % 2], "upgrade"), keep=1)
    number += 1
print(number)
"""


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "made")


@pytest.fixture
def node(pool: Path, maker: Maker) -> Place:
    place = Place(pool / "node", maker)
    (place.path / "etc/redpak.yaml").write_text(CONFIG)
    return place


def app(maker: Maker, version: str) -> str:
    files = {f"/usr/share/app/{name}": version for name in "ab"}
    return maker.rpm("app", version, files={**files, "/usr/share/other/same": "same"})


def test_every_launch_sees_one_generation_whole(
    node: Place, maker: Maker, redpak: Program, helper: dict[str, str]
) -> None:
    packages = [app(maker, "1"), app(maker, "2")]
    node.change(packages[1])
    enough = node.path.parent / "enough"  # there is as soon as some launches met some changes
    code = CHANGES.format(
        root=str(REPOSITORY), path=str(node.path), packages=packages, count=12, enough=str(enough)
    )
    look = "cat /node/usr/share/app/a; sleep 0.03; cat /node/usr/share/app/b"
    seen: list[str] = []
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as installer:
        assert installer.stdout is not None
        while installer.poll() is None:
            ran = redpak("run", node.path, "--", "sh", "-c", look, env=helper)
            assert ran.code == 0, ran
            seen.append(ran.out)
            if len(seen) > 5:
                enough.touch()
        changes = int(installer.stdout.read())
    assert installer.returncode == 0
    assert set(seen) <= {"11", "22"}, seen
    assert len(seen) > 5
    assert generations.numbers(str(node.path))[-1] == 1 + changes


def test_a_generation_in_use_stays(
    node: Place, maker: Maker, redpak: Program, helper: dict[str, str]
) -> None:
    node.change(app(maker, "1"))
    words = [
        *redpak.argv,
        "run",
        str(node.path),
        "--",
        "sh",
        "-c",
        "echo up; read x; cat /node/usr/share/app/a",
    ]
    environ = {**redpak.environ, **helper}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, cwd=redpak.cwd
    ) as running:
        assert running.stdin is not None and running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        for version in "234":
            node.change(comes(app(maker, version), "upgrade"), keep=1)
        assert generations.numbers(str(node.path)) == [1, 4]
        assert redpak("run", node.path, "--", "cat", "/node/usr/share/app/a", env=helper).out == "4"
        running.stdin.write(b"go\n")
        running.stdin.close()
        assert running.stdout.read() == b"1"
    assert running.returncode == 0
    assert install.collect(str(node.path), keep=1) == [1]


def test_a_frozen_launcher_notices_another_generation(node: Place, maker: Maker, redpak: Program) -> None:
    node.change(app(maker, "1"))
    launcher = node.path.parent / "start"
    assert redpak("freeze", "--output", launcher, node.path, "--", "cat", "/node/usr/share/app/a").code == 0
    started = subprocess.run([launcher], env=redpak.environ, capture_output=True, check=True)
    assert started.stdout == b"1"
    node.change(comes(app(maker, "2"), "upgrade"), keep=1)
    started = subprocess.run([launcher], env=redpak.environ, capture_output=True, check=True)
    assert started.stdout == b"2"


def test_files_of_packages_are_shown_read_only_and_it_is_told_who_asked(node: Place, maker: Maker) -> None:
    node.change(app(maker, "1"))
    plan = plan_of(str(node.path))
    shown = {op.dst: op for op in plan.mounts if isinstance(op, Bind)}
    for dst, inner in (("/node/usr", "tree/usr"), ("/var/lib/rpm", "rpmdb")):
        assert shown[dst].src.literal == str(node.generation / inner)
        assert shown[dst].readonly
        assert str(shown[dst].because).startswith(str(node.path / "etc/redpak.yaml"))
    assert [rival.thing for rival in plan.rivals if "files of packages" in rival.why] == [
        "mount /node/usr",
        "mount /var/lib/rpm",
    ]
    inputs = {one.path: one.stamp for one in plan.files}
    assert inputs[str(node.path / ".redpak/current")] == "@generations/1"


def test_rpm_inside_sees_the_nodes_packages(node: Place, maker: Maker, redpak: Program) -> None:
    node.change(app(maker, "1"))
    ran = redpak("run", node.path, "--", "rpm", "--dbpath", "/var/lib/rpm", "-qa")
    assert (ran.code, ran.out) == (0, "app-1-1.x86_64\n")


def test_no_program_gets_at_the_place_where_packages_are_kept(
    node: Place, maker: Maker, redpak: Program
) -> None:
    node.change(app(maker, "1"))
    config = node.path / "etc/redpak.yaml"
    plain = config.read_text()
    for source in ("$NODE_PATH/.redpak", "$NODE_PATH/.redpak/generations/1/tree/usr"):
        config.write_text(
            plain.replace("config:", f"- {{mode: Private, mount: /evil, path: {source}}}\nconfig:")
        )
        ran = redpak("run", node.path, "--", "true")
        assert ran.code == 2 and "where packages are kept" in ran.err, ran
    config.write_text(plain.replace("config:", "- {mode: Private, mount: /whole, path: $NODE_PATH}\nconfig:"))
    ran = redpak(
        "run", node.path, "--", "sh", "-c", "touch /whole/var/mine; touch /whole/.redpak/x /whole/usr/x"
    )
    assert ran.code == 1 and ran.err.count("Read-only file system") == 2, ran
    assert (node.path / "var/mine").exists()


def test_no_child_gets_at_its_ancestors_packages(node: Place, maker: Maker, redpak: Program) -> None:
    node.change(app(maker, "1"))
    child = Place(node.path / "child", maker)
    for number, source in enumerate((node.path / ".redpak/generations", node.path / "usr", node.path)):
        (child.path / "etc/redpak.yaml").write_text(
            "headers: {alias: child, name: child, info: x}\n"
            f"exports:\n- {{mode: Private, mount: /evil{number}, path: {source}}}\n"
        )
        ran = redpak("run", child.path, "--", "true")
        assert ran.code == 2 and "Use mode Restricted" in ran.err, ran


def test_a_node_without_packages_costs_next_to_nothing(node: Place) -> None:
    from redpak.node import mapping
    from redpak.node.family import family_of

    family = family_of(str(node.path))[0]
    asked: list[str] = []

    def hear(_frame: object, event: str, what: object) -> None:
        if event == "c_call" and getattr(what, "__module__", "") == "posix":
            asked.append(what.__name__)  # type: ignore[attr-defined]

    sys.setprofile(hear)
    try:
        mapping.look(family, may_write=True)
    finally:
        sys.setprofile(None)
    assert asked == ["readlink"] * len(family.nodes)
    assert os.path.lexists(node.path / ".redpak") is False
