"""A launch in the terms of bubblewrap and of the launch helper: pure data, made by `bwrap.lower`.

`run.py` evaluates what is open and carries a LaunchSpec out; `frozen.py` compiles it to a shell script.
Both follow the same rules, so what a LaunchSpec means is written here once:

* Descriptors are numbered FIRST_FD, FIRST_FD + 1, … in the order of `descriptors`; `args` names these numbers.
* `keep` are descriptors of the caller (3 to 9) that bwrap reads; all others above 2 are closed.
* An element of `args` is a word, or a `Value` that becomes one word when the program starts.
* With `inherit_env` the caller's variables are added as `--setenv NAME VALUE`, except those that the plan itself sets
  or unsets. bwrap's own environment is always empty.
* Every user of the host can read the helper's command line. So what comes from the caller's environment or from a
  command goes to the helper in its environment, which only the same user can read (`parted`).
* The helper adds `--json-status-fd`, `--args` and `--`; they are not in `args`.
"""

from __future__ import annotations

from redpak.origin import DEFAULT, Origin
from redpak.plan.model import FileInput, Limit, Rlimit
from redpak.record import Record
from redpak.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    How = Literal["path", "read"]
    JoinKind = Literal["cgroup", "ipc", "net", "pid", "time", "user"]

FIRST_FD = 10  # the first descriptor that a launch opens for bwrap
JOIN_FD = 3  # joined user and pid namespaces are opened at the highest free numbers of 3…9


class Opened(Record):
    """A host file to open as the next descriptor: `-o PATH` (how="path": O_PATH) or `-r PATH` (how="read").

    The path is canonical and is opened without following any symlink. `pending` says that it still holds a
    command: such a LaunchSpec is for people to read, `run` evaluates these first and lowers again.
    """

    path: str
    how: How = "path"
    pending: bool = False
    because: Origin = DEFAULT


class Blob(Record):
    """The content of a file of the sandbox, in a memfd as the next descriptor (`-d DATA`).

    Output of commands keeps its trailing newlines.
    """

    content: Text
    because: Origin = DEFAULT


class Value(Record):
    """One word of bwrap's arguments that is only known when the program starts.

    With `inherited`, the value of that variable of the caller, '' where it is unset; otherwise `content`.
    `strip`: trailing newlines of each command's output are dropped, as shells do (the sealed profile).
    `before`: how many words right before it belong to the same option (`--setenv KEY`: 2, `--hostname`: 1).
    """

    content: Text
    inherited: str = ""
    before: int = 1
    strip: bool = True
    because: Origin = DEFAULT


class Join(Record):
    """A namespace file to join: by setns(2) before bwrap starts, or, with `fd`, opened at that number for bwrap."""

    kind: JoinKind
    path: str
    fd: int = 0
    because: Origin = DEFAULT


class LaunchSpec(Record):
    """One launch."""

    bwrap: str  # the program, absolute
    joiner: str = ""  # redpak-join where the launch joins a prepared tree: it is started in bwrap's place
    args: tuple[str | Value, ...]  # of bwrap or the joiner, without the program to run
    descriptors: tuple[Opened | Blob, ...] = ()
    keep: tuple[int, ...] = ()  # -k: descriptors that the caller left open for bwrap
    program: tuple[str, ...] = ()  # what runs inside; () where nobody said yet
    scope: bool = False  # -s: Landlock scoping of abstract sockets and signals
    pidns: bool = True  # -n: the sandbox has a pid namespace of its own
    newsession: bool = False  # -t: no controlling terminal, signals from the terminal are forwarded as well
    inherit_env: bool = False
    uid: int  # -i: who launches
    gid: int
    files: tuple[FileInput, ...] = ()  # -f: what the plan was made from (path and stamp)
    seccomp: bytes = (
        b""  # the filter; the `Opened(how="read")` at `seccomp_path` is where `seccomp.store` puts it
    )
    seccomp_path: str = ""
    confine: bool = True  # commands run inside a sandbox of their own (the sealed profile)
    command_filter: bytes = (
        b""  # the filter of that sandbox; b"" where there is no command, or none for this machine
    )
    command_filter_path: str = ""  # where `seccomp.keep` puts it
    # What only Python does, before it starts the helper; see `why_not_frozen`.
    become: tuple[int, int] = (-1, -1)  # user and group to run as; -1: as launched
    umask: int = -1
    rlimits: tuple[Rlimit, ...] = ()
    limits: tuple[Limit, ...] = ()  # of the control groups that the sandbox is started in
    joins: tuple[Join, ...] = ()
    newtime: bool = False  # a time namespace of its own
    smack: str = ""  # the SMACK label to run with
    leases: tuple[str, ...] = ()  # -g: directories to hold a shared lock on, so that what lies in them stays
    create: tuple[str, ...] = ()  # directories to make first (0775 & ~umask), parents before children
    notes: tuple[str, ...] = ()  # what could not be done as asked, for the user

    @property
    def starter(self) -> str:
        """What makes the sandbox."""
        return self.joiner or self.bwrap

    @property
    def engine(self) -> str:
        """The name of the engine that makes the sandbox."""
        return "native" if self.joiner else "bwrap"

    def why_not_frozen(self) -> str:
        """Say why a shell script cannot carry this launch out, '' when it can (umask and rlimits it can)."""
        if self.become != (-1, -1):
            return "it changes the user or group"
        if self.limits:
            return "it has control group limits"
        if self.joins:
            return "it joins a namespace"
        if self.newtime:
            return "it needs a time namespace of its own"
        if self.smack:
            return "it sets a SMACK label"
        if self.create:
            return "a directory has to be made first"
        if self.inherit_env:
            return "it passes the caller's whole environment on"
        for one in self.descriptors:
            if isinstance(one, Opened) and one.pending:
                return f"the source '{one.path}' comes from a command"
        return ""

    def parted(self) -> tuple[list[str], list[tuple[list[str], Value]]]:
        """Return the words of `args` that anybody may see, and (words before it, Value) of each option with a Value."""
        words: list[str] = []
        late: list[tuple[list[str], Value]] = []
        for one in self.args:
            if isinstance(one, str):
                words.append(one)
            else:
                late.append((words[-one.before :], one))
                del words[-one.before :]
        return words, late

    def numbered(self) -> tuple[tuple[int, Opened | Blob], ...]:
        """Return each descriptor with its number."""
        return tuple((FIRST_FD + index, one) for index, one in enumerate(self.descriptors))
