"""Change the repository files of a directory: add, remove, enable and disable, all bytes of others untouched."""

from __future__ import annotations

import os
import urllib.parse

from redpak.errors import BadConfig, Fault, NotFound, Refused, Usage
from redpak.packages import inifile
from redpak.packages.access import Access, shown
from redpak.packages.fetch import get
from redpak.packages.repoconfig import RepoConfig, from_section, unusable
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Added(Record):
    """What was added."""

    path: str
    ids: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def add(
    directory: str,
    source: str,
    *,
    name: str = "",
    kind: str = "baseurl",
    keys: Mapping[str, str] | None = None,
) -> Added:
    """Write a new repository file and return what is in it.

    `source` is a base URL (or what `kind` says), a directory, or the path or URL of a `.repo` file, which is taken
    as it is. Raises Refused when an id is taken, NotFound, BadConfig, FetchFailed.
    """
    keys = dict(keys or {})
    if source.endswith(".repo"):
        if keys or kind != "baseurl":
            raise Usage(
                "a .repo file is taken as it is",
                hint="Leave the other options out, and edit the file afterwards.",
            )
        text = _text(source)
        stem = name or _id(os.path.basename(source)[: -len(".repo")])
    else:
        url = _url(source)
        stem = name or _id(urllib.parse.unquote(shown(url).partition("://")[2]))
        values = {"name": stem, kind: url, "enabled": "1", "gpgcheck": "1", **keys}
        text = inifile.render(stem, values)
    if not inifile.valid_id(stem) or stem.startswith("."):
        raise Usage(
            f"'{stem}' cannot be the id of a repository", hint="Use letters, digits and - _ . : only."
        )
    if stem == "main" and not source.endswith(".repo"):
        raise Usage(
            "'main' cannot be the id of a repository: in .repo files it is the section of dnf's own options",
            hint="Choose another id with --id.",
        )
    path = os.path.join(directory, f"{stem}.repo")
    configs, warnings = _understood(source, text)
    taken = {section.id: file for file in inifile.files([directory]) for section in inifile.read(file)}
    for config in configs:
        if config.id in taken:
            raise Refused(
                f"repository '{config.id}' is there already, in '{taken[config.id]}'",
                hint="Choose another id with --id, or remove it first.",
            )
    secret = any(config.password or config.proxy_password or "@" in config.source for config in configs)
    inifile.add(directory, stem, text, mode=0o600 if secret else 0o644)
    return Added(path=path, ids=tuple(config.id for config in configs), warnings=warnings)


def _understood(path: str, text: str) -> tuple[list[RepoConfig], tuple[str, ...]]:
    """Return the repositories that a text describes, and what is odd about them. Raises BadConfig."""
    faults: list[Fault] = []
    configs, warnings = [], []
    for section in inifile.parse(path, text):
        if section.id == "main":
            continue
        config = from_section(section, path, {}, RepoConfig(id=section.id), faults)
        why = unusable(config)
        if why:
            faults.append(Fault(origin=config.origin, message=why))
        if config.gpgcheck and not config.gpgkey:
            warnings.append(
                f"repository '{config.id}' names no key (gpgkey): its packages can be installed only "
                "with keys that the node trusts already"
            )
        warnings += [f"'{config.id}': {note}" for note in config.notes if not note.startswith("Repository")]
        configs.append(config)
    if not configs and not faults:
        raise Refused(
            f"there is no repository in '{path}'",
            hint="Name a file with sections such as [id], each with a baseurl, mirrorlist or metalink.",
        )
    if faults:
        raise BadConfig(faults)
    return configs, tuple(warnings)


def _text(source: str) -> str:
    """Return the text of a `.repo` file at a path or URL."""
    if "://" not in source:
        if not os.path.isfile(source):
            raise NotFound(f"'{source}' does not exist", hint="Name a .repo file, a URL or a directory.")
        return inifile.content(source)
    data, _ = get([source], access=Access(), limit=inifile.BIGGEST)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused(f"'{source}' is no text") from None


def _url(source: str) -> str:
    if "://" in source:
        return source
    if not os.path.isdir(source):
        raise NotFound(
            f"'{source}' does not exist", hint="Name a URL, a directory with repodata, or a .repo file."
        )
    return file_url(source)


def key_url(source: str) -> str:
    """Return where a key is, for a .repo file: a URL as it is, a file of this host as a URL. Raises NotFound."""
    if "://" in source or "$" in source:
        return source
    if not os.path.isfile(source):
        raise NotFound(f"key '{source}' does not exist", hint="Name the key's file, or its URL.")
    return file_url(source)


def file_url(path: str) -> str:
    """Return the URL of a path as .repo files have it: without blanks, commas and $, which mean something there."""
    return "file://" + urllib.parse.quote(os.path.abspath(path), safe="/~+:@=")


def _id(text: str) -> str:
    """Return an id that looks like `text`: 'example.com_el9_x86_64'."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "-_.:") else "_" for char in text)
    return kept.strip("_")


def chosen(directory: str, patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Return id and file of the repositories that ids or globs mean. Raises NotFound for one that means none."""
    from redpak.packages.repoconfig import matching

    where: dict[str, str] = {}
    for path in inifile.files([directory]):
        for section in inifile.read(path):
            if section.id != "main":
                where.setdefault(section.id, path)
    known = [RepoConfig(id=name) for name in where]
    found: dict[str, str] = {}
    for pattern in patterns:
        ids = matching(known, pattern)
        if not ids:
            hint = (
                f"Choose one of {', '.join(sorted(where))}."
                if where
                else "Add one with 'redpak node repo add'."
            )
            raise NotFound(f"there is no repository '{pattern}'", hint=hint)
        found.update((name, where[name]) for name in ids)
    return list(found.items())


def remove(directory: str, patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Remove repositories and return id and file of each. Raises NotFound before anything is removed."""
    gone = chosen(directory, patterns)
    for name, path in gone:
        inifile.remove(path, name)
    return gone


def switch(directory: str, patterns: Sequence[str], *, enabled: bool) -> list[tuple[str, bool]]:
    """Enable or disable repositories; return id of each and whether that changed anything. Raises NotFound."""
    done = []
    for name, path in chosen(directory, patterns):
        section = next(one for one in inifile.read(path) if one.id == name)
        entry = section.value("enabled")
        now = from_section(section, path, {}, RepoConfig(id=name), []).enabled
        if now == enabled and (enabled or entry is not None):
            done.append((name, False))
            continue
        done.append((name, inifile.set_value(path, name, "enabled", "1" if enabled else "0")))
    return done
