"""From an empty pool to packages in a family, by the command line alone."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rpms import Maker

pytestmark = pytest.mark.needs("rpm", "userns", "overlay")

RUN = "import sys; from redpak.cli.main import main; sys.exit(main(sys.argv[1:]))"
DNF = "from redpak.cli.compat.redwrap_dnf import entry; entry()"


@dataclass
class Said:
    code: int
    out: str
    err: str


class Pool:
    """Nodes `plat` and `plat/app`, with a repository for both."""

    def __init__(self, folder: Path, maker: Maker) -> None:
        self.folder = folder
        self.maker = maker
        self.plat, self.app = folder / "pool/plat", folder / "pool/plat/app"
        for node in (self.plat, self.app):
            assert self.run("node", "create", str(node)).code == 0
            for name in ("base", "new"):
                words = [
                    str(node),
                    str(maker.folder / "repos" / name),
                    "--id",
                    name,
                    "--gpgkey",
                    str(maker.key_file),
                ]
                added = self.run("node", "repo", "add", *words, *(["--disabled"] if name == "new" else []))
                assert added.code == 0, added.err

    def run(self, *words: str, script: str = RUN, stdin: str = "") -> Said:
        """Run a program with these words."""
        environ = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PYTHONPATH": str(Path(__file__).parents[2]), "LANG": "C.UTF-8",
        }  # fmt: skip
        done = subprocess.run([sys.executable, "-c", script, *words], input=stdin, capture_output=True, text=True,
                              env=environ, cwd="/", check=False, timeout=120)  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)

    def packages(self, node: Path) -> list[str]:
        """Return what the node itself has."""
        said = self.run(
            "node", "repoquery", str(node), "--installed", "--qf", "%{name}-%{version} %{from_repo}"
        )
        assert said.code == 0, said.err
        return sorted(line.split()[0] for line in said.out.splitlines() if line.startswith("zz"))


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    made = Maker(tmp_path_factory.mktemp("repos"))
    base = [
        made.rpm("zzlib", "1.0", files={"/usr/lib64/zzlib.txt": "1.0\n"}),
        made.rpm("zzapp", "1.0", requires=["zzlib = 1.0"], files={"/usr/bin/zzapp": ("#!/bin/sh\n", 0o755)}),
        made.rpm("zztool", "1.0", files={"/usr/bin/zztool": ("#!/bin/sh\n", 0o755)}),
        made.rpm("zzclash", "1.0", conflicts=["zzlib"]),
        made.rpm("zzraw", "1.0", sign=False),
    ]
    made.repo("base", base)
    made.repo("new", [made.rpm("zzlib", "1.1", files={"/usr/lib64/zzlib.txt": "1.1\n"})])
    return made


@pytest.fixture
def pool(tmp_path: Path, maker: Maker) -> Pool:
    return Pool(tmp_path, maker)


def test_a_leaf_installs_what_its_parent_has_not_and_the_parent_may_not_break_it(pool: Pool) -> None:
    plat, app = str(pool.plat), str(pool.app)
    assert pool.run("node", "install", plat, "zzlib", "-y").code == 0
    installed = pool.run("node", "install", app, "zzapp", "-y")
    assert installed.code == 0, installed.err
    assert "Install  1 Package\n" in installed.out  # not its library
    assert (pool.app / "usr/bin/zzapp").exists() and not (pool.app / "usr/lib64/zzlib.txt").exists()

    there = pool.run("node", "install", app, "zzlib", "-y")
    assert "Package zzlib-1.0-1.x86_64 is already installed (in plat)." in there.out

    refused = pool.run("node", "upgrade", plat, "-y", "--enablerepo=new")
    assert refused.code == 3
    assert "nothing provides zzlib = 1.0 needed by zzapp-1.0-1.x86_64 [app]" in refused.err
    assert "--break-descendants" in refused.err
    assert (pool.plat / "usr/lib64/zzlib.txt").read_text() == "1.0\n"

    forced = pool.run("node", "upgrade", plat, "-y", "--enablerepo=new", "--break-descendants")
    assert forced.code == 0, forced.err
    assert (pool.plat / "usr/lib64/zzlib.txt").read_text() == "1.1\n"

    back = pool.run("node", "rollback", plat, "-y")
    assert back.code == 0, back.err
    assert (pool.plat / "usr/lib64/zzlib.txt").read_text() == "1.0\n"
    history = json.loads(pool.run("node", "history", plat, "list", "--json").out)
    assert [entry["id"] for entry in history] == [3, 2, 1]
    assert [item["action"] for item in history[0]["items"]] == ["downgrade"]


def test_a_roll_back_needs_an_earlier_state(pool: Pool) -> None:
    plat = str(pool.plat)
    assert pool.run("node", "install", plat, "zzlib", "-y").code == 0
    for words, told in (((), "had no packages before its only transaction"), (("7",), "no transaction '7'")):
        said = pool.run("node", "rollback", plat, *words, "-y")
        assert (said.code, said.out, told in said.err) == (4, "", True), said


def test_a_leaf_cannot_remove_what_an_ancestor_brings(pool: Pool) -> None:
    assert pool.run("node", "install", str(pool.plat), "zzlib", "-y").code == 0
    said = pool.run("node", "remove", str(pool.app), "zzlib", "-y")
    assert said.code == 3
    assert "it is installed in 'plat'" in said.err and "hint: Change it in 'plat'" in said.err


def test_what_does_not_fit_is_told_with_the_node_of_each_package(pool: Pool) -> None:
    assert pool.run("node", "install", str(pool.plat), "zzlib", "-y").code == 0
    said = pool.run("node", "install", str(pool.app), "zzclash", "-y", "--allowerasing")
    assert said.code == 1
    assert "package zzclash-1.0-1.x86_64 conflicts with zzlib provided by zzlib-1.0-1.x86_64" in said.err
    assert "  zzlib-1.0-1.x86_64: plat (not changed from here)" in said.err
    assert "--allowerasing" not in said.out  # it would not help


def test_without_an_answer_nothing_is_done(pool: Pool) -> None:
    said = pool.run("node", "install", str(pool.plat), "zztool")
    assert (said.code, said.err) == (1, "Operation aborted.\n")
    assert said.out.endswith("Is this ok [y/N]: ")
    assert pool.packages(pool.plat) == []
    said = pool.run("node", "install", str(pool.plat), "zztool", stdin="y\n")
    assert said.code == 1
    assert "Refusing to automatically import keys when running unattended." in said.err
    assert pool.run("node", "install", str(pool.plat), "zztool", "--test", "-y").code == 0
    assert pool.packages(pool.plat) == []
    assert pool.run("node", "install", str(pool.plat), "zztool", "-y").code == 0
    assert pool.packages(pool.plat) == ["zztool-1.0"]


def test_the_answer_may_be_json(pool: Pool) -> None:
    plat = str(pool.plat)
    looked = pool.run("node", "install", plat, "zztool", "--json")
    assert looked.code == 1
    assert json.loads(looked.out)["result"] == "aborted"
    done = json.loads(pool.run("node", "install", plat, "zztool", "--json", "-y").out)
    assert (done["result"], done["id"], done["items"][0]["nevra"]) == ("done", 1, "zztool-1.0-1.x86_64")
    again = json.loads(pool.run("node", "install", plat, "zztool", "--json", "-y").out)
    assert (again["result"], again["items"]) == ("nothing", [])
    broken = pool.run("node", "install", plat, "zzapp", "-x", "zzlib", "--json", "-y")
    assert broken.code == 1
    assert json.loads(broken.out)["result"] == "unsolvable"


def test_a_familys_gpgcheck_binds_whatever_the_repository_says(pool: Pool) -> None:
    said = pool.run(
        "node", "install", str(pool.app), "zzraw", "-y", "--setopt=base.gpgcheck=0", "--nogpgcheck"
    )
    assert said.code == 1, said.out
    assert "Package zzraw-1.0-1.x86_64.rpm is not signed" in said.err
    assert "demands a signature" in said.err and ".yaml:" in said.err  # and where it is said
    assert said.err.splitlines()[1] == "Error: GPG check FAILED"
    assert pool.packages(pool.app) == []


def test_a_second_writer_is_told_to_wait(pool: Pool) -> None:
    plat = str(pool.plat)
    assert pool.run("node", "install", plat, "zzlib", "-y").code == 0
    with open(pool.plat / ".redpak/lock", "rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = pool.run("node", "install", plat, "zztool", "-y")
        assert said.code == 5, said.err
        assert pool.run("--redpath", plat, "install", "-y", "zztool", script=DNF).code == 200


def test_redwrap_dnf_takes_the_node_as_red_paks_own_program_did(pool: Pool) -> None:
    said = pool.run("--redpath", str(pool.plat), "-y", "install", "zztool", script=DNF)
    assert said.code == 0, said.err
    assert "zztool.x86_64" in pool.run(f"--redpath={pool.plat}", "list", "--installed", script=DNF).out
    assert pool.run("-r", str(pool.plat), "remove", "-y", "zztool", script=DNF).code == 0
    assert pool.packages(pool.plat) == []
