"""`redpak doctor`: what this host can and cannot do, and how to fix it."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option

SUMMARY = (
    "Tell what this host can and cannot do, and what to type to fix it. Every feature is tried; nothing is changed.\n"
    "Exits with 0 when launches work, with 1 when they cannot."
)
ARGUMENTS: tuple[Argument, ...] = ()
OPTIONS = (Option(name="json", help="print JSON"),)
EXAMPLES = (("redpak doctor", "one line for each thing; lines below it say how to fix it"),)
CODES = (("0", "launches work"), ("1", "launches cannot work"))

MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD "}


def main(args: Arguments) -> int:
    """Print the findings."""
    from redpak.node import doctor

    findings = doctor.examine()
    good = doctor.works(findings)
    if args.flag("json"):
        rows = [
            {"name": one.name, "grade": one.grade, "found": one.found, "fix": one.fix} for one in findings
        ]
        output.json({"works": good, "findings": rows})
        return 0 if good else 1
    wide = max(len(one.name) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{MARKS[one.grade]}  {one.name.ljust(wide)}  {one.found}")
        if one.grade != "ok" and one.fix:
            lines.append(f"      {' ' * wide}  fix: {one.fix}")
    lines += [
        "",
        "Launches work." if good else "Launches do not work on this host: see the lines marked BAD.",
    ]
    output.lines(lines)
    return 0 if good else 1
