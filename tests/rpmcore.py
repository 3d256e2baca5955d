"""A small core system of RPM packages: this host's own programs and libraries, in a directory, with a database."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rpmfile import File
from tests.rpms import Config, Dir, Ghost, Link

if TYPE_CHECKING:
    from tests.rpms import Content, Maker

PROGRAMS = ("sh", "cat", "echo", "ls", "mkdir", "rm", "sleep", "touch", "true")
C_LIBRARY = re.compile(r"(ld-linux|libc\.|libm\.|libdl\.|libpthread\.|librt\.|libresolv\.|libutil\.)")
USR_LINKS = {"bin": "bin", "sbin": "bin", "lib": "lib", "lib64": "lib64"}
PASSWD = "root:x:0:0:root:/root:/bin/sh\nsvc:x:300:300::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
GROUP = "root:x:0:\nsvc:x:300:\nnobody:x:65534:\n"


@functools.cache
def libraries(program: str) -> tuple[str, ...]:
    """Return the files that the loader opens for a program, itself included."""
    done = subprocess.run(["ldd", program], check=True, capture_output=True, text=True)
    return tuple(re.findall(r"(/\S+) \(0x", done.stdout))


def packages(maker: Maker, programs: Sequence[str] = PROGRAMS, *, with_rpm: bool = False) -> list[str]:
    """Make the packages of a core system: filesystem, setup, glibc, corelibs, coreutils, and rpm if asked."""
    if with_rpm:
        programs = (*programs, "rpm")
    places = {name: shutil.which(name, path="/usr/bin:/bin") or name for name in programs}
    used = sorted({library for place in places.values() for library in libraries(place)})
    glibc: dict[str, Content] = {"/etc/ld.so.cache": Ghost()}
    others: dict[str, Content] = {}
    for library in used:
        name = os.path.basename(library)
        owner = glibc if C_LIBRARY.match(name) else others
        owner[f"/usr/lib64/{name}"] = (Path(library).read_bytes(), 0o755)
    folders = ("/dev", "/etc", "/proc", "/root", "/run", "/sys", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64",
               "/usr/share", "/var", "/var/lib", "/var/log")  # fmt: skip
    tree: dict[str, Content] = {folder: Dir() for folder in folders}
    tree |= {folder: Dir(0o1777) for folder in ("/tmp", "/var/tmp")}
    tree |= {f"/{name}": Link(f"usr/{to}") for name, to in USR_LINKS.items()}
    tools: dict[str, Content] = {
        f"/usr/bin/{name}": (Path(place).read_bytes(), 0o755)
        for name, place in places.items()
        if name != "rpm"
    }
    made = [
        maker.rpm("filesystem", "1", files=tree),
        maker.rpm("setup", "1", arch="noarch", files={
            "/etc/passwd": Config(PASSWD), "/etc/group": Config(GROUP), "/etc/ld.so.conf": Config("/usr/lib64\n"),
            "/etc/os-release": Config('ID=redpak-test\nVERSION_ID="1"\nNAME="Test core"\n'),
        }),
        maker.rpm("glibc", "2.36", files=glibc, auto=True, provides=["rtld(GNU_HASH)"]),
        maker.rpm("corelibs", "1", files=others, auto=True),
        maker.rpm("coreutils", "9", files=tools, auto=True, provides=["/bin/sh"]),
    ]  # fmt: skip
    if with_rpm:
        config = [Path("/usr/lib/rpm", name) for name in ("macros", "rpmrc")] + [
            *Path("/usr/lib/rpm/platform").glob("x86_64*/macros")
        ]
        files: dict[str, Content] = {str(path): path.read_bytes() for path in config if path.is_file()}
        files["/usr/bin/rpm"] = File(data=Path(places["rpm"]).read_bytes(), mode=0o755)
        files["/etc/rpm/macros"] = "%_dbpath /var/lib/rpm\n"
        made.append(maker.rpm("rpm", "4.18", files=files, auto=True))
    return made


def core(
    maker: Maker,
    root: Path,
    extra: Sequence[str] = (),
    *,
    programs: Sequence[str] = PROGRAMS,
    with_rpm: bool = False,
) -> Path:
    """Make a core system at `root`, with the packages `extra` besides; its shell runs when it is chrooted into."""
    maker.plant(root, [*packages(maker, programs, with_rpm=with_rpm), *extra])
    subprocess.run(["/sbin/ldconfig", "-r", str(root)], check=True, capture_output=True)
    return root
