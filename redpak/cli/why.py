"""`redpak why`: why a package is installed, and who would miss it."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option
from redpak.cli.place import site_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.packages.why import Reasoned

SUMMARY = (
    "Tell why a package is installed: the shortest way from a package that somebody asked for, link by link, each "
    "with its node; and which packages, of the family and of nodes beneath, would miss it."
)
ARGUMENTS = (
    Argument(name="PACKAGE", help="name, name.arch or name-version; a glob is allowed"),
    Argument(name="PATH", help="the node's directory; the current one when left out", kind="optional"),
)
OPTIONS = (Option(name="json", help="print JSON"),)
EXAMPLES = (("redpak why libxml2 /srv/nodes/platform/app", "the chain that brought it, and who needs it"),)


def main(args: Arguments) -> int:
    """Explain a package."""
    from redpak.node.why import explain

    answers = explain(site_at(args.word("PATH")), args.word("PACKAGE"))
    if args.flag("json"):
        output.json([_data(one) for one in answers])
        return 0
    for at, one in enumerate(answers):
        output.lines([*([""] if at else []), *lines(one)])
    return 0


def lines(one: Reasoned) -> list[str]:
    """Return an answer for people."""
    shown = [f"{one.nevra} [{one.layer}]"]
    if not one.steps:
        shown.append("  nobody asked for it, and nothing that was asked for needs it")
    elif len(one.steps) == 1:
        told = "was asked for" if one.reason == "user" else "is needed by nothing, so it was asked for"
        shown.append(f"  {told}")
    else:
        first = one.steps[0]
        shown.append(f"  {first.nevra} [{first.layer}] was asked for")
        for deep, step in enumerate(one.steps[1:], 2):
            shown.append(f"{'  ' * deep}{step.kind} {step.dep}: {step.nevra} [{step.layer}]")
    missing = [user for user in one.users if user.misses]
    others = [user for user in one.users if not user.misses]
    if missing:
        shown.append("  would be missed by:")
        shown += [f"    {user.nevra} [{user.layer}] {user.kind} {user.dep}" for user in missing]
    direct = {user.nevra for user in missing}
    more = [nevra for nevra in one.lost if nevra not in direct]
    if more:
        shown.append(f"  and then by: {', '.join(more)}")
    if others:
        shown.append("  used, if it is there, by:")
        shown += [f"    {user.nevra} [{user.layer}] {user.kind} {user.dep}" for user in others]
    if not one.users:
        shown.append("  nothing would miss it")
    return shown


def _data(one: Reasoned) -> dict[str, object]:
    return {
        "package": one.nevra,
        "layer": one.layer,
        "reason": one.reason,
        "chain": [
            {"package": s.nevra, "layer": s.layer, "kind": s.kind, "dependency": s.dep} for s in one.steps
        ],
        "users": [
            {"package": u.nevra, "layer": u.layer, "kind": u.kind, "dependency": u.dep, "misses": u.misses}
            for u in one.users
        ],
        "lost": list(one.lost),
    }
