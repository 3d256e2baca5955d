"""What the sealed merge promises, for random families. The promises are recomputed from the files by brute force."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from redpak.config.model import Export, Family, Merged, MergedExport, NodeDoc
from redpak.config.sealed import merge
from redpak.config.settings import CAPABILITIES
from redpak.errors import BadConfig
from tests.unit.config.strategies import (
    CONTEXT,
    MOUNTS,
    SOURCES,
    constraints,
    export_lists,
    families,
    family,
    files,
    real_of,
    specs,
)

EXAMPLES = int(os.environ.get("REDPAK_EXAMPLES", "300"))
MANY = max(EXAMPLES, 10_000)

KINDS = ("user", "cgroup", "net", "pid", "ipc", "time")
WRITABLE = ("Public", "Private", "PublicFile", "PrivateFile")
READONLY = ("Restricted", "PrivateRestricted", "RestrictedFile")
OWN = ("Private", "PrivateFile", "PrivateRestricted")

# A small world: every mount point and every host path that the strategies know, and a file beneath each.
INSIDE = sorted({*MOUNTS, *(f"{at.rstrip('/')}/file" for at in MOUNTS)})
BINDING = ("etc/redpak.yaml", "etc/redpak-admin.yaml", ".rednode.yaml")
NODE_FILES = [
    f"{real_of(index)}/{name}"
    for index in range(5)
    for name in (*BINDING, "usr/file", "var/file", "private/file")
]
HOST = sorted({*SOURCES, *MOUNTS, *(f"{at.rstrip('/')}/file" for at in (*SOURCES, *MOUNTS)), *NODE_FILES})


def merged_or_none(given_family: Family) -> Merged | None:
    """Merge; None when the family is faulty. Anything but BadConfig is a crash and goes through."""
    try:
        return merge(given_family, CONTEXT)
    except BadConfig as bad:
        assert bad.faults
        assert all(fault.message for fault in bad.faults)
        assert len(set(bad.faults)) == len(bad.faults)
        return None


# --- the model: plain and slow ---------------------------------------------------------------------------


def docs(of: Family, index: int) -> list[NodeDoc]:
    """Return a node's files, the one that goes first first."""
    node = of.nodes[index]
    return [node.admin, node.normal] if of.admin and node.admin is not None else [node.normal]


def within(path: str, top: str) -> bool:
    """Compare paths component by component."""
    ours, theirs = [p for p in path.split("/") if p], [p for p in top.split("/") if p]
    return ours[: len(theirs)] == theirs


def said(of: Family, index: int, key: str) -> Any:
    """Return what a node says about a tag, None when nothing."""
    for one in docs(of, index):
        value = one.tags.get(key)
        if value is not None and str(value.value).lower() != "unset":
            return value.value
    return None


def source_of(of: Family, index: int, ask: Export) -> str:
    """Return a source; the model knows one tag only."""
    return (ask.path if ask.path is not None else ask.mount).replace("$NODE_PATH", real_of(index))


def seen(exports: list[MergedExport], path: str) -> MergedExport | None:
    """Return the mount through which `path` is seen: the longest one above it."""
    above = [export for export in exports if within(path, export.mount)]
    return max(above, key=lambda export: len([p for p in export.mount.split("/") if p]), default=None)


def shown(export: MergedExport) -> set[str]:
    """Return the files of the host that an export shows."""
    return {file for file in HOST if within(file, str(export.path))}


def caps_of(merged: Merged) -> set[str]:
    """Return the capabilities that the program keeps."""
    asked = {ask.cap: bool(ask.add) for ask, _ in merged.capabilities}
    return {name for name in CAPABILITIES if asked.get(name, asked.get("ALL", False))}


def cap_name(word: str) -> str:
    """Return a capability's name; the strategies' words only."""
    word = word.upper()
    return word if word == "ALL" or word.startswith("CAP_") else "CAP_" + word


def adds(of: Family, index: int) -> dict[str, bool]:
    """Return what a node says about capabilities."""
    found: dict[str, bool] = {}
    for one in docs(of, index):
        for ask in one.capabilities:
            found.setdefault(cap_name(ask.cap), bool(ask.add))
    return found


def openness(value: str) -> int:
    """Order what happens to a namespace from tight to loose."""
    return {"disabled": 0, "enabled": 2}.get(value, 1)


# --- 1. never a crash ------------------------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(families(wild=True))
def test_any_family_gives_a_result_or_faults(wild: Family) -> None:
    event("faulty" if merged_or_none(wild) is None else "merges")


@settings(max_examples=EXAMPLES)
@given(families(wild=True))
def test_faults_have_a_place_and_the_order_of_merging_is_stable(wild: Family) -> None:
    def outcome() -> Merged | tuple[str, ...]:
        try:
            return merge(wild, CONTEXT)
        except BadConfig as bad:
            assert all(fault.origin.file for fault in bad.faults)
            return tuple(str(fault) for fault in bad.faults)

    assert outcome() == outcome()


# --- 2. no child ever ends with more than its ancestors allow --------------------------------------------


