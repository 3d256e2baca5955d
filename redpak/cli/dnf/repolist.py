"""`repolist` and `repoinfo`: the configured repositories."""

from __future__ import annotations

from fnmatch import fnmatchcase

from redpak.cli import output
from redpak.cli.dnf import columns, described, layout
from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.repositories import known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.metadata import Metadata
    from redpak.packages.repoconfig import RepoConfig

WHICH = ("all", "enabled", "disabled")
OPTIONS = tuple(
    Option(flags=(f"--{which}",), dest="which", kind="const", const=which, exclusive="which",
           help=f"show {which} repositories{' (default)' if which == 'enabled' else ''}")
    for which in WHICH
)  # fmt: skip
ARGUMENTS = (
    Argument(
        dest="repos", metavar="REPOSITORY", help="id or name of repositories, or: all, enabled, disabled"
    ),
)
KEY_WIDTH = 19


def run(session: Session, args: Parsed) -> int:
    """List repositories."""
    return show(session, args, full=session.level > 2)


def show(session: Session, args: Parsed, *, full: bool) -> int:
    """Print repositories, `full` with all that is known of each."""
    session.hidden_info = True
    words = args.values("repos")
    which = args.value("which")
    if words and words[0] in WHICH:
        which, words = which or words[0], words[1:]
    everything = sorted(known(session), key=lambda one: one.id)
    chosen = [one for one in everything if _is_meant(one, words) and _is_shown(one, which, named=bool(words))]
    status = which == "all" or (not which and bool(words))
    if session.as_json:
        output.json([_data(session, one, full=full) for one in chosen])
        return 0
    if not everything:
        session.warn("No repositories available")
        return 0
    if full:
        session.out(_details(session, chosen, status=status))
    elif chosen:
        _table(session, chosen, status=status)
    return 0


def _is_meant(config: RepoConfig, words: Sequence[str]) -> bool:
    names = (config.id.lower(), config.name.lower())
    return not words or any(fnmatchcase(name, word.lower()) for word in words for name in names)


def _is_shown(config: RepoConfig, which: str, *, named: bool) -> bool:
    match which:
        case "all":
            return True
        case "disabled":
            return not config.enabled
        case "enabled":
            return config.enabled
        case _:
            return config.enabled or named


def _table(session: Session, chosen: Sequence[RepoConfig], *, status: bool) -> None:
    rows = [
        (one.id, one.name, ("enabled" if one.enabled else "disabled") if status else "") for one in chosen
    ]
    first = max(len("repo id"), *(len(row[0]) for row in rows))
    second = max(len(row[1]) for row in rows)
    last = max(len("status"), *(len(row[2]) for row in rows)) + 1 if status else 0
    left = columns.width() - first - 1 - last
    if left < second:
        second = left
    else:
        first += (left - second) // 2
        second += left - second - (left - second) // 2
    for one, two, three in [("repo id", "repo name", "status"), *rows]:
        if status:
            session.out(f"{one.ljust(first)} {two[:second].ljust(second)} {three}")
        else:
            session.out(f"{one.ljust(first)} {two}")


def _details(session: Session, chosen: Sequence[RepoConfig], *, status: bool) -> str:
    """Return a block of lines for each repository, and how many packages they have together."""
    synced = {one.id: one for one in session.metadata} if any(one.enabled for one in chosen) else {}
    blocks, total = [], 0
    for config in chosen:
        rows = [("Repo-id", config.id), ("Repo-name", config.name)]
        if status:
            rows.append(("Repo-status", "enabled" if config.enabled else "disabled"))
        found = synced.get(config.id)
        if found:
            facts = _counted(session, found)
            total += facts["packages"]
            if found.revision:
                rows.append(("Repo-revision", found.revision))
            rows += [
                ("Repo-updated", described.moment(found.timestamp)),
                ("Repo-pkgs", str(facts["packages"])),
                ("Repo-available-pkgs", str(facts["available"])),
                ("Repo-size", layout.size_text(facts["bytes"])),
            ]
        rows += _sources(config, found)
        rows.append(("Repo-expire", _expiry(config, found)))
        for key, values in (("Repo-exclude", config.excludepkgs), ("Repo-include", config.includepkgs)):
            if values:
                rows.append((key, ", ".join(values)))
        if config.path:
            rows.append(("Repo-filename", config.path))
        blocks.append("\n".join(layout.keyed(f"{key.ljust(KEY_WIDTH)}: ", value) for key, value in rows))
    lines = ["\n\n".join(blocks)] if blocks else []
    return "\n".join([*lines, f"Total packages: {total}"])


def _counted(session: Session, found: Metadata) -> dict[str, int]:
    every = session.universe.query(excluded=True).repo(found.id)
    return {
        "packages": len(every),
        "available": len(session.universe.query().repo(found.id)),
        "bytes": sum(package.downloadsize for package in every),
    }


def _sources(config: RepoConfig, found: Metadata | None) -> list[tuple[str, str]]:
    rows = []
    if config.metalink:
        rows.append(("Repo-metalink", config.metalink))
        if found:
            rows.append(("  Updated", described.moment(int(found.fetched))))
    elif config.mirrorlist:
        rows.append(("Repo-mirrors", config.mirrorlist))
    if config.baseurl:
        rows.append(("Repo-baseurl", ", ".join(config.baseurl)))
    elif found and found.bases:
        rows.append(("Repo-baseurl", f"{found.bases[0]} ({len(found.bases) - 1} more)"))
    return rows


def _expiry(config: RepoConfig, found: Metadata | None) -> str:
    last = described.moment(int(found.fetched)) if found else "unknown"
    if config.metadata_expire < 0:
        return f"Never (last: {last})"
    if not config.metadata_expire:
        return f"Instant (last: {last})"
    return f"{config.metadata_expire} second(s) (last: {last})"


def _data(session: Session, config: RepoConfig, *, full: bool) -> dict[str, object]:
    shown: dict[str, object] = {
        "id": config.id,
        "name": config.name,
        "enabled": config.enabled,
        "baseurl": list(config.baseurl),
        "mirrorlist": config.mirrorlist,
        "metalink": config.metalink,
        "priority": config.priority,
        "cost": config.cost,
        "gpgcheck": config.gpgcheck,
        "repo_gpgcheck": config.repo_gpgcheck,
        "file": config.path,
    }
    found = (
        next((one for one in session.metadata if one.id == config.id), None)
        if full and config.enabled
        else None
    )
    if found:
        shown |= {
            "revision": found.revision,
            "timestamp": found.timestamp,
            "fetched": int(found.fetched),
            "signed_by": found.signed_by,
            **_counted(session, found),
        }
    return shown
