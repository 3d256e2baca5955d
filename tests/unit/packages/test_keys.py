"""What a signature is worth: over metadata, over headers, over package files; and which key counts when."""

from __future__ import annotations

import datetime
import functools
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from redpak.errors import RedpakError
from redpak.packages import keys, keystore, rpmdb
from redpak.packages.access import Access
from redpak.packages.header import from_rpm
from redpak.packages.keys import BadPackage, Keyring
from redpak.packages.model import Layer, Site
from tests.rpms import Maker
from tests.rpms import key as key_of

pytestmark = pytest.mark.needs("rpm")

DAY = datetime.timedelta(days=1)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "made")


@pytest.fixture
def ring(maker: Maker) -> Keyring:
    return Keyring(keys=tuple(keys.parse(maker.key.encode())))


def site(path: Path, *, is_node: bool) -> Site:
    layer = Layer(
        name="node",
        kind="node",
        path=str(path),
        database="rpm",
        rpmdb=str(path / "var/lib/rpm"),
        locked=False,
    )
    return Site(path=str(path), is_node=is_node, layers=(layer,), arch="x86_64")


class Own:
    """A key made by the library, whose state can be changed."""

    def __init__(self) -> None:
        import pysequoia

        self.secret: Any = pysequoia.Tsk.generate(user_id="Own <own@example.invalid>")
        self.cert: Any = self.secret.extract_certificate()

    def ring(self, cert: Any = None) -> Keyring:
        return Keyring(keys=tuple(keys.parse(bytes(cert or self.cert))))

    def sign(self, data: bytes) -> bytes:
        import pysequoia

        made: bytes = pysequoia.sign(self.secret.signer(), data, mode=pysequoia.SignatureMode.DETACHED)
        return made

    def revoked(self) -> Any:
        import pysequoia

        packets = bytes(self.cert) + bytes(self.cert.revoke(self.secret.certifier()))
        return pysequoia.Cert.from_bytes(packets)

    def ends_tomorrow(self) -> Any:
        when = datetime.datetime.now(datetime.UTC) + DAY
        return self.cert.set_expiration(when, self.secret.certifier())


@functools.cache
def own() -> Own:
    return Own()


def test_a_key_file_tells_what_people_compare(maker: Maker) -> None:
    (one,) = keys.parse(maker.key.encode())
    assert one.fingerprint == key_of().fingerprint
    assert one.userid == "packager <packager@example.invalid>"
    assert one.short_id == one.fingerprint[-8:].upper()
    assert (one.expires, one.revoked) == (0, False)
    assert time.gmtime(one.created).tm_year == 2023


def test_the_key_that_is_shown_is_the_one_that_signs() -> None:
    (one,) = own().ring().keys
    assert len(one.parts) == 3
    assert one.signer == one.parts[1]
    assert one.fingerprint == one.parts[0]


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxx\n", b"\x99" * 50]
)
def test_what_holds_no_key_is_an_error(data: bytes) -> None:
    with pytest.raises(RedpakError, match="holds no OpenPGP key"):
        keys.parse(data, where="KEY")


def test_good_signatures_are_good_armored_or_not(ring: Keyring) -> None:
    for armor in (True, False):
        assert keys.judge(b"data", key_of().sign(b"data", armor=armor), ring).key == ring.keys[0]


def states(data: bytes, signature: bytes, ring: Keyring, **options: float) -> str:
    return keys.judge(data, signature, ring, **options).state


def test_every_bad_signature_has_its_reason(ring: Keyring) -> None:
    good = key_of().sign(b"data")
    assert states(b"data", good, ring) == "good"
    assert states(b"datb", good, ring) == "bad"
    assert states(b"data", b"", ring) == "unsigned"
    assert states(b"data", b"nonsense", ring) == "bad"
    assert states(b"data", good, Keyring()) == "unknown"
    assert states(b"data", key_of("mallory").sign(b"data"), ring) == "unknown"
    why = keys.judge(b"data", good, Keyring()).why
    assert re.fullmatch(r"it is signed by key 0x[0-9A-F]{16}, which is not trusted here", why)


