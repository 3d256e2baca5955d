"""Frozen launchers on a real family: the same sandbox as `redpak run`, without Python, and never a stale one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("bwrap", "userns", "cc")

PLATFORM = """\
headers: {alias: platform}
exports:
  - {mode: Restricted, mount: /usr, path: /usr}
  - {mode: Symlink, mount: /bin, path: usr/bin}
  - {mode: Symlink, mount: /lib, path: usr/lib}
  - {mode: Symlink, mount: /lib64, path: usr/lib64}
  - {mode: Procfs, mount: /proc}
  - {mode: Devfs, mount: /dev}
  - {mode: Tmpfs, mount: /tmp}
config: {path: /usr/bin}
"""
LEAF = """\
headers: {alias: leaf}
exports:
  - {mode: Private, mount: /leaf, path: $NODE_PATH/share}
  - {mode: Execfd, mount: /tmp/said, path: 'printf "a\\n\\n"'}
environ:
  - {key: COMMAND, mode: Execfd, value: 'echo "it''s $((6*7))"; echo'}
  - {key: TERM, mode: Inherit}
  - {key: GREETING, value: "two  words ' \\" \\\\$HOME"}
"""

Family = Callable[[str], Path]


@pytest.fixture
def family(pool: Path) -> Family:
    """Return a function that writes the leaf's configuration into a family of two and returns the leaf."""

    def write(config: str) -> Path:
        for path, said in ((pool / "platform", PLATFORM), (pool / "platform" / "leaf", config)):
            (path / "etc").mkdir(parents=True, exist_ok=True)
            (path / "share").mkdir(exist_ok=True)
            (path / "etc" / "redpak.yaml").write_text(said)
            (path / ".rednode.yaml").write_text(f"realpath: {path}\ntimestamp: 1\nstate: Enable\n")
        return pool / "platform" / "leaf"

    return write


def start(launcher: Path, *words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start a launcher."""
    return subprocess.run(
        [str(launcher), *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def freeze(redpak: Program, leaf: Path, *words: str) -> Path:
    launcher = leaf.parent.parent / "launcher"
    made = redpak("freeze", "-o", launcher, leaf, *words)
    assert made.code == 0, made
    return launcher


SHOW = """
env | sort; cat /tmp/said; echo end; ls -A / /leaf; hostname; umask
grep -E '^(Cap|NoNew|Seccomp:|Sig)' /proc/self/status
"""


def test_a_launcher_makes_the_same_sandbox_as_redpak_run(redpak: Program, family: Family, bwrap: str) -> None:
    leaf = family(LEAF)
    launcher = leaf.parent.parent / "launcher"
    assert redpak("freeze", "--bwrap", bwrap, "-o", launcher, leaf).code == 0
    ran = redpak("run", "--no-frozen", "--bwrap", bwrap, leaf, "--", "sh", "-c", SHOW)
    frozen = start(launcher, "sh", "-c", SHOW, env=redpak.environ)
    assert ran.code == frozen.returncode == 0, (ran, frozen)
    assert frozen.stdout == ran.out
    assert "COMMAND=it's 42\n" in frozen.stdout
    assert "a\n\nend\n" in frozen.stdout
    assert "TERM=dumb\n" in frozen.stdout


def test_exit_codes_are_those_of_redpak_run(redpak: Program, family: Family) -> None:
    leaf = family(LEAF)
    (leaf / "share" / "text").write_text("no program\n")
    launcher = freeze(redpak, leaf)
    for words, code in (
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -9 $$"), 137),
        (("nothing-of-this-name",), 127),
        (("/leaf/text",), 126),
        (("/leaf",), 126),
    ):
        assert start(launcher, *words, env=redpak.environ).returncode == code, words
        for options in ((), ("--no-frozen",)):
            assert redpak("run", *options, leaf, "--", *words).code == code, (options, words)


def test_a_launchers_arguments_are_the_command_when_none_was_frozen_in(
    redpak: Program, family: Family
) -> None:
    launcher = freeze(redpak, family(LEAF))
    assert start(launcher, env=redpak.environ).returncode == 2
    assert start(launcher, "echo", "a b", "*", env=redpak.environ).stdout == "a b *\n"
    launcher = freeze(redpak, family(LEAF), "--", "echo", "it's", "frozen  in")
    assert start(launcher, env=redpak.environ).stdout == "it's frozen  in\n"
    assert start(launcher, "echo", "other", env=redpak.environ).stdout == "other\n"


def test_no_python_is_in_the_process_tree(redpak: Program, family: Family) -> None:
    leaf = family(LEAF)
    launcher = freeze(redpak, leaf)
    assert redpak("run", leaf, "--", "true").code == 0  # fills the cache
    for argv in ([str(launcher)], [*redpak.argv, "run", str(leaf)]):
        with subprocess.Popen([*argv, "sh", "-c", "echo ready; read -r _"], env=redpak.environ, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            tree, names = [process.pid], []
            while tree:
                pid = tree.pop()
                names.append(Path(f"/proc/{pid}/comm").read_text().strip())
                tree += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            process.communicate("\n", timeout=PATIENCE_S)
        assert names == ["redpak-launch", "bwrap", "bwrap", "sh"]


@pytest.mark.parametrize("change", ["leaf", "ancestor", "new admin", "new node between", "disabled"])
def test_a_changed_input_makes_the_launcher_anew(redpak: Program, family: Family, change: str) -> None:
    leaf = family(LEAF)
    launcher = leaf.parent.parent / "launcher"
    line = ("sh", "-c", "echo ${COLOUR-none}")
    assert redpak("freeze", "--admin", "-o", launcher, leaf, "--", *line).code == 0
    assert redpak("run", "--admin", leaf, "--", *line).out == "none\n"
    before = launcher.read_text()
    assert start(launcher, env=redpak.environ).stdout == "none\n"
    assert launcher.read_text() == before
    red = "environ:\n  - {key: COLOUR, value: red}\n"
    wanted = "red\n"
    if change == "leaf":
        (leaf / "etc" / "redpak.yaml").write_text(LEAF + "  - {key: COLOUR, value: red}\n")
    elif change == "ancestor":
        (leaf.parent / "etc" / "redpak.yaml").write_text(PLATFORM + red)
    elif change == "new admin":
        (leaf / "etc" / "redpak-admin.yaml").write_text("headers: {alias: leaf}\n" + red)
    elif change == "new node between":
        above = leaf.parent.parent
        (above / "etc").mkdir()
        (above / "etc" / "redpak.yaml").write_text("headers: {alias: above}\n" + red)
        (above / ".rednode.yaml").write_text(f"realpath: {above}\ntimestamp: 1\nstate: Enable\n")
    else:
        (leaf / ".rednode.yaml").write_text(f"realpath: {leaf}\ntimestamp: 1\nstate: Disable\n")
        wanted = ""
    told = start(launcher, env=redpak.environ)
    assert told.stdout == wanted, told
    assert redpak("run", "--admin", leaf, "--", *line).out == wanted
    if change == "disabled":
        assert told.returncode != 0
        return
    after = launcher.read_text()
    assert after != before
    assert start(launcher, env=redpak.environ).stdout == "red\n"
    assert launcher.read_text() == after  # fresh again: it was not made a second time


def test_a_source_that_became_a_symlink_is_not_followed(
    redpak: Program, family: Family, tmp_path: Path
) -> None:
    leaf = family(LEAF)
    launcher = freeze(redpak, leaf)
    assert redpak("run", leaf, "--", "true").code == 0
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "treasure").write_text("mine")
    shutil.rmtree(leaf / "share")
    (leaf / "share").symlink_to(tmp_path / "secret")
    for ended in (
        start(launcher, "ls", "/leaf", env=redpak.environ).returncode,
        redpak("run", leaf, "--", "ls", "/leaf").code,
    ):
        assert ended == 3


def test_a_lost_filter_or_helper_is_no_obstacle(redpak: Program, family: Family) -> None:
    leaf = family(LEAF)
    launcher = freeze(redpak, leaf)
    said = launcher.read_text()
    filters = {line.split()[1] for line in said.splitlines() if line.startswith("  -r ")}
    for path in filters:
        os.unlink(path)
    assert start(launcher, "echo", "on", env=redpak.environ).stdout == "on\n"
    helper = next(line.split()[1] for line in said.splitlines() if line.startswith("exec "))
    launcher.write_text(said.replace(helper, "/nowhere/redpak-launch"))
    launcher.chmod(0o755)
    assert start(launcher, "echo", "on", env=redpak.environ).stdout == "on\n"
    assert launcher.read_text().count("/nowhere") == 0


def test_a_command_that_begins_to_fail_is_reported_as_redpak_run_does(
    redpak: Program, family: Family, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    flag.write_text("x")
    leaf = family(f"headers: {{alias: leaf}}\nenviron:\n  - {{key: X, mode: Execfd, value: 'cat {flag}'}}\n")
    launcher = freeze(redpak, leaf)
    assert start(launcher, "sh", "-c", "echo $X", env=redpak.environ).stdout == "x\n"
    flag.unlink()
    told = start(launcher, "true", env=redpak.environ)
    assert told.returncode == 125
    assert "redpak.yaml:3" in told.stderr


def test_a_commands_confinement_is_that_of_redpak_run(
    redpak: Program, family: Family, tmp_path: Path
) -> None:
    probe = tmp_path / "probe.sh"
    probe.write_text(
        "id -u; ls /proc/self/fd | wc -l; cat /proc/net/dev | wc -l; grep -E 'CapEff|Seccomp:' /proc/self/status\n"
        f"(echo x >{tmp_path}/written) 2>/dev/null || echo refused\nenv | sort\n"
    )
    tmp_path.chmod(0o755)
    leaf = family(
        f"headers: {{alias: leaf}}\nenviron:\n  - {{key: X, mode: Execfd, value: 'bash {probe}'}}\n"
    )
    launcher = freeze(redpak, leaf)
    show = ("sh", "-c", 'printf "%s" "$X"')
    env = {**redpak.environ, "SECRET": "1", "USER": "somebody"}
    ran = redpak("run", "--no-frozen", leaf, "--", *show, env=env).out
    frozen = start(launcher, *show, env=env).stdout
    assert "refused" in ran
    assert "SECRET" not in ran
    assert frozen == ran
    assert not (tmp_path / "written").exists()


def test_what_cannot_be_frozen_is_refused_with_the_reason(redpak: Program, family: Family) -> None:
    leaf = family("headers: {alias: leaf}\nconfig: {inherit-env: true}\n")
    told = redpak("freeze", leaf)
    assert told.code == 3
    assert "environment" in told.err
    assert "redpak run" in told.err
    assert redpak("run", leaf, "--", "sh", "-c", "echo $HOME").out.strip() == redpak.environ["HOME"]


def test_a_command_that_was_taken_away_does_not_run_again(
    redpak: Program, family: Family, tmp_path: Path
) -> None:
    # A command can change nothing, so it tells by what it takes out of a pipe.
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    take = f"head -n 1 {tmp_path}/pipe"
    leaf = family(f"headers: {{alias: leaf}}\nenviron:\n  - {{key: X, mode: Execfd, value: '{take}'}}\n")
    launcher = freeze(redpak, leaf)
    assert take in launcher.read_text()
    os.write(pipe, b"one\n")
    assert start(launcher, "sh", "-c", "echo $X", env=redpak.environ).stdout == "one\n"
    os.write(pipe, b"two\n")
    (leaf / "etc" / "redpak.yaml").write_text("headers: {alias: leaf}\n")
    assert start(launcher, "sh", "-c", "echo ${X-none}", env=redpak.environ).stdout == "none\n"
    assert os.read(pipe, 9) == b"two\n"
    os.close(pipe)


def test_a_quiet_run_is_quiet_from_the_cache_too(redpak: Program, family: Family) -> None:
    leaf = family("headers: {alias: leaf}\nconfig: {hostname: mine}\n")
    top = leaf.parent / "etc" / "redpak.yaml"
    top.write_text(PLATFORM.replace("config: {", "config: {hostname: theirs, "))
    for _ in range(2):
        assert "warning" in redpak("run", leaf, "--", "true").err
        assert redpak("-q", "run", leaf, "--", "true").err == ""
        assert redpak("run", "--quiet", leaf, "--", "true").err == ""


def test_defaults_that_appear_make_a_launcher_stale(redpak: Program, family: Family, tmp_path: Path) -> None:
    leaf = family(LEAF)
    main = tmp_path / "main.yaml"
    env = {**redpak.environ, "redpak_MAIN": str(main)}
    main.write_text("environ: []\n")
    launcher = leaf.parent.parent / "launcher"
    line = ("sh", "-c", "echo ${FROM_MAIN-none}")
    assert redpak("freeze", "-o", launcher, leaf, env=env).code == 0
    assert start(launcher, *line, env=env).stdout == "none\n"
    main.write_text("environ:\n  - {key: FROM_MAIN, value: found}\n")
    assert start(launcher, *line, env=env).stdout == "found\n"
    # and so does another place for them
    assert start(launcher, *line, env={**env, "redpak_MAIN": "/dev/null"}).stdout != "found\n"


def test_a_copied_launcher_makes_itself_anew_not_its_origin(redpak: Program, family: Family) -> None:
    leaf = family(LEAF)
    launcher = freeze(redpak, leaf)
    copied = launcher.with_name("copied")
    shutil.copy2(launcher, copied)
    before = launcher.read_text()
    (leaf / "etc" / "redpak.yaml").write_text(LEAF + "  - {key: COLOUR, value: red}\n")
    assert start(copied, "sh", "-c", "echo $COLOUR", env=redpak.environ).stdout == "red\n"
    assert "COLOUR" in copied.read_text()
    assert launcher.read_text() == before


@pytest.mark.needs("root")
def test_another_users_launcher_starts_as_whoever_starts_it(
    redpak: Program, family: Family, tmp_path: Path
) -> None:
    leaf = family(LEAF)
    launcher = freeze(redpak, leaf)
    said = launcher.read_text()
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65533, 65533)
    env = {**redpak.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    done = subprocess.run(
        ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", str(launcher), "id", "-u"],
        env=env, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert launcher.read_text() == said
    if done.returncode == 0:
        assert done.stdout == "65533\n"
    else:  # where other users cannot read this checkout
        assert "denied" in done.stderr.lower() or done.returncode in (2, 3, 4, 126, 127), done


def test_a_caller_that_ignores_the_end_of_children_does_no_harm(redpak: Program, family: Family) -> None:
    leaf = family(LEAF)
    launcher = freeze(redpak, leaf)
    show = ("sh", "-c", "cat /tmp/said; echo $COMMAND; exit 7")
    for argv in ([str(launcher)], [*redpak.argv, "run", "--no-frozen", str(leaf), "--"]):
        for more in ({}, {"REDPAK_NO_HELPER": "1"}):
            done = subprocess.run(
                [*argv, *show],
                env={**redpak.environ, **more},
                capture_output=True,
                timeout=PATIENCE_S,
                check=False,
                preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
            )
            assert (done.returncode, done.stdout) == (7, b"a\n\nit's 42\n"), done


@pytest.mark.parametrize(
    "how", ["home unset", "home read-only", "no variables", "cache is a file", "cache full"]
)
def test_a_launch_needs_no_cache_and_no_environment(
    redpak: Program, family: Family, tmp_path: Path, how: str
) -> None:
    leaf = family("headers: {alias: leaf}\n")
    env = {key: value for key, value in redpak.environ.items() if key not in ("HOME", "XDG_CACHE_HOME")}
    match how:
        case "home read-only":
            env["HOME"] = "/proc"
        case "no variables":
            env = {key: value for key, value in env.items() if key in ("PYTHONPATH",)}
        case "cache is a file":
            (tmp_path / "file").write_text("")
            env["XDG_CACHE_HOME"] = str(tmp_path / "file")
        case "cache full":
            env["XDG_CACHE_HOME"] = "/dev/full"
    for _ in range(2):
        done = subprocess.run(
            [*redpak.argv, "run", str(leaf), "--", "sh", "-c", "exit 9"],
            env=env, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (9, ""), done


def test_termination_reaches_a_program_whose_output_nobody_reads(redpak: Program, family: Family) -> None:
    leaf = family("headers: {alias: leaf}\n")
    for more in ({}, {"REDPAK_NO_HELPER": "1"}):
        with subprocess.Popen(
            [*redpak.argv, "run", str(leaf), "--", "sh", "-c", "echo ready; exec cat /dev/zero"],
            env={**redpak.environ, **more},
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            assert os.read(process.stdout.fileno(), 6) == b"ready\n"
            process.terminate()
            assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
