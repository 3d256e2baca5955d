"""Read small files by URL into memory: repomd.xml, signatures, mirror lists, keys."""

from __future__ import annotations

import os
import time
import urllib.parse

from redpak.errors import RedpakError, Refused
from redpak.packages.access import Access, HttpError, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redpak.packages.http import Client

SMALL = 64 << 20  # bytes that are read at most
TRIES = 3  # of one URL, when it fails for reasons that may pass
FIRST_WAIT = 0.2  # seconds, doubled each time
MOST_MIRRORS = 20  # that are tried for one file


class FetchFailed(RedpakError):
    """Some files could not be downloaded. `failed` has every reason for each; `done` what is here nevertheless."""

    def __init__(self, failed: Mapping[str, Sequence[str]], done: Mapping[str, str]) -> None:
        self.failed = {name: tuple(whys) for name, whys in failed.items()}
        self.done = dict(done)
        name, whys = next(iter(self.failed.items()))
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        super().__init__(f"cannot download '{name}'{more}: {whys[-1] if whys else 'stopped'}")


def local_path(url: str) -> str:
    """Return the path that a file URL means, '' for other URLs. Raises Refused for another host's."""
    if not url.startswith("file:"):
        return ""
    parts = urllib.parse.urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise Refused(f"'{url}' names a file of another host", hint="Write file:///path.")
    return os.path.normpath(urllib.parse.unquote(parts.path)) if parts.path else ""


def get(
    urls: Sequence[str],
    *,
    access: Access,
    limit: int = SMALL,
    fault: Callable[[bytes], str] | None = None,
) -> tuple[bytes, str]:
    """Return a small file, and the URL that had it, from the first of `urls` that works.

    `fault` says what is wrong with the content, '' when nothing is. Raises FetchFailed with every reason.
    """
    reasons: list[str] = []
    urls = urls[:MOST_MIRRORS]
    client = None
    try:
        for turn in range(TRIES):
            again = []
            for url in urls:
                try:
                    if client is None and not url.startswith("file:"):
                        from redpak.packages.http import Client

                        client = Client(access)
                    data = _get(client, url, limit)
                    wrong = fault(data) if fault else ""
                    if not wrong:
                        return data, url
                    reasons.append(f"{wrong}: {shown(url)}")
                except HttpError as error:
                    reasons.append(error.message)
                    if not error.lasting:
                        again.append(url)
            urls = again
            if not urls:
                break
            if turn + 1 < TRIES:
                time.sleep(FIRST_WAIT * 2**turn)
    finally:
        if client:
            client.close()
    raise FetchFailed({"": list(dict.fromkeys(reasons)) or ["there is no URL"]}, {})


def _get(client: Client | None, url: str, limit: int) -> bytes:
    path = local_path(url)
    if path:
        try:
            with open(path, "rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise HttpError(f"cannot read '{path}': {why}", lasting=True) from None
    elif client is None:
        raise HttpError(f"'{shown(url)}' names no file", lasting=True)
    else:
        response = client.get(url)
        data = b""
        try:
            for chunk in response.chunks():
                data += chunk
                if len(data) > limit:
                    break
        finally:
            response.close()
    if len(data) > limit:
        raise HttpError(f"more than {limit} bytes: {shown(url)}", lasting=True)
    return data
