"""Families for tests: built from a few words, and at random (hypothesis).

A family is described by plain data, so that a failing example can be read: one `Spec` a node, oldest first.
Node i lies at /pool/n0/…/ni; the file's name is its path, and every value stands on a line of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from hypothesis import strategies as st

from redpak.config.merge import merge as merge_under
from redpak.config.model import (
    CapabilityAsk,
    CgroupValue,
    Context,
    Export,
    Family,
    Merged,
    Node,
    NodeDoc,
    RlimitAsk,
    Value,
    Variable,
)
from redpak.config.settings import CAPABILITIES, EXPORT_MODES, RLIMITS
from redpak.errors import BadConfig, Fault
from redpak.origin import Origin

Spec = Mapping[str, Any]
CONTEXT = Context(environ={"HOME": "/home/ann", "LOOP": "$LOOP"}, uid=1000, gid=1000)


def doc(file: str, alias: str, spec: Spec) -> NodeDoc:
    """Return one file. Keys: name, exports (mode, mount[, path]), environ (key, mode[, value]), caps (name, add),
    cgroups {'mem.max': '1M'}, rlimits {'nofile': (soft, hard)}, tags {'hostname': 'x'}.
    """
    lines: Iterator[int] = count(3)

    def here() -> Origin:
        return Origin(file=file, line=next(lines), column=3)

    return NodeDoc(
        file=file,
        alias=alias,
        alias_origin=Origin(file=file, line=2, column=3),
        name=spec.get("name", ""),
        exports=tuple(
            Export(mode=mode, mount=mount, path=rest[0] if rest else None, origin=here())
            for mode, mount, *rest in spec.get("exports", ())
        ),
        environ=tuple(
            Variable(key=key, mode=mode, value=rest[0] if rest else None, origin=here())
            for key, mode, *rest in spec.get("environ", ())
        ),
        tags={key: Value(value=value, origin=here()) for key, value in spec.get("tags", {}).items()},
        capabilities=tuple(
            CapabilityAsk(cap=cap, add=add, origin=here()) for cap, add in spec.get("caps", ())
        ),
        cgroups=tuple(
            CgroupValue(group=key.split(".")[0], key=key.split(".")[1], value=value, origin=here())
            for key, value in spec.get("cgroups", {}).items()
        ),
        rlimits=tuple(
            RlimitAsk(name=name, soft=soft, hard=hard, origin=here())
            for name, (soft, hard) in spec.get("rlimits", {}).items()
        ),
    )


def real_of(index: int) -> str:
    """Return the path of node `index`."""
    return "/pool" + "".join(f"/n{at}" for at in range(index + 1))


def family(*specs: Spec, admin: bool = False, defaults: Spec | None = None) -> Family:
    """Return a family of one node a spec, oldest first; the key 'admin' of a spec is its admin file."""
    nodes = []
    for index, spec in enumerate(specs):
        real, alias = real_of(index), f"n{index}"
        nodes.append(
            Node(
                path=real,
                real=real,
                normal=doc(f"{real}/etc/redpak.yaml", alias, spec),
                admin=doc(f"{real}/etc/redpak-admin.yaml", alias, spec["admin"]) if "admin" in spec else None,
            )
        )
    core = doc("/etc/redpak/main.yaml", "core", defaults) if defaults is not None else None
    return Family(nodes=tuple(nodes), defaults=core, admin=admin)


def sealed(*specs: Spec, admin: bool = False, defaults: Spec | None = None) -> Merged:
    """Merge a family under the sealed profile."""
    return merge_under(family(*specs, admin=admin, defaults=defaults), "sealed", CONTEXT)


def faults(*specs: Spec, admin: bool = False, defaults: Spec | None = None) -> tuple[Fault, ...]:
    """Return why a family cannot be merged; () when it can."""
    try:
        sealed(*specs, admin=admin, defaults=defaults)
    except BadConfig as bad:
        return bad.faults
    return ()


def mounts(merged: Merged) -> dict[str, tuple[str, str]]:
    """Return what is mounted: mount → (mode, path as shown to people)."""
    return {e.mount: (e.mode, "" if e.path is None else str(e.path)) for e in merged.exports}


# --- random families ---------------------------------------------------------------------------------------------

MOUNTS = ("/", "/m", "/m/a", "/m/a/b", "/m/b", "/n", "/n/a", "/n/a/b", "/o", "/p", "/p/q")
SOURCES = ("/h", "/h/a", "/h/a/b", "/h/b", "/s", "/s/a", "/s/a/b", "/t", "/u/v", "/", "/pool", "/pool/n0/usr")
OWN_SOURCES = ("$NODE_PATH/usr", "$NODE_PATH/var", "$NODE_PATH/private", "$NODE_PATH", "$NODE_PATH/etc")
KEYS = ("PATH", "Path", "HOME", "LANG", "X")
CAPS = ("CAP_NET_ADMIN", "net_admin", "CAP_CHOWN", "cap_kill", "ALL", "all")
SHARING = ("enabled", "disabled", "unset", "/run/netns/blue", "/run/netns/red")
TRI = ("Unset", "Enabled", "Disabled")
BIND_MODES = (
    "Public",
    "Restricted",
    "Private",
    "PrivateRestricted",
    "PublicFile",
    "RestrictedFile",
    "PrivateFile",
)
PLAIN_MODES = ("Anonymous", "Tmpfs", "Procfs", "Devfs", "Mqueue", "Lock")

# Strings that a hostile or careless file may hold.
WILD = st.one_of(
    st.sampled_from(
        (
            "",
            "/",
            "//",
            "/..",
            "/m/../n",
            "/m/",
            "/m//a",
            "relative",
            "~",
            "$",
            "$(",
            "$()",
            "$(echo x)",
            "$NODE_PATH",
        )
        + (
            "$LEAF_ALIAS",
            "$LOOP",
            "$NOWHERE",
            "$PID",
            "$UUID",
            "/$PID/x",
            "/m\0",
            "\0",
            "\udcff",
            "/\n",
            "max",
            "-1",
        )
        + (
            "/h/$(id)",
            "/proc/self/root/h",
            "$HOME",
            "\\$X",
            "enabled",
            "banana",
            "9" * 5000,
            "1-0",
            "8:0 rbps=1",
        )
    ),
    st.text(max_size=8),
    st.builds(lambda word: "/" + word, st.text(alphabet="/.$()a\0\\", max_size=8)),
)


# So few that two nodes often mean the same place.
NEAR_MOUNTS = ("/m", "/m/a", "/m/a/b", "/n")
NEAR_SOURCES = ("/h", "/h/a", "/s")


def export_lists(*, wild: bool = False, near: bool = False) -> st.SearchStrategy[list[tuple[str, ...]]]:
    """Return random `exports` of one file; `near` ones of different nodes often meet."""
    mount = st.sampled_from(NEAR_MOUNTS if near else MOUNTS)
    source = st.sampled_from(NEAR_SOURCES if near else (*SOURCES, *OWN_SOURCES))
    if wild:
        mount, source = st.one_of(mount, WILD), st.one_of(source, WILD)
        any_mode = st.sampled_from(EXPORT_MODES)
        entry = st.one_of(st.tuples(any_mode, mount, source), st.tuples(any_mode, mount))
        return st.lists(entry, max_size=4)
    if near:
        modes = st.sampled_from(("Restricted", "Public", "Private", "PrivateRestricted", "Tmpfs"))
        return st.lists(st.tuples(modes, mount, source), min_size=1, max_size=2, unique_by=lambda e: e[1])
    below = mount.filter(lambda at: at != "/")
    return st.lists(
        st.one_of(
            st.tuples(st.sampled_from(BIND_MODES), mount, source),
            st.tuples(st.sampled_from(BIND_MODES), mount),
            st.tuples(st.sampled_from(PLAIN_MODES), below),
            st.tuples(st.just("Symlink"), below, st.sampled_from(("m", "/n", "../o"))),
            st.tuples(st.just("Execfd"), below, st.just("id")),
        ),
        max_size=3,
        unique_by=lambda entry: entry[1],
    )


def _environ(wild: bool) -> st.SearchStrategy[list[tuple[str, ...]]]:
    key = st.one_of(st.sampled_from(KEYS), WILD) if wild else st.sampled_from(KEYS)
    value = WILD if wild else st.sampled_from(("one", "two", "$NODE_ALIAS"))
    return st.lists(
        st.one_of(
            st.tuples(key, st.sampled_from(("Default", "Static", "Execfd")), value),
            st.tuples(key, st.sampled_from(("Remove", "Inherit", *(("Default",) if wild else ())))),
        ),
        max_size=3,
        unique_by=None if wild else lambda entry: entry[0],
    )


def _tags(wild: bool) -> st.SearchStrategy[dict[str, Any]]:
    share = st.one_of(st.sampled_from(SHARING), WILD) if wild else st.sampled_from(SHARING)
    word = WILD if wild else st.sampled_from(("one", "two", "h-$NODE_ALIAS"))
    places = WILD if wild else st.sampled_from(("/bin", "/bin:/usr/bin", "$NODE_PATH/bin:/bin", "::"))
    plain: dict[str, st.SearchStrategy[Any]] = {
        **{f"share_{kind}": share for kind in ("user", "net", "pid", "time")},
        "share_all": share if wild else st.sampled_from(("enabled", "disabled", "unset")),
        **{key: st.sampled_from(TRI) for key in ("die-with-parent", "new-session")},
        **{key: st.booleans() for key in ("gpgcheck", "unsafe", "inherit-env")},
        **{key: word for key in ("hostname", "chdir", "smack")},
        **{key: places for key in ("path", "ldpath")},
        "set-user": st.sampled_from(("0", "1000", "root", *(("no-such-user",) if wild else ()))),
        "seccomp": st.sampled_from(("default", "none")),
        "map-root-user": st.integers(0, 1),
    }
    return st.lists(st.sampled_from(sorted(plain)), max_size=4, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: plain[key] for key in keys})
    )


def _cgroups(wild: bool) -> st.SearchStrategy[dict[str, str]]:
    known: dict[str, st.SearchStrategy[str]] = {
        "mem.max": st.sampled_from(("1M", "1024K", "2M", "max")),
        "mem.low": st.sampled_from(("1M", "2M")),
        "pids.max": st.sampled_from(("10", "20", "max")),
        "cpu.max": st.sampled_from(("1000 10000", "2000 20000", "5000 10000", "max")),
        "cpuset.cpus": st.sampled_from(("0", "0-3", "1,2", "0,1-3")),
        "io.max": st.sampled_from(("8:0 rbps=10", "8:0 rbps=20 wiops=5", "8:16 rbps=max")),
    }
    if wild:
        known = {key: st.one_of(value, WILD) for key, value in known.items()}
    return st.lists(st.sampled_from(sorted(known)), max_size=2, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: known[key] for key in keys})
    )


def _rlimits(wild: bool) -> st.SearchStrategy[dict[str, tuple[int, int]]]:
    numbers = (0, 10, 20, 30, -1)  # -1 is unlimited
    pairs = [(soft, hard) for at, soft in enumerate(numbers) for hard in numbers[0 if wild else at :]]
    pair = st.sampled_from(pairs)
    name = st.sampled_from((*RLIMITS[:3], *(("nonsense", "NOFILE") if wild else ())))
    return st.dictionaries(name, pair, max_size=2)


def _caps(wild: bool) -> st.SearchStrategy[list[tuple[str, int]]]:
    name = st.sampled_from((*CAPS, *(("", "CAP_ALL", "nonsense", CAPABILITIES[-1]) if wild else ())))
    one = st.tuples(name, st.integers(0, 2 if wild else 1))
    return st.lists(
        one, max_size=3, unique_by=None if wild else lambda ask: ask[0].upper().removeprefix("CAP_")
    )


def constraints() -> st.SearchStrategy[dict[str, Any]]:
    """Return random specs of one file that says little else than what binds or loosens."""
    share = st.sampled_from(SHARING[:4])
    return st.fixed_dictionaries(
        {},
        optional={
            "tags": st.dictionaries(
                st.sampled_from(("share_all", "share_net")), share.filter(lambda s: s[0] != "/")
            )
            | st.dictionaries(st.just("share_net"), st.sampled_from(SHARING), min_size=1),
            "caps": st.dictionaries(
                st.sampled_from(("ALL", "CAP_KILL", "CAP_CHOWN")), st.integers(0, 1), min_size=1, max_size=2
            ).map(lambda asks: list(asks.items())),
            "exports": st.lists(
                st.tuples(
                    st.sampled_from(("Public", "Private")),
                    st.sampled_from(MOUNTS),
                    st.sampled_from(OWN_SOURCES),
                )
                | st.tuples(
                    st.just("Public"), st.sampled_from(MOUNTS), st.sampled_from(("/pool", "/pool/n0", "/"))
                ),
                max_size=1,
            ),
        },
    )


def files(*, wild: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Return random specs of one file; `wild` ones may say anything that a file can hold."""
    parts: dict[str, st.SearchStrategy[Any]] = {
        "exports": export_lists(wild=wild),
        "environ": _environ(wild),
        "tags": _tags(wild),
        "caps": _caps(wild),
        "cgroups": _cgroups(wild),
        "rlimits": _rlimits(wild),
    }
    # Few sections at a time: a family in which everybody says everything is nearly always faulty.
    keys = st.lists(st.sampled_from(sorted(parts)), min_size=1, max_size=6 if wild else 3, unique=True)
    return keys.flatmap(lambda chosen: st.fixed_dictionaries({key: parts[key] for key in chosen}))


def specs(*, wild: bool = False, most: int = 4) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return random families as specs, oldest node first; a third of the nodes have an admin file."""
    plain = files(wild=wild)
    with_admin = st.builds(lambda normal, admin: {**normal, "admin": admin}, plain, plain)
    return st.lists(st.one_of(plain, plain, with_admin), min_size=1, max_size=most)


def families(*, wild: bool = False, most: int = 4) -> st.SearchStrategy[Family]:
    """Return random families, with and without admin mode and defaults of the core OS."""
    core = st.one_of(st.none(), files(wild=wild))
    return st.builds(
        lambda nodes, admin, defaults: family(*nodes, admin=admin, defaults=defaults),
        specs(wild=wild, most=most),
        st.booleans(),
        core,
    )
