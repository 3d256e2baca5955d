"""What people do with dnf over several commands, done with dnf 4.14 and with redwrap-dnf: both must agree."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.dnfworld import DNF, REDPAK, World, shown

pytestmark = [pytest.mark.needs("root", "dnf", "rpm"), pytest.mark.slow]

# dnf forgets the reason of a kernel when an older one goes: kernels are left out
WHY = "-q repoquery --installed --qf '%{name}-%{version} %{reason} %{from_repo}' --enablerepo=more -x kernel*"
SCENES = {
    "kernels are kept side by side": (
        "install -y kernel-core-1", "install -y kernel-core-3", "install -y kernel-core-2", "reinstall -y kernel-core",
        "downgrade -y kernel-core", "install -y kernel-core-4", "install kernel-core --setopt=installonly_limit=1",
        "remove --oldinstallonly -y",
    ),
    "another architecture of an older version": ("install -y multi-2", "install -y multi.i686", "install -y multi"),
    "packages that need each other go together": ("install -y libc", "remove -y libc-common"),
    "an obsoletion is taken back": (
        "install -y split-1", "upgrade -y split", "history info last", "history undo last -y", "history list",
    ),
    "transactions are named in many ways": (
        "history list", "history info", "install -y lonely", "install -y lib", "reinstall -y lib",
        "history list 1..2", "history list last-1..last", "history list nope", "history list 9", "history info nope",
        "history list lonely", "history info 2", "history undo 1..2", "history info 1..", "history undo last-x",
        "history redo 1 -y", "history list",
    ),
    "who asked for what": (
        "install -y app docs", "mark group docs", "mark remove app", "history userinstalled", "autoremove -y",
    ),
    "vendors": (
        "install -y sold-1", "upgrade sold --setopt=allow_vendor_change=0", "upgrade -y sold",
        "downgrade -y sold --setopt=allow_vendor_change=0",
    ),
    "weak dependencies": (
        "install -y cake-1", "remove -y cream", "upgrade -y cake", "install -y cake --setopt=install_weak_deps=0",
        "reinstall -y cake", "remove -y cake",
    ),
    "options and --setopt of one thing": (
        "install --best --setopt=best=0 --assumeno lonely", "install --nobest --setopt=best=1 --assumeno broken",
        "install -y lib --setopt=assumeyes=0 --setopt=assumeno=1",
    ),
    "repositories on the command line": (
        "--repofrompath=more,REPOS/more install -y libc", "--repofrompath=again,REPOS/base install -y lib",
        "--repofrompath=again,REPOS/base --setopt=again.cost=1 install -y docs",
    ),
    "files on the command line": (
        "install -y RPMS/lib-1.0-1.x86_64.rpm", "upgrade -y RPMS/lib-1.1-1.x86_64.rpm",
        "reinstall -y RPMS/lib-1.1-1.x86_64.rpm", "downgrade -y RPMS/lib-1.0-1.x86_64.rpm",
        "install -y RPMS/unsigned-1.0-1.x86_64.rpm --setopt=localpkg_gpgcheck=1",
        "install -y RPMS/unsigned-1.0-1.x86_64.rpm --nogpgcheck", "install /nope/x.rpm", "remove lib.rpm",
        "install -y /nope/x.rpm docs --setopt=strict=0", "upgrade /nope/x.rpm lib", "reinstall -y /nope/x.rpm docs",
        "downgrade /nope/x.rpm", "upgrade /nope/x.rpm",
    ),
}  # fmt: skip


class Scene(World):
    """The small world, with kernels, mutual needs, and vendors in the repository 'more'."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rpm = self.maker.rpm
        kernels = [
            rpm("kernel-core", str(n), provides=[f"kernel = {n}-1", "installonlypkg(kernel)"])
            for n in range(1, 6)
        ]
        more = [
            *kernels,
            rpm("multi", "1"),
            rpm("multi", "1", arch="i686"),
            rpm("multi", "2"),
            rpm("libc", requires=["libc-common", "libc-langs"]),
            rpm("libc-common", requires=["libc", "libc-langs"]),
            rpm("libc-langs", requires=["libc", "libc-common"]),
            rpm("split", "1"),
            rpm("split-one", "2", obsoletes=["split < 2"]),
            rpm("split-two", "2", obsoletes=["split < 2"]),
            rpm("sold", "1", vendor="One"),
            rpm("sold", "2", vendor="Two"),
            rpm("cake", "1", recommends=["cream", "nowhere"]),
            rpm("cake", "2", recommends=["cream", "cherry"]),
            rpm("cream"),
            rpm("cherry", supplements=["cream"]),
        ]
        self.repos["more"] = self.maker.repo("more", more)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


@pytest.mark.parametrize("title", SCENES)
def test_a_scene_ends_alike(scene: Scene, title: str) -> None:
    roots = scene.root(), scene.root()
    for line in (*SCENES[title], WHY):
        text = line.replace("REPOS", str(scene.folder / "repos")).replace("RPMS", str(scene.maker.pool))
        words = [*([] if "repofrompath" in text else ["--enablerepo=more"]), *shlex.split(text)]
        answers = [
            scene.run(program, root, *words) for program, root in zip((DNF, REDPAK), roots, strict=True)
        ]
        theirs, ours = (
            (one.code, shown(one.out, root), shown(one.err, root), one.packages)
            for one, root in zip(answers, roots, strict=True)
        )
        assert ours == theirs, line
