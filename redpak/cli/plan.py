"""`redpak plan`: all that a launch will do, without doing any of it."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option
from redpak.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.plan.model import Plan

SUMMARY = (
    "Show all that a launch will do: every mount, variable, namespace, capability, limit and setting, and the\n"
    "file and line that asked for it. Nothing is made, changed or run."
)
ARGUMENTS = (
    Argument(name="PATH", help="the node"),
    Argument(name="CMD", help="the program to run in it, and its arguments", kind="command"),
)
OPTIONS = (
    Option(name="json", help="print the plan as JSON, which 'redpak plan-diff' reads"),
    Option(name="bwrap", help="print the command line of bubblewrap, quoted for bash"),
    Option(name="admin", short="a", help="read the admin configuration files as well"),
    Option(name="strict", help="a redefinition that only warns otherwise is an error"),
    Option(name="force", help="as 'redpak run --force': leave out what is missing (with --bwrap)"),
)
EXAMPLES = (
    ("redpak plan /nodes/app", "a table to read"),
    ("redpak plan /nodes/app --json >app.json", "the plan as data, to keep and to compare"),
    ("redpak plan /nodes/app --bwrap -- sh -c 'echo hello'", "what bubblewrap will be told"),
)


def main(args: Arguments) -> int:
    """Print the plan."""
    from redpak.node.plan import plan_of

    if args.flag("json") and args.flag("bwrap"):
        raise Usage("options '--json' and '--bwrap' exclude each other", hint="Choose one of them.")
    made = plan_of(
        args.word("PATH"), admin=args.flag("admin"), command=args.words("CMD"), strict=args.flag("strict")
    )
    if args.flag("json"):
        from redpak.plan import wire

        output.json(wire.document(made))
    elif args.flag("bwrap"):
        from redpak import log
        from redpak.cli import shellword
        from redpak.engine import bwrap, host

        for warning in made.warnings:
            log.warn(warning)
        spec = bwrap.lower(
            made, host.look(remember=False), force=args.flag("force"), strict=args.flag("strict")
        )
        for note in spec.notes:
            log.warn(note)
        output.write(shellword.command_line(spec) + "\n")
    else:
        output.lines(table(made))
    return 0


def table(plan: Plan) -> list[str]:
    """Return a plan as lines for a person."""
    from redpak.plan import wire, words
    from redpak.plan.model import SetVar

    family = " > ".join(f"{member.alias} ({member.path})" for member in plan.family)
    head = [
        ("node", plan.node),
        ("family", family),
        ("profile", plan.profile + (", with admin configuration" if plan.admin else "")),
        ("launched by", f"uid {plan.uid}, gid {plan.gid}"),
        ("command", _quoted(plan.command) if plan.command else "(none yet)"),
        ("digest", wire.digest(plan)),
    ]
    lines = output.table(head, indent=0, width=output.columns())
    mounts = []
    for op in plan.mounts:
        mode, source = words.columns(op)
        mounts.append((mode, op.dst, source, str(op.because)))
    lines += _section("mounts", mounts, heads=("MODE", "AT", "FROM", "ASKED BY"))
    variables = []
    for entry in plan.environ:
        value = "(removed)"
        if isinstance(entry, SetVar):
            value = "(the caller's)" if entry.inherited else words.will(entry.value)
        variables.append((entry.key, value, str(entry.because)))
    lines += _section("variables", variables)
    spaces = [(one.kind, words.namespace_said(one), str(one.because)) for one in plan.namespaces]
    lines += _section("namespaces", spaces)
    kept = [(one.name, str(one.because)) for one in plan.capabilities]
    lines += _section("capabilities kept", kept or [("none",)])
    limits = [(one.key, one.value, one.node, str(one.because)) for one in plan.limits]
    lines += _section("control group limits", limits)
    said = words.number_said
    rlimits = [(one.name, f"{said(one.soft)}:{said(one.hard)}", str(one.because)) for one in plan.rlimits]
    lines += _section("resource limits", rlimits)
    settings = [(one.name, words.choice_said(one), str(one.because)) for one in plan.choices]
    lines += _section("settings", settings)
    inputs = [(one.path, f"sha256 {one.sha256[:16]}…" if one.sha256 else "absent") for one in plan.files]
    inputs += [(f"${one.name}", "unset" if one.value is None else f"'{one.value}'") for one in plan.reads]
    lines += _section("made from", inputs)
    lost = [(one.thing, one.asked, one.why, str(one.because)) for one in plan.rivals if one.kind == "lost"]
    lines += _section("asked and lost", lost)
    lines += _section("warnings", [(warning,) for warning in plan.warnings])
    return lines


def _section(title: str, rows: Sequence[Sequence[str]], *, heads: tuple[str, ...] = ()) -> list[str]:
    return ["", title, *output.table(rows, heads=heads, width=output.columns())] if rows else []


def _quoted(command: tuple[str, ...]) -> str:
    import shlex

    return shlex.join(command)
