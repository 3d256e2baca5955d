"""Signed packages and repositories for the tests, made in a moment, and small core systems of them.

maker = Maker(tmp_path)
lib = maker.rpm("lib", "1.0", files={"/usr/lib64/libx.so.1": maker.library("libx.so.1")}, auto=True)
app = maker.rpm("app", requires=["lib >= 1"], scripts={"post": "echo hello"})
folder = maker.repo("main", [lib, app])
(node / "etc/yum.repos.d/main.repo").write_text(maker.repo_file("main"))
"""

from __future__ import annotations

import functools
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tests.rpmfile import BUILT, RPMLIB, File, Script, Trigger, dependency, package
from tests.rpmrepo import write_metadata

Content = bytes | str | tuple[bytes | str, int] | tuple[bytes | str, int, str] | File

SOURCE = "int {name}(void) {{ return 1; }}\n"


def Dir(mode: int = 0o755, user: str = "root") -> File:
    """Return a directory that a package owns."""
    return File(mode=stat.S_IFDIR | mode, user=user)


def Link(target: str) -> File:
    """Return a symbolic link."""
    return File(link=target)


def Config(data: bytes | str, *, noreplace: bool = True, mode: int = 0o644) -> File:
    """Return a file of configuration: %config(noreplace), or plain %config."""
    return File(data=_bytes(data), mode=mode, config=True, noreplace=noreplace)


def Ghost(mode: int = 0o644) -> File:
    """Return a file that the package owns and does not bring."""
    return File(mode=mode, ghost=True)


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _file(content: Content) -> File:
    match content:
        case File():
            return content
        case (data, mode):
            return File(data=_bytes(data), mode=mode)
        case (data, mode, user):
            return File(data=_bytes(data), mode=mode, user=user)
        case bytes() | str():
            return File(data=_bytes(content))


class Key:
    """An OpenPGP key pair that signs packages and metadata."""

    def __init__(self, secret: bytes, public: str) -> None:
        import pysequoia

        tsk = pysequoia.Tsk.from_bytes(secret)
        self.public = public  # armored
        self.fingerprint: str = tsk.extract_certificate().fingerprint
        self._signer = tsk.signer()

    def sign(self, data: bytes, *, armor: bool = False) -> bytes:
        """Return a detached signature."""
        import pysequoia

        made: bytes = pysequoia.sign(self._signer, data, mode=pysequoia.SignatureMode.DETACHED, armor=armor)
        return made


def _output(argv: list[str]) -> bytes:
    return subprocess.run(argv, check=True, capture_output=True).stdout


@functools.cache
def key(name: str = "packager") -> Key:
    """Return the key of that name, made once a run by GnuPG: rpm 4.18 reads no other tool's keys."""
    with tempfile.TemporaryDirectory(prefix="redpak-key.") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--faked-system-time", "20230101T000000"]
        try:
            who = f"{name} <{name}@example.invalid>"
            _output([*gpg, "--passphrase", "", "--quick-gen-key", who, "ed25519", "sign", "never"])
            public = _output([*gpg, "--armor", "--export"])
            secret = _output([*gpg, "--export-secret-keys"])
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
    return Key(secret, public.decode())


