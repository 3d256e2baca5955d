"""Real software for the demo's nodes: fetched with this host's package manager, never installed with it.

Which libraries the programs need is asked of the package manager. One that the core OS already has is not
fetched: sharing it is the point. Works as an ordinary user; nothing outside `scratch` is written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

DATABASE = "redis-tools"  # holds the server as well: /usr/bin/redis-server is a link to it
SERVER = "redis-server"  # that link
GATEWAY = "webdis"  # speaks HTTP to browsers and Redis to the database
OTHER = "memcached"  # another application, which shares libraries with the first
CORE = ("libc6", "libgcc-s1", "libstdc++6")  # never from a node: every program must use the core OS's own


class NoSoftware(Exception):
    """The package manager cannot give us what the demo needs."""


def can_fetch() -> bool:
    """Tell whether this host has a package manager that this demo knows."""
    return all(shutil.which(name) for name in ("apt-get", "apt-cache", "dpkg-deb", "dpkg-query"))


def said(*argv: str, cwd: Path | None = None, ok: tuple[int, ...] = (0,)) -> str:
    """Run a program and return what it said. Raises NoSoftware with its last line if it fails."""
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode not in ok:
        last = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise NoSoftware(f"{' '.join(argv[:2])} …: {last}")
    return done.stdout


class Apt:
    """Debian's package manager, with this host's sources but private caches."""

    def __init__(self, scratch: Path) -> None:
        self.packages = scratch / "packages"
        self.packages.mkdir(parents=True)
        self.options: list[str] = []
        if "Candidate" not in said("apt-cache", "policy", GATEWAY) or not self.known(GATEWAY):
            self.refresh(scratch / "apt")

    def refresh(self, private: Path) -> None:
        """Read the package lists into a private directory: this host has none yet, or old ones."""
        for name in ("state/lists/partial", "cache/archives/partial"):
            (private / name).mkdir(parents=True)
        self.options = [
            "-o", f"Dir::State::lists={private}/state/lists",
            "-o", f"Dir::Cache={private}/cache",
            "-o", "APT::Sandbox::User=",
        ]  # fmt: skip
        said("apt-get", *self.options, "-q", "update")
        if not self.known(GATEWAY):
            raise NoSoftware(f"no package source of this host has '{GATEWAY}'")

    def known(self, package: str) -> bool:
        """Tell whether a package can be had."""
        out = said("apt-cache", *self.options, "policy", package)
        return "Candidate: " in out and "Candidate: (none)" not in out

    def libraries_of(self, *packages: str) -> list[str]:
        """Return the library packages that these depend on, and what those that the core OS lacks depend on in turn."""
        found: set[str] = set()
        ask = list(packages)
        while ask:
            names: set[str] = set()
            for line in said("apt-cache", *self.options, "depends", *ask).splitlines():
                kind, _, name = line.strip().partition(": ")
                if kind == "Depends" and name.startswith(("lib", "lua-")) and name not in CORE:
                    names.add(name)
            ask = sorted(name for name in names - found if not self.on_the_core_os(name))
            found |= names
        return sorted(found)

    def on_the_core_os(self, package: str) -> bool:
        """Tell whether this host has a package installed."""
        out = said("dpkg-query", "--show", "--showformat", "${db:Status-Status}", package, ok=(0, 1))
        return out == "installed"

    def fetch(self, names: list[str]) -> list[Path]:
        """Fetch packages and return their files."""
        said(
            "apt-get", *self.options, "-o", "APT::Sandbox::User=", "-q", "download", *names, cwd=self.packages
        )
        return sorted(self.packages.glob("*.deb"))
