"""What is only known at start: output of commands, PID, UUID, date. Turns a LaunchSpec with open ends into one without.

A command comes from a node's configuration, so under the sealed profile it runs in a sandbox of its own: it may read
what the launching user may read, change nothing, and talk to no service of the host.
"""

from __future__ import annotations

import os
import signal
import time

from redpak.engine import seccomp
from redpak.engine.spec import Blob, LaunchSpec, Value
from redpak.errors import LaunchFailed
from redpak.plan.ops import Bind
from redpak.text import Run, Text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.origin import Origin
    from redpak.plan.model import Plan
    from redpak.text import Asked

BASH = "/usr/bin/bash"
TIMEOUT_S = 10.0
MOST_BYTES = 1 << 20
SAFE_PATH = "/usr/local/bin:/usr/bin:/bin"
FILTER_FD = 9
CONFINED = (
    "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--ro-bind", "/", "/",
    "--dev", "/dev", "--proc", "/proc",
)  # fmt: skip
UUIDS = "/proc/sys/kernel/random/uuid"
TODAY = "%d-%b-%Y %H:%M (%Z)"


def environment() -> dict[str, str]:
    """Return what a confined command sees of the caller: who it is, and nothing else."""
    home = os.environ.get("HOME", "/")
    user = os.environ.get("USER", "")
    return {"PATH": SAFE_PATH, "HOME": home, "USER": user, "LANG": os.environ.get("LANG", "C.UTF-8")}


def confined(bwrap: str, command: str, *, filtered: bool, root: bool) -> list[str]:
    """Return the command line that runs a command with a read-only host and nothing else."""
    argv = [bwrap, *CONFINED]
    if root:
        argv += ["--ro-bind", "/proc/sys", "/proc/sys"]  # uid 0 may write there by file mode alone
    if filtered:
        argv += ["--seccomp", str(FILTER_FD)]
    argv += ["--chdir", "/", "--clearenv"]
    for key, value in environment().items():
        argv += ["--setenv", key, value]
    return [*argv, "--", BASH, "-r", "-c", command]


def ask(name: Asked) -> str:
    """Answer for PID, UUID and TODAY."""
    match name:
        case "PID":
            return str(os.getpid())
        case "UUID":
            with open(UUIDS, encoding="ascii") as file:
                return file.read().strip()
        case _:
            return time.strftime(TODAY)


