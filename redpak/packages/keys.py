"""OpenPGP keys and what they prove: signatures over metadata, over package headers, and with them over packages.

Sequoia does the cryptography (pysequoia); which key counts, and when, is judged here, since its answer is
yes or no without a reason. Keys are kept by `keystore`.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import os
import time

from redpak.errors import RedpakError, Refused, doing
from redpak.packages.header import MAGIC, Header, from_rpm
from redpak.packages.header_tags import DIGESTS
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    State = Literal["good", "unsigned", "unknown", "bad", "expired", "revoked"]
    Level = Literal["all", "signature", "digest", "none"]
    Why = Literal["unsigned", "unknown", "bad", "expired", "revoked", "digest", "damaged", "swapped"]

CHUNK = 1 << 20  # bytes
BIGGEST_KEYS = 4 << 20  # bytes of one key file
# Tags of rpm's signature header and of payload digests (rpm, docs/manual/tags.md).
DSA, RSA, SHA1_HEADER, SHA256_HEADER, OPENPGP = 267, 268, 269, 273, 278
PGP, MD5, GPG = 1002, 1004, 1005
PAYLOAD_DIGEST, PAYLOAD_ALGORITHM = 5092, 5093
_HASHES = {number: kind for number, kind in DIGESTS.items() if kind != "md5"}  # MD5 proves nothing


class Key(Record):
    """One certificate: a primary key with its subkeys."""

    fingerprint: str  # of the primary key, lower case
    signer: str  # fingerprint of the first key in it that signs: the one that people are shown
    parts: tuple[str, ...]  # fingerprints of the primary key and all subkeys
    userid: str
    created: int  # seconds since 1970; 0 unknown
    expires: int  # 0: never
    revoked: bool
    ended: tuple[tuple[str, int], ...] = ()  # subkeys that have an end of their own: fingerprint, seconds
    withdrawn: tuple[str, ...] = ()  # revoked subkeys
    armored: str

    @property
    def id(self) -> str:
        """The signing key's id, 16 hexadecimal digits in upper case."""
        return self.signer[-16:].upper()

    @property
    def short_id(self) -> str:
        """The last eight of them, as dnf prints it."""
        return self.signer[-8:].upper()

    def expiry(self, part: str) -> int:
        """Return when the key with fingerprint `part` ends, 0 for never."""
        ends = [at for at in (self.expires, *(at for name, at in self.ended if name == part)) if at]
        return min(ends, default=0)


class Keyring(Record):
    """The keys that are trusted for something."""

    keys: tuple[Key, ...] = ()

    def find(self, issuer: str) -> tuple[Key, str] | None:
        """Return the key with a part of that fingerprint or id, and the part's fingerprint."""
        issuer = issuer.lower()
        for key in self.keys:
            for part in key.parts:
                if issuer and part.endswith(issuer):
                    return key, part
        return None

    def with_keys(self, *more: Key) -> Keyring:
        """Return a ring with more keys; one with the same fingerprint takes the older one's place."""
        kept = {key.fingerprint: key for key in (*self.keys, *more)}
        return Keyring(keys=tuple(kept.values()))


class Verdict(Record):
    """What is to be said about one signature."""

    state: State
    why: str  # for messages: "it is signed by key 0x…, which is not trusted"
    issuer: str = ""  # id or fingerprint of the signing key, as the signature says
    key: Key | None = None
    created: int = 0  # when the signature says it was made

    def __bool__(self) -> bool:
        return self.state == "good"


_UNSIGNED = Verdict(state="unsigned", why="it is not signed")
_UNVOUCHED = Verdict(state="unsigned", why="nothing that is signed vouches for its payload")


class BadPackage(Refused):
    """A package file must not be installed; `kind` says in a word why."""

    def __init__(
        self, path: str, why: str, *, kind: Why, verdict: Verdict | None = None, hint: str = ""
    ) -> None:
        super().__init__(f"package '{os.path.basename(path)}' is refused: {why}", hint=hint)
        self.path = path
        self.file_name = os.path.basename(
            path
        )  # as people know it; files of the cache are named by their digest
        self.kind = kind
        self.verdict = verdict


def parse(data: bytes, *, where: str = "") -> list[Key]:
    """Return the keys of a key file, armored or binary. Raises RedpakError when it holds none."""
    import pysequoia

    keys = []
    try:
        for cert in pysequoia.Cert.split_bytes(data) if len(data) <= BIGGEST_KEYS else ():
            keys.append(_key(cert))
    except Exception as error:  # noqa: BLE001 - the library raises what it likes
        raise RedpakError(f"'{where}' holds no OpenPGP key: {_first_line(error)}") from None
    if not keys:
        raise RedpakError(f"'{where}' holds no OpenPGP key")
    return keys