def test_no_flipped_bit_of_a_signature_is_accepted(ring: Keyring) -> None:
    good = key_of().sign(b"data")
    for at in range(len(good)):
        for bit in (1, 128):
            changed = good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :]
            verdict = keys.judge(b"data", changed, ring)
            # the unhashed part names the issuer, and the packet's own length may be written in two ways
            assert verdict.state != "good" or verdict.issuer == key_of().fingerprint


def test_a_revoked_key_proves_nothing() -> None:
    signature = own().sign(b"data")
    assert states(b"data", signature, own().ring()) == "good"
    assert states(b"data", signature, own().ring(own().revoked())) == "revoked"


def test_an_expired_key_proves_nothing_new() -> None:
    signature = own().sign(b"data")
    ring = own().ring(own().ends_tomorrow())
    assert states(b"data", signature, ring) == "good"
    later = time.time() + 3 * 86400
    verdict = keys.judge(b"data", signature, ring, now=later)
    assert verdict.state == "expired"
    assert "which expired on 20" in verdict.why
    assert states(b"data", signature, ring, now=verdict.created) == "good"  # what was once good


def test_a_signed_package_is_accepted(maker: Maker, ring: Keyring) -> None:
    path = maker.rpm("a", files={"/usr/a": os.urandom(5000)})
    assert keys.check_package(path, ring, nevra="a-1-1.x86_64").name == "a"


def kind_of(path: str | Path, ring: Keyring, **options: Any) -> str:
    with pytest.raises(BadPackage) as caught:
        keys.check_package(str(path), ring, **options)
    assert caught.value.code == 3
    return caught.value.kind


def changed(path: str, at: int) -> Path:
    data = bytearray(Path(path).read_bytes())
    data[at] ^= 1
    other = Path(path).with_name("changed.rpm")
    other.write_bytes(data)
    return other


def test_every_attack_on_a_package_has_its_name(maker: Maker, ring: Keyring) -> None:
    path = maker.rpm("a", files={"/usr/a": os.urandom(5000)})
    unsigned = maker.rpm("u", files={"/usr/u": b"u"}, sign=False)
    foreign = maker.rpm("f", sign=key_of("mallory"))
    _, header, payload = from_rpm(path)
    assert kind_of(unsigned, ring) == "unsigned"
    assert kind_of(foreign, ring) == "unknown"
    assert kind_of(path, Keyring()) == "unknown"
    assert kind_of(changed(path, payload + 100), ring) == "digest"
    assert kind_of(changed(path, payload - 40), ring) == "digest"
    assert kind_of(path, ring, nevra="a-2-1.x86_64") == "swapped"
    assert kind_of(path, ring, nevra="b-1-1.x86_64", level="digest") == "swapped"
    short = Path(path).with_name("short.rpm")
    short.write_bytes(Path(path).read_bytes()[:-10])
    assert kind_of(short, ring) == "digest"
    short.write_bytes(Path(path).read_bytes() + b"more")
    assert kind_of(short, ring) == "digest"
    short.write_bytes(Path(path).read_bytes()[: payload - len(header.blob)])
    assert kind_of(short, ring) == "damaged"
    short.write_bytes(b"no package")
    assert kind_of(short, ring) == "damaged"


def stripped(path: str) -> Path:
    """Make the signature's tag one that nobody reads."""
    data = bytearray(Path(path).read_bytes())
    at = data.index((267).to_bytes(4, "big"), 96)
    data[at : at + 4] = (266).to_bytes(4, "big")
    other = Path(path).with_name("stripped.rpm")
    other.write_bytes(data)
    return other


def test_a_stripped_package_is_an_unsigned_one(maker: Maker, ring: Keyring) -> None:
    path = stripped(maker.rpm("a"))
    assert kind_of(path, ring) == "unsigned"
    assert keys.check_package(str(path), ring, "digest").name == "a"


def test_digests_count_where_no_signature_is_asked_for(maker: Maker) -> None:
    path = maker.rpm("u", files={"/usr/u": os.urandom(900)}, sign=False)
    _, _, payload = from_rpm(path)
    assert keys.check_package(path, Keyring(), "digest").name == "u"
    assert kind_of(changed(path, payload + 5), Keyring(), level="digest") == "digest"
    assert kind_of(changed(path, payload - 9), Keyring(), level="digest") == "digest"
    assert keys.check_package(str(changed(path, payload + 5)), Keyring(), "none").name == "u"


