"""Any bundle is shown as a plan, each thing with the line that asks for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from redpak.errors import BadConfig, NotFound
from redpak.oci import bundle, explain
from redpak.plan import wire
from redpak.plan.explain import explain as why
from redpak.plan.model import Plan
from redpak.plan.ops import Bind, Proc, Tmpfs
from tests.oci_configs import REAL, real, small


def read(folder: Path, data: object) -> Plan:
    (folder / "config.json").write_text(json.dumps(data, indent=1))
    return explain.read(str(folder))


def line(folder: Path, part: str) -> int:
    text = (folder / "config.json").read_text()
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize("name", REAL)
def test_what_real_programs_write_is_a_plan_that_can_be_kept(name: str, tmp_path: Path) -> None:
    found = read(tmp_path, real(name))
    assert wire.read(wire.canonical(found)) == found
    assert {op.dst for op in found.mounts} >= {one["destination"] for one in real(name)["mounts"]}
    assert all(op.because.file == f"{tmp_path}/config.json" and op.because.line for op in found.mounts)


def test_each_thing_has_its_line(tmp_path: Path) -> None:
    data = small(
        mounts=[
            {"destination": "/proc", "type": "proc"},
            {"destination": "/srv", "type": "bind", "source": "/data", "options": ["ro"]},
            {"destination": "/tmp", "type": "tmpfs"},
            {"destination": "/sys", "type": "sysfs", "options": ["ro"]},
        ],
        process__env=["A=1"],
        hostname="box",
        linux__namespaces=[{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/run/netns/x"}],
        linux__resources={"memory": {"limit": 5000000}},
        linux__maskedPaths=["/proc/kcore"],
        hooks={"poststop": [{"path": "/bin/hook"}]},
    )
    found = read(tmp_path, data)
    ops = {op.dst: op for op in found.mounts}
    assert isinstance(ops["/proc"], Proc)
    assert isinstance(ops["/tmp"], Tmpfs)
    assert isinstance(ops["/srv"], Bind) and ops["/srv"].readonly
    assert isinstance(ops["/sys"], Bind) and ops["/sys"].mode == "type sysfs"
    assert isinstance(ops["/"], Bind) and str(ops["/"].src) == f"{tmp_path}/rootfs" and not ops["/"].readonly
    places = {
        '"/srv"': ops["/srv"].because.line + 1,
        '"A=1"': found.environ[0].because.line,
        '"/run/netns/x"': found.namespace("net").because.line + 2,
        "5000000": found.limits[0].because.line,
    }
    assert places == {part: line(tmp_path, part) for part in places}
    assert found.namespace("pid").mode == "host"
    assert any("/proc/kcore" in warning for warning in found.warnings)
    assert any("/bin/hook" in warning and "poststop" in warning for warning in found.warnings)


def test_a_path_of_the_container_can_be_asked_about(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        small(mounts=[{"destination": "/srv", "type": "bind", "source": "/data", "options": ["ro"]}]),
    )
    told = why(found, "/srv/x")
    assert "/data" in str(told)


def test_annotations_that_are_no_origins_are_left_alone(tmp_path: Path) -> None:
    for said in (
        "no json",
        "[]",
        '{"mount /srv": 5, "variable A": ["", 1, 2, 3]}',
        '{"mount /srv": ["x", "f", "1", ""]}',
    ):
        data = small(annotations={bundle.ORIGINS: said}, mounts=[{"destination": "/srv", "type": "tmpfs"}])
        found = read(tmp_path, data)
        assert all(op.because.file.endswith("config.json") for op in found.mounts)


def test_a_broken_bundle_is_told_with_lines(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        explain.read(str(tmp_path))
    with pytest.raises(BadConfig) as error:
        read(tmp_path, small(process__cwd="x"))
    assert f"config.json:{line(tmp_path, 'cwd')}:" in str(error.value.faults[0])