def _key(cert: Any) -> Key:
    from pysequoia.packet import PacketPile, SignatureType, Tag

    parts: list[str] = []
    ends: dict[str, int] = {}
    withdrawn = []
    signer, created, born = "", 0, 0
    for packet in PacketPile.from_bytes(bytes(cert)):
        if packet.tag in (Tag.PublicKey, Tag.PublicSubkey):
            parts.append(packet.fingerprint.lower())
            born = _epoch(packet.key_created)
            created = created or born
        elif packet.tag == Tag.Signature and parts:
            flags = packet.key_flags
            if flags and flags.signing and not signer:
                signer = parts[-1]
            if packet.signature_type == SignatureType.SubkeyBinding and packet.key_validity_period:
                ends[parts[-1]] = born + int(packet.key_validity_period.total_seconds())
            if packet.signature_type == SignatureType.SubkeyRevocation:
                withdrawn.append(parts[-1])
    fingerprint = cert.fingerprint.lower()
    users = [str(user) for user in cert.user_ids]
    return Key(
        fingerprint=fingerprint,
        signer=signer or fingerprint,
        parts=tuple(parts) or (fingerprint,),
        userid=users[0] if users else "",
        created=created,
        expires=_epoch(cert.expiration),
        revoked=bool(cert.is_revoked),
        ended=tuple(sorted(ends.items())),
        withdrawn=tuple(withdrawn),
        armored=str(cert),
    )


def judge(data: bytes, signature: bytes, ring: Keyring, *, now: float | None = None) -> Verdict:
    """Return what a detached signature over `data` is worth.

    A key that has expired by `now` (the present when None) proves nothing more, whatever date the signature
    bears, since its owner no longer answers for it. Give the signature's own time to judge what was once good.
    """
    import pysequoia

    if not signature:
        return _UNSIGNED
    try:
        sig = pysequoia.Sig.from_bytes(signature)
        issuer = str(sig.issuer_fingerprint or sig.issuer_key_id or "")
        created = _epoch(sig.created)
    except BaseException as error:  # the library's panics are no Exceptions
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return Verdict(state="bad", why="its signature cannot be read")
    shown = f"0x{issuer[-16:].upper()}" if issuer else "that it does not name"
    found = ring.find(issuer)
    if found is None:
        why = f"it is signed by key {shown}, which is not trusted here"
        return Verdict(state="unknown", why=why, issuer=issuer, created=created)
    key, part = found
    known = Verdict(state="good", why=f"signed by key {shown}", issuer=issuer, key=key, created=created)
    if key.revoked or part in key.withdrawn:
        return known.but(state="revoked", why=f"it is signed by key {shown}, which has been revoked")
    end = key.expiry(part)
    if end and end <= (time.time() if now is None else now):
        day = time.strftime("%Y-%m-%d", time.gmtime(end))
        return known.but(state="expired", why=f"it is signed by key {shown}, which expired on {day}")
    if not _verified(data, sig, key):
        return known.but(state="bad", why=f"its signature by key {shown} does not fit, or is too weak")
    return known


def _verified(data: bytes, sig: Any, key: Key) -> bool:
    import pysequoia

    try:
        cert = _certificate(key.armored)
        return bool(pysequoia.verify(bytes=data, store=lambda _ids: [cert], signature=sig).valid_sigs)
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return False


@functools.lru_cache(maxsize=64)
def _certificate(armored: str) -> Any:
    import pysequoia

    return pysequoia.Cert.from_bytes(armored.encode())


def judge_header(header: Header, ring: Keyring, *, now: float | None = None) -> Verdict:
    """Return what the signature of an installed package's header is worth."""
    signature, data = header.signature, header.signed_bytes()
    if signature and not data:
        return Verdict(state="bad", why="its header has no region that could be signed")
    return judge(data, signature, ring, now=now)


def check_package(path: str, ring: Keyring, level: Level = "all", *, nevra: str = "") -> Header:
    """Check a package file and return its header. Raises BadPackage, RedpakError.

    digest: header and payload are as their digests say. signature: besides, a key of `ring` signed the header,
    and what it signed vouches for the payload. all: both, which is the same; none: it is only read.
    `nevra` is what it must be: a package that was put in another one's place may be signed as well.
    """
    try:
        signatures, header, offset = from_rpm(path)
        if nevra and header.nevra != nevra:
            told = f"it is {header.nevra} instead of {nevra}"
            raise BadPackage(path, told, kind="swapped", hint="Tell who publishes the repository.")
        if level != "none":
            with doing("read the package"):
                _check(path, signatures, header, offset, ring, signed=level in ("all", "signature"))
    except Refused:
        raise
    except RedpakError as error:
        raise BadPackage(path, error.message, kind="damaged", hint="Download it again.") from None
    return header


