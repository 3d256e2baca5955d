"""A directory with installed packages and two repositories, for the query commands of dnf."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from redpak.cli.dnf.main import main
from redpak.node.history import Entry, encode
from redpak.packages.model import Item
from tests.rpms import Maker

REASONS = {
    "app": "user",
    "app-doc": "weak",
    "lib": "dependency",
    "oldtool": "dependency",
    "tool": "dependency",
}
UPDATEINFO = """<?xml version="1.0" encoding="UTF-8"?>
<updates><update from="a@example.com" status="final" type="security" version="1"><id>FIX-1</id><title>a hole</title>
<issued date="2025-03-03 00:00:00"/><updated date="2025-03-04 01:02:03"/><severity>Important</severity>
<description>Closes it.
For good.</description><references><reference href="http://e" id="CVE-2025-1" type="cve" title="x"/>
<reference href="http://e" id="123" type="bugzilla" title="crash"/></references><pkglist><collection><name>F</name>
<package name="app" version="2.0" release="1" epoch="0" arch="noarch">
<filename>app-2.0-1.noarch.rpm</filename></package>
</collection></pkglist></update></updates>
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with five installed packages, one left over, and two repositories."""
    folder = tmp_path_factory.mktemp("queries")
    maker = Maker(folder)

    def rpm(name: str, version: str = "1.0", **more: object) -> str:
        more = {"arch": "noarch", "url": f"http://example.com/{name}", **more}
        return maker.rpm(name, version, **more)  # type: ignore[arg-type]

    old = [
        rpm("lib", arch="x86_64", files={"/usr/lib64/libf.so.1": "x"}, provides=["libf.so.1()(64bit)"]),
        rpm("app", files={"/usr/bin/app": "a", "/usr/share/doc/app/README": "r"}, summary="An application",
            requires=["lib >= 1.0", "libf.so.1()(64bit)", "/usr/bin/tool"], recommends=["app-doc"],
            description="First.\n\nThird.\n * item",
            changelog=[(1736164800, "Ann <ann@example.com> - 1.0-1", "- one")]),
        rpm("app-doc", supplements=["app"]),
        rpm("tool", epoch=2, files={"/usr/bin/tool": "t"}),
        rpm("oldtool", conflicts=["badtool"]),
    ]  # fmt: skip
    new = [
        rpm("app", "2.0", files={"/usr/bin/app": "b"}, requires=["lib >= 1.0", "/usr/bin/tool"],
            changelog=[(1740960000, "Ann <ann@example.com> - 2.0-1", "- two")]),
        rpm("newtool", obsoletes=["oldtool < 2"], provides=["oldtool = 2"]),
        rpm("lonely"),
        rpm("broken", requires=["nothing-has-this >= 3"]),
        rpm("extra", requires=["(app and lib)"]),
    ]  # fmt: skip
    maker.repo("base", old)
    maker.repo("updates", new, updateinfo=UPDATEINFO)
    place = folder / "root"
    (place / "etc/yum.repos.d").mkdir(parents=True)
    text = maker.repo_file("base", gpgcheck=0, repo_gpgcheck=0)
    text += maker.repo_file("updates", gpgcheck=0, repo_gpgcheck=0)
    text += maker.repo_file("off", folder=folder, enabled=0, gpgcheck=0, repo_gpgcheck=0)
    (place / "etc/yum.repos.d/all.repo").write_text(text)
    maker.database(old, place / "var/lib/rpm")
    items = tuple(
        Item(action="install", name=name, epoch=2 if name == "tool" else 0, version="1.0", release="1",
             arch="x86_64" if name == "lib" else "noarch", repo="base", reason=why)  # type: ignore[arg-type]
        for name, why in REASONS.items()
    )  # fmt: skip
    reasons = tuple(sorted((f"{item.name}.{item.arch}", item.reason) for item in items))
    history = place / "var/lib/redpak/history"
    history.mkdir(parents=True)
    (history / "1.json").write_bytes(encode(Entry(id=1, items=items, reasons=reasons)))
    return place


@pytest.fixture
def run(root: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command on that directory; returns code, standard output and standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["--installroot", str(root), "--setopt=cachedir=/cache", *words])
        said = capfd.readouterr()
        return code, said.out, said.err

    return call
