"""A lock: the exact packages of a node, their digests and what they stand on, as one canonical JSON document.

It may be signed (ed25519) and may expire. Its counter only grows, so that an old lock cannot take a device back.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING

from redpak.errors import RedpakError, Refused, doing
from redpak.packages.model import Named
from redpak.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from redpak.packages.header import Header

SCHEMA = 1
KIND = "redpak-lock"
BIGGEST = 64 << 20  # bytes of a lock file


class LockedPackage(Named):
    """One package, exactly."""

    checksum: str  # of the package file: "sha256:…"
    header: str  # SHA-256 of the signed header
    size: int = 0  # bytes of the package file, 0 = unknown
    install_size: int = 0  # bytes
    reason: str = "unknown"
    repo: str = ""  # id of the repository that it came from
    location: str = ""  # path beneath that repository's base
    urls: tuple[str, ...] = ()  # where it was to be had, complete
    signed_by: str = ""  # fingerprint or id of the key that signed it, '' when nobody did


class Ancestor(Record):
    """A layer that the packages stand on."""

    name: str
    kind: str  # core, node
    digest: str  # `content` of its packages


class Lock(Record):
    """What `redpak node lock` writes."""

    name: str  # the node's alias, for messages
    arch: str
    counter: int
    expires: int = 0  # seconds since 1970, 0 = never
    ancestors: tuple[Ancestor, ...] = ()  # the core OS first
    repositories: tuple[tuple[str, str], ...] = ()  # (id, digest of its configuration); sorted
    packages: tuple[LockedPackage, ...] = ()  # sorted by nevra
    key: str = ""  # public key of who signed it, hexadecimal; '' when nobody did
    signature: str = ""  # hexadecimal

    def data(self) -> dict[str, Any]:
        """Return what is signed, for JSON."""
        return {
            "kind": KIND,
            "schema": SCHEMA,
            "name": self.name,
            "arch": self.arch,
            "counter": self.counter,
            "expires": self.expires or None,
            "ancestors": [vars_of(one) for one in self.ancestors],
            "repositories": [{"id": name, "digest": digest} for name, digest in self.repositories],
            "packages": [{**vars_of(one), "urls": list(one.urls)} for one in self.packages],
        }

    @property
    def digest(self) -> str:
        """SHA-256 of what is signed."""
        return hashlib.sha256(canonical(self.data())).hexdigest()


def vars_of(one: Record) -> dict[str, Any]:
    """Return a value's fields."""
    return {name: getattr(one, name) for name in one.__fields__}


def canonical(data: object) -> bytes:
    """Return JSON in the one form that is signed: ASCII, keys sorted, no blanks."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def content(headers: Iterable[Header]) -> str:
    """Return what two databases have in common when they hold the same packages, whenever those were installed."""
    lines = sorted(f"{one.nevra} {one.digest}\n" for one in headers)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def encode(lock: Lock) -> str:
    """Return a lock as a file's content."""
    data = lock.data()
    if lock.signature:
        data["signature"] = {"algorithm": "ed25519", "key": lock.key, "value": lock.signature}
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def read(path: str) -> Lock:
    """Read a lock file; a signature in it is verified against the key that it names. Raises RedpakError, Refused."""
    with doing("read the lock"), open(path, "rb") as file:
        raw = file.read(BIGGEST + 1)
    try:
        data = json.loads(raw) if len(raw) <= BIGGEST else None
    except (ValueError, RecursionError):
        data = None
    return decode(data, path)


def decode(data: object, where: str) -> Lock:
    """Return the lock that a document says. Raises RedpakError with everything that is wrong, Refused."""
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise RedpakError(f"'{where}' is no lock", hint="Make one with: redpak node lock PATH -o FILE")
    if data.get("schema") != SCHEMA:
        raise RedpakError(
            f"'{where}' is a lock of schema {data.get('schema')!r}, and this redpak reads {SCHEMA}",
            hint="Make it anew with the same version of redpak.",
        )
    faults: list[str] = []
    try:
        lock = _lock(data, faults)
    except (KeyError, TypeError, AttributeError) as error:
        raise RedpakError(f"'{where}' is no complete lock: {error}") from None
    if faults:
        raise RedpakError(f"'{where}' is no proper lock: {'; '.join(faults)}")
    if lock.signature and not _verified(lock):
        raise Refused(f"the signature of '{where}' is wrong: it was changed after it was signed",
                      hint="Get it again from who made it.")  # fmt: skip
    return lock


def _lock(data: Mapping[str, Any], faults: list[str]) -> Lock:
    packages = tuple(_package(one, faults) for one in data["packages"])
    nevras = [one.nevra for one in packages]
    faults += [
        f"package '{name}' is there twice" for name, count in sorted(Counter(nevras).items()) if count > 1
    ]
    signed = data.get("signature") or {}
    if signed and signed.get("algorithm") != "ed25519":
        faults.append(f"signature algorithm '{signed.get('algorithm')}' is unknown")
    return Lock(
        name=_typed(data, "name", str, faults),
        arch=_typed(data, "arch", str, faults),
        counter=_typed(data, "counter", int, faults),
        expires=_typed({"expires": data.get("expires") or 0}, "expires", int, faults),
        ancestors=tuple(
            Ancestor(**{name: _typed(one, name, str, faults) for name in Ancestor.__fields__})
            for one in data["ancestors"]
        ),
        repositories=tuple(sorted((str(one["id"]), str(one["digest"])) for one in data["repositories"])),
        packages=packages,
        key=str(signed.get("key", "")),
        signature=str(signed.get("value", "")),
    )


