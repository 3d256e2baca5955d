"""`redpak freeze`: compile a node's launch to one readable shell script."""

from __future__ import annotations

import os
import sys

from redpak import log, paths
from redpak.cli.options import Argument, Arguments, Option
from redpak.errors import LaunchFailed, Refused

SUMMARY = (
    "Compile a node's launch to one readable POSIX sh script, which starts as fast as bubblewrap itself.\n"
    "The script checks its inputs; when one has changed, it has redpak make it anew. Its arguments are the program\n"
    "to run, where CMD was not given here."
)
ARGUMENTS = (
    Argument(name="PATH", help="the node"),
    Argument(name="CMD", help="what the script starts when it gets no arguments", kind="command"),
)
OPTIONS = (
    Option(
        name="output",
        short="o",
        metavar="FILE",
        kind="value",
        help="where to put the script",
    ),
    Option(name="admin", short="a", help="read the admin configuration files as well"),
    Option(name="force", short="f", help="leave out mounts whose source is missing"),
    Option(name="strict", help="what only warns otherwise is an error"),
    Option(name="bwrap", metavar="FILE", kind="value", help="the bubblewrap to use"),
)
EXAMPLES = (
    ("redpak freeze /nodes/app -o app", "then './app ls /usr' runs a program in the node"),
    ("redpak freeze /nodes/app -o server -- server --port 80", "then './server' starts the server"),
)


def main(args: Arguments) -> int:
    """Write the script."""
    from redpak.engine import bwrap, cache, frozen, host, prepared, run, seccomp
    from redpak.fs import write_atomically
    from redpak.node.plan import plan_of

    request = cache.Request(
        path=args.word("PATH"),
        admin=args.flag("admin"),
        force=args.flag("force"),
        strict=args.flag("strict"),
        bwrap=args.value("bwrap"),
    )
    plan = plan_of(
        request.spelled(),
        admin=request.admin,
        command=args.words("CMD"),
        strict=request.strict,
        may_write=True,
        digests=False,
    )
    spec = bwrap.lower(plan, host.look(request.bwrap), force=request.force, strict=request.strict)
    spec = prepared.use(spec)
    for warning in (*plan.warnings, *spec.notes):
        log.warn(warning)
    helper = run.helper()
    reason = frozen.why_not(plan, spec, helper)
    if reason:
        raise Refused(
            f"node '{plan.node}' cannot be frozen: {reason}", hint="Use 'redpak run', which can start it."
        )
    if not seccomp.keep(spec):
        raise LaunchFailed(f"cannot write the filters in '{paths.cache()}'", hint="Make it writable.")
    origins = frozen.Origins(path=request.spelled(), words=request.words())
    data = frozen.encoded(frozen.script(plan, spec, helper=helper, origins=origins))
    target = args.value("output")
    if target in ("", "-"):
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return 0
    write_atomically(target, data, mode=0o755)
    log.info(f"wrote '{os.path.abspath(target)}'")
    return 0