def check_no_more(of: Family) -> None:
    """Compare a family that merges with what each of its ancestors says."""
    full = merged_or_none(of)
    if full is None:
        event("faulty")
        return
    event(f"merges, {len(of.nodes)} nodes")
    last = len(of.nodes) - 1
    for index in range(last):
        check_namespaces(of, index, full)
        check_switches(of, index, full)
        check_capabilities(of, index, full)
        check_limits(of, index, full)
        check_configuration(of, index, full)
        prefix = merged_or_none(of.but(nodes=of.nodes[: index + 1]))
        if prefix is not None:
            event("compared with an ancestor")
            check_kept(prefix, full, index)
            check_readonly(of, prefix, full, index)


def check_namespaces(of: Family, index: int, full: Merged) -> None:
    """No namespace is more open than an ancestor says, and no other one is joined."""
    for kind in KINDS:
        bound = said(of, index, f"share_{kind}")
        if bound is not None:
            got = full.shares[kind].value
            assert openness(got) <= openness(bound), kind
            if got.startswith("/") and bound.startswith("/"):
                assert got == bound, kind
        elif kind != "time" and said(of, index, "share_all") == "disabled":
            named = [older for older in range(index) if said(of, older, f"share_{kind}") is not None]
            assert named or full.shares[kind].value == "disabled", kind


def check_switches(of: Family, index: int, full: Merged) -> None:
    """What an ancestor switched to the safe side stays there."""
    tight = {
        "gpgcheck": True, "unsafe": False, "inherit-env": False, "die-with-parent": "Enabled",
        "new-session": "Enabled", "seccomp": "default",
    }  # fmt: skip
    for key, value in tight.items():
        if said(of, index, key) == value:
            assert full.tags[key].value == value, key


def check_capabilities(of: Family, index: int, full: Merged) -> None:
    """What an ancestor dropped is not there."""
    drops = {name for name, add in adds(of, index).items() if not add}
    if "ALL" in drops:
        named = {name for older in range(index + 1) for name, add in adds(of, older).items() if add}
        drops |= set(CAPABILITIES) - named
    assert not caps_of(full) & drops


def check_limits(of: Family, index: int, full: Merged) -> None:
    """No resource limit is larger than an ancestor's."""

    def size(number: int) -> float:
        return number if number >= 0 else float("inf")

    found = {ask.name: ask for ask, _ in full.rlimits}
    for ask in docs(of, index)[0].rlimits:
        assert size(found[ask.name].soft) <= size(ask.soft)
        assert size(found[ask.name].hard) <= size(ask.hard)


def check_configuration(of: Family, index: int, full: Merged) -> None:
    """No descendant writes an ancestor's configuration unless somebody older lets everybody."""
    bound = {f"{real_of(index)}/{name}" for name in BINDING}
    opened: set[str] = set()
    for export in sorted(full.exports, key=lambda export: export.owner):
        if export.mode in WRITABLE and export.path is not None and export.owner >= 0:
            if export.owner > index:
                assert not (shown(export) & bound) - opened, export
            if export.mode not in OWN:
                opened |= shown(export)


def check_kept(prefix: Merged, full: Merged, index: int) -> None:
    """What an ancestor exports, sets and says is there, unchanged; the core OS's defaults are nobody's."""
    now = {export.mount: export for export in full.exports}
    for export in prefix.exports:
        if export.owner >= 0 and not (export.owner == index and export.mode in OWN):
            assert now[export.mount] == export
    variables = {variable.key: variable for variable in full.environ}
    for variable in prefix.environ:
        if variable.owner >= 0:
            assert variables[variable.key] == variable
    for key in ("hostname", "chdir", "smack", "set-user", "map-root-user"):
        if key in prefix.tags and prefix.tags[key].owner >= 0:
            assert full.tags[key] == prefix.tags[key]
    for before, after in ((prefix.path, full.path), (prefix.ldpath, full.ldpath)):
        nodes_own = {entry.element for entry in before if entry.origin.file.startswith("/pool/")}
        assert nodes_own <= {entry.element for entry in after}


def check_readonly(of: Family, prefix: Merged, full: Merged, index: int) -> None:
    """Nothing that an ancestor shows read-only can be written: not at its place, and not by another way."""
    theirs = [export for export in prefix.exports if export.owner >= 0]
    # what a child that says nothing sees: an admin entry of a node for itself may hide what its normal file hands down
    silent = merged_or_none(of.but(nodes=(*of.nodes[: index + 1], family(*[{}] * (index + 2)).nodes[-1])))
    inherited = [export for export in silent.exports if export.owner >= 0] if silent else []
    now = [export for export in full.exports if export.owner >= 0]
    for path in INSIDE:
        before, after = seen(inherited, path), seen(now, path)
        if before is not None and before.mode in READONLY:
            assert after is not None
            assert after.mode in READONLY, path
    protected = {file for export in theirs if export.mode in READONLY for file in shown(export)}
    for export in now:
        if export.owner > index and export.mode in WRITABLE:
            assert not shown(export) & protected, export


