"""Launches that Python stands for until they end write down that they run: nothing in /proc would tell what they are.

That is so where the launch helper is not built or cannot be used, where control groups have to be removed at the end,
and for engines in Python. The record is gone when the program has ended; when we are killed it stays, and tells of it.
A launch detached has a record: there only what bubblewrap was told is added to it, and that memory ran out.
"""

from __future__ import annotations

import os

from redpak import log
from redpak.engine.spec import Blob, LaunchSpec, Value
from redpak.errors import RedpakError
from redpak.state import journal, proc, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from redpak.plan.model import Plan
    from redpak.state.records import Entry

FILE = "launch.json"
MEMORY = "out-of-memory"  # a file that is there where the kernel killed something of it
_detached = [-1]  # the open directory of the record that this process was started for


def detached(folder: int) -> None:
    """Say that this process launches for a record that is there; `folder` is its open directory."""
    _detached[0] = folder


def told(spec: LaunchSpec) -> dict[str, Any]:
    """Return what a settled LaunchSpec tells bubblewrap, as `found.Told` has it."""
    from redpak.engine import run

    words = [(word.content.literal or "") if isinstance(word, Value) else word for word in spec.args]
    reads = [("d", "") if isinstance(one, Blob) else ("o", one.path) for one in spec.descriptors]
    return {
        "bwrap": spec.starter, "words": words, "program": list(spec.program), "reads": reads,
        "rlimits": [f"{run.rlimit_number(one.name)}:{one.soft}:{one.hard}" for one in spec.rlimits],
        "leases": list(spec.leases), "scope": spec.scope, "pidns": spec.pidns, "filter": spec.seccomp.hex(),
    }  # fmt: skip


class noted:  # noqa: N801 - reads as a verb: with noted(plan, spec):
    """Keep a record for the block. That it cannot be written is no reason not to start."""

    def __init__(self, plan: Plan, spec: LaunchSpec, engine: str = "bwrap") -> None:
        self.plan = plan
        self.engine = engine
        self.spec = spec
        self.entry: Entry | None = None
        self.lock = -1
        self.code: int | None = None

    def ended(self, code: int | None) -> None:
        """Say how the program ended: for the event of that."""
        self.code = code

    def out_of_memory(self, why: str) -> None:
        """Note that the kernel killed something of it for want of memory."""
        if self.entry is not None:
            journal.note("oom", self.entry.id, node=self.plan.node)
        if _detached[0] < 0:
            return
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(MEMORY, flags, 0o600, dir_fd=_detached[0]))  # that it is there is enough
        except OSError as error:
            log.debug(f"cannot note that memory ran out ({why}): {error}")

    def __enter__(self) -> noted:
        import json

        try:
            folder = os.dup(_detached[0]) if _detached[0] >= 0 else self._begin()
            try:
                data = json.dumps(told(self.spec)).encode("ascii")
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(FILE, flags, 0o600, dir_fd=folder), "wb") as file:
                    file.write(data)
            finally:
                os.close(folder)
        except (OSError, RedpakError) as error:
            log.debug(f"no record of this launch: {error}")
        return self

    def _begin(self) -> int:
        """Make a record; return its open directory."""
        from redpak.plan import wire

        entry, self.lock = records.new(
            node=self.plan.node,
            command=self.plan.command,
            name="",
            plan=wire.canonical(self.plan),
            uid=os.geteuid(),
        )
        me = proc.known(os.getpid())
        leases = self.spec.leases
        entry = entry.but(
            supervisor=me, launcher=me, engine=self.engine, leases=leases, log="", foreground=True
        )
        records.save(entry)
        self.entry = records.move(entry, "running")
        journal.note("start", self.entry.id, node=self.plan.node, pid=os.getpid())
        return os.open(self.entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.entry is not None:
            journal.note("exit", self.entry.id, node=self.plan.node, code=self.code)
            try:
                records.remove(self.entry)
            except (OSError, RedpakError) as why:
                log.debug(f"the record of this launch stays: {why}")
        if self.lock >= 0:
            os.close(self.lock)
