"""What is said while metadata and packages come and rpm works: bars on a terminal, whole lines elsewhere."""

from __future__ import annotations

import re
import sys
import time

from redpak.cli.dnf import columns
from redpak.cli.dnf.transaction_table import ordered, taken_apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.cli.dnf.session import Session
    from redpak.packages.model import Item, Transaction

OFTEN = 0.1  # seconds between two drawings of a bar
WORDS = {"install": "Installing", "upgrade": "Upgrading", "downgrade": "Downgrading", "reinstall": "Reinstalling",
         "remove": "Erasing", "cleanup": "Cleanup", "obsolete": "Obsoleting", "verify": "Verifying",
         "prepare": "Preparing", "script": "Running scriptlet"}  # fmt: skip
WORD = 17  # columns of the longest of these


class Downloads:
    """Hears of downloads: a bar that is drawn over on a terminal, one line for each file when it is there."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.live = session.talkative and not session.hidden_info and sys.stdout.isatty()
        self.began = time.monotonic()
        self.drawn = 0.0
        self.total = 0
        self.sizes: dict[str, tuple[int, int]] = {}
        self.started: dict[str, float] = {}

    def start(self, total_bytes: int, count: int) -> None:  # noqa: ARG002
        """Note how much will come."""
        self.total = total_bytes
        self.began = time.monotonic()

    def update(self, name: str, done: int, total: int) -> None:
        """Note how far a file is."""
        now = time.monotonic()
        self.started.setdefault(name, now)
        self.sizes[name] = (done, total)
        if self.live and now - self.drawn > OFTEN:
            self.drawn = now
            sys.stdout.write("\r" + self._bar(name, done, total))
            sys.stdout.flush()

    def finished(self, name: str) -> None:
        """Print the line of a file that has come."""
        done = self.sizes.get(name, (0, 0))[0]
        passed = time.monotonic() - self.started.get(name, self.began)
        line = f"{_rate(done, passed)} | {columns.number(done)}B     {columns.seconds(passed)}    "
        wide = columns.width() - len(line)
        if self.live:
            sys.stdout.write("\r")
        self.session.info(name[:wide].ljust(wide) + line)

    def failed(self, name: str, why: str) -> None:
        """Print why a file did not come."""
        self.session.err(f"[MIRROR] {name}: {why}")

    def _bar(self, name: str, done: int, total: int) -> str:
        passed = time.monotonic() - self.started[name]
        line = f" {_rate(done, passed)} | {columns.number(done):>5}B"
        room = max(columns.width() - len(line) - len(name) - 8, 5)
        part = done / total if total > 0 else 0.0
        return f"{name} {int(part * 100):3}% [{('=' * int(room * part)).ljust(room)}]{line}"[
            : columns.width()
        ]


def _rate(done: int, passed: float) -> str:
    return f"{columns.number(done / max(passed, 0.001)):>5}B/s"


class Steps:
    """Hears of rpm's steps and prints them as dnf does: `  Installing       : app-1.0-1.x86_64   3/3`.

    What rpm says before its first step is kept: it may be why there is none.
    """

    def __init__(self, session: Session, transaction: Transaction) -> None:
        self.session = session
        self.total = len(transaction.items) + sum(len(item.replaces) for item in transaction.items)
        self.items = transaction.items
        self.at = 0
        self.said: list[str] = []  # by scriptlets and rpm
        self.running = False

    def __call__(self, kind: str, package: str = "", text: str = "") -> None:
        """Hear of one step: what is done, to which package, and what was said."""
        if kind == "output":
            self.said.append(text.rstrip("\n"))
            if self.running:
                self._repeat(self.said[-1])
        elif kind in WORDS and package:
            self.begin()
            if kind != "script":
                self.at += 1
            self.line(kind, package, self.at, self.total)

    def begin(self) -> None:
        """Print that rpm finds nothing wrong, and has begun."""
        if self.running:
            return
        self.running = True
        self.session.info("Transaction test succeeded.\nRunning transaction")
        self.line("prepare", "", 1, 1)
        for text in self.said:
            self._repeat(text)

    def _repeat(self, text: str) -> None:
        if not text.endswith((": install failed", ": erase failed")):  # said at the end
            self.session.info(text)

    def line(self, kind: str, package: str, at: int, total: int) -> None:
        """Print one step."""
        digits = len(str(total))
        count = f"{at:>{digits}}/{total}"
        wide = columns.width() - WORD - len(count) - 8
        shown = package if len(package) <= wide else package[:wide]
        self.session.info(f"  {WORDS.get(kind, kind).ljust(WORD - 1)} : {shown.ljust(wide)}   {count} ")

    def finish(self) -> None:
        """Print the steps that nobody told of, so that every package is named, and failed scriptlets."""
        self.begin()
        if self.at == 0:
            for item in ordered(self.items):
                self._all_of(item)
        self.failures()

    def failures(self) -> None:
        """Name the scriptlets that failed."""
        for script, package in failed_scripts(self.said):
            self.session.err(f"Error in {script} scriptlet in rpm package {package}")

    def _all_of(self, item: Item) -> None:
        self(item.action, item.nevra)
        for nevra in item.replaces:
            self("obsolete" if nevra in item.obsoletes else "cleanup", nevra)


SCRIPTS = {"pre": "PREIN", "prein": "PREIN", "post": "POSTIN", "postin": "POSTIN", "preun": "PREUN",
           "postun": "POSTUN", "pretrans": "PRETRANS", "posttrans": "POSTTRANS"}  # fmt: skip
FAILED = re.compile(r"(?:error|warning): .*%(\w+)\((.+?)\)(?: scriptlet failed|\"\]:)")


def failed_scripts(said: Sequence[str]) -> list[tuple[str, str]]:
    """Return which scriptlets failed, by what rpm said: (dnf's word for it, name of the package)."""
    found: dict[tuple[str, str], None] = {}
    for line in said:
        match = FAILED.search(line)
        if match and match[1] in SCRIPTS:
            name, _, _ = taken_apart(match[2])
            found[(SCRIPTS[match[1]], name)] = None
    return list(found)
