"""How query commands write a package: the columns of `list`, the block of `info`, an object of --json."""

from __future__ import annotations

import time

from redpak.cli.dnf import layout
from redpak.packages.model import SYSTEM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.session import Session
    from redpak.packages.package import Package

KEY_WIDTH = 12  # columns of a key in the block of `info`


def repository(package: Package) -> str:
    """Return where a package is: its repository, '@System' when it is installed here, else the layer's name."""
    return package.layer.name if package.locked and package.layer else package.repo


def came_from(session: Session, package: Package) -> str:
    """Return the last column of `list`: '@' and the repository that an own package came from, else as `repository`."""
    if not package.installed or package.locked:
        return repository(package)
    repo = session.came_from.get(package.nevra, "")
    return f"@{repo}" if repo else SYSTEM


def size_bytes(package: Package) -> int:
    """Return what dnf calls the size: on disk when it is installed, else of the package file."""
    return package.installsize if package.installed else package.downloadsize


def moment(seconds: int) -> str:
    """Return a time of the local zone as dnf writes it."""
    return time.strftime("%c", time.localtime(seconds))


def info(session: Session, package: Package) -> str:
    """Return the block of lines that `info` and `repoquery -i` show."""
    rows = [("Name", package.name)]
    if package.epoch:
        rows.append(("Epoch", str(package.epoch)))
    rows += [
        ("Version", package.version),
        ("Release", package.release),
        ("Architecture", package.arch),
        ("Size", layout.size_text(size_bytes(package))),
        ("Source", package.sourcerpm or "None"),
        ("Repository", repository(package)),
    ]
    if package.installed and not package.locked and (repo := session.came_from.get(package.nevra)):
        rows.append(("From repo", repo))
    if session.level > 2:
        rows += [("Packager", package.packager or "None"), ("Buildtime", moment(package.buildtime))]
        if package.installtime:
            rows.append(("Install time", moment(package.installtime)))
    lines = [f"{key.ljust(KEY_WIDTH)} : {value}" for key, value in rows]
    lines.append(layout.keyed("Summary      : ", package.summary))
    if package.url:
        lines.append(f"URL          : {package.url}")
    lines.append(layout.keyed("License      : ", package.license))
    lines.append(layout.keyed("Description  : ", package.description))
    return "\n".join(lines)


def data(session: Session, package: Package) -> dict[str, object]:
    """Return a package for JSON."""
    found: dict[str, object] = {
        "name": package.name,
        "epoch": package.epoch,
        "version": package.version,
        "release": package.release,
        "arch": package.arch,
        "nevra": package.nevra,
        "repo": package.repo,
        "installed": package.installed,
        "summary": package.summary,
        "license": package.license,
        "url": package.url,
        "source": package.sourcerpm,
        "install_bytes": package.installsize,
    }
    if package.installed:
        layer = package.layer
        found |= {
            "layer": layer.name if layer else "",
            "own": not package.locked,
            "from_repo": "" if package.locked else session.came_from.get(package.nevra, ""),
            "reason": package.reason,
        }
    else:
        found |= {
            "download_bytes": package.downloadsize,
            "location": package.location,
            "checksum": package.checksum,
        }
    return found


def details(session: Session, package: Package) -> dict[str, object]:
    """Return a package for JSON, with all that `info` tells."""
    return {
        **data(session, package),
        "vendor": package.vendor,
        "packager": package.packager,
        "buildtime": package.buildtime,
        "installtime": package.installtime,
        "description": package.description,
    }
