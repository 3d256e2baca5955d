"""One small world of packages, and two programs that can be asked the same about it: dnf and redwrap-dnf."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.rpms import Maker

REDPAK = [sys.executable, "-c", "from redpak.cli.compat.redwrap_dnf import entry; entry()"]
DNF = ["/usr/bin/dnf"]


@dataclass(frozen=True)
class Answer:
    """What a program did."""

    code: int
    out: str
    err: str
    packages: tuple[str, ...]  # rpm -qa of the root afterwards, sorted


class World:
    """Repositories 'base' and 'updates', and roots that use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Debian's rpm keeps its database in the home directory: every program must look at one place
        (folder / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n")
        self.maker = maker = Maker(folder)
        rpm = maker.rpm
        base = [
            rpm("setup", "2.12", "1", "noarch", files={"/usr/share/setup/motd": "hello\n"}),
            rpm("filesystem", "3.9", "2", requires=["setup"], files={"/usr/share/filesystem/readme": "x\n"}),
            rpm("lib", "1.0", files={"/usr/lib64/liblib.txt": "1.0\n"}),
            rpm("app", "1.0", requires=["lib >= 1"], recommends=["docs"],
                files={"/usr/bin/app": ("#!/bin/sh\n", 0o755)}),
            rpm("docs", "1.0", "1", "noarch", files={"/usr/share/doc/app.txt": "d\n"}),
            rpm("lonely", "1.0", files={"/usr/share/lonely": "1\n"}),
            rpm("old", "1.0", files={"/usr/share/old": "1\n"}),
            rpm("broken", "1.0", requires=["missing-thing >= 3"]),
            rpm("clash", "1.0", conflicts=["lonely"]),
            rpm("strictdep", "1.0", requires=["lib = 1.0"]),
            rpm("web", "1.0", provides=["webserver"]),
            rpm("other-web", "1.0", provides=["webserver"], conflicts=["web"]),
            rpm("epoch", "1.0", epoch=1, requires=["lonely"]),
            rpm("rich", "1.0", requires=["(docs if app)"]),
            rpm("conf", "1.0", files={"/usr/share/conf": "1\n"}),
        ]  # fmt: skip
        updates = [
            rpm("lib", "1.1", files={"/usr/lib64/liblib.txt": "1.1\n"}),
            rpm("app", "1.1", requires=["lib >= 1.1", "extra"], recommends=["docs"],
                files={"/usr/bin/app": ("#!/bin/sh\n#1.1\n", 0o755)}),
            rpm("extra", "1.0"),
            rpm("lonely", "2.0", files={"/usr/share/lonely": "2\n"}),
            rpm("lonely", "2.1", requires=["not-there"], files={"/usr/share/lonely": "2.1\n"}),
            rpm("new", "2.0", obsoletes=["old < 2"], provides=["old = 2"], files={"/usr/share/old": "2\n"}),
            rpm("epoch", "0.5", epoch=2, requires=["lonely"]),
        ]  # fmt: skip
        unsigned = [rpm("unsigned", "1.0", sign=False)]
        self.repos = {
            "base": maker.repo("base", base),
            "updates": maker.repo("updates", updates),
            "unsigned": maker.repo("unsigned", unsigned),
        }
        self.count = 0

    def root(self) -> Path:
        """Return a fresh root that knows the repositories ('updates' and 'unsigned' are disabled)."""
        self.count += 1
        root = self.folder / f"root{self.count}"
        (root / "etc/yum.repos.d").mkdir(parents=True)
        (root / "etc/dnf").mkdir()
        (root / "etc/dnf/dnf.conf").write_text("[main]\ngpgcheck=0\ninstallonly_limit=3\nplugins=0\n")
        for name in self.repos:
            text = self.maker.repo_file(
                name, enabled=int(name == "base"), repo_gpgcheck=0, gpgcheck=int(name == "unsigned")
            )
            (root / f"etc/yum.repos.d/{name}.repo").write_text(text)
        return root

    def run(self, program: Sequence[str], root: Path, *words: str, stdin: str = "") -> Answer:
        """Run `program --installroot ROOT words…`."""
        environ = {**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": str(self.folder)}
        environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
        environ["XDG_CACHE_HOME"] = str(self.folder / "cache")
        environ["TZ"] = "UTC"
        done = subprocess.run(
            [*program, "--installroot", str(root), "--releasever", "1", *words],
            input=stdin, capture_output=True, text=True, env=environ, cwd="/", check=False, timeout=120,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr, self.packages(root))

    def packages(self, root: Path) -> tuple[str, ...]:
        """Return what rpm says is installed."""
        if not (root / "var/lib/rpm").exists():
            return ()
        done = subprocess.run(
            ["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", "-qa", "--qf", "%{nevra}\n"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line and "gpg-pubkey" not in line]
        return tuple(sorted(lines))


# What differs between two honest runs: progress, and hints that only redpak gives.
PASSING = re.compile(
    r"Last metadata expiration check|hint: |what would help: |User  |\S.* +[\d.]+ ?[kMG]? ?B/s \|"
    r"|  (Running scriptlet|Installing|Upgrading|Cleanup|Erasing|Verifying|Preparing|Obsoleting|Downgrading"
    r"|Reinstalling) +:"
)
MOMENTS = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "WHEN"),
    (re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}( \(\d seconds\))?"), "MOMENT"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
)


def shown(text: str, root: Path) -> str:
    """Return output without what differs between two honest runs."""
    for place in (str(root), str(root)[:20]):  # the list of the history cuts command lines
        text = text.replace(place, "ROOT")
    for pattern, word in MOMENTS:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.splitlines() if not PASSING.match(line))
