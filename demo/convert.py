"""Real packages of this host's distribution, turned into RPM packages and a signed repository, on the spot.

Files stay as they are, but for documentation. What a package requires and provides is read from its ELF files with
redpak's own reader, as rpmbuild would; nothing of Debian's dependency fields is believed, but for the packages that
are turned as well. Packages and metadata are signed with a key that is made for the occasion.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from demo.software import said
from redpak.packages import elf

KEEP = ("bin", "games", "lib", "libexec", "sbin", "share")  # of /usr
DROP = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/lib/systemd",
    "usr/lib/tmpfiles.d",
)
CONFIG = ("etc/redis", "etc/webdis")
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "all": "noarch"}


class Workshop:
    """Makes packages and repositories in one directory."""

    def __init__(self, at: Path) -> None:
        import rpm_rs

        self.at = at
        at.mkdir(parents=True)
        self.home = at / "gnupg"
        self.home.mkdir(mode=0o700)
        self.gpg(
            "--passphrase",
            "",
            "--quick-gen-key",
            "The demo's packager <demo@example.invalid>",
            "ed25519",
            "sign",
            "never",
        )
        self.public = at / "RPM-GPG-KEY-demo"
        self.public.write_text(self.gpg("--armor", "--export"))
        secret = at / "secret.asc"
        secret.write_text(self.gpg("--armor", "--export-secret-keys"))
        self.signer = rpm_rs.Signer.from_file(str(secret))

    def gpg(self, *words: str) -> str:
        """Run GnuPG with the workshop's own keys."""
        return said("gpg", "--homedir", str(self.home), "--batch", "--quiet", *words)

    def close(self) -> None:
        """End the agent that GnuPG started."""
        subprocess.run(
            ["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True
        )

    def from_deb(self, deb: Path, turned: Sequence[str]) -> Path:
        """Turn a Debian package into an RPM package. `turned`: the names of all packages that are turned."""
        shown = ("Package", "Version", "Architecture", "Depends", "Description")
        lines = said("dpkg-deb", "--field", str(deb), *shown).splitlines()
        fields = dict(line.split(": ", 1) for line in lines if re.match(r"\w+: ", line))
        name, arch = fields["Package"], ARCHITECTURES[fields["Architecture"]]
        whole = self.at / "unpacked" / name
        whole.mkdir(parents=True)
        said("dpkg-deb", "--extract", str(deb), str(whole))
        for part in ("lib", "lib64"):  # before /usr was merged, some libraries were packed outside it
            if (whole / part).is_dir() and not (whole / part).is_symlink():
                said("cp", "-a", f"{whole / part}/.", str(whole / "usr" / part))
        alike = re.findall(r"(?:^|, )([a-z0-9.+-]+)", fields.get("Depends", ""))
        requires = [other for other in alike if other in turned and not other.startswith("lib")]
        upstream, _, revision = fields["Version"].rpartition(":")[2].rpartition("-")
        version, release = (
            re.sub(r"[^A-Za-z0-9._+~^]", ".", part) for part in (upstream or revision, revision)
        )
        return self.package(
            name, version, release, arch, whole, summary=fields["Description"], requires=requires
        )

    def visits(self, version: str, requires: Sequence[str]) -> Path:
        """Make the package of the demo's own application."""
        tree = self.at / f"visits-{version}"
        (tree / "usr/bin").mkdir(parents=True)
        shutil.copy(Path(__file__).parent / "visits", tree / "usr/bin/visits")
        return self.package(
            "visits", version, "1", "noarch", tree, summary="Counts visits", requires=requires
        )

    def next_release(self, name: str) -> Path:
        """Make a later release of a library that was turned: the same files, but for its number and its soname."""

        def renamed(capabilities: list[str]) -> list[str]:
            return [
                re.sub(r"\.so\.(\d+)", lambda found: f".so.{int(found[1]) + 1}", one) for one in capabilities
            ]

        arch = ARCHITECTURES[said("dpkg", "--print-architecture").strip()]
        tree = self.at / "unpacked" / name
        return self.package(
            name, "99", "1", arch, tree, summary="An update with another soname", edit=renamed
        )

    def package(
        self,
        name: str,
        version: str,
        release: str,
        arch: str,
        tree: Path,
        *,
        summary: str,
        requires: Sequence[str] = (),
        edit: Callable[[list[str]], list[str]] = list,
    ) -> Path:
        """Pack what lies beneath `tree`. `edit` may change the capabilities that the ELF files provide."""
        import rpm_rs

        builder = rpm_rs.PackageBuilder(name, version, "see upstream", arch, summary)
        builder.using_config(
            rpm_rs.BuildConfig(
                format=rpm_rs.RpmFormat.V4, compression=rpm_rs.CompressionType.Zstd, compression_level=3
            )
        )
        builder.release(release)
        builder.description(summary)
        provided: list[str] = []
        required: list[str] = []
        for path in sorted(wanted(tree)):
            inside = "/" + str(path.relative_to(tree))
            if path.is_symlink():
                builder.with_symlink(rpm_rs.FileOptions.symlink(inside, os.readlink(path)))
                continue
            mode = stat.S_IMODE(path.stat().st_mode)
            config = inside.startswith("/etc/")
            builder.with_file(
                str(path), rpm_rs.FileOptions.new(inside, permissions=mode, config=config, noreplace=config)
            )
            found = elf.read(str(path))
            if found:
                required += elf.required(found)
                provided += elf.provided(found, found.soname or path.name) if ".so" in path.name else []
        for capability in edit(provided):
            builder.provides(capability)
        for capability in sorted({*required, *requires} - set(provided)):
            builder.requires(capability)
        out = self.at / "packages"
        out.mkdir(exist_ok=True)
        file = out / f"{name}-{version}-{release}.{arch}.rpm"
        builder.build_and_sign(self.signer).write_file(str(file))
        return file

    def repository(self, name: str, packages: Sequence[Path]) -> Path:
        """Make a repository with signed metadata; returns its directory."""
        import createrepo_c as cr

        place = self.at / name
        data = place / "repodata"
        data.mkdir(parents=True)
        tables = {"primary": cr.PrimaryXmlFile, "filelists": cr.FilelistsXmlFile, "other": cr.OtherXmlFile}
        written = {kind: make(f"{data}/{kind}.xml.gz") for kind, make in tables.items()}
        for table in written.values():
            table.set_num_of_pkgs(len(packages))
        for package in packages:
            os.link(package, place / package.name)
            found = cr.package_from_rpm(str(place / package.name), location_href=package.name)
            for table in written.values():
                table.add_pkg(found)
        repomd = cr.Repomd()
        for kind, table in written.items():
            table.close()
            record = cr.RepomdRecord(kind, f"{data}/{kind}.xml.gz")
            record.fill(cr.SHA256)
            repomd.set_record(record)
        (data / "repomd.xml").write_text(repomd.xml_dump())
        self.gpg("--armor", "--detach-sign", str(data / "repomd.xml"))
        return place


def wanted(tree: Path) -> list[Path]:
    """Return the files and links of a tree that belong into a package."""
    tops = [tree / "usr" / part for part in KEEP] + [tree / part for part in CONFIG]
    found = [
        path for top in tops if top.is_dir() for path in top.rglob("*") if path.is_symlink() or path.is_file()
    ]
    return [path for path in found if not str(path.relative_to(tree)).startswith(DROP)]
