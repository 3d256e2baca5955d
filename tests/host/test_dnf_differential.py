"""The same commands to dnf 4.14 and to redwrap-dnf, in two fresh roots: words, codes and packages must agree."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.dnfworld import DNF, REDPAK, Answer, World, shown

pytestmark = pytest.mark.needs("root", "dnf", "rpm")

ALIKE = {
    "installing": (
        "install app", "install -y app", "install -y app", "install nope", "install nope lib",
        "install -y lonely old epoch", "install Lib", "install @grp",
    ),
    "upgrading": (
        "install -y lib app lonely old epoch", "upgrade --assumeno --enablerepo=updates",
        "upgrade -y --nobest --enablerepo=updates", "upgrade nope", "upgrade web", "upgrade -y",
    ),
    "removing": (
        "install -y app", "remove lib -y", "remove nope", "install -y app strictdep", "remove app -y --noautoremove",
        "autoremove -y", "remove '*' -y",
    ),
    "what does not fit": (
        "install --assumeno broken", "install --assumeno broken --skip-broken", "install -y lonely",
        "install clash -y", "install web other-web", "install clash --allowerasing -y",
    ),
    "other versions": (
        "install -y docs lib", "downgrade lib", "upgrade lib -y --enablerepo=updates", "downgrade lib -y",
        "downgrade nope", "downgrade conf", "swap docs web -y", "distro-sync -y --enablerepo=updates",
        "distro-sync nope", "reinstall docs -y", "install docs -y", "reinstall docs -y", "reinstall lonely",
    ),
    "a requirement in the way of an upgrade": (
        "install -y strictdep", "upgrade -y --enablerepo=updates", "upgrade -y --best --enablerepo=updates",
        "upgrade -y --best --allowerasing --enablerepo=updates",
    ),
    "obsoletes": (
        "install -y old", "upgrade -y --enablerepo=updates",
        "remove new -y",
    ),
    "excludes": (
        "install -y lonely -x lon*", "install -y lonely --setopt=base.excludepkgs=lonely",
        "install -y lonely --setopt=excludepkgs=lonely --disableexcludes=main", "install -y epoch -x lonely",
        "upgrade -y -x lonely --enablerepo=updates", "install docs -x docs",
    ),
    "protected packages": (
        "install -y web --setopt=protected_packages=web", "remove web -y --setopt=protected_packages=web",
        "install other-web -y --allowerasing --setopt=protected_packages=web", "remove web -y",
    ),
    "specs": (
        "install -y lib-1.0 app-1.0-1", "install -y lib.x86_64", "install-n docs -y", "install-na conf.x86_64 -y",
        "install-nevra web-1.0-1.x86_64 -y", "install -y /usr/share/lonely", "install -y webserver",
        "install 'l*' -y", "remove /usr/lib64/liblib.txt --assumeno",
    ),
    "signatures": (
        "install -y unsigned --enablerepo=unsigned", "install -y unsigned --enablerepo=unsigned --nogpgcheck",
        "install lib --setopt=base.gpgcheck=1 --assumeno", "install lib --setopt=base.gpgcheck=1 -y",
    ),
    "only looking": (
        "install -y lib --downloadonly", "install -y conf --setopt=tsflags=test", "install -y docs -q",
        "remove docs -y -q", "install web --assumeno -q",
    ),
    "repositories": (
        "--repo=updates install extra -y", "--repo=nope install lib", "--disablerepo=nope install lib -y",
        "--enablerepo=nope install lib", "--disablerepo=* install conf", "--disablerepo=* remove lib -y",
    ),
    "history": (
        "install -y app lonely", "install -y web", "remove lonely -y", "history list", "history info 2",
        "history rollback 1 -y", "history list", "history undo 2 -y", "history redo 2 -y", "history userinstalled",
        "mark remove web", "autoremove -y", "history undo 99", "history undo nope", "history undo",
    ),
    "wrong lines": ("install --best --nobest x", "frob", "install x --setopt=best=perhaps"),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def both(world: World, roots: tuple[Path, Path], line: str) -> tuple[Answer, Answer]:
    words = shlex.split(line)
    return world.run(DNF, roots[0], *words), world.run(REDPAK, roots[1], *words)


QUICK = ("installing", "removing", "what does not fit")


@pytest.mark.parametrize(
    "title", [pytest.param(title, marks=() if title in QUICK else pytest.mark.slow) for title in ALIKE]
)
def test_both_say_and_do_the_same(world: World, title: str) -> None:
    roots = world.root(), world.root()
    for line in ALIKE[title]:
        theirs, ours = both(world, roots, line)
        said = [
            (shown(one.out, root), shown(one.err, root))
            for one, root in zip((theirs, ours), roots, strict=True)
        ]
        if title == "wrong lines":  # their usage lines are their own
            said = [(out[:5], err.splitlines()[-1]) for out, err in said]
        assert said[1] == said[0], line
        assert (ours.code, ours.packages) == (theirs.code, theirs.packages), line


def test_an_answer_may_come_from_standard_input(world: World) -> None:
    for program in (DNF, REDPAK):
        root = world.root()
        assert world.run(program, root, "install", "lib", stdin="perhaps\nNo\n").code == 1
        agreed = world.run(program, root, "install", "lib", stdin="perhaps\nyes\n")
        assert agreed.code == 0
        assert agreed.out.count("Is this ok [y/N]: ") == 2
        assert agreed.packages == ("lib-1.0-1.x86_64",)
