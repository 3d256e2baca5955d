"""Whatever stands in the files: load, merge and plan give a plan or a clear error, and touch nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from redpak.config.dump import dump
from redpak.config.settings import EXPORT_MODES
from redpak.errors import BadConfig, RedpakError
from redpak.node.plan import plan_of
from redpak.plan import wire
from tests.unit.config.documents import documents

EXAMPLES = int(os.environ.get("REDPAK_EXAMPLES", "200"))
PROFILES = st.sampled_from(["sealed", "sealed", "upstream-2.5"])

# Words that mean something somewhere, in right and wrong places.
WORDS = st.sampled_from(
    [
        "a",
        "/a",
        "/b",
        "/a/b",
        "/a/b/c",
        "/",
        "/usr",
        "/etc",
        "/etc/passwd",
        ".",
        "..",
        "../x",
        "/a/../b",
        "//x",
        "/x/",
        "~",
        "''",
        '""',
        "null",
        "no",
        "yes",
        "on",
        "off",
        "banana",
        "0",
        "1",
        "7",
        "-1",
        "027",
        "0o27",
        "999999999999",
        "512M",
        "10M",
        "max",
        "enabled",
        "Disabled",
        "UNSET",
        "unset",
        "/proc/1/ns/net",
        "cap_chown",
        "CAP_SYS_ADMIN",
        "all",
        "ALL",
        "$NODE_PATH",
        "$NODE_PATH/x",
        "$LEAF_ALIAS",
        "$UID",
        "$HOME",
        "$NOBODY",
        "$A",
        "'$(echo",
        "x)'",
        "'$('",
        "'\\$x'",
        "'$'",
        "'$$'",
        "'$UUID'",
        "Public",
        "Default",
        "Static",
        "Execfd",
        "Remove",
        "Inherit",
        "sealed",
        "upstream-2.5",
        "default",
        "none",
        "1024:4096",
        "9",
        "nobody",
        "root",
        "[]",
        "{}",
        "[a]",
        "{a:",
        "b}",
    ]
) | st.text("ab/$(){}[]:#,&*!|>'\"%@`- \t\n\\\u202e\x1b\xe9", max_size=12)
KEYS = st.sampled_from(
    [
        "headers",
        "exports",
        "environ",
        "config",
        "alias",
        "name",
        "info",
        "mode",
        "mount",
        "path",
        "key",
        "value",
        "warn",
        "hostname",
        "chdir",
        "umask",
        "set-user",
        "set-group",
        "smack",
        "verbose",
        "gpgcheck",
        "inherit-env",
        "unsafe",
        "map-root-user",
        "die-with-parent",
        "new-session",
        "share_all",
        "share_user",
        "share_cgroup",
        "share_net",
        "share_pid",
        "share_ipc",
        "share_time",
        "cgroups",
        "rlimits",
        "seccomp",
        "profile",
        "capabilities",
        "cap",
        "add",
        "mem",
        "cpu",
        "cpuset",
        "io",
        "pids",
        "max",
        "high",
        "weight",
        "cpus",
        "nofile",
        "core",
        "ldpath",
        "cachedir",
        "persistdir",
        "rpmdir",
        "cgrouproot",
        "nonsense",
    ]
)


def flow(value: object) -> str:
    """Write a value in YAML's flow style, as it stands: words are not quoted, so some break the syntax."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return str(value)


ANYTHING = st.recursive(
    WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)
EXPORT = st.fixed_dictionaries(
    {"mode": st.sampled_from(EXPORT_MODES) | WORDS, "mount": WORDS}, optional={"path": WORDS}
)
VARIABLE = st.fixed_dictionaries({"key": WORDS}, optional={"mode": WORDS, "value": WORDS})
CAP = st.fixed_dictionaries({"cap": WORDS, "add": st.sampled_from([0, 1, "x"])})
NEAR_RIGHT = st.fixed_dictionaries(
    {"headers": st.fixed_dictionaries({"alias": st.sampled_from(["a", "b-1", "x y", ""])})},
    optional={
        "exports": st.lists(EXPORT, max_size=5),
        "environ": st.lists(VARIABLE, max_size=4),
        "config": st.dictionaries(KEYS, ANYTHING, max_size=5)
        | st.fixed_dictionaries({"capabilities": st.lists(CAP, max_size=3)}),
    },
)
FILES = st.one_of(
    documents().map(dump),
    documents().map(dump),
    NEAR_RIGHT.map(flow),
    NEAR_RIGHT.map(flow),
    ANYTHING.map(flow),
    st.binary(max_size=60).map(lambda b: b.decode("latin-1")),
)


def snapshot(pool: Path) -> list[tuple[str, int]]:
    """Return every name below a directory with its time of change."""
    return sorted((str(path), path.lstat().st_mtime_ns) for path in pool.rglob("*"))


def plan_or_error(texts: list[str], profile: str, *, admin: bool) -> None:
    """Hold one family against the promise."""
    with tempfile.TemporaryDirectory() as folder:
        pool = leaf = Path(folder)
        for depth, text in enumerate(texts):
            leaf = leaf / f"n{depth}"
            (leaf / "etc").mkdir(parents=True)
            (leaf / ".rednode.yaml").write_text(f"realpath: {leaf}\ntimestamp: 1\nstate: Enable\n")
            name = "redpak-admin.yaml" if admin and depth % 2 else "redpak.yaml"
            if name != "redpak.yaml":
                (leaf / "etc/redpak.yaml").write_text(f"headers: {{alias: n{depth}}}\n")
            (leaf / "etc" / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        before = snapshot(pool)
        environ = {"REDPAK_PROFILE": profile, "HOME": "/root", "A": "$A"}
        try:
            made = plan_of(str(leaf), admin=admin, environ=environ)
        except BadConfig as bad:
            event("faults")
            assert bad.faults
            assert all(fault.message for fault in bad.faults)
        except RedpakError as error:
            event(type(error).__name__)
            assert error.message
        else:
            event("plan")
            assert wire.digest(made) == wire.digest(plan_of(str(leaf), admin=admin, environ=environ))
            assert wire.digest(wire.read(wire.canonical(made))) == wire.digest(made)
        assert snapshot(pool) == before


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FILES, min_size=1, max_size=3), PROFILES, st.booleans())
def test_any_files_give_a_plan_or_an_error(texts: list[str], profile: str, admin: bool) -> None:
    plan_or_error(texts, profile, admin=admin)


@pytest.mark.slow
@settings(max_examples=max(EXAMPLES, 10_000), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FILES, min_size=1, max_size=3), PROFILES, st.booleans())
def test_ten_thousand_random_configurations_give_a_plan_or_an_error(
    texts: list[str], profile: str, admin: bool
) -> None:
    plan_or_error(texts, profile, admin=admin)
