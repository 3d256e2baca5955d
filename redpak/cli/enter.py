"""`redpak enter`: a shell in a running sandbox."""

from __future__ import annotations

from redpak.cli import exec as execs
from redpak.cli import running, terminal
from redpak.cli.exec import variables
from redpak.cli.options import Argument, Arguments, Option
from redpak.errors import NoProgram
from redpak.state import copying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.sandboxes import Sandbox

SUMMARY = (
    "Get a shell in a running sandbox, with a terminal of its own and the rights of its first program: what happens\n"
    "in that terminal cannot reach yours (TIOCSTI)."
)
ARGUMENTS = (
    running.TARGET,
    Argument(name="CMD", help="another program than the first of bash and sh that is there", kind="command"),
)
OPTIONS = (
    Option(name="env", short="e", metavar="KEY=VALUE", kind="repeat", help="one more variable; KEY alone: ours"),
    Option(name="workdir", short="w", metavar="DIR", kind="value", help="where to start it, in the sandbox"),
)  # fmt: skip
EXAMPLES = (("redpak enter web", "a shell beside its program"),)
LAUNCHES = True
SHELLS = ("/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/busybox")


def main(args: Arguments) -> int:
    """Run it."""
    one = running.find(args.word("ID"))
    command = args.words("CMD") or shell(one)
    return execs.run(
        one,
        command,
        environ=variables(args.values("env")),
        cwd=args.value("workdir"),
        wants=terminal.usable(),
    )


def shell(one: Sandbox) -> tuple[str, ...]:
    """Return the shell that a sandbox has. Raises NoProgram."""
    import os

    root = copying.root_of(running.main_of(one))
    try:
        for path in SHELLS:
            if copying.is_program(root, path):
                return (path, "sh") if path.endswith("busybox") else (path,)
    finally:
        os.close(root)
    raise NoProgram(f"there is no shell in {one.called}", hint="Name a program: redpak enter ID -- PROGRAM")
