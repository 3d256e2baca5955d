"""A tree's bytes: signatures, digests and files of every layer, and metadata that went back in time."""

from __future__ import annotations

import os
import time

from redpak import paths
from redpak.errors import BadConfig, RedpakError, Refused
from redpak.node import generations, prove_cache
from redpak.packages.finding import Finding, of_data
from redpak.packages.treewalk import stamp_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from redpak.node.prove_tree import Forest, Member
    from redpak.packages.keys import Key, Keyring
    from redpak.packages.model import Site
    from redpak.packages.repoconfig import RepoConfig
    from redpak.packages.seen import Seen

TICK_NS = 20_000_000  # a file younger than this may change again within one tick of the clock of time stamps


def integrity(forest: Forest, found: dict[int, list[Finding]], *, fresh: bool) -> None:
    """Check signatures, digests and files of every member that has an rpm database, and list files of nobody.

    The host's own files are its package manager's: of '/' nothing is read.
    """
    for at, member in enumerate(forest.members):
        if member.layer.database != "rpm" or member.trouble or member.layer.tree == "/":
            continue
        found[at] += _of_member(forest, at, fresh=fresh)


def _of_member(forest: Forest, at: int, *, fresh: bool) -> list[Finding]:
    member = forest.members[at]
    ring_key = keys_stamp(forest, at)
    known = forest.cache.get("integrity", member.path, "")
    if known is not None:
        forest.surveys[at] = survey(member, known["state"])[0]
        if known["key"] == prove_cache.digest(member.key, ring_key, forest.surveys[at]):
            return [of_data(one) for one in known["findings"]]
        forest.cache.hits["integrity"] -= 1
    state = state_files(forest, at)
    begin = time.time_ns()
    before, newest = survey(member, state)
    found = examine(forest, at, fresh=fresh)
    forest.surveys[at], _ = survey(member, state)
    # nothing is kept of files that changed meanwhile, or so shortly before that another change may look the same
    if at not in forest.wrong and before == forest.surveys[at] and begin - newest > TICK_NS:
        forest.cache.put("integrity", member.path, "", {
            "key": prove_cache.digest(member.key, ring_key, before), "state": state,
            "findings": [one.data() for one in found],
        })  # fmt: skip
    return found


def state_files(forest: Forest, at: int) -> list[str]:
    """Return those of a member's files that lie in its state directories, as they are on disk."""
    from redpak.packages.integrity import Ground

    ground = Ground(forest.members[at].layer, [forest.members[up].layer for up in forest.chain(at)[:-1]])
    owned = {ground.inside(file[0]) for package in forest.facts(at) for file in package.files}
    return [path for path in sorted(owned) if path.split("/", 2)[1] in paths.STATE_TOPS]


def examine(forest: Forest, at: int, *, fresh: bool = False) -> list[Finding]:
    """Return what is wrong with one member's bytes."""
    from redpak.packages import core, integrity

    member = forest.members[at]
    layer = member.layer
    ground = integrity.Ground(layer, [forest.members[up].layer for up in forest.chain(at)[:-1]])
    digests = Digests(member.path, fresh=fresh)
    signed = member.launch is not None and member.launch.gpgcheck
    try:
        headers = core.headers(layer)
        found = list(integrity.audit(headers, ground, keyring(forest, at), signed=signed, digest=digests.of))
        owned = {ground.inside(path) for header in headers for path in header.paths()}
    except RedpakError as error:
        forest.wrong.setdefault(at, error.message)
        return []
    if member.launch is not None:
        found += integrity.unowned(frozenset(owned), ground)
        found += recorded(member)
    digests.save()
    return found


def recorded(member: Member) -> list[Finding]:
    """Return whether a generation's database is the one that its transaction left."""
    from redpak.packages import rpmdb

    said = said_digest(member.layer.rpmdb)
    if not said or rpmdb.digest(member.layer.rpmdb) == said:
        return []
    return [
        Finding(
            kind="changed-database", place=member.path, name=member.name, file=member.layer.rpmdb,
            text="the package database is not the one that the last transaction left",
            hint="Roll back to an older generation, or find out who changed it.",
        )
    ]  # fmt: skip


