"""What a proof or an audit found: one thing that is wrong, or worth knowing."""

from __future__ import annotations

from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    Grade = Literal["fault", "note"]


# What there is to find. Programs read these words: none may change its meaning.
KINDS = {
    "missing-requirement": "nobody in the node, or above it, provides what a package requires",
    "conflict": "a package conflicts with another one of its family",
    "obsoleted": "a package obsoletes another one of its family",
    "duplicate": "a package is there already, in the node or above it",
    "disagreement": "solver and walk over the edges, or proof and certificate, do not say the same",
    "shadowed-file": "a file has the path of an ancestor's file, and other content",
    "shadowed-program": "a program comes before an ancestor's of the same name in PATH",
    "shadowed-library": "a library comes before an ancestor's of the same name where the loader looks",
    "missing-library": "the loader does not find a library",
    "missing-version": "the library that the loader takes lacks a version that is needed",
    "missing-symbol": "no library that the loader takes defines a symbol",
    "wrong-library": "the loader takes another package's library than the one that provides it",
    "unloadable-file": "the loader gives up at a file",
    "changed-file": "a file has another content, kind or target than its package says",
    "changed-config": "a configuration file was edited",
    "missing-file": "a file of a package is not there",
    "unowned-file": "a file belongs to no package",
    "unreadable-file": "a file cannot be read by who asks",
    "wrong-mode": "a file has another mode than its package says",
    "wrong-owner": "a file belongs to somebody else than its package says",
    "wrong-capabilities": "a file has other capabilities than its package says",
    "changed-header": "a header in the database is not the one that was built",
    "missing-signature": "a package, or the certificate, is not signed",
    "wrong-signature": "a signature is bad, or by a key that is not trusted",
    "changed-database": "the package database is not the one that the last transaction left",
    "database": "the package database cannot be read",
    "older-metadata": "a repository's metadata is older than what was seen before",
    "unreadable-metadata": "a repository's metadata or configuration cannot be read",
    "loosened-setting": "a node allows what an ancestor forbids",
    "configuration": "a configuration file is wrong otherwise",
    "other-core": "a launch here shows this host's files, while the proof is about another core OS",
    "missing-source": "what a launch would show is not there",
    "unknown-node": "a node is not in the certificate",
    "missing-node": "a node of the certificate is not there",
    "moved-node": "a node stands on another one than in the certificate",
    "changed-package": "a package is not the one of the certificate",
    "changed-files": "a node's files are not those of the certificate",
    "changed-configuration": "a configuration file is not the one of the certificate",
}


class Finding(Record):
    """One thing that is wrong, or worth knowing (a note)."""

    kind: str  # one of KINDS
    place: str = ""  # path of the node, or of the core OS
    name: str = ""  # what messages call it
    package: str = ""  # nevra
    file: str = ""  # path in the node, as packages write it, or of the file that says so
    text: str  # one line
    chain: tuple[str, ...] = ()  # how it comes about, from the reason to who needs it; each with its node
    hint: str = ""
    grade: Grade = "fault"

    def data(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            "kind": self.kind, "grade": self.grade, "node": self.place, "alias": self.name, "package": self.package,
            "file": self.file, "text": self.text, "chain": list(self.chain), "hint": self.hint,
        }  # fmt: skip


def of_data(data: Any) -> Finding:
    """Return what `data` made."""
    return Finding(
        kind=data["kind"], grade=data["grade"], place=data["node"], name=data["alias"], package=data["package"],
        file=data["file"], text=data["text"], chain=tuple(data["chain"]), hint=data["hint"],
    )  # fmt: skip
