"""Plans become bwrap's arguments, or are refused with every reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from redpak.engine import bwrap, fake, run, table
from redpak.engine.lowering import Unfit
from redpak.engine.spec import Blob, Opened, Value
from redpak.errors import Usage
from redpak.plan.model import Capability, FileInput, Limit, Rlimit, SetVar, UnsetVar
from redpak.plan.ops import Dev, Dir, File, InheritFd, Proc, Symlink, Tmpfs
from redpak.text import Ask, Run, text
from tests.unit.engine.plans import HERE, bind, host, plan


def words(*mounts: object, **more: object) -> list[str]:
    """Return the arguments, values shown as people see them."""
    spec = bwrap.lower(plan(*mounts, **more), host())  # type: ignore[arg-type]
    return [str(one.content) if isinstance(one, Value) else one for one in spec.args]


def after(said: list[str], option: str) -> list[str]:
    """Return the word behind each occurrence of an option."""
    return [said[at + 1] for at, word in enumerate(said) if word == option]


def test_parents_of_mount_points_are_made_passable() -> None:
    said = words(bind("/a/b/c", "/usr"), bind("/a/b/d", "/etc"), Tmpfs(dst="/x/y", because=HERE))
    assert after(said, "--dir") == ["/a", "/a/b", "/x"]
    assert said.index("--dir") < said.index("--ro-bind-fd")


def test_sources_become_descriptors_in_order() -> None:
    spec = bwrap.lower(plan(bind("/a", "/usr"), bind("/b", "/usr/bin", readonly=False)), host())
    assert spec.descriptors[:2] == (Opened(path="/usr", because=HERE), Opened(path="/usr/bin", because=HERE))
    assert spec.args[:6] == ("--ro-bind-fd", "10", "/a", "--bind-fd", "11", "/b")


def test_what_is_computed_at_start_stays_open() -> None:
    environ = (
        SetVar(key="A", value=text("x ", Run(command="id")), because=HERE),
        SetVar(key="B", value=text("plain"), because=HERE),
        SetVar(key="C", value=text(), inherited=True, because=HERE),
        UnsetVar(key="D", because=HERE),
    )
    file = File(dst="/f", content=text(Ask(name="UUID")), because=HERE)
    spec = bwrap.lower(plan(file, environ=environ), host())
    assert Value(content=text("x ", Run(command="id")), before=2, because=HERE) in spec.args
    assert Value(content=text(), inherited="C", before=2, because=HERE) in spec.args
    assert spec.descriptors[0] == Blob(content=text(Ask(name="UUID")), because=HERE)
    assert spec.args[spec.args.index("B") - 1 :][:3] == ("--setenv", "B", "plain")
    assert "--unsetenv" in spec.args


def test_everything_is_unshared_and_dropped_by_default() -> None:
    said = words()
    for kind in ("user", "ipc", "pid", "net", "uts", "cgroup"):
        assert f"--unshare-{kind}" in said
    assert after(said, "--cap-drop") == ["ALL"]
    assert {"--disable-userns", "--die-with-parent", "--seccomp"} <= set(said)
    assert "--cap-add" not in said


def test_choices_become_options() -> None:
    said = words(
        choices={
            "hostname": "box",
            "chdir": text("/x"),
            "die-with-parent": False,
            "new-session": True,
            "seccomp": "none",
        },
        capabilities=(Capability(name="CAP_NET_RAW", because=HERE),),
    )
    assert after(said, "--hostname") == ["box"]
    assert after(said, "--chdir") == ["/x"]
    assert after(said, "--cap-add") == ["CAP_NET_RAW"]
    assert "--new-session" in said
    assert "--die-with-parent" not in said
    assert "--seccomp" not in said


def test_root_gets_its_procfs_covered_and_others_do_not() -> None:
    proc = plan(Proc(dst="/p", because=HERE))
    assert "/p/sys" in bwrap.lower(proc, host(uid=0)).args
    assert "/p/sys" not in bwrap.lower(proc, host(uid=1000)).args
    assert (
        "/p/sys"
        not in bwrap.lower(proc.but(choices=plan(choices={"user": "1000"}).choices), host(uid=0)).args
    )


def test_every_reason_is_told_at_once(tmp_path: Path) -> None:
    made = plan(
        bind("/a", tmp_path / "none"),
        bind("/b", tmp_path, kind="file", mode="RestrictedFile"),
        Symlink(dst="/l", target="x", because=HERE),
        InheritFd(dst="/i", fd=12, because=HERE),
        limits=(Limit(node="/node", key="io.cost.qos", value="8:0 enable=1", because=HERE),),
        rlimits=(Rlimit(name="files", soft=1, hard=1, because=HERE),),
        capabilities=(Capability(name="CAP_NONE", because=HERE),),
        choices={"hostname": "x" * 65, "smack": "label", "user": "no-such-user"},
        namespaces={"net": "/run/none"},
    )
    with pytest.raises(Unfit) as told:
        bwrap.lower(made, host())
    said = told.value.message
    for part in ("none' of '/a' is missing", "takes a file", "descriptor 12", "'io.cost.qos'", "'files'", "'CAP_NONE'",
                 "too long", "no SMACK", "no user 'no-such-user'", "'/run/none' is not there"):  # fmt: skip
        assert part in said, part
    assert len(told.value.reasons) == 10
    assert told.value.code == 3


def test_a_missing_source_is_left_out_made_or_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    source = tmp_path.resolve() / "none"
    with pytest.raises(Unfit):
        bwrap.lower(plan(bind("/a", source)), host())
    skipped = bwrap.lower(plan(bind("/a", source)), host(), force=True)
    assert "/a" not in skipped.args
    assert "leaving out" in skipped.notes[0]
    made = bwrap.lower(plan(bind("/a", source, missing="create")), host())
    assert made.create == (str(source),)
    assert not source.exists()
    inside = plan(
        bind("/a", source), node=str(tmp_path), family=(plan().family[0].but(path=str(tmp_path.resolve())),)
    )
    assert bwrap.lower(inside, host(), force=True).create == (str(source),)


@pytest.mark.parametrize(
    ("op", "part"),
    [
        (Dir(dst="/usr/bin/none/x", because=HERE), "which is not there"),
        (Dir(dst="/dev/fd/x", because=HERE), "symbolic link in the sandbox's '/dev'"),
        (Dir(dst="/proc/self/root/x", because=HERE), "lies in the procfs"),
        (Dir(dst="/f/x", because=HERE), "beneath the file"),
        (bind("/w/x", "/usr"), "others than root may change"),
        (Symlink(dst="/usr/bin", target="x", because=HERE), "cannot be made"),
    ],
)
def test_a_bad_mount_point_is_refused(op: object, part: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    tmp_path.chmod(0o777)
    base = (
        bind("/usr", "/usr"), Dev(dst="/dev", because=HERE), Proc(dst="/proc", because=HERE),
        File(dst="/f", content=text("x"), because=HERE), bind("/w", tmp_path, readonly=False),
    )  # fmt: skip
    made = plan(*base).but()
    mounts = tuple(sorted((*base, op), key=lambda one: one.dst))  # type: ignore[attr-defined]
    with pytest.raises(Unfit, match=part):
        bwrap.lower(made.but(mounts=mounts), host())


def test_a_word_with_a_nul_is_refused() -> None:
    environ = (SetVar(key="A", value=text("x\0--bind"), because=HERE),)
    with pytest.raises(Unfit, match="cannot be passed"):
        bwrap.lower(plan().but(environ=environ), host())


def test_joined_namespaces_get_numbers_or_are_entered(tmp_path: Path) -> None:
    kinds = {kind: f"/proc/self/ns/{kind}" for kind in ("user", "pid", "net")}
    as_root = bwrap.lower(plan(namespaces=kinds), host(uid=0))
    assert [(one.kind, one.fd) for one in as_root.joins] == [("user", 9), ("net", 0), ("pid", 8)]
    assert after([str(word) for word in as_root.args], "--userns") == ["9"]
    as_user = bwrap.lower(plan(namespaces=kinds), host(uid=1000))
    assert [(one.kind, one.fd) for one in as_user.joins] == [("user", 0), ("net", 0), ("pid", 9)]


def test_sharing_the_user_namespace_is_told_to_an_ordinary_user() -> None:
    made = plan(namespaces={"user": "host"})
    assert "always has a user namespace" in bwrap.lower(made, host(uid=1000)).notes[0]
    with pytest.raises(Unfit, match="always has a user namespace"):
        bwrap.lower(made, host(uid=1000), strict=True)
    assert bwrap.lower(made, host(uid=0), strict=True).notes == ()


def test_what_a_script_cannot_do_is_said() -> None:
    assert bwrap.lower(plan(), host()).why_not_frozen() == ""
    assert "time" in bwrap.lower(plan(namespaces={"time": "new"}), host()).why_not_frozen()
    assert "command" in bwrap.lower(plan(bind("/a", text(Run(command="x")))), host()).why_not_frozen()
    assert "environment" in bwrap.lower(plan(choices={"inherit-env": True}), host()).why_not_frozen()


def test_the_printed_line_shows_paths_and_quotes() -> None:
    environ = (SetVar(key="A", value=text("it's"), because=HERE),)
    spec = bwrap.lower(plan(bind("/a b", "/usr"), environ=environ, command=("echo", "$HOME")), host())
    line = bwrap.shell_line(spec)
    assert "--ro-bind /usr '/a b'" in line
    assert "'it'\"'\"'s'" in line
    assert line.split(" -- ", 1)[1].startswith("echo '$HOME' 11<")
    assert bwrap.command_line(spec)[-3:] == ["--", "echo", "$HOME"]


def test_the_fake_engine_writes_plans_down() -> None:
    fake.started.clear()
    fake.answer[0] = 5
    made = plan()
    assert run.run(made, engine="fake", force=True) == 5
    assert [(one, options.force) for one, options in fake.started] == [(made, True)]
    fake.answer[0] = 0


def test_an_unknown_engine_is_a_wrong_option() -> None:
    with pytest.raises(Usage, match="no engine 'none'"):
        table.choose(plan(), "none")


def test_helper_arguments_follow_the_descriptors() -> None:
    file = FileInput(path="/f", stamp="1")
    spec = bwrap.lower(
        plan(bind("/a", "/usr"), File(dst="/f", content=text("data"), because=HERE), files=(file,)), host()
    )
    argv, environ = run.for_helper(spec, "/helper", ("why",), (9,))
    split = argv.index("--")
    assert argv[:split] == [
        "/helper",
        "-k",
        "9",
        "-x",
        "why",
        "-o",
        "/usr",
        "-d",
        "",
        "-m",
        "rp_1",
        "-r",
        spec.seccomp_path,
        "-n",
    ]
    assert environ == {"rp_1": "data"}
    assert argv[split + 1 : split + 3] == ["/usr/bin/bwrap", str(len(spec.args))]
    assert argv[-1] == "true"
    assert os.path.basename(spec.seccomp_path).startswith("seccomp-")


def test_what_the_caller_or_a_command_supplies_is_in_no_command_line() -> None:
    environ = (
        SetVar(key="A", value=text("known"), because=HERE),
        SetVar(key="B", value=text(), inherited=True, because=HERE),
        SetVar(key="C", value=text(Run(command="id")), because=HERE),
    )
    spec = bwrap.lower(plan(environ=environ, choices={"hostname": text(Run(command="id"))}), host())
    settled = spec.but(
        args=tuple(one.but(content=text(f"secret {n}"), inherited="") if isinstance(one, Value) else one
                   for n, one in enumerate(spec.args))
    )  # fmt: skip
    argv, environment = run.for_helper(settled, "/helper", (), ())
    assert not [word for word in argv if "secret" in word]
    assert len([value for value in environment.values() if value.startswith("secret")]) == 3
    options = argv[: argv.index("--")]
    late = [options[at + 1] for at, word in enumerate(options) if word in ("-a", "-v")]
    assert late == ["--setenv", "B", "rp_1", "--setenv", "C", "rp_2", "--hostname", "rp_3"]
    words = argv[argv.index("--") + 3 :]
    assert "known" in words
    assert "--hostname" not in words
    assert int(argv[argv.index("--") + 2]) == len(words) - len(spec.program)
