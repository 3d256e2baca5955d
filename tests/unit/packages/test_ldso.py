"""Which library the loader takes. The loader of this host is the judge, where there is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from redpak.errors import RedpakError
from redpak.packages import ldconf, ldso
from redpak.packages.ldso import Loader, Loading
from tests.rpms import Maker

HOST = ldconf.rooted("/")
DTAGS = {"runpath": "--enable-new-dtags", "rpath": "--disable-new-dtags"}
MAIN = "int {0}(void); int main(void) {{ return {0}(); }}\n"


def files(loading: Loading) -> list[str]:
    """Return the real files that are loaded, without the program."""
    return [os.path.realpath(one.file) for one in loading.objects[1:]]


def judged(program: Path | str, **environ: str) -> list[str]:
    """Return what the real loader opens for a program, in its order."""
    done = subprocess.run(
        [str(program)],
        env={"LD_TRACE_LOADED_OBJECTS": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, flags=re.MULTILINE)
    return [os.path.realpath(path) for path in found]


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.mark.parametrize(
    "name", ["sh", "ls", "rpm", "gpg", "python3", "git", "perl", "bash", "systemctl", "ssh"]
)
def test_the_hosts_loader_agrees_on_the_hosts_programs(name: str) -> None:
    path = shutil.which(name, path="/usr/bin:/bin")
    if path is None or not judged(path):
        return
    loading = Loader(HOST).load(os.path.realpath(path))
    assert files(loading) == judged(os.path.realpath(path))
    assert not loading.missing
    assert not loading.faults


def test_the_default_directories_are_read_from_the_loader_itself() -> None:
    path = ldconf.LOADERS[(62, 64)]
    if not os.path.exists(path):
        return
    said = subprocess.run([path, "--list-diagnostics"], capture_output=True, text=True, check=False).stdout
    known = tuple(
        part.rstrip("/") for part in re.findall(r'^path\.system_dirs\[.*\]="(.*)"', said, flags=re.MULTILINE)
    )
    built = ldconf.system(path, HOST, 62, 64)
    if known:
        assert built.defaults == known
    version = re.search(r'^version\.version="(\d+)\.(\d+)"', said, flags=re.MULTILINE)
    if version:
        assert built.version == (int(version[1]), int(version[2]))


@pytest.mark.needs("cc")
@pytest.mark.parametrize("tag", ["runpath", "rpath"])
def test_library_path_wins_over_runpath_and_loses_against_rpath(
    maker: Maker, tmp_path: Path, tag: str
) -> None:
    library = maker.library("libq.so.1")
    for folder in ("own", "given"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "libq.so.1").write_bytes(library)
    program = tmp_path / "program"
    flags = (f"-Wl,{DTAGS[tag]},-rpath,{tmp_path / 'own'}",)
    program.write_bytes(maker.program(MAIN.format("answer"), [library], flags=flags))
    program.chmod(0o755)
    loading = Loader(HOST, library_path=(str(tmp_path / "given"),)).load(str(program))
    assert files(loading) == judged(program, LD_LIBRARY_PATH=str(tmp_path / "given"))
    assert loading.objects[1].how == ("rpath" if tag == "rpath" else "LD_LIBRARY_PATH")


@pytest.mark.needs("cc")
def test_a_runpath_serves_only_the_object_that_has_it(maker: Maker, tmp_path: Path) -> None:
    inner = maker.library("libinner.so.1", ["inner"])
    outer = maker.library(
        "libouter.so.1", ["outer"], [inner], source="int inner(void); int outer(void) { return inner(); }\n"
    )
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libinner.so.1").write_bytes(inner)
    (tmp_path / "lib/libouter.so.1").write_bytes(outer)
    for tag, finds in (("runpath", False), ("rpath", True)):
        program = tmp_path / f"program-{tag}"
        flags = (f"-Wl,{DTAGS[tag]},-rpath,$ORIGIN/lib",)
        program.write_bytes(maker.program(MAIN.format("outer"), [outer], flags=flags))
        program.chmod(0o755)
        loading = Loader(HOST).load(str(program))
        assert [one.name for one in loading.missing] == ([] if finds else ["libinner.so.1"])
        assert set(files(loading)) == set(judged(program))


@pytest.mark.needs("cc")
def test_an_object_with_a_runpath_does_not_use_the_rpath_of_its_loader(maker: Maker, tmp_path: Path) -> None:
    inner = maker.library("libinner.so.1", ["inner"])
    body = "int inner(void); int outer(void) { return inner(); }\n"
    outer = maker.library("libouter.so.1", ["outer"], [inner], source=body, runpath="/nonexistent")
    for name, data in (("libinner.so.1", inner), ("libouter.so.1", outer)):
        (tmp_path / name).write_bytes(data)
    program = tmp_path / "program"
    flags = (f"-Wl,{DTAGS['rpath']},-rpath,$ORIGIN",)
    program.write_bytes(maker.program(MAIN.format("outer"), [outer], flags=flags))
    program.chmod(0o755)
    loading = Loader(HOST).load(str(program))
    assert loading.objects[1].how == "rpath"
    assert [(one.name, one.by) for one in loading.missing] == [("libinner.so.1", 1)]
    assert files(loading) == judged(program)


@pytest.mark.needs("cc")
def test_a_file_is_loaded_once_whatever_its_names(maker: Maker, tmp_path: Path) -> None:
    first, second = (maker.library(name, [name[3:6]]) for name in ("libone.so.1", "libtwo.so.1"))
    (tmp_path / "libone.so.1").write_bytes(first)
    (tmp_path / "libtwo.so.1").symlink_to("libone.so.1")
    program = tmp_path / "program"
    program.write_bytes(maker.program("int main(void) { return 0; }\n", [first, second]))
    program.chmod(0o755)
    given = str(tmp_path)
    loading = Loader(HOST, library_path=(given,)).load(str(program))
    assert files(loading) == judged(program, LD_LIBRARY_PATH=given)
    assert [one.name for one in loading.objects].count("libtwo.so.1") == 0


@pytest.mark.needs("cc")
def test_processor_levels_are_looked_at_first(maker: Maker, tmp_path: Path) -> None:
    library = maker.library("libq.so.1")
    levels = ldconf.levels()
    for folder in ("", *(f"glibc-hwcaps/{level}" for level in levels)):
        (tmp_path / "lib" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / folder / "libq.so.1").write_bytes(library)
    program = tmp_path / "program"
    program.write_bytes(maker.program(MAIN.format("answer"), [library]))
    program.chmod(0o755)
    given = str(tmp_path / "lib")
    assert files(Loader(HOST, library_path=(given,)).load(str(program))) == judged(
        program, LD_LIBRARY_PATH=given
    )
    plain = Loader(HOST, library_path=(given,), hwcaps=()).load(str(program))
    assert plain.objects[1].file == str(tmp_path / "lib/libq.so.1")


@pytest.mark.needs("cc")
def test_a_library_for_another_machine_is_passed_over(maker: Maker, tmp_path: Path) -> None:
    library = bytearray(maker.library("libq.so.1"))
    for folder in ("good", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "libq.so.1").write_bytes(library)
        library[18] = 183  # e_machine: aarch64
    program = tmp_path / "program"
    program.write_bytes(maker.program(MAIN.format("answer"), [bytes(maker.library("libq.so.1"))]))
    program.chmod(0o755)
    given = (str(tmp_path / "other"), str(tmp_path / "good"))
    assert files(Loader(HOST, library_path=given).load(str(program))) == judged(
        program, LD_LIBRARY_PATH=":".join(given)
    )


@pytest.mark.needs("cc")
def test_a_file_that_is_no_library_ends_the_search(maker: Maker, tmp_path: Path) -> None:
    library = maker.library("libq.so.1")
    (tmp_path / "libq.so.1").write_text("#!/bin/sh\n" + " " * 100)
    program = tmp_path / "program"
    program.write_bytes(maker.program(MAIN.format("answer"), [library]))
    loading = Loader(HOST, library_path=(str(tmp_path),)).load(str(program))
    assert [one.name for one in loading.missing] == ["libq.so.1"]
    assert loading.faults == (f"'{tmp_path}/libq.so.1' is no ELF file",)


@pytest.mark.needs("cc")
def test_a_view_is_searched_not_the_host(maker: Maker, tmp_path: Path) -> None:
    """As a node's launch sees it: mounts at other places, links within the view."""
    library = maker.library("libq.so.1")
    node = tmp_path / "node/usr/lib64"
    node.mkdir(parents=True)
    (node / "libq.so.1.0").write_bytes(library)
    (node / "libq.so.1").symlink_to("/nodes/app/usr/lib64/libq.so.1.0")
    program = maker.program(MAIN.format("answer"), [library])
    (tmp_path / "node/usr/bin").mkdir()
    (tmp_path / "node/usr/bin/run").write_bytes(program)
    root = tmp_path / "root"
    (root / "nodes").mkdir(parents=True)
    (root / "nodes/app").symlink_to("/mounted")
    shutil.copytree(tmp_path / "node", root / "mounted", symlinks=True)
    loader = Loader(ldconf.rooted(str(root)), library_path=("/nodes/app/usr/lib64",), hwcaps=())
    loading = loader.load("/nodes/app/usr/bin/run")
    assert loading.objects[1].path == "/nodes/app/usr/lib64/libq.so.1"
    assert loading.objects[1].file == str(root / "mounted/usr/lib64/libq.so.1.0")
    assert [one.name for one in loading.missing] == ["libc.so.6"]


