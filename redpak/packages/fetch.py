"""Download files: several at once, from several mirrors, resumed, each digested while it arrives, kept by its digest.

What comes by file:// is not copied: its digest is checked where it lies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from typing import Protocol

from redpak import log
from redpak.errors import RedpakError, doing
from redpak.packages import blobs
from redpak.packages.access import Access, HttpError, origin
from redpak.packages.blobs import Blobs
from redpak.packages.readurl import FIRST_WAIT, MOST_MIRRORS, TRIES, FetchFailed, get, local_path
from redpak.packages.stream import NotThis, Stopped, Stream
from redpak.record import Record

__all__ = ["FetchFailed", "Progress", "Wanted", "fetch", "get", "local_path"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.packages.http import Client


class Progress(Protocol):
    """Who draws. Called by one thread at a time, never by two at once."""

    def start(self, total_bytes: int, count: int) -> None:
        """So many files are missing, of so many bytes in all."""

    def update(self, name: str, done: int, total: int) -> None:
        """A file has so many of its bytes; `total` is 0 where nobody knows."""

    def finished(self, name: str) -> None:
        """A file is here, and is the right one."""

    def failed(self, name: str, why: str) -> None:
        """A file cannot be had."""


BIGGEST = 16 << 30  # bytes that a file without a known size may have
LONGEST_WAIT = 5.0


class Wanted(Record):
    """A file to download."""

    name: str
    urls: tuple[str, ...]  # mirrors, the best first
    size: int = -1  # bytes, -1 unknown
    checksum: str = ""  # "sha256:…"; '' where nobody knows: it is then kept by its URL
    access: Access = Access()
    limit: int = BIGGEST  # bytes, where the size is unknown
    rehash: bool = True  # digest a file of the cache again before it is used


class _NoMirror(Exception):
    """Every mirror was tried, or there is none."""


def fetch(
    wanted: Sequence[Wanted], *, cache: str, parallel: int = 3, progress: Progress | None = None
) -> dict[str, str]:
    """Return the path of every file, downloading what is not in the cache. Raises FetchFailed, RedpakError.

    The first failure that no mirror can mend stops the others; what has arrived of them stays for the next time.
    """
    job = _Job(Blobs(cache), progress)
    missing = []
    for one in wanted:
        found = job.here(one)
        if found:
            job.done[one.name] = found
        else:
            missing.append(one)
    job.start(missing)
    if len(missing) == 1 or parallel <= 1:
        for one in missing:
            job.run(one)
    elif missing:
        from concurrent.futures import ThreadPoolExecutor

        # the largest first, so that the last one is not alone at the end
        missing.sort(key=lambda one: -one.size)
        with ThreadPoolExecutor(max_workers=min(parallel, len(missing))) as pool:
            try:
                for future in [pool.submit(job.run, one) for one in missing]:
                    future.result()
            except BaseException:
                job.stop.set()
                raise
    job.close()
    if job.broken is not None:
        raise job.broken
    if job.failures:
        raise FetchFailed(job.failures, job.done)
    return job.done


class _Job:
    """One call of `fetch`: what its threads share."""

    def __init__(self, store: Blobs, progress: Progress | None) -> None:
        self.store = store
        self.done: dict[str, str] = {}
        self.failures: dict[str, list[str]] = {}
        self.broken: RedpakError | None = None  # the disk is full, the cache cannot be written …
        self.stop = threading.Event()
        self._progress = progress
        self._lock = threading.Lock()
        self._faults: dict[str, int] = {}  # by origin: who fails is asked later
        self._clients = threading.local()
        self._made: list[Client] = []

    def here(self, one: Wanted) -> str:
        """Return the path of a file that needs no download."""
        if one.checksum:
            found = self.store.find(one.checksum, size=one.size, rehash=one.rehash)
            if found:
                return found
        for url in one.urls:
            path = local_path(url)
            if path and not self._local_fault(one, path):
                return path
        return ""

    def _local_fault(self, one: Wanted, path: str) -> str:
        """Return what is wrong with a file of this host, '' when it is the one that is wanted."""
        try:
            at = os.stat(path)
            if one.size >= 0 and at.st_size != one.size:
                return f"'{path}' has {at.st_size} bytes instead of {one.size}"
            if one.checksum:
                kind, digits = blobs.checksum(one.checksum)
                got = blobs.digest(path, kind)
                if got != digits:
                    return f"'{path}' has digest {kind}:{got} instead of {one.checksum}"
        except OSError as error:
            return f"cannot read '{path}': {(error.strerror or str(error)).lower()}"
        return ""

    def start(self, missing: Sequence[Wanted]) -> None:
        if self._progress:
            self._progress.start(sum(max(0, one.size) for one in missing), len(missing))

    def close(self) -> None:
        for client in self._made:
            client.close()

    def run(self, one: Wanted) -> None:
        """Download one file and write down how it went."""
        if self.stop.is_set():
            return
        reasons: list[str] = []
        try:
            self.done[one.name] = self._from_somewhere(one, reasons)
        except Stopped:
            return
        except _NoMirror:
            self.failures[one.name] = reasons or ["there is no URL"]
        except RedpakError as error:
            self.broken = error
        except OSError as error:
            self.broken = RedpakError(f"cannot keep '{one.name}': {(error.strerror or str(error)).lower()}")
        else:
            self._tell("finished", one.name)
            return
        self.stop.set()
        self._tell(
            "failed", one.name, self.failures[one.name][-1] if one.name in self.failures else str(self.broken)
        )

    def _tell(self, what: str, *args: object) -> None:
        if self._progress:
            with self._lock:
                getattr(self._progress, what)(*args)

    def _from_somewhere(self, one: Wanted, reasons: list[str]) -> str:
        """Try the mirrors, those that have failed least first, until one has the file."""
        left = {url: TRIES for url in one.urls[:MOST_MIRRORS]}
        most = max(one.access.retries, len(left)) if one.access.retries else TRIES * len(left)
        attempts = 0
        while left and attempts < most:
            url = min(left, key=lambda url: (TRIES - left[url], self._faults.get(origin(url), 0)))
            if left[url] < TRIES:
                wait = min(FIRST_WAIT * 2 ** (TRIES - left[url] - 1), LONGEST_WAIT)
                if self.stop.wait(wait):
                    raise Stopped
            attempts += 1
            left[url] -= 1
            try:
                return self._from(one, url)
            except NotThis as error:
                reasons.append(str(error))
                left.pop(url)
            except HttpError as error:
                reasons.append(error.message)
                if error.lasting or not left[url]:
                    left.pop(url)
            log.debug(f"{one.name}: {reasons[-1]}")
            self._faults[origin(url)] = self._faults.get(origin(url), 0) + 1
        raise _NoMirror

    def _from(self, one: Wanted, url: str) -> str:
        path = local_path(url)
        if path:
            fault = self._local_fault(one, path)
            if fault:
                raise NotThis(fault)
            return path
        key = one.checksum.replace(":", "-") or "url-" + hashlib.sha256(url.encode()).hexdigest()
        partial = self.store.partial(key)
        fd = self._own(partial)
        try:
            if one.checksum:  # another process may have got it while we waited
                found = self.store.find(one.checksum, size=one.size)
                if found:
                    os.unlink(partial)
                    blobs.forget(partial)
                    return found
            digits = Stream(self, one, url, partial, fd).run()
            if not one.rehash:
                os.fsync(fd)  # nobody will look at its bytes again before they are used
            return self.store.keep(partial, one.checksum or f"sha256:{digits}")
        finally:
            os.close(fd)

    def _own(self, partial: str) -> int:
        """Open the part for us alone; waits while another process or thread writes it."""
        while True:
            with doing("write into the cache"):
                fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                there = os.stat(partial)
                mine = os.fstat(fd)
                if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                    return fd
            except BlockingIOError:
                if self.stop.wait(FIRST_WAIT):
                    os.close(fd)
                    raise Stopped from None
            except FileNotFoundError:
                pass
            os.close(fd)

    def client(self, access: Access) -> Client:
        """Return this thread's client for a repository."""
        known: dict[Access, Client] | None = getattr(self._clients, "known", None)
        if known is None:
            known = self._clients.known = {}
        if access not in known:
            from redpak.packages.http import Client

            known[access] = Client(access)
            self._made.append(known[access])
        return known[access]

    def update(self, name: str, done: int, total: int) -> None:
        self._tell("update", name, done, total)
