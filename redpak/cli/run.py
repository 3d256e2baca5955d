"""`redpak run`: start a program in a node. Every import here is paid for by every launch."""

from __future__ import annotations

import os
import sys

from redpak import log
from redpak.cli.options import Argument, Arguments, Option
from redpak.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.cache import Request
    from redpak.engine.spec import LaunchSpec
    from redpak.plan.model import Plan

SUMMARY = (
    "Run a program in a node: it sees what the node, its ancestors and the core OS export, and nothing else.\n"
    "Its exit code, signals and terminal come through."
)
ARGUMENTS = (
    Argument(name="PATH", help="the node"),
    Argument(name="CMD", help="the program and its arguments; 'sh' when there is none", kind="command"),
)
OPTIONS = (
    Option(name="admin", short="a", help="read the admin configuration files as well"),
    Option(name="force", short="f", help="leave out mounts whose source is missing (a node's own are made)"),
    Option(
        name="strict", help="what only warns otherwise is an error: redefinitions, what this kernel lacks"
    ),
    Option(
        name="engine",
        metavar="NAME",
        kind="value",
        help="what carries the launch out: bwrap, native (redpak's own), or auto (bwrap where there is one; default)",
    ),
    Option(name="bwrap", metavar="FILE", kind="value", help="the bubblewrap to use"),
    Option(name="no-frozen", help="neither use nor keep a frozen launcher"),
    Option(name="detach", short="d", help="start it in the background, with a log, and print its id"),
    Option(name="name", metavar="NAME", kind="value", help="with --detach: what to call it"),
    Option(
        name="log-size", metavar="SIZE", kind="value", help="with --detach: how much of its log is kept: 4M"
    ),
    Option(name="json", help="with --detach: print JSON, not the id alone"),
    Option(
        name="refreeze",
        metavar="FILE",
        kind="value",
        help="make the frozen launcher FILE anew first; launchers ask for it when their inputs have changed",
    ),
    Option(
        name="why-failed",
        help="start nothing, say why a start failed: CMD is the engine's exit code and the program's words;"
        " launchers ask for it",
    ),
)
EXAMPLES = (
    ("redpak run /nodes/app", "a shell in the node"),
    ("redpak run /nodes/app -- ls -l /usr", "one command; '--' may be left out"),
    ("redpak -v run /nodes/app server --port 80", "with every step told"),
    (
        "redpak run -d --name web /nodes/app server",
        "in the background; then: redpak logs web, redpak stop web",
    ),
)
LAUNCHES = True


def main(args: Arguments) -> int:
    """Run it. Does not return where another program takes the place of this one."""
    command = args.words("CMD") or ("sh",)
    if args.flag("why-failed"):
        return why_failed(args, command)
    if args.flag("detach"):
        from redpak.cli.detached import start

        return start(args, command)
    for option in ("name", "log-size", "json"):
        if args.flag(option):
            raise Usage(f"option '--{option}' is for what runs detached", hint="Add --detach.")
    request = wanted(args)
    refreeze = args.value("refreeze")
    may_freeze = not args.flag("no-frozen") and args.value("engine") in ("", "auto", "bwrap")
    if may_freeze and not refreeze:
        become_launcher(request, command)

    from redpak.engine.run import run

    plan = plan_for(args, command)
    report(plan)
    return run(
        plan,
        force=request.force,
        strict=request.strict,
        engine=args.value("engine") or None,
        bwrap=request.bwrap,
        explain=(*myself(), "run", "--why-failed", *request.words(), "--", request.path),
        lowered=(lambda made, spec: keep(request, refreeze, made, spec)) if may_freeze else None,
        again=(*myself(), "run", "--no-frozen", *request.words(), "--", request.path) if may_freeze else (),
        replan=lambda: plan_for(args, command),
        begun=True,
    )


def wanted(args: Arguments) -> Request:
    """Return what was asked for, by which launchers are found again."""
    from redpak.engine.cache import Request

    return Request(
        path=args.word("PATH"),
        admin=args.flag("admin"),
        force=args.flag("force"),
        strict=args.flag("strict"),
        quiet=log.level < log.WARNING,
        bwrap=args.value("bwrap"),
    )


def become_launcher(request: Request, command: tuple[str, ...]) -> None:
    """Let the frozen launcher of an earlier run take our place; returns where there is none."""
    from redpak.engine.cache import fresh_launcher

    launcher = fresh_launcher(request)
    if launcher is None:
        return
    log.debug(f"start '{launcher}'")
    sys.stderr.flush()
    try:
        os.execv(launcher, [launcher, *command])
    except OSError as error:  # the cache is on a file system without execution, or was emptied just now
        log.debug(f"'{launcher}' cannot be started: {error.strerror}")


def keep(request: Request, refreeze: str, plan: Plan, spec: LaunchSpec) -> None:
    """Keep a launcher for the next run, or make the one at `refreeze` anew."""
    from redpak.engine import cache

    reason = cache.rewrite(refreeze, request, plan, spec) if refreeze else cache.store(request, plan, spec)
    if reason and refreeze:
        log.warn(f"'{refreeze}' is not made anew: {reason}; starting without it")
    elif reason:
        log.debug(f"not frozen: {reason}")


def plan_for(args: Arguments, command: tuple[str, ...]) -> Plan:
    """Return the plan of this command line."""
    from redpak.node.plan import plan_of

    return plan_of(
        args.word("PATH"),
        admin=args.flag("admin"),
        command=command,
        strict=args.flag("strict"),
        may_write=True,
        digests=False,
    )


def report(plan: Plan) -> None:
    """Tell the user what the plan warns about."""
    for warning in plan.warnings:
        log.warn(warning)


def why_failed(args: Arguments, command: tuple[str, ...]) -> int:
    """Raise the error that says why the engine ended before the program ran."""
    if len(command) < 2 or not command[0].isdigit():
        hint = "Give the engine's exit code and the words of the program."
        raise Usage("option '--why-failed' needs to know what failed", hint=hint)
    from redpak.engine import prepared
    from redpak.engine.failed import explained

    if int(command[0]) == prepared.GONE and prepared.drop(args.word("PATH")):
        again = (*myself(), "run", *wanted(args).words(), "--", args.word("PATH"), *command[1:])
        os.execv(again[0], again)
    raise explained(plan_for(args, command[1:]), int(command[0]), args.value("engine") or "bwrap")


def myself() -> tuple[str, ...]:
    """Return the words that start this redpak in this Python, with nothing of the caller's."""
    root = __file__.rpartition("/redpak/cli/")[0]
    code = f"import sys; sys.path.insert(0, {root!r}); from redpak.cli.main import entry; entry()"
    return (sys.executable, "-I", "-c", code)
