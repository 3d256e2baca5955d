"""redwrap --dump-only under upstream-2.5, against dumps of our own writing, and its failures."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from redpak.cli.compat import redwrap

Make = Callable[..., str]
NO_SHARES = [
    "  --unshare-user",
    "  --unshare-cgroup",
    "  --unshare-ipc",
    "  --unshare-pid",
    "  --unshare-net",
]


@pytest.fixture(autouse=True)
def upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDPAK_PROFILE", "upstream-2.5")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/redwrap"])


@pytest.fixture
def node(tmp_path: Path) -> Make:
    """Makes a node beneath tmp_path: node("a/b", normal, admin) returns its path."""

    def make(name: str, normal: str = "", admin: str = "", state: str = "Enable") -> str:
        folder = tmp_path / name
        (folder / "etc").mkdir(parents=True)
        alias = name.replace("/", "-")
        (folder / "etc/redpak.yaml").write_text(f"headers: {{alias: {alias}}}\n{normal}")
        if admin:
            (folder / "etc/redpak-admin.yaml").write_text(f"headers: {{alias: admin}}\n{admin}")
        (folder / ".rednode.yaml").write_text(f"realpath: {folder}\ntimestamp: 1\nstate: {state}\n")
        return str(folder)

    return make


def dumped(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert redwrap.main(["--dump-only", *argv]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_node_without_anything_has_everything_unshared(
    node: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dumped(capsys, "-r", node("a")) == ["DUMP: /usr/bin/bwrap (as redwrap)", *NO_SHARES]


def test_the_order_of_a_dump(
    node: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = node(
        "a",
        """
exports:
- {mode: execfd, mount: /z, path: 'echo z'}
- {mode: Symlink, mount: /l, path: to/there}
- {mode: restricted, mount: /b, path: $NODE_PATH/b}
- {mode: anonymous, mount: /d}
- {mode: tmpfs, mount: /t}
- {mode: procfs, mount: /proc}
- {mode: devfs, mount: /dev}
- {mode: mqueue, mount: /q}
- {mode: lock, mount: /lock}
- {mode: internal, mount: /i, path: '7'}
- {mode: execfd, mount: /a, path: 'echo a'}
environ:
- {key: ONE, value: 1}
- {key: GONE, mode: remove}
- {key: TOLD, mode: execfd, value: 'printf "a\\nb"'}
- {key: MINE, mode: inherit}
config:
  path: /p
  ldpath: /l
  hostname: h
  chdir: /c
  die-with-parent: enabled
  new-session: enabled
  share_net: enabled
  share_pid: /proc/1/ns/pid
  capabilities:
  - {cap: cap_chown, add: 1}
  - {cap: all, add: 0}
