from __future__ import annotations

import json
from pathlib import Path

import pytest

from redpak.errors import RedpakError
from redpak.oci import features, mounts, spec
from tests.oci_configs import read, real


@pytest.mark.parametrize("rootless", [False, True])
def test_the_example_is_a_configuration_without_a_fault(rootless: bool) -> None:
    found = read(spec.example(rootless=rootless, uid=1000, gid=1000), euid=1000 if rootless else 0)
    assert not found.warnings
    assert found.box.process.args == ("sh",)
    assert bool(found.box.uid_map) == rootless


def test_it_asks_for_what_another_runtimes_example_asks_for() -> None:
    theirs, ours = real("runc-spec"), spec.example()
    assert {one["destination"] for one in ours["mounts"]} == {one["destination"] for one in theirs["mounts"]}
    assert set(theirs["linux"]["maskedPaths"]) <= set(ours["linux"]["maskedPaths"])
    assert theirs["linux"]["readonlyPaths"] == ours["linux"]["readonlyPaths"]


def test_a_configuration_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    spec.write(str(path), spec.example())
    assert json.loads(path.read_text()) == spec.example()
    with pytest.raises(RedpakError, match="file exists"):
        spec.write(str(path), {})
    assert json.loads(path.read_text()) == spec.example()


def test_the_features_have_what_the_specification_requires() -> None:
    told = features.document()
    assert told["ociVersionMin"] == "1.0.0"
    assert told["mountOptions"] == mounts.words()
    assert set(told["linux"]["namespaces"]) == {
        "cgroup",
        "ipc",
        "mount",
        "network",
        "pid",
        "time",
        "user",
        "uts",
    }
    assert told["linux"]["seccomp"]["enabled"] is True
    assert all(isinstance(value, str) for value in told["annotations"].values())
    assert json.loads(json.dumps(told)) == told
