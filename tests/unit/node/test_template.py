"""Templates: found, fitted to a host, given headers; and what the shipped ones amount to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpak import paths
from redpak.config.merge import merge
from redpak.config.model import SEALED, Context, Family, Merged, Node
from redpak.errors import BadConfig, Fault, NotFound, RedpakError
from redpak.node import template
from redpak.node.template import Headers

if TYPE_CHECKING:
    from redpak.node.template import Kind, Model

SHIPPED = (paths.shipped("node", "templates.d"),)
HEADERS = Headers(alias="mine", name="a-name", info="made: by hand")


def fitted(text: str, *holds: str) -> str:
    """Return a text fitted to a host where exactly the conditions in `holds` are true."""
    faults: list[Fault] = []
    lines = template.fit(text, "t.yaml", faults, lambda condition: condition in holds)
    assert not faults, faults
    return "\n".join(line for line in lines if line is not None)


def test_blocks_are_kept_where_their_condition_holds() -> None:
    text = "a\n#:if x\nb\n#:if y\nc\n#:else\nd\n#:end\n#:else\ne\n#:end\nf"
    assert fitted(text, "x", "y") == "a\nb\nc\nf"
    assert fitted(text, "x") == "a\nb\nd\nf"
    assert fitted(text, "y") == "a\ne\nf"


def test_line_numbers_stay_for_messages() -> None:
    lines = template.fit("#:if x\nb\n#:end\nc", "t.yaml", [], lambda _: False)
    assert template.Template(file="t.yaml", lines=lines).numbered.split("\n").index("c") == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n#:end", 2),
        ("#:else", 1),
        ("#:if exists /", 1),
        ("#:if exists /\n#:else\n#:else\n#:end", 3),
        ("#:if sunny\n#:end", 1),
        ("#:wenn x", 1),
        ("#:if exists /\n#:end now", 2),
    ],
)
def test_a_wrong_line_is_a_fault_with_its_number(text: str, line: int) -> None:
    faults: list[Fault] = []
    template.fit(text, "t.yaml", faults)
    assert line in [fault.origin.line for fault in faults]


def test_conditions_are_about_this_host(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert template.on_this_host(f"exists {tmp_path}")
    assert template.on_this_host(f"not exists {tmp_path}/nothing")
    assert template.on_this_host(f"same {tmp_path} {tmp_path}/link")
    assert not template.on_this_host(f"same {tmp_path} {tmp_path}/nothing")


@pytest.mark.parametrize(
    "text",
    [
        "headers:\n  alias: old\n  name: n\n  info: i\n\n# comment\nexports:\n- mode: Tmpfs\n  mount: /tmp\n",
        "# first\nexports:\n- mode: Tmpfs # why\n  mount: /tmp\nheaders:\n  alias: old # last",
        "headers: {alias: old, info: 'a # b'} # remark\nexports:\n- {mode: Tmpfs, mount: /tmp}\n",
        '{"headers": {"alias": "old"}, "exports": [{"mode": "Tmpfs", "mount": "/tmp"}]}',
        "headers:\n  alias: old\n  info: |\n    several\n    lines\nexports:\n- mode: Tmpfs\n  mount: /tmp\n",
        "# é 𐀀 first\nHEADERS:\n  alias: old\nexports: [{mode: Tmpfs, mount: /tmp}]\n",
    ],
)
def test_only_the_headers_are_replaced(text: str) -> None:
    faults: list[Fault] = []
    assert template.checked(text, "t.yaml", faults) is not None, faults
    made = template.with_headers(text, HEADERS)
    doc = template.checked(made, "t.yaml", faults)
    assert doc is not None, (made, faults)
    assert (doc.alias, doc.name, doc.info) == ("mine", "a-name", "made: by hand")
    assert [export.mount for export in doc.exports] == ["/tmp"]
    for comment in ("# first", "# why", "# comment"):
        assert (comment in made) == (comment in text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_headers_hold_any_text_that_the_loader_admits(name: str, info: str) -> None:
    text = "headers:\n  alias: x\nexports:\n- mode: Tmpfs\n  mount: /tmp\n"
    try:
        made = template.with_headers(text, Headers(alias="mine", name=name, info=info))
        faults: list[Fault] = []
        doc = template.checked(made, "t.yaml", faults)
    except UnicodeEncodeError:
        return
    if doc is None:
        assert all("alias" not in fault.message for fault in faults)
        return
    assert (doc.name, doc.info) == (name, info)
    assert len(doc.exports) == 1


def test_templates_are_found_by_name_with_and_without_suffix(tmp_path: Path) -> None:
    for name in ("mine-normal.yaml", "mine-admin.yaml", "other.yaml", "plain"):
        (tmp_path / name).write_text("x")
    places = (str(tmp_path),)
    assert template.find("mine", "normal", places).endswith("/mine-normal.yaml")
    assert template.find("mine", "admin", places).endswith("/mine-admin.yaml")
    assert template.find("other", "normal", places).endswith("/other.yaml")
    assert template.find("plain", "normal", places).endswith("/plain")
    assert template.find(str(tmp_path / "plain"), "normal", places) == str(tmp_path / "plain")
    with pytest.raises(NotFound) as error:
        template.find("minee", "normal", places)
    assert "mine" in error.value.hint
    with pytest.raises(NotFound):
        template.find("./nothing", "normal", places)


def test_a_template_that_is_no_text_or_too_large_is_an_error(tmp_path: Path) -> None:
    for content in (b"\xff\xfe\x00", b"#" * (template.LARGEST + 1)):
        (tmp_path / "t").write_bytes(content)
        with pytest.raises(RedpakError):
            template.read(str(tmp_path / "t"))
    (tmp_path / "t").write_text("#:else\n")
    with pytest.raises(BadConfig):
        template.read(str(tmp_path / "t"))


# Hosts as the shipped templates see them: which of their conditions hold.
COMMON = ("/etc/ld.so.cache", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/localtime",
          "/usr/sbin", "/etc/os-release")  # fmt: skip
DEBIAN = (*COMMON, "/etc/alternatives", "/etc/ssl/certs", "/usr/lib64", "/lib64", "/usr/lib/x86_64-linux-gnu")
FEDORA = (*COMMON, "/etc/alternatives", "/etc/ssl/certs", "/etc/pki/ca-trust", "/usr/lib64", "/lib64")
DEBIAN_ARM = (*COMMON, "/etc/alternatives", "/etc/ssl/certs", "/usr/lib/aarch64-linux-gnu")
HOSTS = {
    "debian": (DEBIAN, True),
    "debian with /bin apart": (DEBIAN, False),
    "fedora": (FEDORA, True),
    "debian on arm64": (DEBIAN_ARM, True),
    "next to nothing": ((), True),
}


def host(name: str) -> Callable[[str], bool]:
    """Return the conditions of a host."""
    there, merged = HOSTS[name]

    def holds(condition: str) -> bool:
        match condition.split():
            case ["not", *rest]:
                return not holds(" ".join(rest))
            case ["exists", path]:
                return path in there
            case ["same", "/bin", "/usr/bin"]:
                return merged
            case ["same", "/usr/sbin", "/usr/bin"]:
                return name == "fedora"
        raise AssertionError(condition)

    return holds


def member(path: str, alias: str, model: Model, on: str) -> Node:
    """Return a node made of shipped templates."""

    def doc(kind: Kind, called: str) -> object:
        file = template.find(model, kind, SHIPPED)
        faults: list[Fault] = []
        with open(file, encoding="utf-8") as stream:
            lines = template.fit(stream.read(), file, faults, host(on))
        text = template.Template(file=file, lines=lines).text
        found = template.checked(template.with_headers(text, HEADERS.but(alias=called)), file, faults)
        assert found is not None, faults
        return found

    return Node(
        path=path,
        real=path,
        normal=doc("normal", alias),  # type: ignore[arg-type]
        admin=doc("admin", f"admin-of-{alias}"),  # type: ignore[arg-type]
    )


def together(on: str, *, admin: bool = False) -> Merged:
    """Return what three nodes of the shipped templates say together."""
    nodes = (
        member("/pool", "system", "root", on),
        member("/pool/plat", "plat", "leaf", on),
        member("/pool/plat/app", "app", "leaf", on),
    )
    if not admin:
        nodes = tuple(node.but(admin=None) for node in nodes)  # type: ignore[assignment]
    return merge(Family(nodes=nodes, admin=admin), SEALED, Context(environ={}, uid=1000, gid=1000))


@pytest.mark.parametrize("on", HOSTS)
@pytest.mark.parametrize("admin", [False, True])
def test_three_nodes_of_the_shipped_templates_agree_without_a_warning(on: str, *, admin: bool) -> None:
    merged = together(on, admin=admin)
    assert not merged.warnings
    mounts = {export.mount: export for export in merged.exports}
    for alias in ("system", "plat", "app"):
        assert mounts[f"/nodes/{alias}/usr"].mode == "Restricted"
        assert mounts[f"/nodes/{alias}/var"].mode == "Public"
    assert str(mounts["/nodes/_private"].path) == "/pool/plat/app/private"
    assert merged.shares["net"].value == "enabled"
    assert {merged.shares[kind].value for kind in ("user", "pid", "ipc", "cgroup")} == {"disabled"}


def test_three_nodes_have_26_mounts_on_debian() -> None:
    exports = together("debian").exports
    own = [export for export in exports if export.mode in ("Symlink", "Anonymous")]
    assert len(exports) - len(own) == 26  # the seed's 25, and the file that tells rpm where its database is
    assert {export.mount for export in own} == {"/run", "/home/app", "/usr/bin", "/usr/lib", "/usr/lib64"}


@pytest.mark.parametrize("on", HOSTS)
def test_nothing_is_mounted_beneath_a_tree_that_a_node_brings(on: str) -> None:
    exports = together(on, admin=True).exports
    trees = [e.mount for e in exports if e.path is not None and str(e.path).startswith("/pool")]
    for mount in (export.mount for export in exports):
        assert not [tree for tree in trees if mount.startswith(tree + "/")], mount


@pytest.mark.parametrize("on", HOSTS)
def test_no_command_runs_at_start(on: str) -> None:
    assert not [export for export in together(on).exports if export.mode == "Execfd"]


def test_a_host_with_bin_apart_shows_both() -> None:
    mounts = {export.mount: export.mode for export in together("debian with /bin apart").exports}
    for mount in ("/bin", "/lib", "/lib64", "/usr/bin", "/usr/lib", "/usr/lib64"):
        assert mounts[mount] == "Restricted"


def test_full_is_root_for_a_node_that_stands_alone() -> None:
    texts = []
    for model in ("root", "full"):
        with open(template.find(model, "normal", SHIPPED), encoding="utf-8") as stream:
            texts.append(stream.read().partition("\nexports:\n")[2])
    assert texts[0] == texts[1]
