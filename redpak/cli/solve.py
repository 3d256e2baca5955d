"""`redpak solve`: replay a test case of the solver, in libsolv's own format."""

from __future__ import annotations

import sys

from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option

SUMMARY = (
    "Replay test cases of the solver, in libsolv's own format, and compare each answer with the one in the file.\n"
    "A difference is printed: '-' what the file expects, '+' what came instead."
)
ARGUMENTS = (Argument(name="FILE", help="a test case (*.t)", kind="some"),)
OPTIONS = (
    Option(name="print", help="print the answers, in the format of results"),
    Option(name="json", help="print JSON"),
)
EXAMPLES = (
    ("redpak solve case.t", "nothing is printed when all is as expected"),
    ("redpak solve --print case.t", "the answer, to be put into the file"),
)
CODES = (
    ("0", "every answer is the expected one"),
    ("1", "an answer is another one"),
    ("2", "a file is no test case, or one that this solver cannot run"),
)


def main(args: Arguments) -> int:
    """Replay them all, then say what differs."""
    from redpak.errors import RedpakError
    from redpak.packages import testcase

    worst = 0
    rows = []
    files = args.words("FILE")
    for path in files:
        try:
            answers = testcase.replay(path)
        except RedpakError as error:
            print(f"redpak solve: {error.message}", file=sys.stderr)
            worst = 2
            continue
        for answer in answers:
            if answer.unknown:
                kinds = ", ".join(answer.unknown)
                print(
                    f"redpak solve: '{path}': not compared, the solver does not tell: {kinds}",
                    file=sys.stderr,
                )
            rows.append({"file": path, "result": list(answer.result), "difference": list(answer.difference)})
            if args.flag("json"):
                pass
            elif args.flag("print"):
                output.lines(answer.result)
            elif answer.difference:
                output.lines([f"{path}:"] * (len(files) > 1) + list(answer.difference))
            if answer.difference and worst == 0:
                worst = 1
    if args.flag("json"):
        output.json(rows)
    return worst
