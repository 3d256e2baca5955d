"""Mirror lists and metalinks: where a repository can be had, and what its newest repomd.xml is."""

from __future__ import annotations

from redpak.errors import RedpakError
from redpak.packages import repomd, xmltree
from redpak.packages.access import origin
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.packages.xmltree import Node

BIGGEST = 8 << 20  # bytes
MOST = 1000  # mirrors
STRONG = ("sha512", "sha384", "sha256", "sha224")  # hashes that prove something, the best first


class Mirrors(Record):
    """The mirrors of one repository."""

    bases: tuple[str, ...]  # base URLs, the best first, without a trailing slash
    digests: tuple[str, ...] = ()  # "sha256:…" of every repomd.xml that is current; () when nobody says
    timestamp: int = 0  # of the newest, seconds; 0 when nobody says


def parse(data: bytes, *, what: str) -> Mirrors:
    """Return the mirrors of a mirror list or a metalink, whichever it is. Raises RedpakError when it names none."""
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    found = _metalink(data, what) if start.startswith(b"<") else _list(data)
    if not found.bases:
        raise RedpakError(f"{what} names no usable mirror")
    return found


def usable(url: str) -> bool:
    """Tell whether a mirror's URL can be used: http, https or file."""
    return bool(origin(url)) or url.startswith("file:///")


def _list(data: bytes) -> Mirrors:
    bases = []
    for line in data.decode(errors="replace").splitlines():
        url = line.strip()
        if url and not url.startswith("#") and usable(url):
            bases.append(url.rstrip("/"))
    return Mirrors(bases=tuple(dict.fromkeys(bases))[:MOST])


def _metalink(data: bytes, what: str) -> Mirrors:
    root = xmltree.parse(data, what=what)
    files = root.first("files") or root
    for file in files.all("file"):
        if file.attributes.get("name") != "repomd.xml":
            continue
        digests = [_digest(file.first("verification"))]
        alternates = file.first("alternates")
        if alternates:
            digests += [_digest(one.first("verification")) for one in alternates.all("alternate")]
        return Mirrors(
            bases=_bases(file.first("resources") or file),
            digests=tuple(digest for digest in digests if digest),
            timestamp=_number(file.value("timestamp")),
        )
    raise RedpakError(f"{what} says nothing about repomd.xml")


def _digest(verification: Node | None) -> str:
    """Return the strongest digest that is given."""
    said = {}
    for one in verification.all("hash") if verification else ():
        said[one.attributes.get("type", "").lower().replace("-", "")] = one.text.strip().lower()
    return next((f"{kind}:{said[kind]}" for kind in STRONG if kind in said), "")


def _bases(resources: Node) -> tuple[str, ...]:
    ranked = []
    for place, one in enumerate(resources.all("url")):
        url = one.text.strip()
        if usable(url) and url.endswith(f"/{repomd.PLACE}"):
            ranked.append(
                (-_number(one.attributes.get("preference", "")), place, url[: -len(repomd.PLACE) - 1])
            )
    return tuple(dict.fromkeys(base for _, _, base in sorted(ranked)))[:MOST]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
