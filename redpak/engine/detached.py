"""Start a program detached: a supervisor of its own keeps its log and its record, and writes down how it ended.

    caller ── fork, setsid, fork ──▶ supervisor ── fork ──▶ launcher (bubblewrap's helper, or an engine in Python)

The supervisor is the only process that writes the record; it holds the record's lock as long as it lives. The launcher
dies with it (PR_SET_PDEATHSIG), and the sandbox with the launcher. Nothing is inherited: standard input is /dev/null,
there is no terminal, every other descriptor is closed, and SIGHUP means nothing.
"""

from __future__ import annotations

import os
import select
import signal
import time

from redpak.engine import announce
from redpak.engine.inside import of_helper
from redpak.errors import LaunchFailed, RedpakError
from redpak.kernel import files, process
from redpak.record import Record
from redpak.state import journal, logfile, members, proc, records
from redpak.state.records import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.state.members import Inside
    from redpak.state.records import Entry

SHORTEST_S, LONGEST_S = 0.001, 0.05  # between two looks at a sandbox that is being made
GRACE_S = 0.3  # how long what the program left behind may go on writing to its log
BROKE = (2, 3, 4, 5, 125, 126, 127)  # the codes of a launch that did not come about (docs/exit-codes.md)
OURS = b"redpak: error: "


class Group(Record):
    """A control group that holds a sandbox, as cli hands it over: engines know no more of it than this."""

    saved: dict[str, object]  # for the record
    oom: Callable[[], bool]
    remove: Callable[[], None]


class Started(Record):
    """What became of a start. `code` is 0 when the program runs, or ran and ended; `said` is why not."""

    id: str
    code: int = 0
    said: bytes = b""