def test_a_view_whose_links_go_round_has_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("/b")
    (tmp_path / "b").symlink_to("/a")
    (tmp_path / "out").symlink_to("/../../../../etc/passwd")
    look = ldconf.rooted(str(tmp_path))
    assert look("/a") is None
    assert look("/a/x") is None
    assert look("/out") is None
    assert look("/..") == str(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").touch()
    assert ldconf.rooted(str(tmp_path))("/out") == str(tmp_path / "etc/passwd")


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("text")
    with pytest.raises(RedpakError, match="is no ELF file"):
        Loader(HOST).load(str(tmp_path / "x"))
    with pytest.raises(RedpakError, match="does not exist"):
        Loader(HOST).load(str(tmp_path / "y"))


def test_the_cache_of_this_host_is_read_as_ldconfig_prints_it() -> None:
    ldconfig = shutil.which("ldconfig", path="/sbin:/usr/sbin")
    if not os.path.exists("/etc/ld.so.cache") or ldconfig is None:
        return
    said = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^\t(\S+) \((.*)\) => (\S+)$", said, flags=re.MULTILINE)
    mine = ldconf.read_cache(HOST)
    assert sorted((name, line.path) for name, found in mine.items() for line in found) == sorted(
        (name, path) for name, flags, path in lines if "hwcap:" not in flags
    )


@pytest.mark.parametrize("cut", [0, 10, 20, 47, 48, 60, 200])
def test_a_damaged_cache_is_no_cache(cut: int) -> None:
    try:
        data = Path("/etc/ld.so.cache").read_bytes()
    except FileNotFoundError:
        data = b"glibc-ld.so.cache1.1" + b"\xff" * 200
    assert ldconf.cache(data[:cut]) == {}
    assert ldconf.cache(data[:48] + b"\xff" * 500) == {}


def test_configuration_includes_others_and_leaves_comments_out(tmp_path: Path) -> None:
    (tmp_path / "etc/ld.so.conf.d").mkdir(parents=True)
    (tmp_path / "etc/ld.so.conf").write_text(
        "# first\n/opt/a # why\ninclude ld.so.conf.d/*.conf\nhwcap 1 nosegneg\n/opt/b,/opt/c\n"
    )
    (tmp_path / "etc/ld.so.conf.d/2.conf").write_text("/opt/2/\n")
    (tmp_path / "etc/ld.so.conf.d/1.conf").write_text("/opt/1\ninclude /etc/ld.so.conf\n")
    (tmp_path / "etc/ld.so.conf.d/other").write_text("/opt/no\n")
    assert ldconf.configured(ldconf.rooted(str(tmp_path))) == (
        "/opt/a",
        "/opt/1",
        "/opt/2",
        "/opt/b",
        "/opt/c",
    )


def test_words_of_the_loader_are_replaced(tmp_path: Path) -> None:
    assert ldconf.system("/none", HOST, 62, 64).lib == "lib64"
    assert ldconf.usual(3, 32) == ("/lib", "/usr/lib")
    assert ldso.MOST_OBJECTS > 1000