def said_digest(rpmdb: str) -> str:
    """Return the digest of a database that its generation's transaction wrote down, '' when there is none."""
    import json

    try:
        with open(os.path.join(os.path.dirname(rpmdb), generations.TRANSACTION), encoding="utf-8") as file:
            said = json.load(file)
    except (OSError, ValueError, RecursionError):
        return ""
    found = said.get("digest") if isinstance(said, dict) else None
    return found if isinstance(found, str) else ""


def survey(member: Member, state: list[str]) -> tuple[str, int]:
    """Return what changes when anything about a member's files does, and when anything last did (ns since 1970)."""
    from redpak.packages import treewalk

    seen, newest = [], 0
    for path, at in treewalk.walk(member.layer):
        seen.append(f"{path}:{at.st_mode}:{at.st_uid}:{at.st_gid}:{stamp_of(at)}")
        newest = max(newest, at.st_ctime_ns)
    for path in state:
        try:
            at = os.lstat(treewalk.on_disk(member.layer, path))
            seen.append(f"{path}:{at.st_mode}:{at.st_uid}:{at.st_gid}:{stamp_of(at)}")
            newest = max(newest, at.st_ctime_ns)
        except OSError as error:
            seen.append(f"{path}:{error.errno}")
    seen.sort()
    return prove_cache.digest(seen), newest


class Digests:
    """Digests of files, known by the files' stamps: only what changed is read again."""

    def __init__(self, name: str, *, fresh: bool = False) -> None:
        self.name = "files-" + prove_cache.digest(name)[:32]
        known = None if fresh else prove_cache.load(self.name)
        self.known: dict[str, tuple[str, str]] = known if isinstance(known, dict) else {}
        self.used: dict[str, tuple[str, str]] = {}

    def of(self, path: str, at: os.stat_result, algorithm: str) -> str:
        """Return the digest of a file, '' when it cannot be read."""
        from redpak.packages.treewalk import file_digest

        key, stamp = f"{algorithm}:{path}", stamp_of(at)
        known = self.known.get(key)
        if known is not None and known[0] == stamp:
            self.used[key] = known
            return known[1]
        before = time.time_ns()
        made = file_digest(path, at, algorithm)
        if made and before - at.st_ctime_ns > TICK_NS:
            self.used[key] = (stamp, made)
        return made

    def save(self) -> None:
        """Keep what was used."""
        if self.used != self.known:
            prove_cache.store(self.name, self.used)


# ---- keys ----


def keyring(forest: Forest, at: int) -> Keyring:
    """Return whose signatures count for a member: its own keys, those above it, and what its database imported."""
    from redpak.packages import keystore
    from redpak.packages.keys import Keyring

    ring = Keyring()
    for up in forest.chain(at):
        member = forest.members[up]
        if member.launch is not None:
            ring = ring.with_keys(
                *keystore.read_directory(os.path.join(member.path, paths.TRUSTED_KEYS)).keys
            )
        if member.layer.database == "rpm":
            if up not in forest.imported:
                forest.imported[up] = imported(member.layer.rpmdb)
            ring = ring.with_keys(*forest.imported[up])
    return ring


def imported(rpmdb: str) -> tuple[Key, ...]:
    """Return the keys that rpm keeps in a database; () where it cannot be read, which is told elsewhere."""
    from redpak.packages import keystore

    try:
        return keystore.of_database(rpmdb).keys
    except RedpakError:
        return ()


def keys_stamp(forest: Forest, at: int) -> str:
    """Return what changes when the keys that count for a member do."""
    from redpak.fs import stamp

    seen: list[str] = []
    for up in forest.chain(at):
        member = forest.members[up]
        seen.append(member.key)  # keys in the database
        if member.launch is None:
            continue
        folder = os.path.join(member.path, paths.TRUSTED_KEYS)
        try:
            seen += [f"{name}:{stamp(os.path.join(folder, name))}" for name in sorted(os.listdir(folder))]
        except OSError:
            seen.append("-")
    return prove_cache.digest(seen)


# ---- metadata ----


