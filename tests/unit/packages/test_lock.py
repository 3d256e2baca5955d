"""Locks: one canonical form, signatures, and everything that must be so before one is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from redpak.errors import RedpakError, Refused
from redpak.node import lock as node_lock
from redpak.node.history import Entry, encode
from redpak.packages import lock
from redpak.packages.header import from_rpm
from redpak.packages.lock import Ancestor, Lock, LockedPackage
from redpak.packages.model import Item, Layer, Site
from tests.rpms import Maker

PACKAGE = LockedPackage(name="app", epoch=2, version="1.0", release="1", arch="noarch", checksum="sha256:" + "a" * 64,
                        header="b" * 64, size=10, reason="user", repo="r", location="p/app.rpm",
                        urls=("file:///p/app.rpm",))  # fmt: skip
LOCK = Lock(name="nav", arch="x86_64", counter=4, ancestors=(Ancestor(name="core OS", kind="core", digest="c" * 64),),
            repositories=(("r", "d" * 64),), packages=(PACKAGE,))  # fmt: skip


def pem(key: Any) -> bytes:
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    data: bytes = key.private_bytes(serialization.Encoding.PEM, form, none)
    return data


SECRET = pem(Ed25519PrivateKey.from_private_bytes(b"s" * 32))
OTHER = pem(Ed25519PrivateKey.from_private_bytes(b"o" * 32))


def read(data: Any, tmp_path: Path) -> Lock:
    path = tmp_path / "lock"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return lock.read(str(path))


def changed(**values: Any) -> Any:
    return {**json.loads(lock.encode(LOCK)), **values}


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    signed = lock.sign(LOCK, SECRET)
    assert read(lock.encode(LOCK), tmp_path) == LOCK
    assert read(lock.encode(signed), tmp_path) == signed
    assert lock.encode(LOCK) == lock.encode(read(lock.encode(LOCK), tmp_path))
    assert signed.but(key="", signature="") == LOCK


@given(st.data())
def test_no_changed_lock_keeps_its_signature(data: st.DataObject) -> None:
    text = json.loads(lock.encode(lock.sign(LOCK, SECRET)))
    where: Any = text
    while isinstance(where, dict | list) and where:
        key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
        holder, where = where, where[key]
    holder[key] = (where + 1) if isinstance(where, int) else f"{where or ''}0"
    with pytest.raises(RedpakError):
        lock.decode(text, "lock")


def test_a_changed_lock_is_refused_with_a_reason(tmp_path: Path) -> None:
    text = json.loads(lock.encode(lock.sign(LOCK, SECRET)))
    text["counter"] = 5
    with pytest.raises(Refused, match="it was changed after it was signed"):
        read(text, tmp_path)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("{", "is no lock"),
        ("[]", "is no lock"),
        (changed(kind="other"), "is no lock"),
        (changed(schema=9), "is a lock of schema 9"),
        (changed(counter=-1), "'counter' is -1"),
        (changed(counter=True), "'counter' is True"),
        (changed(packages=[{}]), "is no complete lock"),
        (changed(packages=None), "is no complete lock"),
        (
            changed(packages=[{**lock.vars_of(PACKAGE), "checksum": "md5:00"}]),
            "package 'app' has no usable digest",
        ),
        (changed(packages=[{**lock.vars_of(PACKAGE), "name": "../app"}]), "has a name with '/'"),
        (
            changed(packages=[lock.vars_of(PACKAGE), lock.vars_of(PACKAGE)]),
            "package 'app-2:1.0-1.noarch' is there twice",
        ),
        (changed(signature={"algorithm": "rot13", "value": "00"}), "signature algorithm 'rot13' is unknown"),
    ],
)
def test_a_wrong_lock_is_one_message(tmp_path: Path, data: Any, told: str) -> None:
    with pytest.raises(RedpakError) as caught:
        read(data, tmp_path)
    assert told in caught.value.message


def test_all_faults_of_a_lock_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RedpakError, match="'name' is 3; 'counter' is 'x'"):
        read(changed(name=3, counter="x"), tmp_path)


def judged(**values: Any) -> list[str]:
    usual = {"arch": "x86_64", "ancestors": LOCK.ancestors, "now": 1000.0, "seen": 0, "trusted": ""}
    given_lock = values.pop("lock", LOCK)
    return lock.judge(given_lock, **{**usual, **values})


def test_a_fitting_lock_has_no_fault() -> None:
    assert judged() == []
    assert judged(seen=4) == []
    signed = lock.sign(LOCK, SECRET)
    assert judged(lock=signed, trusted=signed.key) == []


def test_every_reason_against_a_lock_is_named() -> None:
    late = LOCK.but(expires=999)
    assert judged(lock=late) == ["it expired at 1970-01-01 00:16:39 UTC"]
    assert judged(seen=5) == ["its counter is 4, and lock 5 was used already"]
    assert judged(arch="aarch64") == ["it is for x86_64, and this is aarch64"]
    other = (
        Ancestor(name="core OS", kind="core", digest="e" * 64),
        Ancestor(name="plat", kind="node", digest=""),
    )
    assert judged(ancestors=other) == [
        "ancestor 'core OS' has other packages than the lock was made with",
        "'plat' is an ancestor here, and not in the lock",
    ]
    assert judged(ancestors=()) == ["'core OS' is an ancestor in the lock, and not here"]
    mine, theirs = lock.sign(LOCK, SECRET), lock.sign(LOCK, OTHER)
    assert judged(trusted=mine.key) == ["it is not signed"]
    assert judged(lock=theirs, trusted=mine.key) == ["it is not signed by the key that is trusted"]
    assert len(judged(lock=late, seen=9, arch="s390x", ancestors=())) == 4


def test_keys_of_other_kinds_are_refused() -> None:
    with pytest.raises(RedpakError, match="is no ed25519 key"):
        lock.sign(LOCK, pem(generate_private_key(SECP256R1())))
    with pytest.raises(RedpakError, match="cannot be read"):
        lock.sign(LOCK, b"nonsense")
    with pytest.raises(RedpakError, match="cannot be read"):
        lock.public_key(b"nonsense")


def test_public_keys_are_read_in_their_usual_forms() -> None:
    public = Ed25519PrivateKey.from_private_bytes(b"s" * 32).public_key()
    raw = lock.sign(LOCK, SECRET).key
    info, ssh = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.OpenSSH
    assert lock.public_key(public.public_bytes(serialization.Encoding.PEM, info)) == raw
    assert lock.public_key(public.public_bytes(serialization.Encoding.OpenSSH, ssh)) == raw
    assert lock.public_key(raw.encode() + b"\n") == raw


# ---- of a directory with packages ----


class Place:
    """A plain directory with packages, as rpm would have made it."""

    def __init__(self, folder: Path) -> None:
        self.maker = Maker(folder)
        self.path = folder / "root"
        layer = Layer(name=str(self.path), kind="node", path=str(self.path), database="rpm",
                      rpmdb=str(self.path / "var/lib/rpm"), locked=False)  # fmt: skip
        self.site = Site(path=str(self.path), is_node=False, layers=(layer,), arch="x86_64")

    def has(self, *rpms: str) -> None:
        """Let these packages be installed, and the history know their files."""
        for old in (self.path / "var/lib/rpm").glob("*"):
            old.unlink()
        self.maker.database(rpms, self.path / "var/lib/rpm")
        items = []
        for rpm in rpms:
            head = from_rpm(rpm)[1]
            items.append(
                Item(action="install", name=head.name, epoch=head.epoch, version=head.version, release=head.release,
                     arch=head.arch, repo="r", reason="user", location=Path(rpm).name, checksum="sha256:" + "1" * 64)
            )  # fmt: skip
        folder = self.path / "var/lib/redpak/history"
        folder.mkdir(parents=True, exist_ok=True)
        reasons = tuple(sorted((f"{one.name}.{one.arch}", "user") for one in items))
        (folder / "3.json").write_bytes(encode(Entry(id=3, items=tuple(items), reasons=reasons)))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_lock_names_every_package_exactly(place: Place) -> None:
    place.has(place.maker.rpm("a"), place.maker.rpm("b", epoch=1))
    made = node_lock.make(place.site, [])
    assert (made.counter, made.arch, made.ancestors) == (3, "x86_64", ())
    assert [one.nevra for one in made.packages] == ["a-1-1.x86_64", "b-1:1-1.x86_64"]
    one = made.packages[0]
    assert (one.reason, one.checksum, one.location) == ("user", "sha256:" + "1" * 64, "a-1-1.x86_64.rpm")
    assert place.maker.signer.fingerprint.lower() == one.signed_by
    assert made == node_lock.make(place.site, [])


def test_a_package_with_a_base_of_its_own_is_locked_to_that_place() -> None:
    item = Item(
        action="install",
        name="a",
        epoch=0,
        version="1",
        release="1",
        arch="noarch",
        repo="r",
        location="p/a b.rpm",
    )
    ours = ["https://one.example/r/", "https://two.example/r"]
    assert node_lock.addresses(item, ours) == (
        "p/a b.rpm",
        ("https://one.example/r/p/a%20b.rpm", "https://two.example/r/p/a%20b.rpm"),
    )
    away = item.but(base="https://else.example/x/")
    assert node_lock.addresses(away, ours) == ("", ("https://else.example/x/p/a%20b.rpm",))
    assert node_lock.addresses(item.but(location="/here/a.rpm"), ours) == ("", ("file:///here/a.rpm",))


def test_packages_whose_files_nobody_knows_are_named(place: Place) -> None:
    place.maker.database([place.maker.rpm("a"), place.maker.rpm("b")], place.path / "var/lib/rpm")
    with pytest.raises(RedpakError, match=r"2 packages \(a-1-1.x86_64, b-1-1.x86_64\) are not known"):
        node_lock.make(place.site, [])


def test_a_lock_becomes_exactly_the_steps_to_its_packages(place: Place) -> None:
    maker = place.maker
    place.has(maker.rpm("same"), maker.rpm("older", "2"), maker.rpm("newer", "1"), maker.rpm("wanted"),
              maker.rpm("built", summary="once"))  # fmt: skip
    wanted = node_lock.make(place.site, [])
    place.has(maker.rpm("same"), maker.rpm("older", "1"), maker.rpm("newer", "2"), maker.rpm("gone"),
              maker.rpm("built", summary="again"))  # fmt: skip
    found = node_lock.transaction_of(place.site, wanted)
    assert [(item.action, item.nevra, item.replaces) for item in found.items] == [
        ("reinstall", "built-1-1.x86_64", ("built-1-1.x86_64",)),
        ("remove", "gone-1-1.x86_64", ()),
        ("downgrade", "newer-1-1.x86_64", ("newer-2-1.x86_64",)),
        ("upgrade", "older-2-1.x86_64", ("older-1-1.x86_64",)),
        ("install", "wanted-1-1.x86_64", ()),
    ]


def test_several_versions_of_a_kernel_are_kept_apart(place: Place) -> None:
    maker = place.maker
    place.has(maker.rpm("kernel", "1"), maker.rpm("kernel", "2"))
    wanted = node_lock.make(place.site, [])
    place.has(maker.rpm("kernel", "1"))
    assert [(one.action, one.version) for one in node_lock.transaction_of(place.site, wanted).items] == [
        ("install", "2")
    ]


def test_an_older_lock_and_another_signer_are_refused_from_then_on(place: Place) -> None:
    place.has(place.maker.rpm("a"))
    made = lock.sign(node_lock.make(place.site, [], counter=7), SECRET)
    assert not node_lock.transaction_of(place.site, made)
    node_lock.remember(place.site, made)
    assert node_lock.seen(place.site) == (7, made.key)
    for worse, told in (
        (lock.sign(made.but(counter=6), SECRET), "its counter is 6, and lock 7 was used already"),
        (made.but(key="", signature=""), "it is not signed"),
        (lock.sign(made, OTHER), "it is not signed by the key that is trusted"),
    ):
        with pytest.raises(Refused, match=told):
            node_lock.transaction_of(place.site, worse)
    Path(node_lock.seen_path(place.site)).write_text("{")
    with pytest.raises(RedpakError, match="cannot be read"):
        node_lock.transaction_of(place.site, made)


def test_the_content_of_a_database_has_one_digest_whatever_the_order(place: Place) -> None:
    one, two = (from_rpm(place.maker.rpm(name))[1] for name in ("a", "b"))
    assert lock.content([one, two]) == lock.content([two, one]) != lock.content([one])
