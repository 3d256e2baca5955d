"""`redpak run --detach`: what `run.py` hands over to, so that a launch in the foreground pays nothing for it."""

from __future__ import annotations

import sys

from redpak.cli import grouped, output, run, running
from redpak.cli.main import guard
from redpak.cli.sizes import size_bytes
from redpak.errors import Usage
from redpak.state import gc, logfile, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.options import Arguments
    from redpak.plan.model import Plan


def start(args: Arguments, command: tuple[str, ...]) -> int:
    """Start it detached and print its id. The code is 0 when it runs, else that of `redpak run`."""
    from redpak.engine import detached, table
    from redpak.plan import wire

    if args.value("refreeze"):
        raise Usage("what runs detached has no frozen launcher", hint="Leave '--refreeze' out.")
    most = 0
    if args.value("log-size"):
        most = size_bytes(args.value("log-size"), "log-size")
        if most < logfile.LEAST_BYTES:
            raise Usage(f"option '--log-size' cannot be {args.value('log-size')}", hint="64K is the least.")
    plan = run.plan_for(args, command)
    table.choose(plan, args.value("engine") or None)  # that it is known, before anything is written
    run.report(plan)
    grouped.tidy()  # before records go: they are all that tells of a group
    gc.sweep()
    entry, lock = records.new(
        node=plan.node, command=command, name=args.value("name"), plan=wire.canonical(plan), uid=plan.uid
    )
    entry = entry.but(engine=engine_of(args.value("engine")))
    sys.stdout.flush()
    sys.stderr.flush()
    done = detached.start(
        entry,
        lock,
        lambda: launch(args, plan),
        confine=lambda pid: grouped.confine(entry, plan, pid),
        log_bytes=most,
    )
    if done.code:
        sys.stderr.write(done.said.decode(errors="replace"))
        records.remove(records.again(entry))
        return done.code
    if args.flag("json"):
        output.json(running.acted(entry, "started"))
    else:
        output.write(f"{done.id}\n")
    return 0


def launch(args: Arguments, plan: Plan) -> int:
    """Run the plan in this process and return the program's code; errors become text and codes here."""
    from redpak.engine import run as engine

    request = run.wanted(args)
    return guard(
        lambda: engine.run(
            plan,
            force=request.force,
            strict=request.strict,
            engine=args.value("engine") or None,
            bwrap=request.bwrap,
            explain=(*run.myself(), "run", "--why-failed", *request.words(), "--", request.spelled()),
            replan=lambda: run.plan_for(args, plan.command),
        ),
        broke=125,
    )


def engine_of(named: str) -> str:
    """Return the name of the engine that `table.choose` takes."""
    from redpak.engine import table

    if named in ("", table.AUTO):
        return "native" if table.falls_short() else table.DEFAULT
    return named