def metadata(forest: Forest, found: dict[int, list[Finding]]) -> None:
    """Check that no repository's metadata at hand is older than what its node has seen."""
    for at in forest.nodes():
        member = forest.members[at]
        folder = os.path.join(member.path, paths.SEEN_METADATA)
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
        except OSError:
            continue
        if not names or any(
            one.kind in ("configuration", "loosened-setting") for one in faults_above(forest, at)
        ):
            continue
        key = forest.keys(at)
        known = forest.cache.get("metadata", member.path, key)
        if known is not None and stamps(path for path, _ in known["watch"]) == known["watch"]:
            found[at] += [of_data(one) for one in known["findings"]]
            continue
        findings, watch = older(forest, at, [os.path.join(folder, name) for name in names])
        watch += [folder, *names_in(os.path.join(member.path, paths.REPOSITORIES))]
        found[at] += findings
        forest.cache.put("metadata", member.path, key, {
            "watch": stamps(watch), "findings": [one.data() for one in findings],
        })  # fmt: skip


def faults_above(forest: Forest, at: int) -> list[Finding]:
    """Return what is wrong with the configuration of a node and of those above it."""
    launches = (forest.members[up].launch for up in forest.chain(at))
    return [one for launch in launches if launch is not None for one in launch.findings]


def stamps(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return files with their stamps."""
    from redpak.fs import stamp

    return [(name, stamp(name)) for name in names]


def names_in(folder: str) -> list[str]:
    """Return a directory and what is in it."""
    try:
        return [folder, *(os.path.join(folder, name) for name in sorted(os.listdir(folder)))]
    except OSError:
        return [folder]


def older(forest: Forest, at: int, files: list[str]) -> tuple[list[Finding], list[str]]:
    """Return the repositories whose metadata went back in time, and the files that this depends on."""
    from redpak.node.site import site_of
    from redpak.packages import repofile, seen

    member = forest.members[at]
    found: list[Finding] = []
    watch = list(files)
    try:
        site = site_of(member.path, core=core_of(forest, at), any_state=True)
        configs = {config.id: config for config in repofile.configured(site)}
    except BadConfig as error:
        return [
            wrong_metadata(member, "unreadable-metadata", str(fault.origin), fault.message, fault.hint)
            for fault in error.faults
        ], watch
    except RedpakError as error:
        return [wrong_metadata(member, "unreadable-metadata", "", error.message, error.hint)], watch
    for file in files:
        name = os.path.basename(file).removesuffix(".json")
        config = configs.get(name)
        if config is None:
            continue
        for repomd in repomds(config, site):
            watch.append(repomd)
            try:
                new = seen_in(repomd, config)
                if new is not None:
                    seen.refuse_older(file, new, name=name)
            except RedpakError as error:
                text = f"repository '{name}': {error.message} ('{repomd}')"
                kind = "older-metadata" if isinstance(error, Refused) else "unreadable-metadata"
                hint = "Ask who publishes it; until then, trust nothing that it offers."
                found.append(wrong_metadata(member, kind, file, text, hint))
    return found, watch


def core_of(forest: Forest, at: int) -> str:
    """Return the core OS that a member stands on, as `site_of` takes it."""
    first = forest.members[forest.chain(at)[0]]
    return "none" if first.launch is not None else first.path if first.path != "/" else "host"


def wrong_metadata(member: Member, kind: str, file: str, text: str, hint: str) -> Finding:
    """Return a finding about a repository's metadata."""
    return Finding(kind=kind, place=member.path, name=member.name, file=file, text=text, hint=hint)


def repomds(config: RepoConfig, site: Site) -> list[str]:
    """Return the metadata of a repository that is at hand: in the cache, and of repositories on this host."""
    from redpak.packages import metadata as cached
    from redpak.packages import repomd

    found = [os.path.join(cached.directory_of(config, cached.cache_of(site)), "repomd.xml")]
    for url in config.baseurl:
        if url.startswith("file://"):
            found.append(os.path.join(url.removeprefix("file://"), repomd.PLACE))
    return [path for path in found if os.path.exists(path)]


def seen_in(path: str, config: RepoConfig) -> Seen | None:
    """Return what a repomd.xml says of its age. Raises RedpakError."""
    import hashlib

    from redpak.packages import repomd
    from redpak.packages.seen import Seen

    try:
        with open(path, "rb") as file:
            data = file.read(repomd.BIGGEST)
    except OSError:
        return None
    said = repomd.parse(data, what=f"'{path}'")
    return Seen(
        source=config.source, revision=said.revision, timestamp=said.timestamp,
        sha256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip
