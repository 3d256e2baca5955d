"""The second witness: a tree held against its certificate, by digests and by a plain walk; no solver, no cache."""

from __future__ import annotations

import os

from redpak import paths
from redpak.errors import RedpakError
from redpak.node import certificate, prove_cache, prove_disk, prove_tree
from redpak.packages.finding import Finding
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.node.prove_tree import Forest


class Checked(Record):
    """What became of a certificate."""

    good: bool
    signer: str  # public key, hexadecimal; '' when nobody signed
    trusted: bool  # the signer is the one that the caller named
    members: int
    packages: int
    findings: tuple[Finding, ...]


def verify(path: str, root: str, *, key: str = "", core: str = "") -> Checked:
    """Return whether the tree at `root` is the one that a certificate speaks of, and coherent.

    `key` is a PEM file with the only public key that counts. Raises NotFound, Usage.
    """
    signed = certificate.read(path)
    found = signature(path, signed, key)
    top = os.path.realpath(root)
    forest = prove_tree.forest(root, core=core, cache=prove_cache.Cache("", fresh=True))
    said = {one["node"]: one for one in signed.body["members"]}
    for at in range(len(forest.members)):
        name = certificate.named(forest, at, top)
        one = said.pop(name, None)
        if one is None:
            found.append(_about(forest, at, "unknown-node", "is not in the certificate"))
        else:
            found += compare(forest, at, one, top)
        found += examined(forest, at)
    for name in sorted(said):
        found.append(Finding(kind="missing-node", place=os.path.join(top, name), name=said[name]["alias"],
                             text=f"'{name}' is in the certificate and not here"))  # fmt: skip
    if signed.body.get("defaults") != certificate.digest_of(paths.main_config()):
        text = "the core OS's defaults are not those that the tree was proved with"
        found.append(Finding(kind="changed-configuration", file=paths.main_config(), text=text))
    found += walked(forest, coherent=signed.body.get("coherent") is True)
    faults = [one for one in found if one.grade == "fault"]
    return Checked(
        good=not faults, signer=signed.public, trusted=bool(key) and signed.good and not signature(path, signed, key),
        members=len(forest.members), packages=sum(len(forest.facts(at)) for at in range(len(forest.members))),
        findings=tuple(found),
    )  # fmt: skip


def signature(path: str, signed: certificate.Signed, key: str) -> list[Finding]:
    """Return what is wrong with a certificate's signature."""
    wanted = certificate.public_of(key) if key else ""
    if not signed.public:
        return [Finding(kind="missing-signature", file=path, text=f"certificate '{path}' is not signed",
                        grade="fault" if wanted else "note", hint="Sign it with: redpak prove --sign KEY")]  # fmt: skip
    if not signed.good:
        text = f"the signature of certificate '{path}' does not fit: it was changed"
        return [Finding(kind="wrong-signature", file=path, text=text, hint="Get it again.")]
    if wanted and signed.public != wanted:
        text = f"certificate '{path}' is signed by {signed.public[:16]}…, not by {wanted[:16]}…"
        return [Finding(kind="wrong-signature", file=path, text=text, hint="Ask who made it.")]
    return []


def compare(forest: Forest, at: int, said: dict[str, Any], root: str) -> list[Finding]:
    """Return in what a member is not as its certificate says."""
    found: list[Finding] = []
    try:
        now = certificate.describe(forest, at, root)
    except RedpakError as error:
        return [_about(forest, at, "database", f"cannot be compared: {error.message}")]
    if now["parent"] != said["parent"]:
        found.append(
            _about(forest, at, "moved-node", f"stands on '{now['parent']}', not on '{said['parent']}'")
        )
    before = {(str(nevra), str(digest)) for nevra, digest in said["packages"]}
    after = {(nevra, digest) for nevra, digest in now["packages"]}
    names = {nevra for nevra, _ in before} & {nevra for nevra, _ in after}
    for nevra in sorted({nevra for nevra, _ in before ^ after}):
        what = "is another one than was proved" if nevra in names else (
            "is gone" if any(nevra == one for one, _ in before) else "was not there when it was proved"
        )  # fmt: skip
        found.append(_about(forest, at, "changed-package", f"package {nevra} {what}", package=nevra))
    if not found and now["database"] != said["database"]:
        found.append(_about(forest, at, "changed-database", "the package database has changed"))
    if now.get("files") != said.get("files"):
        found.append(_about(forest, at, "changed-files", "its files are not those that were proved"))
    old = {str(name): str(digest) for name, digest in said.get("configuration", ())}
    new = dict(now.get("configuration", ()))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            found.append(_about(forest, at, "changed-configuration", f"'{name}' has changed", file=name))
    return found


def examined(forest: Forest, at: int) -> list[Finding]:
    """Return what is wrong with a member's bytes: signatures, headers, files. The host's own files are not read."""
    member = forest.members[at]
    if member.layer.database != "rpm" or member.trouble or member.layer.tree == "/":
        return []
    found = prove_disk.examine(forest, at, fresh=True)
    return [one for one in found if one.kind != "unowned-file"]


def walked(forest: Forest, *, coherent: bool) -> list[Finding]:
    """Return every edge that does not hold, by the walk over sets, and whether the certificate says the same."""
    from redpak.packages.edges import Tree

    tree = Tree(forest.places())
    found = []
    for at, member in enumerate(forest.members):
        for edge in tree.broken(at):
            found.append(Finding(
                kind=edge.kind, place=member.path, name=member.name, package=edge.package.nevra, text=tree.say(edge),
            ))  # fmt: skip
    for at, why in forest.wrong.items():
        found.append(_about(forest, at, "database", f"the package database cannot be read: {why}"))
    if bool(found) == coherent:
        text = "the certificate says coherent, the walk does not" if coherent else (
            "the walk says coherent, the certificate does not"
        )  # fmt: skip
        found.append(Finding(kind="disagreement", text=text))
    return found


def _about(forest: Forest, at: int, kind: str, text: str, *, package: str = "", file: str = "") -> Finding:
    member = forest.members[at]
    return Finding(kind=kind, place=member.path, name=member.name, package=package, file=file,
                   text=f"{member.name}: {text}")  # fmt: skip
