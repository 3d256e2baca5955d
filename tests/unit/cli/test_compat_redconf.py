"""redconf create, config, mergeconfig and tree; redwrap-dnf manager."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from redpak.cli.compat import redconf, redconf_create, redwrap_dnf

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
TEMPLATE = """\
# a comment
config:
  hostname: $LEAF_ALIAS
exports:
- mount: $NODE_PATH/x
  mode: public
headers: {alias: no, name: no, info: no}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("LOGNAME", "ann")
    monkeypatch.delenv("HOSTNAME", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t-normal.yaml").write_text(TEMPLATE)
    (tmp_path / "t-admin.yaml").write_text("headers: {alias: no}\n")
    (tmp_path / "red").mkdir()


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDPAK_PROFILE", "upstream-2.5")


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDPAK_PROFILE", "sealed")


def create(*words: str) -> int:
    return redconf.main(["create", "-c", "./t", "-C", "./t", *words])


def made(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.usefixtures("upstream")
def test_create_writes_the_template_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert create("--alias=N@1", "sub/n", str(tmp_path / "red")) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    node = tmp_path / "red/sub/n"
    assert made(node) == [".rednode.yaml", "etc", "etc/redpak-admin.yaml", "etc/redpak.yaml"]
    normal = (node / "etc/redpak.yaml").read_text()
    pattern = rf"""headers:
  alias: N@1
  name: {UUID}
  info: Node created by ann\(localhost\) the \d\d-[A-Z][a-z]{{2}}-\d{{4}} \d\d:\d\d \(.+\)
exports:
- mode: Public
  mount: \$NODE_PATH/x
config:
"""
    assert re.match(pattern, normal), normal
    for always in ("verbose: 0", "gpgcheck: false", "die-with-parent: Unset", "hostname: $LEAF_ALIAS"):
        assert f"  {always}\n" in normal
    assert "alias: admin-of-N@1\n" in (node / "etc/redpak-admin.yaml").read_text()
    status = (node / ".rednode.yaml").read_text()
    pattern = rf"realpath: {node}\ninfo: created by red-manager the .*\ntimestamp: \d{{13}}\nstate: Enable\n"
    assert re.fullmatch(pattern, status), status


@pytest.mark.usefixtures("upstream")
def test_update_replaces_all_but_the_headers(tmp_path: Path) -> None:
    root = str(tmp_path / "red")
    assert create("n", root) == 0
    file = tmp_path / "red/n/etc/redpak.yaml"
    headers = file.read_text().split("exports:")[0]
    (tmp_path / "t-normal.yaml").write_text("headers: {alias: other}\nconfig: {chdir: /new}\n")
    assert create("-u", "--alias", "ignored", "n", root) == 0
    assert file.read_text().split("config:")[0] == headers
    assert "  chdir: /new\n" in file.read_text()


@pytest.mark.parametrize("profile", ["upstream", "sealed"])
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["n", "relative"], 2, "Root path isn't absolute"),
        (["n", "{dir}/none"], 4, "Root path isn't existing"),
        (["n", "/" + "x/" * 2500], 2, "Root path too long"),
        (["x/" * 2500, "{dir}/red"], 2, "Node path too long"),
        (["-a", "", "n", "{dir}/red"], 2, "Default alias is empty"),
        (["-a", "a b", "n", "{dir}/red"], 2, "Invalid alias"),
        (["-c", "none", "n", "{dir}/red"], 4, "No configuration file"),
        (["-u", "n", "{dir}/red"], 4, "Can't update not existing config"),
        (["old", "{dir}/red"], 1, "Configuration file already existing"),
    ],
)
def test_a_failed_create_tells_why_and_makes_nothing(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    profile: str,
    words: list[str],
    code: int,
    told: str,
) -> None:
    request.getfixturevalue(profile)
    (tmp_path / "red/old/etc").mkdir(parents=True)
    (tmp_path / "red/old/etc/redpak.yaml").write_text("headers: {alias: old}\n")
    before = made(tmp_path)
    assert create(*(word.replace("{dir}", str(tmp_path)) for word in words)) == code
    assert capsys.readouterr().err == f"[ERROR]:  creation of node failed: {told}\n"
    assert made(tmp_path) == before


@pytest.mark.parametrize("profile", ["upstream", "sealed"])
def test_every_fault_of_a_template_is_told_and_nothing_is_made(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], profile: str
) -> None:
    request.getfixturevalue(profile)
    (tmp_path / "t-normal.yaml").write_text("headers: {alias: a}\nconfig:\n  nosuch: 1\n  umask: [1]\n")
    assert create("deep/er/n", str(tmp_path / "red")) == 2
    said = capsys.readouterr().err
    assert "t-normal.yaml:3:3" in said
    assert "t-normal.yaml:4:10" in said
    assert said.splitlines()[-1].startswith("[ERROR]:  creation of node failed: ")
    assert made(tmp_path / "red") == []


@pytest.mark.usefixtures("upstream")
def test_what_cannot_be_written_is_undone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "red/n").mkdir()
    (tmp_path / "red/n/.rednode.yaml").symlink_to("/nowhere/at/all")
    (tmp_path / "red/n/etc").write_text("in the way")
    assert create("n", str(tmp_path / "red")) == 1
    assert "Can't create directories" in capsys.readouterr().err
    assert made(tmp_path / "red") == ["n", "n/.rednode.yaml", "n/etc"]


