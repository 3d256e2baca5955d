"""`redpak inspect`: all that is known of a sandbox."""

from __future__ import annotations

import os
import shlex

from redpak.cli import grouped, launches, output, running
from redpak.cli.options import Arguments, Option
from redpak.state import proc, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from redpak.state.sandboxes import Sandbox

SUMMARY = (
    "Tell all that is known of sandboxes: what was recorded, the plan, the generations of packages that are held, and\n"
    "what the kernel says now: processes, namespaces, mounts as seen inside, rights, limits."
)
ARGUMENTS = (running.TARGETS,)
OPTIONS = (
    Option(name="no-plan", help="leave the plan out"),
    Option(name="json", help="print JSON: a list, with the plan in full"),
)
EXAMPLES = (
    ("redpak inspect web", "for people"),
    ("redpak inspect --json web | jq '.[0].live.mounts'", "its mounts"),
)
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
STATUS = ("Uid", "Gid", "NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Umask")


def main(args: Arguments) -> int:
    """Print it."""
    found, faults = running.find_each(args.words("ID"), ended=True)
    shown = [document(one, plan=not args.flag("no-plan")) for one in found]
    if args.flag("json"):
        output.json(shown)
    else:
        lines: list[str] = []
        for each in shown:
            lines += [*([""] if lines else []), *text(each)]
        output.lines(lines)
    running.blame(faults)
    return 0


def document(one: Sandbox, *, plan: bool) -> dict[str, Any]:
    """Return the JSON document of a sandbox."""
    from redpak.plan import wire

    shown = running.document(one)
    entry = one.entry
    shown["started_by"] = dict(entry.by) if entry is not None else {}
    shown["record"] = entry.path if entry is not None else None
    shown["log"] = entry.log if entry is not None and entry.log else None
    shown["generations"] = list(generations(one))
    if plan:
        made, note = launches.plan_of(one)
        shown["plan_note"] = note
        shown["plan"] = wire.document(made) if made is not None else None
    shown["live"] = live(one) if one.lives and one.main is not None and proc.alive(one.main) else None
    return shown


def generations(one: Sandbox) -> tuple[str, ...]:
    """Return the generations of packages that a sandbox holds, so that none of them is removed under it."""
    if not one.lives:
        return ()
    said = launches.told(one)
    if said is not None:
        return said.leases
    return one.entry.leases if one.entry is not None else ()


def live(one: Sandbox) -> dict[str, Any]:
    """Return what the kernel says of a running sandbox."""
    from redpak.kernel import mountinfo

    assert one.main is not None
    pid = one.main.pid
    status = proc.status(pid)
    outside = {kind: proc.namespace(os.getpid(), kind) for kind in KINDS}
    inside = {kind: proc.namespace(pid, kind) for kind in KINDS}
    try:
        mounts = [
            {
                "path": at.point, "type": at.fstype, "options": at.options, "source": at.source, "root": at.root,
            }
            for at in mountinfo.mounts(str(pid))
        ]  # fmt: skip
    except OSError:
        mounts = []
    group = grouped.of(one)
    return {
        "processes": [one.pid for one in usage.processes(one)],
        "namespaces": {
            kind: {"id": inside[kind], "own": inside[kind] != outside[kind]} for kind in KINDS if inside[kind]
        },
        "status": {key: " ".join(status[key].split()) for key in STATUS if key in status},
        "limits": _limits(pid),
        "mounts": mounts,
        "cgroup": group.to_dict()["paths"] if group is not None else None,
    }


def _limits(pid: int) -> dict[str, list[str]]:
    """Return {"Max open files": [soft, hard], …} of /proc/PID/limits."""
    found: dict[str, list[str]] = {}
    for line in proc.read(f"/proc/{pid}/limits").decode(errors="replace").splitlines()[1:]:
        found[line[:26].strip()] = line[26:].split()[:2]
    return found


def text(shown: dict[str, Any]) -> list[str]:
    """Return the document for people."""
    plain = ("id", "name", "node", "status", "reason", "code", "engine", "started", "ended", "log")
    rows = [(key, str(shown[key])) for key in plain if shown[key] not in (None, "")]
    rows.insert(3, ("command", shlex.join(shown["command"])))
    rows += [("generation", path) for path in shown["generations"]]
    if shown["started_by"]:
        rows.append(("started by", ", ".join(f"{key} {value}" for key, value in shown["started_by"].items())))
    if shown.get("plan"):
        note = f" ({shown['plan_note']})" if shown["plan_note"] else ""
        rows.append(("plan", f"{shown['plan']['digest']}{note}"))
    elif shown.get("plan_note"):
        rows.append(("plan", shown["plan_note"]))
    has = shown["live"]
    if has:
        rows.append(("program", f"pid {shown['pid']}, first process inside {shown['init_pid']}"))
        rows.append(("processes", " ".join(map(str, has["processes"]))))
        own = [kind for kind, about in has["namespaces"].items() if about["own"]]
        rows.append(
            ("namespaces", f"own {' '.join(own)}; shared {' '.join(k for k in KINDS if k not in own)}")
        )
        rows += [(key, value) for key, value in has["status"].items()]
        for path in sorted(set((has["cgroup"] or {}).values())):
            rows.append(("cgroup", path))
    lines = output.table(rows, indent=0)
    if has:
        mounts = [(at["path"], at["type"], ",".join(at["options"]), at["source"]) for at in has["mounts"]]
        lines += ["mounts inside", *output.table(mounts, indent=2)]
    return lines
