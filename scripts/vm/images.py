"""Kernels and initial file systems of the test guests: made once from Debian's packages, then kept.

Nothing is installed and nothing runs as part of the making but `apt-get download`, `dpkg-deb` and `busybox depmod`.
"""

from __future__ import annotations

import bz2
import fcntl
import functools
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
BUSYBOX = Path("/usr/bin/busybox")
UML_PACKAGE = "user-mode-linux"
# The meta package that names the newest generic kernel: the one for clouds has no 9p.
KERNEL_PACKAGES = {"x86_64": "linux-image-amd64", "aarch64": "linux-image-arm64"}
KEPT_S = 24 * 3600  # how long files of guests are kept once newer ones are needed
# What the initial file system loads, in this order after what these depend on.
BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_blk")
# Parts of a kernel's modules that guests may ask for: file systems, networks, disks, ciphers. Not hundreds of drivers.
WANTED = re.compile(
    r"kernel/(fs|net|crypto|lib|block|security|arch/[^/]+/crypto|drivers/(block|virtio|md|net/[^/]+\.ko))(/|$)"
)
MAGIC = (  # how a compressed kernel begins, and what reads it
    (b"\xfd7zXZ\x00", lambda blob: lzma.LZMADecompressor().decompress(blob)),
    (b"\x1f\x8b\x08", lambda blob: gzip.zlib.decompressobj(31).decompress(blob)),  # type: ignore[attr-defined]
    (b"BZh", lambda blob: bz2.BZ2Decompressor().decompress(blob)),
    (b"\x5d\x00\x00", lambda blob: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(blob)),
)


class CannotMake(Exception):
    """The guests' files cannot be made on this machine: the text says why and what to do."""


