"""One download of one file: into its part, on from where an earlier one broke off, digested as it arrives."""

from __future__ import annotations

import hashlib
import os
import time

from redpak import log
from redpak.packages import blobs
from redpak.packages.access import HttpError, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Protocol

    from redpak.packages.access import Access
    from redpak.packages.fetch import Wanted
    from redpak.packages.http import Client

    class Job(Protocol):
        """What the downloads of one call share."""

        stop: threading.Event

        def client(self, access: Access) -> Client: ...
        def update(self, name: str, done: int, total: int) -> None: ...


class Stopped(Exception):
    """Another file failed, or the user had enough."""


class NotThis(Exception):
    """What came is not what was asked for."""


class Stream:
    """One download of one file into its part."""

    def __init__(self, job: Job, one: Wanted, url: str, partial: str, fd: int) -> None:
        self.job, self.one, self.url, self.partial, self.fd = job, one, url, partial, fd
        self.kind, self.digits = blobs.checksum(one.checksum) if one.checksum else ("sha256", "")

    def run(self) -> str:
        """Append what is missing, check the whole and return its digest. Raises NotThis, HttpError."""
        start, validator = self._resumable()
        resumed = start > 0
        try:
            return self._attempt(start, validator)
        except (NotThis, HttpError) as error:
            worthless = isinstance(error, NotThis) or (isinstance(error, HttpError) and error.status == 416)
            if not resumed or not worthless:
                raise
        log.debug(f"{self.one.name}: the part of an earlier download does not fit, starting over")
        return self._attempt(0, "")

    def _resumable(self) -> tuple[int, str]:
        """Return how many bytes are good to go on from, and what proves that the file is still the same."""
        have = os.fstat(self.fd).st_size
        url, validator = blobs.source_of(self.partial)
        same = url == self.url and validator != ""
        if not have or not (self.digits or same):
            return 0, ""
        if 0 <= self.one.size <= have:  # complete, or too long to be right
            return 0, ""
        return have, validator if same else ""

    def _attempt(self, start: int, validator: str) -> str:
        response = self.job.client(self.one.access).get(self.url, start=start, unless_changed=validator)
        try:
            start = response.start
            expected = self.one.size if self.one.size >= 0 else response.total
            if self.one.size >= 0 and response.total not in (-1, self.one.size):
                self._empty()
                raise NotThis(
                    f"the server has {response.total} bytes instead of {self.one.size}: {shown(self.url)}"
                )
            limit = expected if expected >= 0 else self.one.limit
            if limit > self.one.limit:
                raise NotThis(f"more than {self.one.limit} bytes: {shown(self.url)}")
            state = self._keep_first(start)
            strong = "" if response.etag.startswith("W/") else response.etag
            blobs.note_source(self.partial, self.url, strong or response.modified)
            done, told = start, time.monotonic()
            for chunk in response.chunks():
                done += len(chunk)
                if done > limit:
                    self._empty()
                    raise NotThis(f"the server sends more than {limit} bytes: {shown(self.url)}")
                state.update(chunk)
                _write(self.fd, chunk)
                if self.job.stop.is_set():
                    raise Stopped
                now = time.monotonic()
                if now - told > 0.1:
                    self.job.update(self.one.name, done, max(expected, 0))
                    told = now
        finally:
            response.close()
        self.job.update(self.one.name, done, max(expected, done))
        if self.one.size >= 0 and done != self.one.size:
            raise HttpError(f"ended after {done} of {self.one.size} bytes: {shown(self.url)}")
        got = str(state.hexdigest())
        if self.digits and got != self.digits:
            self._empty()
            raise NotThis(f"digest {self.kind}:{got} instead of {self.one.checksum}: {shown(self.url)}")
        return got

    def _keep_first(self, start: int) -> hashlib._Hash:
        """Cut the part to `start` bytes, digest those, and stand behind them."""
        os.ftruncate(self.fd, start)
        os.lseek(self.fd, 0, os.SEEK_SET)
        state = hashlib.new(self.kind, usedforsecurity=False)
        left = start
        while left > 0:
            chunk = os.read(self.fd, min(left, blobs.CHUNK))
            if not chunk:
                break
            state.update(chunk)
            left -= len(chunk)
        return state

    def _empty(self) -> None:
        os.ftruncate(self.fd, 0)


def _write(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]