def test_a_payload_of_another_package_is_found(maker: Maker, ring: Keyring) -> None:
    one = maker.rpm("one", files={"/usr/x": b"one"})
    two = maker.rpm("two", files={"/usr/x": b"two"})
    _, _, first = from_rpm(one)
    _, _, second = from_rpm(two)
    mixed = Path(one).with_name("mixed.rpm")
    mixed.write_bytes(Path(one).read_bytes()[:first] + Path(two).read_bytes()[second:])
    assert kind_of(mixed, ring) == "digest"


def test_random_damage_never_passes(maker: Maker, ring: Keyring) -> None:
    import random

    path = maker.rpm("a", files={"/usr/a": os.urandom(3000)}, scripts={"post": "echo hello"})
    data = Path(path).read_bytes()
    _, header, payload = from_rpm(path)
    start = payload - len(header.blob) - 8
    draw = random.Random(1)
    other = Path(path).with_name("changed.rpm")
    for _ in range(200):
        at = draw.randrange(start, len(data))
        broken = bytearray(data)
        broken[at] ^= 1 << draw.randrange(8)
        other.write_bytes(broken)
        if start + 4 <= at < start + 8:  # reserved bytes of the header's magic, which no reader looks at
            continue
        with pytest.raises(BadPackage):
            keys.check_package(str(other), ring)


def test_an_installed_header_is_judged_too(maker: Maker, ring: Keyring, tmp_path: Path) -> None:
    maker.database([maker.rpm("a"), maker.rpm("u", sign=False)], tmp_path / "db")
    found = {header.name: header for header in rpmdb.read(str(tmp_path / "db"))}
    assert keys.judge_header(found["a"], ring).key == ring.keys[0]
    assert keys.judge_header(found["u"], ring).state == "unsigned"
    assert keys.judge_header(found["a"], Keyring()).state == "unknown"


def test_a_node_keeps_its_keys_as_files(maker: Maker, ring: Keyring, tmp_path: Path) -> None:
    node = site(tmp_path / "node", is_node=True)
    assert keystore.keyring(node) == Keyring()
    keystore.import_key(node, ring.keys[0])
    assert keystore.keyring(node) == ring
    assert [path.name for path in (tmp_path / "node/.redpak/keys").iterdir()] == [
        f"{key_of().fingerprint}.asc"
    ]
    (tmp_path / f"node/.redpak/keys/{key_of().fingerprint}.asc").unlink()
    assert keystore.keyring(node) == Keyring()


def test_a_plain_root_keeps_its_keys_in_rpms_database(maker: Maker, ring: Keyring, tmp_path: Path) -> None:
    root = site(tmp_path / "root", is_node=False)
    assert keystore.keyring(root) == Keyring()
    keystore.import_key(root, ring.keys[0])
    (one,) = keystore.keyring(root).keys
    assert one.fingerprint == key_of().fingerprint
    assert keys.check_package(maker.rpm("a"), Keyring(keys=(one,))).name == "a"


def test_keys_are_taken_only_when_somebody_says_yes(maker: Maker, tmp_path: Path) -> None:
    both = tmp_path / "KEYS"
    both.write_text(maker.key + "\n" + key_of("mallory").public)
    urls = [f"file://{both}", str(maker.key_file)]
    asked: list[str] = []

    def confirm(key: keys.Key, url: str) -> bool:
        asked.append(url)
        return key.userid.startswith("packager")

    taken, refused = keystore.offer(urls, Access(), Keyring(), confirm)
    assert [key.fingerprint for key in taken] == [key_of().fingerprint]
    assert [key.fingerprint for key in refused] == [key_of("mallory").fingerprint]
    assert len(asked) == 2
    assert keystore.offer(urls, Access(), Keyring(), None)[0] == []
    with pytest.raises(RedpakError, match="Failed to retrieve GPG key"):
        keystore.offer([f"file://{tmp_path}/none"], Access(), Keyring(), confirm)