@functools.cache
def apt(*words: str, cwd: Path | None = None) -> str:
    """Ask apt. As root it works as root: its own user may not write into our directory."""
    options = ["-o", "Acquire::Retries=3"]
    if os.geteuid() == 0:
        options += ["-o", "APT::Sandbox::User=root"]
    try:
        done = subprocess.run(
            [words[0], *options, *words[1:]], cwd=cwd, capture_output=True, text=True, check=False, timeout=1800,
            stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError:
        raise CannotMake(f"there is no '{words[0]}': guests are made from Debian's packages") from None
    except subprocess.TimeoutExpired as error:
        raise CannotMake(f"'{' '.join(words)}' takes more than {error.timeout:.0f} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise CannotMake(f"'{' '.join(words)}': {last} (is 'apt-get update' due, or the network away?)")
    return done.stdout


def candidate(package: str) -> str:
    """Return the version of a package that apt would install."""
    found = re.search(r"Candidate: (\S+)", apt("apt-cache", "policy", package))
    if found is None or found[1] == "(none)":
        raise CannotMake(f"apt knows no package '{package}': run 'apt-get update' as root")
    return found[1]


def kernel_package() -> str:
    """Return the package of the newest generic kernel."""
    meta = KERNEL_PACKAGES.get(os.uname().machine)
    if meta is None:
        raise CannotMake(f"guests are not made for {os.uname().machine} yet")
    found = re.search(r"Depends: (linux-image-\S+)", apt("apt-cache", "depends", meta))
    if found is None:
        raise CannotMake(f"apt does not know which kernel '{meta}' stands for: run 'apt-get update' as root")
    return found[1]


def key(packages: Iterable[str]) -> str:
    """Return a short name for guests that are made of these packages by this code."""
    versions = "".join(f"{package} {candidate(package)}\n" for package in packages)
    return f"{code_key()}-{hashlib.sha256(versions.encode()).hexdigest()[:12]}"


def code_key() -> str:
    """Return a short name for what makes guests: this file, and the busybox that it puts into them."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(BUSYBOX.read_bytes())
    return digest.hexdigest()[:12]


def unpack(package: str, into: Path, wanted: re.Pattern[str]) -> None:
    """Download a package and unpack those of its files that are wanted."""
    with tempfile.TemporaryDirectory(prefix="download-", dir=into) as scratch:
        apt("apt-get", "download", "-qq", package, cwd=Path(scratch))
        (file,) = Path(scratch).glob("*.deb")
        with (
            subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as reader,
            tarfile.open(fileobj=reader.stdout, mode="r|") as archive,
        ):
            for member in archive:
                if member.isfile() and wanted.search(member.name) and ".." not in member.name.split("/"):
                    to = into / member.name
                    to.parent.mkdir(parents=True, exist_ok=True)
                    to.write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
                    to.chmod(member.mode & 0o755)
        if reader.returncode:
            raise CannotMake(f"the package '{package}' cannot be read")


def uncompressed(image: bytes) -> bytes:
    """Return the ELF file inside a compressed kernel: a guest that starts from it boots a second sooner."""
    if image[:4] == b"\x7fELF":
        return image
    for magic, read in MAGIC:
        at = image.find(magic, 0x4000)
        while at > 0:
            try:
                inside = read(image[at:])
            except (lzma.LZMAError, OSError, EOFError, ValueError, gzip.zlib.error):  # type: ignore[attr-defined]
                inside = b""
            if inside[:4] == b"\x7fELF":
                return bytes(inside)
            at = image.find(magic, at + 1)
    raise CannotMake("this kernel is compressed in a way that is not known here")


def in_load_order(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the files of modules, each after those that it depends on. What is built in has no file."""
    files = {file.stem.replace("-", "_"): file for file in folder.rglob("*.ko")}
    ordered: list[Path] = []

    def add(name: str) -> None:
        file = files.get(name.replace("-", "_"))
        if file is None or file in ordered:
            return
        found = re.search(rb"depends=([\w,-]*)\x00", file.read_bytes())
        for other in (found[1].decode() if found else "").split(","):
            if other:
                add(other)
        ordered.append(file)

    for name in names:
        add(name)
    return ordered


def archive(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Return an archive in the 'newc' format of cpio. Entries are (name, mode, content).

    Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    out = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        label = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(label), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + label
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return bytes(out)


def folders(*names: str) -> Iterator[tuple[str, int, bytes]]:
    """Return empty directories for an archive."""
    for name in names:
        yield name, stat.S_IFDIR | 0o755, b""


def first_files(modules: Iterable[Path]) -> bytes:
    """Return an initial file system: busybox and modules to load. What a single run needs is appended to it."""
    program = stat.S_IFREG | 0o755
    entries = [*folders("proc", "sys", "dev", "host", "rw", "new", "modules", "vm")]
    entries.append(("busybox", program, BUSYBOX.read_bytes()))
    for number, file in enumerate(modules):
        entries.append((f"modules/{number:02}-{file.name}", program, file.read_bytes()))
    return archive(entries)


class Images:
    """Where the files of the guests lie."""

    def __init__(self, at: Path) -> None:
        self.kernel = at / "vmlinux"
        self.initrd = at / "initrd"
        self.uml = at / "usr/bin/linux.uml"
        self.uml_initrd = at / "uml-initrd"
        self.modules = at / "lib/modules"


def make(at: Path, kernel: str) -> None:
    """Make the files of the guests in an empty directory."""
    images = Images(at)
    unpack(kernel, at, re.compile(rf"boot/vmlinuz|{WANTED.pattern}|modules\.(builtin|order)"))
    unpack(UML_PACKAGE, at, re.compile(rf"usr/bin/linux\.uml|{WANTED.pattern}|modules\.(builtin|order)"))
    (compressed,) = at.glob("boot/vmlinuz-*")
    images.kernel.write_bytes(uncompressed(compressed.read_bytes()))
    for found, initrd in ((images.modules, images.initrd), (at / "usr/lib/uml/modules", images.uml_initrd)):
        (folder,) = found.iterdir()
        if found != images.modules:
            folder = Path(shutil.move(folder, images.modules))
        for base in ("modules.builtin", "modules.order"):
            (folder / base).touch()
        depmod = [str(BUSYBOX), "depmod", "-b", str(at), folder.name]
        subprocess.run(depmod, check=True, stdin=subprocess.DEVNULL)
        initrd.write_bytes(first_files(in_load_order(folder, BOOT_MODULES)))
    for left in ("boot", "usr/lib"):
        shutil.rmtree(at / left)


def ready() -> Images:
    """Return the guests' files; make them where they are missing or made from other versions.

    Raises CannotMake.
    """
    if not BUSYBOX.exists():
        raise CannotMake(f"there is no {BUSYBOX}: install the package 'busybox-static'")
    home = Path(os.environ.get("REDPAK_VM_CACHE") or CHECKOUT / ".dev" / "vm")
    if re.search(r"[\s\"]", str(home)):
        raise CannotMake(
            f"the path '{home}' has signs that a kernel's command line cannot take: set REDPAK_VM_CACHE"
        )
    home.mkdir(parents=True, exist_ok=True)
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for known in home.glob(f"{code_key()}-*"):
            if time.time() - known.stat().st_mtime < KEPT_S:
                return Images(known)  # apt takes seconds to say that nothing is newer
        kernel = kernel_package()
        at = home / key([kernel, UML_PACKAGE])
        if at.exists():
            os.utime(at)
            return Images(at)
        print("vm: making the guests' files: about 120 MB are downloaded", file=sys.stderr, flush=True)
        for old in home.iterdir():
            if (
                old.is_dir() and time.time() - old.stat().st_mtime > KEPT_S
            ):  # a guest may still use a younger one
                shutil.rmtree(old)
        with tempfile.TemporaryDirectory(prefix="making-", dir=home) as scratch:
            made = Path(scratch, "made")
            made.mkdir(mode=0o755)
            make(made, kernel)
            made.rename(at)
    return Images(at)