""",
    )
    monkeypatch.setenv("MINE", "caller's")
    assert dumped(capsys, "-r", path, "--bwrap=/b/w", "prog", "-x", "y") == [
        "DUMP: /b/w (as redwrap)",
        "  --file 3 /a",
        f"  --ro-bind {path}/b /b",
        "  --dir /d",
        "  --dev /dev",
        "  --file 7 /i",
        "  --symlink to/there /l",
        "  --lock-file /lock",
        "  --proc /proc",
        "  --mqueue /q",
        "  --tmpfs /t",
        "  --file 4 /z",
        "  --setenv MINE caller's",
        "  --setenv TOLD a",
        "b",
        "  --unsetenv GONE",
        "  --setenv ONE 1",
        "  --cap-drop all",
        "  --cap-add cap_chown",
        "  --unshare-uts",
        "  --hostname h",
        "  --chdir /c",
        "  --die-with-parent",
        "  --new-session",
        "  --unshare-user",
        "  --unshare-cgroup",
        "  --unshare-ipc",
        "  --share-net",
        "  --setenv PATH /p",
        "  --setenv LD_LIBRARY_PATH /l prog",
        "  -x y",
    ]


def test_parents_paths_end_in_a_slash_and_admin_files_count_on_request(
    node: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    top = node("a", "config: {path: $NODE_PATH/x}", "config: {path: /admin}")
    leaf = node("a/no/b", "config: {path: $NODE_PATH/x}")
    assert dumped(capsys, "-r", leaf)[-1] == f"  --setenv PATH {leaf}/x:{top}//x"
    assert dumped(capsys, "-a", "-r", leaf)[-1] == f"  --setenv PATH {leaf}/x:/admin:{top}//x"


def test_an_own_time_keeps_the_user_namespace_from_bwrap(
    node: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "  --unshare-user" not in dumped(capsys, "-r", node("a", "config: {share_time: disabled}"))


def test_strict_leaves_missing_sources_out(node: Make, capsys: pytest.CaptureFixture[str]) -> None:
    path = node(
        "a", "exports: [{mode: public, mount: /x, path: /no/such}, {mode: publicfile, mount: /y, path: /no}]"
    )
    assert dumped(capsys, "-r", path)[1:3] == ["  --bind /no/such /x", "  --bind /no /y"]
    assert redwrap.main(["--strict", "-D", "-r", path]) == 0
    said = capsys.readouterr()
    assert "/no/such" not in said.out
    assert said.err == "[WARNING]:  Missing /no/such, ignoring the export of /x\n"


def test_commands_in_strings_are_run_for_a_dump(node: Make, capsys: pytest.CaptureFixture[str]) -> None:
    path = node("a", "exports: [{mode: public, mount: '/$(printf m)', path: /p}]")
    assert "  --bind /p /m" in dumped(capsys, "-r", path)


@pytest.mark.parametrize(
    ("top", "leaf", "told"),
    [
        (
            "share_net: disabled",
            "share_net: enabled",
            "Can't share net in {dir}/a/b because forbidden in {dir}/a/",
        ),
        (
            "capabilities: [{cap: cap_chown, add: 0}]",
            "capabilities: [{cap: cap_chown, add: 1}]",
            "Capability cap_chown of {dir}/a/ badly redefined in {dir}/a/b",
        ),
    ],
)
def test_what_is_forbidden_is_told_in_red_paks_words(
    node: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], top: str, leaf: str, told: str
) -> None:
    node("a", f"config: {{{top}}}")
    assert redwrap.main(["-D", "-r", node("a/b", f"config: {{{leaf}}}")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"[ERROR]:  {told.format(dir=tmp_path)}\n[ERROR]:  red-wrap aborted\n"


def test_failures_have_codes_of_their_own(
    node: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert redwrap.main(["-D", "-r", str(tmp_path / "none")]) == 4
    assert redwrap.main(["-D", "-r", node("off", state="Disable")]) == 3
    assert redwrap.main(["-D", "-r", node("bad", "config: {nosuch: 1, chdir: [x]}")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert sum("bad/etc/redpak.yaml:" in line for line in said) == 2
    assert redwrap.main(["--nosuch"]) == 2
    assert redwrap.main(["ls"]) == 2
    assert "Usage: redwrap" in capsys.readouterr().err
    monkeypatch.setenv("REDPAK_PROFILE", "open")
    assert redwrap.main(["-D", "-r", node("a")]) == 2
    assert redwrap.main(["-?"]) == 0


def test_the_oldest_node_may_choose_upstream_even_with_files_that_only_it_reads(
    node: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDPAK_PROFILE")
    node("a", "config: {profile: upstream-2.5, gpgcheck: banana}")
    assert dumped(capsys, "-r", node("a/b"))[0] == "DUMP: /usr/bin/bwrap (as redwrap)"
    node("c", "config: {gpgcheck: banana}")
    assert redwrap.main(["-D", "-r", node("c/d")]) == 2


def test_a_dump_makes_nothing(node: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = node("a", "exports: [{mode: public, mount: /x, path: $NODE_PATH/new}]")
    before = sorted((p, os.stat(p).st_mtime_ns, stat.S_IFMT(os.stat(p).st_mode)) for p in tmp_path.rglob("*"))
    dumped(capsys, "-r", path)
    assert before == sorted(
        (p, os.stat(p).st_mtime_ns, stat.S_IFMT(os.stat(p).st_mode)) for p in tmp_path.rglob("*")
    )