NEAR = st.lists(st.fixed_dictionaries({"exports": export_lists(near=True)}), min_size=2, max_size=3)
TIGHT = st.lists(constraints(), min_size=2, max_size=3)


@settings(max_examples=EXAMPLES)
@given(families())
def test_no_child_ends_with_more_than_its_ancestors_allow(some: Family) -> None:
    check_no_more(some)


@pytest.mark.slow
@settings(max_examples=MANY)
@given(st.one_of(families(), st.one_of(NEAR, TIGHT).map(lambda some: family(*some))))
def test_no_child_of_ten_thousand_ends_with_more_than_its_ancestors_allow(some: Family) -> None:
    check_no_more(some)


@settings(max_examples=EXAMPLES)
@given(NEAR)
def test_no_child_mounts_more_than_its_ancestors_allow(some: list[dict[str, Any]]) -> None:
    check_no_more(family(*some))


@settings(max_examples=EXAMPLES)
@given(TIGHT)
def test_no_child_loosens_what_its_ancestors_constrain(some: list[dict[str, Any]]) -> None:
    check_no_more(family(*some))


# --- 3. ancestors win, everything accumulates ------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(families())
def test_the_oldest_wins_and_everything_accumulates(some: Family) -> None:
    full = merged_or_none(some)
    if full is None:
        return
    last = len(some.nodes) - 1
    mounts: dict[str, tuple[str, str, int]] = {}
    keys: dict[str, tuple[str, int]] = {}
    for index in range(last + 1):
        for one in docs(some, index):
            for ask in one.exports:
                if index == last or ask.mode not in OWN:
                    mounts.setdefault(ask.mount, (ask.mode, source_of(some, index, ask), index))
            for variable in one.environ:
                keys.setdefault(variable.key, (variable.mode, index))
    for export in full.exports:
        if export.owner >= 0:
            mode, source, owner = mounts.pop(export.mount)
            assert (export.mode, export.owner) == (mode, owner)
            assert export.path is None or str(export.path) == source
        else:
            assert export.mount not in mounts
    assert not mounts
    for entry in full.environ:
        if entry.owner >= 0:
            assert (entry.mode, entry.owner) == keys.pop(entry.key)
    assert not keys
    assert [export.mount for export in full.exports] == sorted({export.mount for export in full.exports})


@settings(max_examples=EXAMPLES)
@given(families())
def test_search_paths_run_from_the_leaf_to_the_core_os(some: Family) -> None:
    full = merged_or_none(some)
    if full is None:
        return
    wanted: list[str] = []
    for index in range(len(some.nodes) - 1, -1, -1):
        for one in docs(some, index):
            if value := one.tags.get("path"):
                wanted += str(value.value).replace("$NODE_PATH", real_of(index)).split(":")
    if some.defaults is not None and (value := some.defaults.tags.get("path")):
        wanted += str(value.value).replace("$NODE_PATH", "").split(":")
    # A node that sets the variable itself is not overruled by younger nodes and by the core OS.
    setters = [
        i for i in range(len(some.nodes)) if any(v.key == "PATH" for d in docs(some, i) for v in d.environ)
    ]
    if setters and not any("path" in d.tags for i in range(setters[0] + 1) for d in docs(some, i)):
        wanted = []
    assert [str(entry.element) for entry in full.path] == [word for word in dict.fromkeys(wanted) if word]


@settings(max_examples=EXAMPLES)
@given(specs())
def test_every_loser_is_told_why_and_every_warning_names_both_places(nodes: list[dict[str, Any]]) -> None:
    some = family(*nodes, admin=True)
    full = merged_or_none(some)
    if full is None:
        return
    for contest in full.contests:
        assert contest.origin.file
        assert bool(contest.why) == (contest.kind == "lost"), contest
    for warning in full.warnings:
        assert warning.origin.file
        assert ".yaml:" in warning.message, warning


@settings(max_examples=EXAMPLES)
@given(files(), st.booleans())
def test_a_node_may_repeat_what_its_ancestor_says(spec: dict[str, Any], admin: bool) -> None:
    """Families are made from templates, so a parent and a child often hold the same text.

    Private entries are another matter: what a parent keeps for itself, a child need not get.
    """

    def common(entries: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        return [entry for entry in entries if "$NODE" not in "".join(entry[2:]) and entry[0] not in OWN]

    shared = {
        **spec,
        "exports": common(spec.get("exports", [])),
        "environ": common(spec.get("environ", [])),
        "tags": {key: value for key, value in spec.get("tags", {}).items() if "$NODE" not in str(value)},
    }
    once = merged_or_none(family(shared, admin=admin))
    if once is not None:
        twice = merged_or_none(family(shared, shared, admin=admin))
        assert twice is not None
        assert not twice.warnings
        assert caps_of(twice) == caps_of(once)
        assert twice.shares == once.shares
        assert [(e.mode, e.mount, e.path, e.owner) for e in twice.exports] == [
            (e.mode, e.mount, e.path, e.owner) for e in once.exports
        ]