def _check(
    path: str, signatures: Header, header: Header, offset: int, ring: Keyring, *, signed: bool
) -> None:
    raw = MAGIC + header.blob
    for tag, kind in ((SHA256_HEADER, "sha256"), (SHA1_HEADER, "sha1")):
        said = signatures.text_of(tag) if tag in signatures.numbers() else ""
        if said and hashlib.new(kind, raw, usedforsecurity=False).hexdigest() != said.lower():
            raise BadPackage(
                path, f"its header does not have the {kind} digest that it claims", kind="digest"
            )
    verdict = None
    if signed:
        # before the payload is read: what nobody vouches for is not worth a look
        verdict = _best(judge(raw, one, ring) for one in _header_signatures(signatures))
        if verdict is None or not verdict:
            legacy = _whole_signatures(signatures)
            if verdict is not None or not legacy:
                raise _unproved(path, _UNSIGNED if verdict is None else verdict)
    payload = _payload_digest(path, header, offset)
    if payload is False:
        raise BadPackage(path, "its payload does not have the digest that its header claims", kind="digest")
    if payload is None:
        _check_md5(path, signatures, offset - len(raw))
    if signed and (payload is None or verdict is None):
        # before rpm 4.14: one signature over header and payload together
        with open(path, "rb") as file:
            file.seek(offset - len(raw))
            whole = file.read()
        legacy_verdict = _best(judge(whole, one, ring) for one in _whole_signatures(signatures))
        if not legacy_verdict:
            raise _unproved(path, _UNVOUCHED if legacy_verdict is None else legacy_verdict)


def _unproved(path: str, verdict: Verdict) -> BadPackage:
    hints = {
        "unsigned": "Ask for signed packages, or allow this repository unsigned ones with gpgcheck=0.",
        "unknown": "If you trust whose key it is, put that into the node's '.redpak/keys' as a .asc file "
        "(into a plain directory: rpm --root DIR --import FILE).",
        "bad": "Download it again; tell who publishes it when that does not help.",
        "expired": "Import the renewed key, or ask for packages signed by one that is valid.",
        "revoked": "Ask for packages signed by another key.",
    }
    kind: Why = "bad" if verdict.state == "good" else verdict.state
    return BadPackage(path, verdict.why, kind=kind, verdict=verdict, hint=hints[kind])


def _best(verdicts: Any) -> Verdict | None:
    """Return the first good verdict, else the most telling one, None when there was no signature at all."""
    order = ("good", "bad", "revoked", "expired", "unknown", "unsigned")
    return min(verdicts, key=lambda verdict: order.index(verdict.state), default=None)


def _header_signatures(signatures: Header) -> list[bytes]:
    """Return the signatures over the header alone."""
    present = signatures.numbers()
    found = [signatures.binary_of(tag) for tag in (RSA, DSA) if tag in present]
    if OPENPGP in present:
        for text in signatures.texts_of(OPENPGP):
            try:
                found.append(base64.b64decode("".join(text.split()), validate=True))
            except (binascii.Error, ValueError):
                found.append(b"?")
    return [one for one in found if one]


def _whole_signatures(signatures: Header) -> list[bytes]:
    """Return the signatures over header and payload."""
    present = signatures.numbers()
    return [signatures.binary_of(tag) for tag in (PGP, GPG) if tag in present]


def _payload_digest(path: str, header: Header, offset: int) -> bool | None:
    """Tell whether the payload has the digest in the header; None when the header has none."""
    if PAYLOAD_DIGEST not in header.numbers():
        return None
    said = header.texts_of(PAYLOAD_DIGEST)
    number = header.integers_of(PAYLOAD_ALGORITHM) if PAYLOAD_ALGORITHM in header.numbers() else (8,)
    kind = _HASHES.get(number[0] if number else 8)
    if kind is None or not said:
        raise BadPackage(path, "its payload has a digest of a kind that is not known", kind="damaged")
    state = hashlib.new(kind, usedforsecurity=False)
    _feed(path, offset, state)
    return str(state.hexdigest()) == said[0].lower()


def _check_md5(path: str, signatures: Header, start: int) -> None:
    """Check the digest over header and payload of old packages; there must be one."""
    said = signatures.binary_of(MD5) if MD5 in signatures.numbers() else b""
    state = hashlib.md5(usedforsecurity=False)
    _feed(path, start, state)
    if state.digest() != said:
        raise BadPackage(path, "it has no digest that fits", kind="digest")


def _feed(path: str, start: int, state: Any) -> None:
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        while chunk := file.read(CHUNK):
            state.update(chunk)


def _epoch(moment: Any) -> int:
    return int(moment.timestamp()) if moment else 0


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["unreadable"])[0]
