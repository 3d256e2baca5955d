"""Random configuration documents, as loading a file could give them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from redpak.config import settings as table
from redpak.config.model import CapabilityAsk, CgroupValue, Export, NodeDoc, RlimitAsk, Value, Variable
from redpak.origin import DEFAULT

# Any text that a file can hold: no NUL, no surrogates, nothing that turns text round.
LETTERS = st.characters(
    codec="utf-8", exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp"), exclude_characters="\ufffe\uffff"
)
TEXT = st.text(LETTERS | st.sampled_from("\n\t:#-?'\"|> "), min_size=1, max_size=40)
NAME = st.text("abcXYZ019_", min_size=1, max_size=8).map(lambda tail: f"N{tail}")
PLACE = st.text("abc$_/-: #'\"é", max_size=20).map(lambda tail: f"/{tail}".replace("..", ""))
REMARK = st.just("") | TEXT
BIND: st.SearchStrategy[Any] = st.sampled_from(table.EXPORT_MODES[:7])
VARIABLE_MODE: st.SearchStrategy[Any] = st.sampled_from(table.ENVIRON_MODES)


@st.composite
def documents(draw: st.DrawFn) -> NodeDoc:
    """Draw a document without faults."""
    mounts = draw(st.lists(NAME.map(lambda name: f"/{name}"), unique=True, max_size=4))
    exports = tuple(
        Export(
            mode=draw(BIND),
            mount=mount, path=draw(st.none() | PLACE),
            info=draw(REMARK), warn=draw(REMARK), origin=DEFAULT,
        )
        for mount in mounts
    )  # fmt: skip
    if draw(st.booleans()):
        exports += (Export(mode="Execfd", mount="/execfd", path=draw(TEXT), origin=DEFAULT),)
    environ = tuple(
        Variable(
            mode=mode, key=key, value=None if mode in ("Remove", "Inherit") else draw(TEXT), origin=DEFAULT
        )
        for key in draw(st.lists(NAME, unique=True, max_size=4))
        for mode in [draw(VARIABLE_MODE)]
    )
    tags: dict[str, str | int | bool] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "gpgcheck": st.booleans(),
                "verbose": st.integers(-(1 << 31), (1 << 31) - 1),
                "map-root-user": st.sampled_from([0, 1]),
                "umask": st.integers(0, 0o777).map("{:03o}".format),
                "die-with-parent": st.sampled_from(table.TRI),
                "share_net": st.sampled_from(table.SHARING) | PLACE,
                "chdir": PLACE,
                "set-user": NAME,
                "hostname": NAME,
                "seccomp": st.sampled_from(["default", "none"]),
            },
        )
    )
    ordered = {s.name: Value(value=tags[s.name], origin=DEFAULT) for s in table.PLAIN if s.name in tags}
    caps = draw(st.lists(st.sampled_from(table.CAPABILITIES), unique=True, max_size=3))
    limits = draw(st.lists(st.sampled_from(table.RLIMITS), unique=True, max_size=3))
    numbers = st.sampled_from([(0, 0), (1, 2), (5, -1), (-1, -1)])
    sizes = draw(st.lists(st.sampled_from(["max", "high", "min"]), unique=True))
    cgroups = [s for s in table.CGROUP_FIELDS if s.section.endswith(".mem") and s.name in sizes]
    return NodeDoc(
        file="f.yaml",
        alias=draw(NAME),
        name=draw(REMARK),
        info=draw(REMARK),
        alias_origin=DEFAULT,
        exports=exports,
        environ=environ,
        tags=ordered,
        capabilities=tuple(
            CapabilityAsk(cap=cap, add=draw(st.sampled_from([0, 1])), origin=DEFAULT) for cap in caps
        ),
        cgroups=tuple(CgroupValue(group="mem", key=s.name, value="1M", origin=DEFAULT) for s in cgroups),
        rlimits=tuple(
            RlimitAsk(name=name, soft=soft, hard=hard, origin=DEFAULT)
            for name in sorted(limits, key=table.RLIMITS.index)
            for soft, hard in [draw(numbers)]
        ),
    )
