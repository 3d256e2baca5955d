"""`redpak prove`: is a tree of nodes coherent, and would it still be after a change?"""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option
from redpak.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.node.prove import Judged, Report
    from redpak.node.whatif import Answer
    from redpak.packages.finding import Finding

SUMMARY = (
    "Prove that a tree of nodes is coherent: every requirement met within each node's family, no conflict, nothing\n"
    "obsoleted, no file of an ancestor hidden, the loader finds the libraries that packages promise, every signature\n"
    "and digest is sound, every launch has its sources and loosens nothing. Nothing is changed, nothing is run."
)
ARGUMENTS = (
    Argument(name="ROOT", help="a node, or a directory with nodes; the current one when left out", kind="optional"),
)  # fmt: skip
OPTIONS = (
    Option(name="core-os", metavar="WHAT", kind="value",
           help="the core OS: a manifest file, the root of another system, 'host' or 'none'; else what the nodes say"),
    Option(name="if", metavar="CHANGE", kind="repeat",
           help="what would break: 'NODE: VERB PACKAGE', verbs install, remove, upgrade, downgrade; NODE may be "
           "'core'; PACKAGE a name or an .rpm file; several are tried together"),
    Option(name="fresh", help="use nothing that an earlier proof found out: read every file again"),
    Option(name="certificate", metavar="FILE", kind="value", help="write down what was proved, for 'redpak verify'"),
    Option(name="sign", metavar="KEY", kind="value", help="sign the certificate with this Ed25519 key (a PEM file)"),
    Option(name="json", help="print JSON"),
)  # fmt: skip
EXAMPLES = (
    ("redpak prove /srv/nodes", "a line a node, and what is wrong"),
    ("redpak prove /srv/nodes --core-os board.json --json", "in CI, for a board that is not here"),
    ("redpak prove /srv/nodes --if 'platform: upgrade ./libnav-2-1.x86_64.rpm'", "which nodes would break"),
    ("redpak prove /srv/nodes --certificate nodes.cert --sign key.pem", "a certificate for the device"),
)
CODES = (("0", "coherent; or nothing would break"), ("1", "not coherent; or something would break"))


def main(args: Arguments) -> int:
    """Prove, or ask what would break."""
    root = args.word("ROOT") or "."
    core, fresh = args.value("core-os"), args.flag("fresh")
    if args.value("sign") and not args.value("certificate"):
        raise Usage(
            "option '--sign' needs '--certificate'", hint="Name the file to write with --certificate."
        )
    if args.values("if"):
        if args.value("certificate"):
            raise Usage(
                "options '--if' and '--certificate' exclude each other",
                hint="Certify what is, not what would be.",
            )
        from redpak.node import whatif

        return show_answer(whatif.ask(root, args.values("if"), core=core, fresh=fresh), args)
    from redpak.node import prove

    report = prove.prove(root, core=core, fresh=fresh)
    if args.flag("json"):
        output.json(data(report))
    else:
        output.lines(lines(report))
    if file := args.value("certificate"):
        from redpak import log
        from redpak.node import certificate

        certificate.write(file, report, key=args.value("sign"), core=core)
        if not args.flag("json") and log.level > log.ERROR:
            output.lines([f"wrote certificate '{file}'{'' if args.value('sign') else ', not signed'}"])
    return 0 if report.coherent else 1


def data(report: Report) -> dict[str, object]:
    """Return a proof for JSON."""
    return {
        "root": report.root,
        "coherent": report.coherent,
        "arch": report.arch,
        "checks": list(report.checks),
        "nodes": [
            {
                "path": one.path, "alias": one.name, "kind": "node" if one.is_node else "core", "parent": one.parent,
                "packages": one.packages, "coherent": one.coherent, "stands_on": list(one.stands_on),
                "faults": [finding.data() for finding in one.faults],
                "notes": [finding.data() for finding in one.notes],
            }
            for one in report.members
        ],
        "cached": {part: {"known": known, "of": count} for part, known, count in report.cached},
    }  # fmt: skip