def start(
    entry: Entry,
    lock: int,
    launch: Callable[[], int],
    *,
    confine: Callable[[int], Group | None] | None = None,
    log_bytes: int = 0,
) -> Started:
    """Start `launch` (returns the program's code, in a process of its own) detached, with `entry` as its record.

    Returns when the program runs. `lock` is the open lock of the record; it is given away. `confine` puts the process
    of that number into a control group, before anything is launched in it. Raises LaunchFailed when the supervisor was
    killed before it could say what became of it.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    first = os.fork()
    if first == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                os.close(reader)
                _Supervisor(entry, lock, launch, writer, confine, log_bytes).run()
        finally:
            os._exit(0)
    os.close(lock)
    os.close(writer)
    os.waitpid(first, 0)
    said = b""
    try:
        while part := os.read(reader, 1 << 16):
            said += part
    finally:
        os.close(reader)
    code, _, why = said.partition(b"\n")
    if not code.isdigit():
        hint = f"Look at what is left: redpak ps --all; redpak logs {entry.id}"
        raise LaunchFailed(f"the supervisor of {entry.id} was killed while it started", hint=hint)
    return Started(id=entry.id, code=int(code), said=why)


class _Supervisor:
    """The process that looks after one detached sandbox. Never returns."""

    def __init__(
        self,
        entry: Entry,
        lock: int,
        launch: Callable[[], int],
        ready: int,
        confine: Callable[[int], Group | None] | None,
        log_bytes: int,
    ) -> None:
        self.entry = entry
        self.lock = lock
        self.launch = launch
        self.ready = ready
        self.verdict: tuple[int, bytes] | None = None  # of a start that came to nothing
        self.confine = confine
        self.group: Group | None = None
        self.log_bytes = log_bytes
        self.pid = 0
        self.log: logfile.Writer | None = None

    def run(self) -> None:
        try:
            self._detach()
            streams = self._fork()
            os.chdir("/")
            code = self._watch(streams)
        except Exception as error:  # noqa: BLE001 - nobody is there to see a traceback
            self.verdict = 125, f"redpak: error: the supervisor failed: {error}\n".encode()
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            self._end(Exit(code=125, reason=f"the supervisor failed: {error}", ended=time.time()))
        else:
            self._end(code)
        os._exit(0)

    def _detach(self) -> None:
        """Let go of everything of the caller's, and take the record over."""
        files.close_on_exec()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        first = 3
        for fd in sorted((self.lock, self.ready)):
            if fd > first:
                files.close_range(first, fd - 1)
            first = fd + 1
        files.close_range(first)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, lambda number, _frame: self._hand_on(number))
        self.entry = self.entry.but(supervisor=proc.known(os.getpid()))
        records.save(self.entry)
        self.log = logfile.Writer(self.entry.path, self.log_bytes or logfile.MOST_BYTES)
        journal.note("create", self.entry.id, name=self.entry.name, node=self.entry.node)

    def _hand_on(self, number: int) -> None:
        """Let the program hear what somebody told us: its launcher hands it on."""
        if self.pid:
            os.kill(self.pid, number)

    def _fork(self) -> dict[int, str]:
        """Start the launcher; return {descriptor to read: stream}."""
        out, their_out = os.pipe2(os.O_CLOEXEC)
        err, their_err = os.pipe2(os.O_CLOEXEC)
        gate, opener = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        folder = records.opened(self.entry)
        self.pid = os.fork()
        if self.pid == 0:
            code = 125
            try:
                process.die_with_parent(signal.SIGKILL)
                os.close(opener)
                if os.getppid() == parent and os.read(gate, 1):
                    os.dup2(their_out, 1)
                    os.dup2(their_err, 2)
                    os.dup2(folder, 3, inheritable=False)
                    files.close_range(4)
                    announce.detached(3)
                    for number in (
                        signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGPIPE, signal.SIGTERM,
                    ):  # fmt: skip
                        signal.signal(number, signal.SIG_DFL)
                    code = self.launch()
            except BaseException as error:  # noqa: BLE001 - the log is all there is
                os.write(2, OURS + f"{error}\n".encode(errors="replace"))
            finally:
                os._exit(code)
        for fd in (their_out, their_err, gate, folder):
            os.close(fd)
        if self.confine:
            try:
                self.group = self.confine(self.pid)
            except RedpakError as error:
                assert self.log is not None
                self.log.feed("redpak", f"no control group: {error.message}\n".encode(errors="replace"))
        saved = dict(self.group.saved) if self.group else None
        self.entry = self.entry.but(launcher=proc.known(self.pid), cgroup=saved)
        records.save(self.entry)
        os.write(opener, b"!")
        os.close(opener)
        return {out: "stdout", err: "stderr"}

    def _watch(self, streams: dict[int, str]) -> Exit:
        """Keep the log until the launcher ends; return how that was."""
        assert self.log is not None
        end = os.pidfd_open(self.pid)
        poll = select.poll()
        for fd in (end, *streams):
            poll.register(fd, select.POLLIN)
        wait_s = SHORTEST_S
        said = b""
        ended = False
        while True:
            running = self.entry.main is not None
            timeout = GRACE_S if ended else None if running else wait_s
            ready = poll.poll(None if timeout is None else timeout * 1000)
            if not ready and ended:
                break
            for fd, _what in ready:
                if fd == end:
                    ended = True
                    poll.unregister(end)
                elif data := os.read(fd, 1 << 16):
                    self.log.feed(streams[fd], data)
                    if not running and streams[fd] == "stderr":
                        said = (said + data)[-8192:]
                else:
                    poll.unregister(fd)
                    os.close(fd)
                    del streams[fd]
            if ended and not streams:
                break
            if not running and not ended:
                self._look()
                wait_s = min(wait_s * 1.3, LONGEST_S)
        for fd in (end, *streams):
            os.close(fd)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        code = os.waitstatus_to_exitcode(status)
        return self._ended(128 - code if code < 0 else code, said)

    def _look(self) -> None:
        """See whether the program runs by now; if so, everybody may know."""
        told = of_helper(self.pid)
        reaper = told.pidns if told is not None else members.always_reaped(self.entry.engine)
        found = members.find(self.pid, reaper=reaper)
        starter = _starter(found)
        if found is None or found.main is None or not members.runs(found, starter):
            return
        self._runs(found)

    def _runs(self, found: Inside) -> None:
        told = of_helper(self.pid)
        self.entry = self.entry.but(
            init=found.init, main=found.main, leases=told.leases if told else self.entry.leases
        )
        records.save(self.entry)
        self.entry = records.move(self.entry, "running")
        assert self.entry.main is not None
        journal.note("start", self.entry.id, name=self.entry.name, pid=self.entry.main.pid)
        self._say(0, b"")

    def _say(self, code: int, why: bytes) -> None:
        """Tell the caller what became of the start, once."""
        if self.ready >= 0:
            try:
                os.write(self.ready, b"%d\n" % code + why)
            except BrokenPipeError:
                pass  # it was killed
            os.close(self.ready)
            self.ready = -1

    def _ended(self, code: int, said: bytes) -> Exit:
        """Return the end; the caller is told of one that came before anything ran when it is written down."""
        oom = bool(self.group and self.group.oom()) or self._ran_out()
        never = self.entry.main is None and code in BROKE and OURS in said
        if never:
            self.verdict = code, said
        else:
            if self.entry.main is None:  # it ended before we saw it
                journal.note("start", self.entry.id, name=self.entry.name, pid=None)
            self._say(0, b"")
        return Exit(code=code, reason="it could not be started" if never else "", ended=time.time(), oom=oom)

    def _ran_out(self) -> bool:
        """Tell whether the launcher, which has the groups of the plan's limits, saw memory run out."""
        return os.path.exists(os.path.join(self.entry.path, announce.MEMORY))

    def _leave_group(self) -> None:
        if self.group:
            try:
                self.group.remove()
            except RedpakError:
                return  # what is left in it is shown: redpak ps

    def _end(self, how: Exit) -> None:
        if self.log is not None:
            self.log.close()
        self._leave_group()
        if how.oom:
            journal.note("oom", self.entry.id, name=self.entry.name)
        self.entry = records.finish(self.entry, how)
        journal.note("exit", self.entry.id, name=self.entry.name, code=how.code)
        if self.verdict is not None:  # now the caller may remove the record: nobody writes to it any more
            self._say(*self.verdict)


def _starter(found: Inside | None) -> str:
    """Return the file of what makes the sandbox: where init only stands above the program, it is that."""
    if found is None or found.main is None:
        return ""
    if found.init.pid != found.main.pid:
        return proc.program(found.init.pid)
    at = proc.stat(found.init.pid)
    return proc.program(at.parent) if at else ""
