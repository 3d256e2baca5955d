"""Random programs, libraries and search paths: the loader of this host must find exactly what we say."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from redpak.packages import ldconf
from redpak.packages.ldso import Loader

NAMES = [f"libf{number}.so.1" for number in range(5)]
FOLDERS = ["d0", "d1", "d2", "d3", "d0/glibc-hwcaps/x86-64-v2", "d1/glibc-hwcaps/x86-64-v3", "d0/lib/x86_64-linux-gnu",
           "d3/x86_64", "d1/tls/x86_64"]  # fmt: skip
SEARCHED = [
    "$ORIGIN",
    "${ORIGIN}/../d1",
    "$ORIGIN/$LIB",
    "$ORIGIN/../d3/$PLATFORM",
    "",
    "/nonexistent",
    "d1",
    "$FOO/x",
]


class World:
    """A directory full of libraries that need each other, made from a seed."""

    def __init__(self, top: Path, seed: int) -> None:
        self.top = top
        self.choose = random.Random(seed)
        self.folders = [str(top / name) for name in FOLDERS]
        self.stubs = {name: str(top / f"stub-{name}") for name in NAMES}
        for folder in self.folders:
            os.makedirs(folder)
        for name, stub in self.stubs.items():
            self.compile("-shared", "-nostdlib", "-x", "c", "/dev/null", "-o", stub, f"-Wl,-soname,{name}")
        for folder in self.folders:
            for number, name in enumerate(NAMES):
                if self.choose.random() < 0.5:
                    self.library(f"{folder}/{name}", number)
        source = top / "main.c"
        source.write_text("int main(void) { return 0; }\n")
        needs = [self.stubs[name] for name in self.choose.sample(NAMES, 2)]
        self.program = str(top / "d0/program")
        self.compile(
            "-o",
            self.program,
            str(source),
            "-Wl,--no-as-needed",
            *needs,
            "-Wl,--allow-shlib-undefined",
            *self.search(),
        )

    def compile(self, *words: str) -> None:
        subprocess.run(["cc", *words], check=True, capture_output=True)

    def search(self) -> list[str]:
        """Return options for a random RPATH or RUNPATH, or none."""
        kind = self.choose.choice(["", "", "--disable-new-dtags", "--enable-new-dtags"])
        elements = self.choose.sample([*SEARCHED, *self.folders], self.choose.randint(1, 3))
        return [f"-Wl,{kind},-rpath,{':'.join(elements)}"] if kind else []

    def library(self, path: str, number: int) -> None:
        """Make a library that needs some of the later ones; some have another soname, or are for another machine."""
        needs = [self.stubs[name] for name in NAMES[number + 1 :] if self.choose.random() < 0.5]
        soname = self.choose.choice([NAMES[number]] * 9 + [f"libother.so.{number}"])
        self.compile(
            "-shared", "-nostdlib", "-x", "c", "/dev/null", "-x", "none", "-o", path, f"-Wl,-soname,{soname}",
            "-Wl,--no-as-needed", *needs, *self.search(),
        )  # fmt: skip
        if self.choose.random() < 0.1:
            data = bytearray(Path(path).read_bytes())
            data[18] = 183
            Path(path).write_bytes(data)

    def judged(self, environ: dict[str, str], cwd: str) -> tuple[list[str], set[str]]:
        """Return what the real loader opens, in its order, and what it does not find."""
        done = subprocess.run(
            [self.program],
            env={"LD_TRACE_LOADED_OBJECTS": "1", **environ},
            capture_output=True,
            text=True,
            cwd=cwd,
            check=False,
        )
        rows = re.findall(r"^\s+(?:\S+ => )?(\S*/\S*) \(0x", done.stdout, flags=re.MULTILINE)
        missing = re.findall(r"^\s+(\S+) => not found", done.stdout, flags=re.MULTILINE)
        return [os.path.realpath(os.path.join(cwd, path)) for path in rows], set(missing)


@pytest.mark.slow
@pytest.mark.needs("cc")
@pytest.mark.parametrize("seed", range(8))
def test_the_hosts_loader_agrees(tmp_path: Path, seed: int) -> None:
    if not os.path.exists("/lib64/ld-linux-x86-64.so.2"):
        pytest.skip("the names of its directories are those of x86_64")
    world = World(tmp_path / "w", seed)
    choose = world.choose
    search = choose.sample(
        [*world.folders, "$ORIGIN/../d2", "d3", "", f"{tmp_path}/w/d1/"], choose.randint(0, 3)
    )
    preload = choose.choice([[], [f"{tmp_path}/w/d1/{NAMES[4]}"], [NAMES[3]]])
    environ = {"LD_LIBRARY_PATH": choose.choice(":;").join(search)} if search else {}
    if preload:
        environ["LD_PRELOAD"] = ":".join(preload)
    cwd = choose.choice([str(tmp_path / "w"), "/"])
    loader = Loader(ldconf.rooted("/"), library_path=search, preload=preload, cwd=cwd)
    loading = loader.load(world.program)
    found, missing = world.judged(environ, cwd)
    assert [os.path.realpath(one.file) for one in loading.objects[1:]] == found
    assert {one.name for one in loading.missing} == missing
    shutil.rmtree(tmp_path / "w")