def lines(report: Report) -> list[str]:
    """Return a proof for people: a line a node, faults beneath."""
    from redpak import log

    rows = [(word(one), one.name, counted(one.packages, "package"), one.path) for one in report.members]
    heads = output.table(rows, indent=0)
    shown: list[str] = []
    for head, one in zip(heads, report.members, strict=True):
        shown.append(head)
        if one.stands_on:
            shown.append(f"    stands on {', '.join(one.stands_on)}")
        for finding in one.faults:
            shown += spelled(finding, "fault")
        if log.level >= log.INFO:
            for finding in one.notes:
                shown += spelled(finding, "note")
        elif one.notes:
            shown.append(f"    {noted(one.notes)} (-v shows them)")
    faults = sum(len(one.faults) for one in report.members)
    nodes = sum(one.is_node for one in report.members)
    shown.append("")
    shown.append(
        f"Coherent: {counted(nodes, 'node')}."
        if report.coherent
        else f"Not coherent: {counted(faults, 'fault')} in {counted(nodes, 'node')}."
    )
    if told := from_cache(report.cached):
        shown.append(told)
    return shown


def counted(count: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def word(one: Judged) -> str:
    """Return how a node is."""
    return "ok  " if one.coherent else "BAD "


def spelled(finding: Finding, grade: str) -> list[str]:
    """Return a finding with its chain and what helps."""
    where = f"{finding.file}: " if finding.file and finding.file not in finding.text else ""
    shown = [f"    {grade}: {finding.kind}: {where}{finding.text}"]
    shown += [f"        {link}" for link in finding.chain]
    if finding.hint:
        shown.append(f"        help: {finding.hint}")
    return shown


def noted(notes: Sequence[Finding]) -> str:
    """Return how many notes of each kind there are."""
    counts: dict[str, int] = {}
    for one in notes:
        counts[one.kind] = counts.get(one.kind, 0) + 1
    return "notes: " + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def from_cache(cached: Sequence[tuple[str, int, int]]) -> str:
    """Return what came from earlier proofs, '' when nothing did."""
    known = [f"{part} {count} of {of}" for part, count, of in cached if count]
    if not known:
        return ""
    return f"Unchanged since an earlier proof (--fresh looks again): {', '.join(known)}."


def show_answer(answer: Answer, args: Arguments) -> int:
    """Print what would break."""
    bad = bool(answer.harms or answer.refused)
    if args.flag("json"):
        output.json({
            "breaks": bool(answer.harms),
            "possible": not answer.refused,
            "goes": [{"alias": name, "package": nevra} for name, nevra in answer.goes],
            "comes": [{"alias": name, "package": nevra} for name, nevra in answer.comes],
            "refused": list(answer.refused),
            "unchanged": list(answer.idle),
            "nodes": [
                {
                    "path": one.path, "alias": one.name, "inherited": one.inherited,
                    "faults": [finding.data() for finding in one.findings],
                }
                for one in answer.harms
            ],
            "cached": {part: {"known": known, "of": count} for part, known, count in answer.cached},
        })  # fmt: skip
        return 1 if bad else 0
    shown = [f"{name}: {nevra} goes" for name, nevra in answer.goes]
    shown += [f"{name}: {nevra} comes" for name, nevra in answer.comes]
    shown += [*answer.refused, *answer.idle]
    for one in answer.harms:
        shown.append(f"BAD   {one.name}  {one.path}")
        for finding in one.telling:
            shown += spelled(finding, "breaks")
        if others := len(one.findings) - len(one.telling):
            shown.append(f"    it stands on {others} more that would break")
    shown.append("")
    count = len(answer.harms)
    if answer.refused:
        shown.append("The change cannot be made.")
    if count:
        shown.append(f"{count} of {answer.nodes} would break.")
    elif not answer.refused:
        shown.append(f"Nothing would break: {answer.nodes} looked at.")
    if told := from_cache(answer.cached):
        shown.append(told)
    output.lines(shown)
    return 1 if bad else 0