class Maker:
    """Makes packages in one directory. Every package is signed by `key("packager")` unless told otherwise."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.pool = self.folder / "rpms"
        self.pool.mkdir(parents=True, exist_ok=True)
        self.signer = key()
        self.contents: dict[str, Mapping[str, File]] = {}  # by path of the package

    @property
    def key(self) -> str:
        """The armored public key that most packages are signed with."""
        return self.signer.public

    @property
    def key_file(self) -> Path:
        """The same, as a file."""
        path = self.folder / "RPM-GPG-KEY-packager"
        path.write_text(self.key)
        return path

    def rpm(
        self,
        name: str,
        version: str = "1",
        release: str = "1",
        arch: str = "x86_64",
        *,
        epoch: int | None = None,
        provides: Iterable[str] = (),
        requires: Iterable[str] = (),
        conflicts: Iterable[str] = (),
        obsoletes: Iterable[str] = (),
        recommends: Iterable[str] = (),
        suggests: Iterable[str] = (),
        supplements: Iterable[str] = (),
        enhances: Iterable[str] = (),
        files: Mapping[str, Content] | None = None,
        scripts: Mapping[str, str | Script] | None = None,
        triggers: Sequence[Trigger] = (),
        auto: bool = False,
        sign: bool | Key = True,
        interpreters: bool = True,
        folder: Path | None = None,
        compression: str = "gzip",
        buildtime: int = BUILT,
        changelog: Sequence[tuple[int, str, str]] = (),
        vendor: str = "Example",
        summary: str = "",
        description: str = "",
        license: str = "MIT",  # the tag's name
        url: str = "",
        packager: str = "",
        group: str = "",
        sourcerpm: str = "",
        extra: Mapping[int, tuple[int, object]] | None = None,
    ) -> str:
        """Make one package and return its path.

        files: {path: bytes | str | (data, mode) | (data, mode, user) | File | Dir() | Link() | Config() | Ghost()}
        requires …: "name", "name >= 1-2", "(a if b)", "post: name" (a qualifier).
        scripts: {"pre", "post", "preun", "postun", "pretrans", "posttrans", "verify": shell text or Script(…)};
        a text that starts with "-- lua" is run by rpm's own Lua.
        auto: add what rpm's elfdeps finds in the files. interpreters: require the shell of scripts, as rpmbuild does.
        sign: False = not at all, a Key = by that one. extra: raw tags {number: (type, value)}.
        """
        made = {path: _file(content) for path, content in (files or {}).items()}
        ran = {when: _script(script) for when, script in (scripts or {}).items()}
        own = f"{'' if epoch is None else f'{epoch}:'}{version}-{release}"
        given = {
            "provides": provides, "requires": requires, "conflicts": conflicts, "obsoletes": obsoletes,
            "recommends": recommends, "suggests": suggests, "supplements": supplements, "enhances": enhances,
        }  # fmt: skip
        wanted = {kind: [dependency(text) for text in texts] for kind, texts in given.items()}
        wanted["provides"].append(dependency(f"{name} = {own}"))
        if arch != "noarch":
            wanted["provides"].append(dependency(f"{name}({arch.replace('_', '-')}) = {own}"))
        if interpreters:
            for when, script in ran.items():
                if script.program[0].startswith("/"):
                    wanted["requires"].append(dependency(f"{when},interp: {script.program[0]}"))
        if auto:
            for path, file in made.items():
                if file.data.startswith(b"\x7fELF"):
                    made[path] = replace(file, color=file.data[4])
                    wanted["provides"] += [
                        dependency(one) for one in elf_dependencies(file.data, "--provides")
                    ]
                    wanted["requires"] += [
                        dependency(one) for one in elf_dependencies(file.data, "--requires")
                    ]
        wanted["requires"] += _features(wanted, made, ran.values(), compression)
        by = self.signer if sign is True else sign
        data = package(
            name=name, version=version, release=release, arch=arch, epoch=epoch, dependencies=wanted, files=made,
            scripts=ran, triggers=triggers, sign=by.sign if by else None, compression=compression, buildtime=buildtime,
            changelog=changelog, extra=extra,
            texts={
                "summary": summary or f"The {name} package", "description": description or f"This is {name}.",
                "license": license, "vendor": vendor, "url": url, "packager": packager, "group": group,
                "sourcerpm": sourcerpm or f"{name}-{version}-{release}.src.rpm",
            },
        )  # fmt: skip
        at = (folder or self.pool) / f"{name}-{version}-{release}.{arch}.rpm"
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(data)
        self.contents[str(at)] = made
        return str(at)

    def library(
        self,
        soname: str,
        symbols: Mapping[str, str] | Iterable[str] = ("answer",),
        needs: Sequence[bytes] = (),
        *,
        runpath: str = "",
        source: str = "",
    ) -> bytes:
        """Return a small shared library. symbols: names, or {name: version} for a version script; needs: libraries."""
        versions = dict(symbols) if isinstance(symbols, Mapping) else {}
        body = source or "".join(SOURCE.format(name=symbol) for symbol in symbols)
        script = ""
        for number, version in enumerate(dict.fromkeys(versions.values())):
            names = " ".join(f"{symbol};" for symbol, of in versions.items() if of == version)
            script += f"{version} {{ global: {names} {'local: *;' if number == 0 else ''} }};\n"
        return _compiled(
            ("-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{soname}"), body, script, tuple(needs), runpath
        )

    def program(
        self, source: str = "int main(void) { return 0; }\n", needs: Sequence[bytes] = (), *, runpath: str = "",
        flags: Sequence[str] = (),
    ) -> bytes:  # fmt: skip
        """Return a program made from C, linked with the C library and `needs`."""
        return _compiled(tuple(flags), source, "", tuple(needs), runpath)

    def repo(
        self,
        name: str,
        rpms: Iterable[str],
        *,
        signed: bool | Key = True,
        updateinfo: str = "",
        modules: str = "",
        comps: str = "",
        compression: str = "gz",
        revision: str = "",
        timestamp: int = 0,
        folder: Path | None = None,
    ) -> Path:
        """Make (or make anew) a repository of packages and return its directory. updateinfo, …: texts."""
        place = folder or self.folder / "repos" / name
        shutil.rmtree(place, ignore_errors=True)
        (place / "repodata").mkdir(parents=True)
        files = []
        for path in rpms:
            at = place / "Packages" / Path(path).name
            at.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, at)
            files.append(at)
        write_metadata(
            place, files, compression=compression, revision=revision, timestamp=timestamp,
            others={"updateinfo": updateinfo, "modules": modules, "group": comps},
        )  # fmt: skip
        if signed:
            repomd = place / "repodata/repomd.xml"
            by = self.signer if signed is True else signed
            repomd.with_name("repomd.xml.asc").write_bytes(by.sign(repomd.read_bytes(), armor=True))
        return place

    def repo_file(self, name: str, folder: Path | str | None = None, **options: object) -> str:
        """Return the text of a .repo file for that repository; options are more keys (gpgcheck=0, priority=10)."""
        where = folder or self.folder / "repos" / name
        url = str(where) if "://" in str(where) else f"file://{where}"
        keys = {
            "name": name,
            "baseurl": url,
            "enabled": 1,
            "gpgcheck": 1,
            "repo_gpgcheck": 1,
            "gpgkey": f"file://{self.key_file}",
        }
        return f"[{name}]\n" + "".join(
            f"{key}={value}\n" for key, value in (keys | options).items() if value is not None
        )

    def database(self, rpms: Sequence[str], dbpath: Path | str) -> None:
        """Make the rpm database of these packages by rpm itself, without unpacking them."""
        Path(dbpath).mkdir(parents=True, exist_ok=True)
        options = (
            "--force-debian",
            "--justdb",
            "--nodeps",
            "--noscripts",
            "--notriggers",
            "--nosignature",
            "--ignoresize",
        )
        done = subprocess.run(
            ["rpm", "--dbpath", str(dbpath), "-i", *options, *rpms],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"rpm could not make a database: {done.stderr}")

    def plant(self, root: Path | str, rpms: Sequence[str], *, dbpath: Path | str = "") -> None:
        """Put packages that this maker made beneath `root` without rpm's help, and their database where rpm has it.

        No script runs and nobody's ownership changes: it needs no rights.
        """
        for rpm in rpms:
            contents = self.contents[rpm]
            for path, file in sorted(contents.items()):
                _plant(Path(root), path, file, contents)
        self.database(rpms, dbpath or Path(root, "var/lib/rpm"))

    def core(
        self, root: Path | str, extra: Sequence[str] = (), *, programs: Sequence[str] = (), with_rpm: bool = False
    ) -> Path:  # fmt: skip
        """Make a small core system of RPM packages at `root` (see tests/rpmcore.py) and return it."""
        from tests import rpmcore

        return rpmcore.core(self, Path(root), extra, programs=programs or rpmcore.PROGRAMS, with_rpm=with_rpm)


def _plant(root: Path, path: str, file: File, others: Mapping[str, File]) -> None:
    at = root / path.lstrip("/")
    at.parent.mkdir(parents=True, exist_ok=True)
    if file.ghost:
        return
    if file.link:
        at.symlink_to(file.link)
    elif stat.S_ISDIR(file.st_mode):
        at.mkdir(exist_ok=True)
        at.chmod(stat.S_IMODE(file.mode))
    elif file.hardlink and (root / file.hardlink.lstrip("/")).exists():
        at.hardlink_to(root / file.hardlink.lstrip("/"))
    else:
        at.write_bytes(others[file.hardlink or path].data)
        at.chmod(stat.S_IMODE(file.mode))
        os.utime(at, (file.mtime, file.mtime))


def _script(script: str | Script) -> Script:
    if isinstance(script, Script):
        return script
    return Script(body=script, program=("<lua>",) if script.startswith("-- lua") else ("/bin/sh",))


def _features(
    wanted: Mapping[str, Sequence[tuple[str, int, str]]],
    files: Mapping[str, File],
    scripts: Iterable[Script],
    how: str,
) -> list[tuple[str, int, str]]:
    """Return what rpm must be able to do, as rpmbuild says it."""
    rich = any(name.startswith("(") for kind in wanted.values() for name, _, _ in kind)
    caps = any(file.caps for file in files.values())
    lua = any(script.program[0] == "<lua>" for script in scripts)
    needed = (
        (True, "CompressedFileNames", "3.0.4-1"), (True, "FileDigests", "4.6.0-1"),
        (True, "PayloadFilesHavePrefix", "4.0-1"), (how == "zstd", "PayloadIsZstd", "5.4.18-1"),
        (how == "xz", "PayloadIsXz", "5.2-1"), (rich, "RichDependencies", "4.12.0-1"),
        (caps, "FileCaps", "4.6.1-1"), (lua, "BuiltinLuaScripts", "4.2.2-1"),
    )  # fmt: skip
    return [dependency(f"rpmlib({name}) <= {version}", RPMLIB) for on, name, version in needed if on]


@functools.cache
def elf_dependencies(data: bytes, which: str) -> tuple[str, ...]:
    """Return what rpm's own elfdeps says about an ELF file. which: "--provides", "--requires"."""
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(data)
        file.flush()
        os.chmod(file.name, 0o755)  # it looks only at what may be executed
        done = subprocess.run(
            ["/usr/lib/rpm/elfdeps", which, file.name], check=True, capture_output=True, text=True
        )
    return tuple(done.stdout.split("\n")[:-1])


@functools.cache
def _compiled(
    flags: tuple[str, ...], source: str, script: str, needs: tuple[bytes, ...], runpath: str
) -> bytes:
    with tempfile.TemporaryDirectory(prefix="redpak-cc.") as scratch:
        Path(scratch, "a.c").write_text(source)
        command = ["cc", "-O1", "-o", f"{scratch}/a.out", f"{scratch}/a.c", *flags]
        if script:
            Path(scratch, "a.map").write_text(script)
            command.append(f"-Wl,--version-script={scratch}/a.map")
        if runpath:
            command.append(f"-Wl,--enable-new-dtags,-rpath,{runpath}")
        for number, data in enumerate(needs):
            Path(scratch, f"lib{number}.so").write_bytes(data)
            command += ["-Wl,--no-as-needed", f"{scratch}/lib{number}.so"]
        command.append("-Wl,--allow-shlib-undefined")
        subprocess.run(command, check=True, capture_output=True)
        return Path(scratch, "a.out").read_bytes()
