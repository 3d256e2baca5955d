"""What will be done, as the table that dnf prints before it asks, and what was done, as it prints it afterwards."""

from __future__ import annotations

from functools import cmp_to_key

from redpak.cli.dnf import columns
from redpak.packages.model import SYSTEM, Item, Skipped, Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Row = tuple[str, str, str, str, str, tuple[str, ...]]


def group_of(item: Item) -> str:
    """Return the heading beneath which an item is shown."""
    match item.action:
        case "install":
            return {"dependency": "Installing dependencies", "weak": "Installing weak dependencies"}.get(
                item.reason, "Installing"
            )
        case "remove":
            return {"clean": "Removing unused dependencies", "dependency": "Removing dependent packages"}.get(
                item.reason, "Removing"
            )
        case "upgrade":
            return "Upgrading"
        case "downgrade":
            return "Downgrading"
        case "reinstall":
            return "Reinstalling"


HEADINGS = (
    "Installing", "Upgrading", "Reinstalling", "Installing dependencies", "Installing weak dependencies",
    "Removing", "Removing dependent packages", "Removing unused dependencies", "Downgrading",
)  # fmt: skip


def by_nevra(one: Item | Skipped, other: Item | Skipped) -> int:
    """Order packages as dnf does: name, then version, then architecture."""
    from redpak.packages import evr

    if one.name != other.name:
        return -1 if one.name < other.name else 1
    newer = evr.compare(one.evr, other.evr)
    return newer or (one.arch > other.arch) - (one.arch < other.arch)


ordered: Callable[[Sequence[Item]], list[Item]] = lambda items: sorted(items, key=cmp_to_key(by_nevra))  # noqa: E731


def table(
    transaction: Transaction, *, allow_erasing: bool = False, origins: dict[str, str] | None = None
) -> str:
    """Return the table with its summary, '' when there is nothing to show.

    `origins` tells for removed packages which repository they came from: {nevra: "@updates"}.
    """
    sections = _sections(transaction, allow_erasing=allow_erasing, origins=origins or {})
    rows = [line for _, lines in sections for line in lines]
    if not rows:
        return ""
    arch_width = max(len(line[1]) for line in rows)
    sizes = columns.widths(
        [[len(line[0]) for line in rows], [], [len(line[2]) for line in rows], [len(line[3]) for line in rows], []],
        [1, arch_width, 1, 1, 5], rest=2, indent=2,
    )  # fmt: skip
    rule = "=" * max(columns.width(), sum(sizes) + 5)
    text = f"{rule}\n{_heads(sizes)}\n{rule}\n"
    for heading, lines in sections:
        if lines:
            text += f"{heading}:\n" + "".join(_line(line, sizes) for line in lines)
    return text + f"\nTransaction Summary\n{rule}\n" + "".join(f"{line}\n" for line in summary(transaction))


def _sections(
    transaction: Transaction, *, allow_erasing: bool, origins: dict[str, str]
) -> list[tuple[str, list[Row]]]:
    sections: list[tuple[str, list[Row]]] = []
    for heading in HEADINGS:
        members = ordered([item for item in transaction.items if group_of(item) == heading])
        sections.append((heading, [_row(item, origins) for item in members]))
    force = "--best" if allow_erasing else "--best --allowerasing"
    conflicts = f"Skipping packages with conflicts:\n(add '{force}' to command line to force their upgrade)"
    for heading, why in ((conflicts, "conflict"), ("Skipping packages with broken dependencies", "broken")):
        left_out = sorted((one for one in transaction.skipped if one.why == why), key=cmp_to_key(by_nevra))
        lines: list[Row] = [
            (one.name, one.arch, one.evr, one.repo, columns.number(one.size), ()) for one in left_out
        ]
        sections.append((heading, lines))
    return sections


def _row(item: Item, origins: dict[str, str]) -> Row:
    removed = item.action == "remove"
    repo = origins.get(item.nevra, SYSTEM) if removed else item.repo
    size = columns.number(item.install_size if removed else item.download_size)
    return (item.name, item.arch, item.evr, repo, size, item.obsoletes)


def _heads(sizes: Sequence[int]) -> str:
    name, arch, version, repo, size = sizes
    cells = [
        ("Package", -name),
        ("Architecture" if arch >= len("Architecture") else "Arch", -arch),
        ("Version", -version),
        ("Repository" if repo >= len("Repository") else "Repo", -repo),
        ("Size", size),
    ]
    return columns.row(cells, " ")


def _line(line: Row, sizes: Sequence[int]) -> str:
    name, arch, version, repo, size, replaced = line
    aligned = (
        (name, -sizes[0]),
        (arch, -sizes[1]),
        (version, -sizes[2]),
        (repo, -sizes[3]),
        (size, sizes[4]),
    )
    text = columns.row(aligned, " ") + "\n"
    for nevra in sorted(replaced):
        gone_name, gone_evr, gone_arch = taken_apart(nevra)
        text += f"     replacing  {gone_name}.{gone_arch} {gone_evr}\n"
    return text


def taken_apart(nevra: str) -> tuple[str, str, str]:
    """Return name, [epoch:]version-release and architecture of a full package name."""
    rest, _, arch = nevra.rpartition(".")
    rest, _, release = rest.rpartition("-")
    name, _, version = rest.rpartition("-")
    return name, f"{version}-{release}", arch


def summary(transaction: Transaction) -> list[str]:
    """Return the lines that count: 'Install  2 Packages'."""
    counts = {
        "Install": _count(transaction, "install"),
        "Upgrade": _count(transaction, "upgrade"),
        "Remove": _count(transaction, "remove"),
        "Downgrade": _count(transaction, "downgrade"),
        "Skip": len(transaction.skipped),
    }
    shown = {word: count for word, count in counts.items() if count}
    wide = max((len(word) for word in shown), default=0)
    digits = max((len(str(count)) for count in shown.values()), default=0)
    return [
        f"{word.ljust(wide)}  {count:>{digits}} {'Package' if count == 1 else 'Packages'}"
        for word, count in shown.items()
    ]


def _count(transaction: Transaction, action: str) -> int:
    return sum(item.action == action for item in transaction.items)


def sizes(transaction: Transaction, *, cached: int = 0) -> list[str]:
    """Return the lines about bytes. `cached` is how many of those to download are here already."""
    coming = [item for item in transaction.items if item.action != "remove"]
    if not coming:
        freed = sum(item.install_size for item in transaction.items)
        return [f"Freed space: {columns.number(freed)}"]
    total = sum(item.download_size for item in coming)
    lines = [f"Total size: {columns.number(total)}"] if cached else []
    if cached != total:
        lines.append(f"Total download size: {columns.number(total - cached)}")
    if all(item.action in ("install", "reinstall") and not item.obsoletes for item in transaction.items):
        lines.append(f"Installed size: {columns.number(sum(item.install_size for item in coming))}")
    return lines


def done(transaction: Transaction) -> list[str]:
    """Return what was done, in columns under 'Installed:' and the like."""
    lines: list[str] = []
    for heading, action in (
        ("Upgraded", "upgrade"),
        ("Downgraded", "downgrade"),
        ("Installed", "install"),
        ("Reinstalled", "reinstall"),
        ("Skipped", ""),
        ("Removed", "remove"),
    ):
        members: Sequence[Item | Skipped]
        if action:
            members = [item for item in transaction.items if item.action == action]
        else:
            members = transaction.skipped
        if members:
            names = [one.nevra for one in sorted(members, key=cmp_to_key(by_nevra))]
            lines += [f"{heading}:", *columns.spread(names)]
    return lines
