"""Packages of a plain directory (dnf's --installroot): rpm changes it directly; only the history is ours."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from redpak.errors import RedpakError, doing
from redpak.fs import locked, write_atomically
from redpak.node import history
from redpak.packages import rpmdb
from redpak.packages import transaction as rpm
from redpak.packages.inside import inside
from redpak.packages.model import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redpak.engine.host import Host
    from redpak.node.history import Entry
    from redpak.packages.model import Site
    from redpak.packages.transaction import Done, Job


def carry_out(
    site: Site,
    job: Job,
    host: Host,
    entry: Entry,
    reasons: Mapping[str, str],
    heard: Callable[[object], None],
) -> int:
    """See install.carry_out."""
    folder = f"{site.path}/{history.PLAIN}"
    with doing("make the history's directory", hint="Be root, or name another directory."):
        os.makedirs(folder, exist_ok=True)
    with locked(f"{folder}/lock", "packages"):
        before = history.last(site)
        try:
            done: Done = inside(lambda say: _change(job, site, host, lambda *words: say(words)), hear=heard)
        except RedpakError as error:
            if "test" not in job.flags and not isinstance(error, rpm.RpmRefused):
                lines = error.lines if isinstance(error, rpm.RpmFailed) else ()
                write(site, entry.but(result="failed", output=lines), before, reasons)
            raise
        if "test" in job.flags:
            return 0
        return write(site, entry.but(output=done.output), before, reasons)


def _change(job: Job, site: Site, host: Host, say: Callable[..., None]) -> Done:
    """Run rpm in a directory; its package files lie beside it in a directory that goes again."""
    import tempfile

    from redpak.kernel import mount

    with doing("change the packages"), tempfile.TemporaryDirectory(prefix="redpak-packages-") as work:
        mount.tmpfs(work)
        try:
            return rpm.in_place(job.but(work=work, root=site.path), host, say)
        finally:
            mount.detach(work)


def write(site: Site, entry: Entry, before: Entry | None, reasons: Mapping[str, str]) -> int:
    """Add an entry to the history. Returns its number."""
    headers = rpmdb.read(site.own.rpmdb)
    there = {f"{header.name}.{header.arch}" for header in headers if not header.is_key}
    number = before.id + 1 if before else 1
    entry = entry.but(
        id=number,
        parent=before.id if before else 0,
        end=time.time(),
        reasons=history.reasons_after(
            dict(before.reasons) if before else {}, Transaction(items=entry.items), reasons, there
        ),
        digest=rpmdb.digest_of(headers),
        parent_digest=before.digest if before else "",
    )
    write_atomically(f"{site.path}/{history.PLAIN}/{number}.json", history.encode(entry))
    return number


def mark(site: Site, reasons: Mapping[str, str], command: str, comment: str, user: str) -> int:
    """See install.mark."""
    from redpak.node.history import Entry

    folder = f"{site.path}/{history.PLAIN}"
    with doing("make the history's directory", hint="Be root, or name another directory."):
        os.makedirs(folder, exist_ok=True)
    with locked(f"{folder}/lock", "mark"):
        entry = Entry(
            id=0,
            command=command,
            comment=comment,
            user=user,
            begin=time.time(),
            changed=tuple(sorted(reasons)),
        )
        return write(site, entry, history.last(site), reasons)
