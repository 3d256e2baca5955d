"""`check`: problems among the installed packages, looked for without the solver."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.dnf.options import Argument, CommandLineError, Option, usage_of
from redpak.cli.dnf.session import Failed
from redpak.packages import richdep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.facts import Dep
    from redpak.packages.query import Query

    Problem = tuple[str, str, str]  # kind, text, package

KINDS = ("all", "dependencies", "duplicates", "obsoleted", "provides")
OPTIONS = (
    Option(flags=("--all",), dest="all", help="show all problems; default"),
    Option(flags=("--dependencies",), dest="dependencies", help="show dependency problems"),
    Option(flags=("--duplicates",), dest="duplicates", help="show duplicate problems"),
    Option(flags=("--obsoleted",), dest="obsoleted", help="show obsoleted packages"),
    Option(flags=("--provides",), dest="provides", help="show problems with provides"),
)
ARGUMENTS = (Argument(dest="kinds", metavar="KIND", help="the same, as words"),)


def run(session: Session, args: Parsed) -> int:
    """Look for problems. In a node, the family is what is installed, and own packages are judged."""
    for word in args.values("kinds"):
        if word not in KINDS:
            names = ", ".join(f"'{kind}'" for kind in KINDS)
            message = f"argument KIND: invalid choice: '{word}' (choose from {names})"
            called = f"{session.program} check"
            raise CommandLineError(message, usage_of(called, ARGUMENTS), program=called)
    wanted = {kind for kind in KINDS if args.flag(kind)} | set(args.values("kinds"))
    if not wanted or "all" in wanted:
        wanted = set(KINDS)
    here = session.make_universe(available=False, ignore_excludes=True).query().installed()
    judges = {
        "dependencies": dependencies,
        "duplicates": lambda some: duplicates(session, some),
        "obsoleted": obsoleted,
        "provides": provided,
    }
    found = {one for kind, judge in judges.items() if kind in wanted for one in judge(here)}
    problems = sorted(found, key=lambda one: one[1])
    if session.as_json:
        output.json([{"kind": kind, "package": package, "message": text} for kind, text, package in problems])
        return 1 if problems else 0
    if problems:
        session.out("\n".join(text for _, text, _ in problems))
        raise Failed(f"Check discovered {len(problems)} problem(s)")
    return 0


def dependencies(here: Query) -> Iterator[Problem]:
    """Yield requirements that nobody meets, and conflicts."""
    for package in here.own():
        for need in dict.fromkeys(package.requires):
            if not need.startswith("rpmlib") and not met(here, need):
                yield "dependencies", f"{package} has missing requires of {need}", package.nevra
        for against in package.conflicts:
            name = against.split()[0]
            for other in here.providing([against]):
                if other.name == name:
                    text = f'{package} has installed conflict "{against}": {other}'
                    yield "dependencies", text, package.nevra


def met(here: Query, need: str) -> bool:
    """Tell whether installed packages meet a requirement, plain or rich."""
    if not richdep.is_rich(need):
        return bool(here.providing([need]))

    def found(dep: Dep) -> set[int]:
        name, flags, evr = dep
        sign = ("<" if flags & 2 else "") + (">" if flags & 4 else "") + ("=" if flags & 8 else "")
        return set(here.providing([f"{name} {sign} {evr}" if flags else name]).numbers)

    return richdep.holds(richdep.parse(need), found)


def duplicates(session: Session, here: Query) -> Iterator[Problem]:
    """Yield packages that are there in several versions and should not be."""
    from redpak.cli.dnf.installonly import installonly

    own = here.own()
    for packages in own.duplicates().difference(installonly(session, own)).by_name().values():
        first, *others = sorted(packages)
        for other in others:
            yield "duplicates", f"{first} is a duplicate with {other}", first.nevra


def obsoleted(here: Query) -> Iterator[Problem]:
    """Yield packages that others, also installed, take the place of."""
    for package in here:
        for text in package.obsoletes:
            name = text.split()[0]
            for other in here.providing([text]):
                if other.name == name and not (other.locked and package.locked):
                    yield "obsoleted", f"{other} is obsoleted by {package}", other.nevra


def provided(here: Query) -> Iterator[Problem]:
    """Yield capabilities that a package says to have and is not found by."""
    for package in here.own():
        for text in dict.fromkeys(package.provides):
            if package not in here.providing([text]):
                yield "provides", f"{package} provides {text} but it cannot be found", package.nevra
