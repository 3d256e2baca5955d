"""The program `redwrap`: run a program in a node, with the options of red-pak 2.5.

It differs from red-pak's where that was a trap: options after the program's name belong to the program, the exit
code is the program's, and failures have codes of their own.
"""

from __future__ import annotations

import os
import sys

from redpak.cli.compat import redwrap_options as options
from redpak.cli.compat.redwrap_dump import layout
from redpak.cli.compat.report import ERROR, WARNING, guarded, listen, say
from redpak.config.model import UPSTREAM
from redpak.errors import LaunchFailed, Usage
from redpak.node.family import context, family_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from redpak.cli.compat.redwrap_options import Request
    from redpak.config.model import Family
    from redpak.plan.model import Plan

LAUNCH_BROKE = LaunchFailed.code


def entry() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Run `redwrap argv…` and return its exit code."""
    return guarded(lambda: wrap(argv), closing="red-wrap aborted", broke=LAUNCH_BROKE)


def wrap(argv: list[str]) -> int:
    """Do what the arguments ask for. Raises RedpakError."""
    asked = options.request(argv)
    if asked.help:
        sys.stdout.write(options.USAGE)
        return 0
    if not asked.redpath:
        say(ERROR, "no node: --redpath=PATH is missing")
        sys.stderr.write(options.USAGE)
        return Usage.code
    listen(asked.verbosity)
    if asked.dump_only:
        sys.stdout.write(dump(asked))
        return 0
    if asked.dump:
        sys.stderr.write(dump(asked))
    return start(asked)


def start(asked: Request) -> int:
    """Run the program in the node and return its exit code; may not return at all. Raises RedpakError."""
    from redpak.cli import run as launches
    from redpak.engine.cache import Request as Launch
    from redpak.engine.run import run
    from redpak.plan.ops import Bind

    launch = Launch(
        path=asked.redpath, admin=asked.admin, force=asked.force, strict=asked.strict, bwrap=asked.bwrap
    )
    # A launcher knows nothing of users given here, nor of what strict means under upstream-2.5.
    may_freeze = bool(asked.command) and not asked.overrides and not asked.strict
    if may_freeze:
        launches.become_launcher(launch, asked.command)
    made = plan(asked)
    for warning in made.warnings:
        say(WARNING, warning)
    strict = asked.strict
    if made.profile == UPSTREAM and strict:
        # There it only means that missing sources are left out; nothing is refused.
        strict = False
        mounts = [
            op.but(missing="skip") if isinstance(op, Bind) and op.missing == "create" else op
            for op in made.mounts
        ]
        made = made.but(mounts=tuple(mounts))
    return run(
        made,
        force=asked.force,
        strict=strict,
        bwrap=asked.bwrap,
        explain=explainer(asked),
        lowered=(lambda of, spec: launches.keep(launch, "", of, spec)) if may_freeze else None,
        replan=(lambda: plan(asked)) if made.profile != UPSTREAM else None,
        begun=True,
    )


def explainer(asked: Request) -> tuple[str, ...]:
    """Return the program that says why bubblewrap did not start ours: `why_failed`, in this Python."""
    root = __file__.rpartition("/redpak/cli/")[0]
    code = f"import sys; sys.path.insert(0, {root!r}); from redpak.cli.compat import redwrap; redwrap.why_failed()"
    admin = ("--admin",) if asked.admin else ()
    return (sys.executable, "-I", "-c", code, "--redpath", asked.redpath, *admin, "--")


def why_failed() -> NoReturn:
    """Say why a launch failed and exit with the code for it; the command is bubblewrap's code and the program."""

    def tell() -> int:
        from redpak.engine.failed import explained

        asked = options.request(sys.argv[1:])
        code, *command = asked.command
        raise explained(plan(asked.but(command=tuple(command))), int(code))

    sys.exit(guarded(tell, closing="red-wrap aborted", broke=LAUNCH_BROKE))


def plan(asked: Request, *, dry: bool = False) -> Plan:
    """Return the plan of the launch; a `dry` run does not even fill caches."""
    from redpak.node.plan import plan_of

    return plan_of(
        asked.redpath,
        admin=asked.admin,
        command=asked.command,
        strict=asked.strict,
        overrides=asked.overrides,
        may_write=not dry,
        digests=False,
    )


def dump(asked: Request) -> str:
    """Return the bubblewrap command line, wrapped where nothing is to be run after it."""
    family, profile = family_of(asked.redpath, admin=asked.admin)
    program, words = upstream_words(asked, family) if profile == UPSTREAM else sealed_words(asked)
    called_as = os.path.basename(sys.argv[0]) if sys.argv else "redwrap"
    return layout(program, called_as, words, wrapped=asked.dump_only)


def sealed_words(asked: Request) -> tuple[str, list[str]]:
    """Return what we would run: a program and its arguments; what is only known at the start is shown as $NAME."""
    from redpak.engine import bwrap, host

    made = plan(asked, dry=True)
    for warning in made.warnings:
        say(WARNING, warning)
    spec = bwrap.lower(made, host.look(asked.bwrap), force=asked.force, strict=asked.strict)
    for note in spec.notes:
        say(WARNING, note)
    words = []
    for word in spec.args:
        if isinstance(word, str):
            words.append(word)
        else:
            words.append(f"${word.inherited}" if word.inherited else str(word.content))
    return spec.bwrap, [*words, *(("--", *spec.program) if spec.program else ())]


def upstream_words(asked: Request, family: Family) -> tuple[str, list[str]]:
    """Return what red-pak 2.5 would run for this family; runs the commands in it, as red-pak does."""
    from redpak.cli.compat import redwrap_dump
    from redpak.config.merge import merge

    merged = merge(
        family,
        UPSTREAM,
        context(),
        overrides=asked.overrides,
        run=redwrap_dump.run_command,
        ask=redwrap_dump.answer,
    )
    for warning in merged.warnings:
        say(WARNING, str(warning))
    words = redwrap_dump.arguments(
        merged,
        environ=os.environ,
        strict=asked.strict,
        command=asked.command,
        warn=lambda message: say(WARNING, message),
    )
    return asked.bwrap or redwrap_dump.BWRAP, words