def test_a_half_written_node_is_removed_again(tmp_path: Path) -> None:
    node = str(tmp_path / "red/deep/n")
    files = {f"{node}/etc/redpak.yaml": "a", f"{node}/etc/{'x' * 300}": "b"}
    with pytest.raises(redconf_create.CreateFailed, match="Can't store configuration file"):
        redconf_create.store(node, files)
    assert made(tmp_path / "red") == []


@pytest.mark.usefixtures("sealed")
def test_a_sealed_create_is_checked_against_the_family(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(tmp_path / "red")
    (tmp_path / "t-normal.yaml").write_text("headers: {alias: a}\nconfig: {share_net: disabled}\n")
    assert create("top", root) == 0
    assert "gpgcheck" not in (tmp_path / "red/top/etc/redpak.yaml").read_text()
    (tmp_path / "t-normal.yaml").write_text("headers: {alias: b}\nconfig: {share_net: enabled}\n")
    assert create("top/leaf", root) == 2
    assert "share_net" in capsys.readouterr().err
    assert not (tmp_path / "red/top/leaf").exists()


def family(tmp_path: Path) -> str:
    for name, body in (
        (
            "top",
            "exports: [{mode: Restricted, mount: /x, path: $NODE_PATH/x}]\nconfig: {path: /$NODE_ALIAS}\n",
        ),
        ("top/mid", "environ: [{key: A, value: $NODE_ALIAS}, {key: B, mode: Execfd, value: id -u}]\n"),
        ("top/mid/leaf", "config: {path: '/$NODE_ALIAS', share_net: disabled}\n"),
        ("top/side", ""),
    ):
        folder = tmp_path / "red" / name
        (folder / "etc").mkdir(parents=True)
        (folder / "etc/redpak.yaml").write_text(f"headers: {{alias: {name.split('/')[-1]}, name: N}}\n{body}")
        (folder / ".rednode.yaml").write_text(f"realpath: {folder}\ninfo: i\ntimestamp: 1\nstate: Enable\n")
    return str(tmp_path / "red/top")


@pytest.mark.usefixtures("sealed")
def test_tree_keeps_its_lines_straight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = family(tmp_path)
    assert redconf.main(["tree", top]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "red"),
        "  └── top  (top)",
        "      ├── mid  (mid)",
        "      │   └── leaf  (leaf)",
        "      └── side  (side)",
    ]


@pytest.mark.usefixtures("sealed")
def test_config_shows_the_leaf_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = family(tmp_path)
    assert redconf.main(["-y", "config", f"{top}/mid"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"# REDNODE CONFIG {top}/mid\nheaders:\n  alias: mid\n")
    assert f"\n\n# REDNODE CONFIG {top}/\nheaders:\n  alias: top\n" in said
    assert redconf.main(["config", "-r", top]) == 0
    said = capsys.readouterr().out
    assert said.startswith("---\nheaders=> alias=top name=N info=''\nconfig:\n\tcachedir=(null)\n")
    assert "  - [0] mode:  Restricted\n         mount: /x\n         path:  $NODE_PATH/x\n---\n" in said
    assert f"state=Enable\nrealpath={top}\ntimestamp=1\ninfo=i\n" in said


@pytest.mark.parametrize("profile", ["upstream", "sealed"])
def test_mergeconfig_tells_where_things_come_from_when_it_expands(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], profile: str
) -> None:
    request.getfixturevalue(profile)
    leaf = family(tmp_path) + "/mid/leaf"
    assert redconf.main(["mergeconfig", leaf]) == 0
    raw = capsys.readouterr().out
    head, body = raw.split("\n", 1)
    assert head == f"----CONFIG {len(body) - len('----') - 1}"
    assert body.endswith("----\n")
    assert "  path: $NODE_PATH/x\n" in body
    assert "  value: $NODE_ALIAS\n" in body
    assert "  path: /leaf:/top\n" in body
    assert redconf.main(["mergeconfig", "-e", leaf]) == 0
    expanded = capsys.readouterr().out
    assert f"  path: {tmp_path}/red/top" in expanded
    assert f"  info: top ({tmp_path}/red/top" in expanded
    assert "  value: mid\n" in expanded
    assert "  value: id -u\n" in expanded


def test_commands_that_do_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert redconf.main([]) == 2
    assert redconf.main(["frob"]) == 2
    assert redconf.main(["--help"]) == 0
    assert redconf.main(["create", "--help"]) == 0
    assert redconf.main(["create", "--frob"]) == 2
    assert redconf.main(["config", "a", "b"]) == 2
    assert redconf.main(["config", "/no/such/node"]) == 4
    capsys.readouterr()


@pytest.mark.usefixtures("sealed")
def test_redwrap_dnf_makes_nodes_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "pool/app")
    assert redwrap_dnf.main([f"--redpath={path}", "manager", "--create", "--alias=app"]) == 0
    assert capsys.readouterr().out == f'SUCCESS: rednode "{path}" ready\n'
    assert (tmp_path / "pool/.rednode.yaml").exists()
    assert redwrap_dnf.main(["--redpath", path, "manager"]) == 3
    assert redwrap_dnf.main(["--redpath", f"{path}-not", "install", "x"]) == 4
    assert "does not exist" in capsys.readouterr().err
    assert redwrap_dnf.main(["--redpath", path, "frob"]) == 2
    assert "No redmicrodnf command found!" in capsys.readouterr().err
    assert redwrap_dnf.main(["--redpath", str(tmp_path / "pool/list"), "--alias", "list", "manager"]) == 0
    assert redwrap_dnf.main(["manager"]) == 2
    assert redwrap_dnf.main(["--help"]) == 0