class _Job:
    """One running command."""

    def __init__(self, command: str, because: Origin, spec: LaunchSpec, seccomp_fd: int) -> None:
        self.command = command
        self.because = because
        self.said = bytearray()
        reader, writer = os.pipe2(os.O_CLOEXEC)
        actions: list[tuple[object, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, writer, 1),
        ]
        if spec.confine:
            # The caller's terminal could be read from it. Where it fails, the exit code tells.
            actions.append((os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0))
            if seccomp_fd >= 0:
                # opened anew, so that each reader has its own position
                source = f"/proc/{os.getpid()}/fd/{seccomp_fd}"
                actions.append((os.POSIX_SPAWN_OPEN, FILTER_FD, source, os.O_RDONLY, 0))
            argv = confined(spec.bwrap, command, filtered=seccomp_fd >= 0, root=os.geteuid() == 0)
            env: dict[str, str] = {}
        else:
            argv, env = [BASH, "-r", "-c", command], dict(os.environ)
        try:
            self.pid = os.posix_spawn(
                argv[0],
                argv,
                env,
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE,),
            )
        except OSError as error:
            os.close(reader)
            raise LaunchFailed(f"cannot run '{argv[0]}': {(error.strerror or '').lower()}") from error
        finally:
            os.close(writer)
        self.reader = reader

    def fail(self, why: str) -> LaunchFailed:
        """Return the error for this command."""
        return LaunchFailed(
            f"{self.because}: command '{self.command}' {why}", hint="Run it by hand with 'bash -r -c'."
        )

    def kill(self) -> None:
        """End the command and everything that it started; forget it."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended meanwhile
        os.waitpid(self.pid, 0)
        os.close(self.reader)


def outputs(asked: Sequence[tuple[str, Origin]], spec: LaunchSpec) -> list[str]:
    """Run commands side by side and return what each wrote, in order.

    Raises LaunchFailed when one exits with another code than 0, writes more than 1 MiB, or runs longer than 10 s; the
    others are killed then.
    """
    if not asked:
        return []
    import select

    seccomp_fd = -1
    if spec.confine and spec.command_filter:
        seccomp_fd = os.memfd_create("filter", os.MFD_CLOEXEC)
        os.write(seccomp_fd, spec.command_filter)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a caller that ignores it would have us see no child's end
    jobs: list[_Job] = []
    running: dict[int, _Job] = {}
    poll = select.poll()
    try:
        for command, because in asked:
            job = _Job(command, because, spec, seccomp_fd)
            jobs.append(job)
            running[job.reader] = job
            poll.register(job.reader, select.POLLIN)
        deadline = time.monotonic() + TIMEOUT_S
        while running:
            left = deadline - time.monotonic()
            ready = poll.poll(max(0, left) * 1000)
            if not ready and left <= 0:
                raise next(iter(running.values())).fail(f"ran longer than {TIMEOUT_S:g} s and was killed")
            for fd, _ in ready:
                job = running[fd]
                data = os.read(fd, 65536)
                job.said += data
                if len(job.said) > MOST_BYTES:
                    raise job.fail(f"wrote more than {MOST_BYTES} bytes and was killed")
                if data:
                    continue
                poll.unregister(fd)
                del running[fd]
                os.close(fd)
                code = os.waitstatus_to_exitcode(os.waitpid(job.pid, 0)[1])
                if code:
                    raise job.fail(
                        f"failed with code {code}" if code > 0 else f"was killed by signal {-code}"
                    )
    finally:
        for job in running.values():
            job.kill()
        if seccomp_fd >= 0:
            os.close(seccomp_fd)
    return [os.fsdecode(bytes(job.said)) for job in jobs]


def evaluate(texts: Sequence[tuple[Text, bool, Origin]], spec: LaunchSpec) -> list[str]:
    """Return the final string of each (text, whether to strip newlines, origin). Raises LaunchFailed."""
    asked = [
        (part.command, because)
        for value, _, because in texts
        for part in value.parts
        if isinstance(part, Run)
    ]
    answers = iter(outputs(asked, spec))
    done = []
    for value, strip, _ in texts:

        def run(_command: str, *, strip: bool = strip) -> str:
            said = next(answers)
            return said.rstrip("\n") if strip else said

        done.append(value.evaluate(run, ask))
    return done


def settle(spec: LaunchSpec) -> LaunchSpec:
    """Return `spec` with the content of every Value and Blob known. Raises LaunchFailed."""
    texts: list[tuple[Text, bool, Origin]] = []
    for arg in spec.args:
        if isinstance(arg, Value):
            texts.append((arg.content, arg.strip, arg.because))
    for one in spec.descriptors:
        if isinstance(one, Blob):
            texts.append((one.content, False, one.because))
    answers = iter(evaluate(texts, spec))
    args: list[str | Value] = []
    for arg in spec.args:
        if isinstance(arg, str):
            args.append(arg)
            continue
        answer = next(answers)
        if "\0" in answer:
            raise LaunchFailed(f"{arg.because}: the value of '{args[-1]}' has a NUL byte in it")
        args.append(arg.but(content=text(answer)))
    return spec.but(
        args=tuple(args),
        descriptors=tuple(
            one.but(content=text(next(answers))) if isinstance(one, Blob) else one for one in spec.descriptors
        ),
    )


def settle_sources(plan: Plan, bwrap: str) -> Plan:
    """Return `plan` with every bind's source known, commands evaluated. Raises LaunchFailed."""
    open_ends = [op for op in plan.mounts if isinstance(op, Bind) and op.src.literal is None]
    if not open_ends:
        return plan
    sealed = plan.profile == "sealed"
    allowed = seccomp.build(no_sockets=seccomp.AWAY) if sealed and seccomp.supported() else b""
    spec = LaunchSpec(
        bwrap=bwrap, args=(), uid=plan.uid, gid=plan.gid, command_filter=allowed, confine=sealed
    )
    answers = iter(evaluate([(op.src, sealed, op.because) for op in open_ends], spec))
    return plan.but(
        mounts=tuple(
            op.but(src=text(next(answers))) if isinstance(op, Bind) and op.src.literal is None else op
            for op in plan.mounts
        )
    )
