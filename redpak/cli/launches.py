"""What is known of how a running sandbox was launched: its plan, and what bubblewrap was told."""

from __future__ import annotations

import os

from redpak.errors import RedpakError
from redpak.state import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.plan.model import Plan
    from redpak.state.found import Told
    from redpak.state.sandboxes import Sandbox

MAKES = {  # options of bubblewrap that make something, and which of their words says where
    "--dir": 1, "--tmpfs": 1, "--proc": 1, "--dev": 1, "--mqueue": 1, "--symlink": 2, "--file": 2, "--bind": 2,
    "--ro-bind": 2, "--dev-bind": 2, "--bind-fd": 2, "--ro-bind-fd": 2, "--bind-try": 2, "--ro-bind-try": 2,
    "--dev-bind-try": 2, "--node": 2, "--devpts": 1, "--bind-data": 2, "--ro-bind-data": 2,
}  # fmt: skip
DEV = (
    "console", "core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
    "urandom", "zero",
)  # fmt: skip


def told(one: Sandbox) -> Told | None:
    """Return what the launch helper of a sandbox was told, None where it was started without one."""
    from redpak.engine import inside

    if one.launch is not None:
        return one.launch.told
    said = inside.of_helper(one.launcher.pid) if one.launcher is not None else None
    return inside.of_record(one.entry) if said is None and one.entry is not None else said


def plan_of(one: Sandbox) -> tuple[Plan | None, str]:
    """Return the plan of a sandbox, and what to know about it: '' for the very one that it was started with."""
    from redpak.plan import wire

    if one.entry is not None:
        at = os.path.join(one.entry.path, "plan.json")
        try:
            folder = records.opened(one.entry)
            try:
                with open(os.open("plan.json", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder), "rb") as file:
                    return wire.read(file.read(), file=at), ""
            finally:
                os.close(folder)
        except (OSError, RedpakError) as error:
            return None, f"its plan cannot be read: {error}"
    from redpak.node.plan import plan_of as made

    try:
        plan = made(one.node, admin=False, command=one.command, strict=False, may_write=False, digests=False)
    except (OSError, RedpakError) as error:
        return None, f"no plan can be made for '{one.node}' now: {error}"
    return plan, "made now: a launch in the foreground keeps none, and the node may have changed since"


def made_by(one: Sandbox) -> tuple[list[str], list[str]]:
    """Return the paths that the launch made inside, and those that it may have made (the nodes in /dev)."""
    said = told(one)
    made: list[str] = []
    devices: list[str] = []
    perhaps: list[str] = []
    if said is not None:
        for at, word in enumerate(said.words):
            if word in MAKES and at + MAKES[word] < len(said.words):
                where = said.words[at + MAKES[word]]
                if word == "--node" and not said.words[at + 1]:  # the console, which only a terminal brings
                    perhaps.append(where)
                    continue
                made.append(where)
                devices += made[-1:] if word == "--dev" else []
    else:
        plan, _ = plan_of(one)
        for op in plan.mounts if plan is not None else ():
            made.append(op.dst)
            devices += made[-1:] if type(op).__name__ == "Dev" else []
    return made, [*perhaps, *(f"{folder}/{name}" for folder in devices for name in DEV)]