def _package(data: Mapping[str, Any], faults: list[str]) -> LockedPackage:
    numbers = ("epoch", "size", "install_size")
    values: dict[str, Any] = {
        name: _typed(data, name, int if name in numbers else str, faults)
        for name in LockedPackage.__fields__
        if name != "urls"
    }
    kind, _, digits = str(values["checksum"]).partition(":")
    hexadecimal = all(sign in "0123456789abcdef" for sign in digits)
    if kind not in ("sha256", "sha384", "sha512") or len(digits) * 4 != int(kind[3:]) or not hexadecimal:
        faults.append(f"package '{values['name']}' has no usable digest")
    if any("/" in str(values[name]) for name in ("name", "version", "release", "arch")):
        faults.append(f"package '{values['name']}' has a name with '/'")
    return LockedPackage(**values, urls=tuple(str(url) for url in data["urls"]))


def _typed(data: Mapping[str, Any], name: str, kind: type, faults: list[str]) -> Any:
    value: Any = data[name]
    right = isinstance(value, kind) and not isinstance(value, bool)
    if not right or (kind is int and int(value) < 0):
        faults.append(f"'{name}' is {value!r}")
        return kind()
    return value


# ---- signatures ----


def sign(lock: Lock, secret: bytes) -> Lock:
    """Return a lock signed with a private key (ed25519, PEM or OpenSSH, without passphrase). Raises RedpakError."""
    from cryptography.hazmat.primitives import serialization

    key = private_key(secret)
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return lock.but(key=raw.hex(), signature=key.sign(canonical(lock.data())).hex())


def private_key(secret: bytes) -> Any:
    """Return an ed25519 key from a file's content. Raises RedpakError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    ssh = b"OPENSSH" in secret[:64]
    load = serialization.load_ssh_private_key if ssh else serialization.load_pem_private_key
    try:
        key = load(secret, password=None)
    except (ValueError, TypeError) as error:
        raise RedpakError(f"the signing key cannot be read: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise RedpakError(
            "the signing key is no ed25519 key", hint="Make one with: openssl genpkey -algorithm ed25519"
        )
    return key


def public_key(data: bytes) -> str:
    """Return a public ed25519 key (PEM, OpenSSH or hexadecimal) in hexadecimal. Raises RedpakError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    text = data.strip()
    if len(text) == 64 and all(sign in b"0123456789abcdef" for sign in text.lower()):
        return text.decode().lower()
    load = (
        serialization.load_ssh_public_key if text.startswith(b"ssh-") else serialization.load_pem_public_key
    )
    try:
        key = load(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RedpakError(f"the public key cannot be read: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise RedpakError("the public key is no ed25519 key")
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


def _verified(lock: Lock) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(lock.key))
        key.verify(bytes.fromhex(lock.signature), canonical(lock.data()))
    except (InvalidSignature, ValueError):
        return False
    return True


# ---- what must be so before it is used ----


def judge(
    lock: Lock, *, arch: str, ancestors: Sequence[Ancestor], now: float, seen: int = 0, trusted: str = ""
) -> list[str]:
    """Return every reason why a lock must not be used here.

    `seen` is the counter of the newest lock that was used, `trusted` the key that must have signed it ('' any).
    """
    faults = []
    if trusted and lock.key != trusted:
        faults.append("it is not signed by the key that is trusted" if lock.key else "it is not signed")
    if lock.expires and now > lock.expires:
        faults.append(f"it expired at {_day(lock.expires)}")
    if lock.counter < seen:
        faults.append(f"its counter is {lock.counter}, and lock {seen} was used already")
    if lock.arch != arch:
        faults.append(f"it is for {lock.arch}, and this is {arch}")
    return faults + _strangers(lock.ancestors, ancestors)


def _strangers(wanted: Sequence[Ancestor], there: Sequence[Ancestor]) -> list[str]:
    """Return how the layers beneath differ, each by its name."""
    faults = []
    for at in range(max(len(wanted), len(there))):
        mine = wanted[at] if at < len(wanted) else None
        other = there[at] if at < len(there) else None
        if mine is None and other is not None:
            faults.append(f"'{other.name}' is an ancestor here, and not in the lock")
        elif other is None and mine is not None:
            faults.append(f"'{mine.name}' is an ancestor in the lock, and not here")
        elif mine is not None and other is not None and mine.digest != other.digest:
            named = (
                f"'{other.name}'"
                if other.name == mine.name
                else f"'{other.name}' ('{mine.name}' in the lock)"
            )
            faults.append(f"ancestor {named} has other packages than the lock was made with")
    return faults


def _day(seconds: int) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
