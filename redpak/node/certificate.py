"""What was proved of a tree, under which inputs: canonical JSON, signed, to be checked where the tree is used.

Nodes are named by their path from the root of the tree, so that a certificate holds wherever the tree is copied to.
There is no time in it: the same tree has the same certificate.
"""

from __future__ import annotations

import os

from redpak import __version__, paths
from redpak.errors import NotFound, RedpakError, Refused, Usage
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.node.prove import Report
    from redpak.node.prove_tree import Forest

SCHEMA = "redpak certificate 1"
CORE = "core OS"  # what stands for the path of a core OS
LARGEST = 256 << 20  # bytes


class Signed(Record):
    """A certificate that was read."""

    body: dict[str, Any]
    public: str  # the signer's public key, hexadecimal; '' when nobody signed
    good: bool  # whether the signature fits that key


def canonical(value: object) -> bytes:
    """Return the one JSON text of a value: keys sorted, no spaces, ASCII, no floats."""
    import json

    refuse_floats(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def refuse_floats(value: object) -> None:
    """Raise ValueError where a number has a fraction: its text would depend on who writes it."""
    if isinstance(value, float):
        raise ValueError("a certificate holds no fractions")
    if isinstance(value, dict):
        for one in value.values():
            refuse_floats(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            refuse_floats(one)


def write(path: str, report: Report, *, key: str = "", core: str = "") -> None:
    """Write the certificate of a proof, signed by the key in a PEM file. Raises Refused when it is not coherent."""
    from redpak.fs import write_atomically

    if not report.coherent:
        raise Refused(
            "the tree is not coherent, so there is nothing to certify",
            hint="Mend its faults first.",
        )
    content = body(report, core=core)
    whole: dict[str, object] = dict(content)
    if key:
        public, signature = sign(canonical(content), key)
        whole["signature"] = {"algorithm": "ed25519", "public": public, "value": signature}
    write_atomically(path, canonical(whole) + b"\n")


def body(report: Report, *, core: str = "") -> dict[str, Any]:
    """Return what a certificate says, without its signature."""
    from redpak.node import prove_cache, prove_tree

    forest = prove_tree.forest(report.root, core=core, cache=prove_cache.Cache("", fresh=True))
    judged = {one.path: one for one in report.members}
    members = []
    for at in range(len(forest.members)):
        said = describe(forest, at, report.root)
        one = judged.get(forest.members[at].path)
        if one is None:
            raise RedpakError(
                f"'{forest.members[at].path}' came while the tree was proved", hint="Prove it again."
            )
        faults = {finding.kind for finding in one.faults}
        said["coherent"] = one.coherent and not faults
        said["notes"] = sorted(finding.kind for finding in one.notes)
        members.append(said)
    return {
        "schema": SCHEMA, "redpak": __version__, "arch": report.arch, "coherent": report.coherent,
        "checks": list(report.checks), "members": members, "defaults": digest_of(paths.main_config()),
    }  # fmt: skip


def describe(forest: Forest, at: int, root: str) -> dict[str, Any]:
    """Return one member's inputs: its database, its files, its configuration."""
    from redpak.packages import core, rpmdb

    member = forest.members[at]
    parent = forest.members[member.parent] if member.parent >= 0 else None
    headers = core.headers(member.layer)
    said: dict[str, Any] = {
        "node": named(forest, at, root),
        "alias": member.name,
        "kind": "core" if member.launch is None else "node",
        "parent": named(forest, member.parent, root) if parent is not None else "",
        "database": {"kind": member.layer.database, "sha256": rpmdb.digest_of(headers)},
        "packages": sorted([header.nevra, header.digest] for header in headers),
    }
    if member.launch is not None:
        said["files"] = tree_digest(forest, at)
        said["configuration"] = configuration(member.path)
    return said


def named(forest: Forest, at: int, root: str) -> str:
    """Return what a certificate calls a member: its path from the root of the tree."""
    member = forest.members[at]
    return CORE if member.launch is None else os.path.relpath(member.path, root)


def tree_digest(forest: Forest, at: int) -> str:
    """Return SHA-256 over the names, kinds, modes and contents of what packages put into a node."""
    import hashlib
    import stat

    from redpak.packages import treewalk

    layer = forest.members[at].layer
    lines = []
    for path, seen in treewalk.walk(layer):
        mode = seen.st_mode
        content = ""
        if stat.S_ISREG(mode):
            content = treewalk.file_digest(treewalk.on_disk(layer, path), seen, "sha256")
            if not content:
                raise RedpakError(f"'{treewalk.on_disk(layer, path)}' cannot be read, or is being written")
        elif stat.S_ISLNK(mode):
            content = os.readlink(treewalk.on_disk(layer, path))
        lines.append(f"{path}\0{mode:o}\0{content}")
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def configuration(path: str) -> list[list[str]]:
    """Return a node's own configuration files and trusted keys with their digests."""
    from redpak.node import tree

    names = [paths.STATUS]
    for kinds in (paths.NORMAL_CONFIGS, paths.ADMIN_CONFIGS):
        file = tree.first_file(path, kinds)
        if file:
            names.append(os.path.relpath(file, path))
    try:
        keys = os.listdir(os.path.join(path, paths.TRUSTED_KEYS))
        names += [f"{paths.TRUSTED_KEYS}/{name}" for name in keys if name.endswith(".asc")]
    except OSError:
        pass  # it trusts no keys of its own
    return [[name, digest_of(os.path.join(path, name))] for name in sorted(names)]


def digest_of(path: str) -> str:
    """Return SHA-256 of a file, '' when it is not there."""
    import hashlib

    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


# ---- signatures ----


def sign(data: bytes, key: str) -> tuple[str, str]:
    """Return public key and signature, hexadecimal, made with the private key in a PEM file."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        made = serialization.load_pem_private_key(content(key), password=None)
    except (ValueError, TypeError) as error:
        raise Usage(f"'{key}' is no private key: {error}", hint=MAKE_KEY) from None
    if not isinstance(made, Ed25519PrivateKey):
        raise Usage(f"'{key}' is no Ed25519 key", hint=MAKE_KEY)
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return made.public_key().public_bytes(*raw).hex(), made.sign(data).hex()


MAKE_KEY = "Make one with: openssl genpkey -algorithm ed25519 -out key.pem"


def public_of(path: str) -> str:
    """Return the public key in a PEM file (a private key has one too), hexadecimal. Raises Usage, NotFound."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    data = content(path)
    found: object = None
    try:
        found = serialization.load_pem_public_key(data)
    except (ValueError, TypeError):
        try:
            found = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError):
            pass
    if isinstance(found, Ed25519PrivateKey):
        found = found.public_key()
    if not isinstance(found, Ed25519PublicKey):
        raise Usage(f"'{path}' holds no Ed25519 key", hint="Give the public key as a PEM file.")
    return found.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


def read(path: str) -> Signed:
    """Return a certificate. Raises NotFound, and Usage when it is none."""
    import json

    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        whole = json.loads(content(path))
    except (ValueError, RecursionError) as error:
        raise Usage(f"'{path}' is no certificate: {error}") from None
    if not isinstance(whole, dict) or whole.get("schema") != SCHEMA or not sound(whole):
        raise Usage(f"'{path}' is no certificate of a kind that is known here ('{SCHEMA}')")
    signature = whole.pop("signature", None)
    if signature is None:
        return Signed(body=whole, public="", good=False)
    try:
        public, value = str(signature["public"]), bytes.fromhex(signature["value"])
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(value, canonical(whole))
        return Signed(body=whole, public=public, good=True)
    except (InvalidSignature, ValueError, KeyError, TypeError):
        public = str(signature.get("public", "?")) if isinstance(signature, dict) else "?"
        return Signed(body=whole, public=public, good=False)


def sound(whole: dict[str, Any]) -> bool:
    """Tell whether a certificate has what one has to have."""
    members = whole.get("members")
    return isinstance(members, list) and all(
        isinstance(one, dict)
        and all(isinstance(one.get(key), str) for key in ("node", "alias", "kind", "parent"))
        and isinstance(one.get("database"), dict)
        and isinstance(one.get("packages"), list)
        and all(isinstance(row, list) and len(row) == 2 for row in one["packages"])
        for one in members
    )


def content(path: str) -> bytes:
    """Return a file's bytes."""
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST)
    except FileNotFoundError:
        raise NotFound(f"'{path}' does not exist") from None
    except OSError as error:
        raise RedpakError(f"cannot read '{path}': {(error.strerror or str(error)).lower()}") from error
