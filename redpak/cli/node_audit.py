"""`redpak node audit`: header signature, digests, disk, and files of nobody."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option, Verb


def main(args: Arguments) -> int:
    """Print what is wrong with a node's packages and files."""
    from redpak.cli.prove import spelled
    from redpak.node.audit import audit

    found = audit(args.word("PATH") or ".", family=args.flag("all"), core=args.value("core-os"))
    clean = all(one.clean for one in found)
    if args.flag("json"):
        rows = [
            {
                "path": one.path, "alias": one.name, "packages": one.packages, "clean": one.clean,
                "skipped": one.skipped, "findings": [finding.data() for finding in one.findings],
            }
            for one in found
        ]  # fmt: skip
        output.json({"clean": clean, "nodes": rows})
        return 0 if clean else 1
    shown = []
    for one in found:
        told = f" (not looked at: {one.skipped})" if one.skipped else ""
        shown.append(
            f"{'ok  ' if one.clean else 'BAD '}  {one.name}  {one.packages} packages  {one.path}{told}"
        )
        for finding in one.findings:
            shown += spelled(finding, finding.grade)
    output.lines(shown)
    return 0 if clean else 1


VERB = Verb(
    name="node audit",
    summary="Check a node's packages from the signature of each header over its digests to the files on disk:\n"
    "changed, missing and unowned files, modes, owners, capabilities. Configuration files that were edited are notes.",
    arguments=(Argument(name="PATH", help="the node's directory; the current one when left out", kind="optional"),),
    options=(
        Option(name="all", help="its ancestors and its core OS as well"),
        Option(name="core-os", metavar="WHAT", kind="value", help="the core OS, as for 'redpak prove'"),
        Option(name="json", help="print JSON"),
    ),
    examples=(("redpak node audit /srv/nodes/platform --all", "the whole family"),),
    codes=(("0", "everything is as it was built"), ("1", "something is wrong")),
    main=main,
)  # fmt: skip
