"""Prepared trees: the mounts of a plan are made once, kept in a namespace of their own, and joined by later starts.

A LaunchSpec falls into two: what is the same for each start (every bind of the host's files), which bubblewrap mounts
once for a *keeper*, and what each start has for itself (memory, procfs, devices, namespaces, rights), which
`redpak-join` (join.c) makes, in a private copy of the keeper's mount namespace. To whoever starts it, `redpak-join` is
one more bubblewrap, so frozen launchers, the helper and the supervisor need not know.

A keeper is found by what its tree was made from, so a plan that changed finds none. It ends when one of the plan's
inputs changes, and each start compares every source with what is kept: a directory that was replaced is noticed.
Mounts that are made beneath a source later are not: they need `redpak cool` and `redpak warm`.
"""

from __future__ import annotations

import os

from redpak.engine.spec import FIRST_FD, Blob, LaunchSpec, Opened, Value
from redpak.errors import Refused
from redpak.paths import shipped
from redpak.plan.model import FileInput
from redpak.record import Record

CLONE = {
    # --unshare-…: CLONE_NEW… (clone(2)); of a prepared tree the user namespace is the keeper's
    "user": 0x10000000, "cgroup": 0x02000000, "ipc": 0x08000000, "net": 0x40000000, "pid": 0x20000000,
    "uts": 0x04000000,
}  # fmt: skip
NODES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = (("stdin", "0"), ("stdout", "1"), ("stderr", "2"))
DEVPTS = "newinstance,ptmxmode=0666,mode=620"
MEMORY = "mode=0755"
MOST = 1000  # binds that redpak-join can check
GONE = 77  # exit code of redpak-join: there is no keeper that fits
WORDS = {
    # how many words follow each of bubblewrap's options that `lower` uses
    "--bind-fd": 2, "--cap-add": 1, "--cap-drop": 1, "--chdir": 1, "--dev": 1, "--die-with-parent": 0, "--dir": 1,
    "--disable-userns": 0, "--file": 2, "--gid": 1, "--hostname": 1, "--lock-file": 1, "--mqueue": 1,
    "--new-session": 0, "--perms": 1, "--proc": 1, "--remount-ro": 1, "--ro-bind-data": 2, "--ro-bind-fd": 2,
    "--seccomp": 1, "--setenv": 2, "--symlink": 2, "--tmpfs": 1, "--uid": 1, "--unsetenv": 1, "--unshare-cgroup": 0,
    "--unshare-ipc": 0, "--unshare-net": 0, "--unshare-pid": 0, "--unshare-user": 0, "--unshare-uts": 0,
}  # fmt: skip

JOIN_WORDS = {
    # the same of redpak-join's options (join.c)
    "--bind": 2, "--caps": 1, "--chdir": 1, "--data": 2, "--devpts": 2, "--dir": 2, "--file": 3, "--hostname": 1,
    "--lock-file": 1, "--move": 2, "--mqueue": 1, "--new-session": 0, "--node": 2, "--pin": 1, "--proc": 1,
    "--remount-ro": 1, "--ro-bind": 2, "--same": 1, "--seccomp": 1, "--setenv": 2, "--symlink": 2, "--tmpfs": 2,
    "--unsetenv": 1, "--unshare": 1, "--userns": 2,
}  # fmt: skip


class Unprepared(Refused):
    """A plan cannot be prepared (exit code 3)."""


class Halves(Record):
    """What a keeper is started with, and what each start is."""

    keep: tuple[str, ...]  # bubblewrap's words; descriptors are FIRST_FD, … in the order of `sources`
    sources: tuple[str, ...]
    user: bool  # the keeper has a user namespace
    join: tuple[str | Value, ...]  # words for redpak-join, behind --pin SOCKET
    descriptors: tuple[Opened | Blob, ...]


def helper(name: str = "redpak-join") -> str:
    """Return redpak-join, '' where it is not built, cannot work here, or is switched off (REDPAK_NO_HELPER=1).

    It needs Linux 5.12 (mount_setattr(2)) and has no fall-backs: those are Python's.
    """
    if os.environ.get("REDPAK_NO_HELPER", "0") not in ("", "0") or os.environ.get("REDPAK_ENOSYS"):
        return ""
    release = [int(part) if part.isdigit() else 0 for part in os.uname().release.split(".")[:2]]
    if release < [5, 12]:
        return ""
    program = shipped("engine", name)
    return program if os.access(program, os.X_OK) else ""


def why_not(spec: LaunchSpec) -> str:
    """Say why a launch cannot use a prepared tree, '' when it can."""
    if spec.become != (-1, -1):
        return "it changes the user or group"
    if spec.joins:
        return "it joins a namespace"
    if spec.newtime:
        return "it needs a time namespace of its own"
    if spec.smack:
        return "it sets a SMACK label"
    if spec.create:
        return "a directory has to be made first"
    if any(isinstance(one, Opened) and one.pending for one in spec.descriptors):
        return "the source of a mount comes from a command"
    if not spec.pidns or "--unshare-pid" not in spec.args:
        return "it shares the pid namespace"
    if spec.uid != 0 and "--unshare-user" not in spec.args:
        return "it shares the user namespace"
    if len(spec.descriptors) > MOST:
        return f"it has more than {MOST} mounts"
    return ""


def why_not_kept(spec: LaunchSpec) -> str:
    """Say why no tree can be kept for a launch, '' when one can.

    What redpak-join makes alone it can make for more launches (`why_not`): nothing of theirs is another's.
    """
    if spec.limits:
        return "it has control group limits"
    if "--unshare-user" in spec.args and "--disable-userns" not in spec.args:
        # nothing would lie between it and the keeper's, which rules over the mounts of every other start
        return "its program would be in the user namespace that is kept"
    return why_not(spec)


def split(spec: LaunchSpec) -> Halves:
    """Return the two halves of a launch. Raises Unprepared."""
    reason = why_not_kept(spec)
    if reason:
        hint = "Start it without: 'redpak run' needs no prepared tree."
        raise Unprepared(f"this launch cannot be prepared: {reason}", hint=hint)
    return _Split(spec).halves()


def cold(spec: LaunchSpec) -> LaunchSpec:
    """Return `spec` as a start by redpak-join that makes all mounts itself. Ask `why_not` before."""
    halves = _Split(spec, cold=True).halves()
    return spec.but(joiner=helper(), args=halves.join, descriptors=halves.descriptors)


class _Split:
    """The words of a launch, one option after the other, on their way into two heaps; `cold`: all into the second."""

    def __init__(self, spec: LaunchSpec, *, cold: bool = False) -> None:
        self.spec = spec
        self.cold = cold
        self.opened = dict(spec.numbered())
        self.keep: list[str] = ["--dir", "/.pin", "--proc", "/.pin/proc", "--dev-bind", "/dev", "/.pin/dev"]
        self.keep += ["--dir", "/.new"]
        self.sources: list[str] = []
        self.same: list[str] = []
        self.join: list[str | Value] = []
        self.descriptors: list[Opened | Blob] = []
        self.flags = 0
        self.user = False
        self.nested = False
        self.kept = 0  # capabilities
        self.ids = (spec.uid, spec.gid)
        self.perms = ""

    def halves(self) -> Halves:
        words = list(self.spec.args)
        while words:
            option = words.pop(0)
            assert isinstance(option, str)
            count = WORDS[option]
            self.option(option, words[:count])
            del words[:count]
        if self.user and self.cold:
            self.flags |= CLONE["user"]
        elif self.user:
            self.keep += ["--unshare-user", "--uid", "0", "--gid", "0"]
        if self.nested:
            self.join += ["--userns", str(self.ids[0]), str(self.ids[1])]
        self.join += ["--caps", f"{self.kept:x}"]
        head: list[str | Value] = ["--unshare", f"{self.flags:x}", *self.same]
        return Halves(
            keep=tuple(self.keep),
            sources=tuple(self.sources),
            user=self.user,
            join=(*head, *self.join),
            descriptors=tuple(self.descriptors),
        )

    def option(self, option: str, words: list[str | Value]) -> None:
        """Put one option where it belongs."""
        match option:
            case "--bind-fd" | "--ro-bind-fd":
                self.bind(option, int(str(words[0])), str(words[1]))
            case "--file" | "--ro-bind-data":
                number, path = self.descriptor(words[0]), str(words[1])
                self.join += (
                    ["--file", number, path, self.perms] if option == "--file" else ["--data", number, path]
                )
            case "--seccomp":
                self.join += ["--seccomp", self.descriptor(words[0])]
            case "--perms":
                self.perms = str(words[0])
            case "--dir":
                self.join += ["--dir", str(words[0]), "0755"]
            case "--tmpfs":
                self.join += ["--tmpfs", str(words[0]), MEMORY]
            case "--dev":
                self.devices(str(words[0]).rstrip("/"))
            case "--unshare-user":
                self.user = True
            case "--disable-userns":
                self.nested = True
            case "--uid":
                self.ids = (int(str(words[0])), self.ids[1])
            case "--gid":
                self.ids = (self.ids[0], int(str(words[0])))
            case "--cap-add":
                from redpak.kernel import caps

                name = str(words[0])
                self.kept |= (1 << len(caps.NAMES)) - 1 if name == "ALL" else caps.bit(name)
            case "--cap-drop" | "--die-with-parent":
                pass  # none is kept that is not asked for; redpak-join always dies with its parent
            case _ if option.startswith("--unshare-"):
                self.flags |= CLONE[option.removeprefix("--unshare-")]
            case _:
                self.join += [option, *words]

    def descriptor(self, number: str | Value) -> str:
        """Return the new number of a descriptor that each start needs; the caller's own (3 to 9) keep theirs."""
        old = int(str(number))
        if old not in self.opened:
            return str(old)
        self.descriptors.append(self.opened[old])
        return str(FIRST_FD + len(self.descriptors) - 1)

    def bind(self, option: str, number: int, path: str) -> None:
        """Keep what is bound under a number of its own; each start moves it to its place."""
        opened = self.opened[number]
        assert isinstance(opened, Opened)
        if self.cold:
            self.join += [option.replace("-fd", ""), opened.path, path]
            return
        name = str(len(self.sources))
        self.keep += [option, str(FIRST_FD + len(self.sources)), f"/.pin/{name}"]
        self.sources.append(opened.path)
        self.same += ["--same", opened.path]
        self.join += ["--move", name, path]

    def devices(self, dev: str) -> None:
        """Make a /dev as bubblewrap's --dev does."""
        self.join += ["--tmpfs", dev, MEMORY]
        for name in NODES:
            self.join += ["--node", name, f"{dev}/{name}"]
        for name, number in LINKS:
            self.join += ["--symlink", f"/proc/self/fd/{number}", f"{dev}/{name}"]
        self.join += ["--symlink", "/proc/self/fd", f"{dev}/fd", "--symlink", "/proc/kcore", f"{dev}/core"]
        self.join += ["--dir", f"{dev}/shm", "0755", "--dir", f"{dev}/pts", "0755"]
        self.join += ["--devpts", f"{dev}/pts", DEVPTS, "--symlink", "pts/ptmx", f"{dev}/ptmx"]
        self.join += ["--node", "", f"{dev}/console"]


def name_of(spec: LaunchSpec, halves: Halves) -> str:
    """Return the name of the keeper for a launch: the digest of what it keeps, and for whom.

    The plan's inputs are in it with their stamps, so a plan that was made from something else has another keeper.
    """
    import hashlib

    made = (spec.uid, spec.gid, spec.bwrap, halves.keep, halves.sources, spec.leases, inputs(spec))
    return hashlib.sha256(ascii(made).encode()).hexdigest()[:32]


def inputs(spec: LaunchSpec) -> tuple[tuple[str, str], ...]:
    """Return (path, stamp) of what the plan was made from."""
    return tuple((one.path, one.stamp) for one in spec.files)


def use(spec: LaunchSpec) -> LaunchSpec:
    """Return `spec` as a start in its prepared tree where one is kept.

    Either way the directory of the keepers is one of its inputs from now on, so that launchers notice what is
    prepared or dropped later.
    """
    from redpak.engine import keepers
    from redpak.fs import stamp

    if not helper() or why_not_kept(spec):
        return spec
    try:
        folder = keepers.folder()
    except Refused:  # it is not ours: whoever made it must not keep us from starting without
        return spec
    known = stamp(folder)
    watched = spec.but(files=(*spec.files, FileInput(path=folder, stamp=known)))
    if not known or not os.listdir(folder):
        return watched
    halves = split(spec)
    socket = os.path.join(folder, name_of(spec, halves))
    if not stamp(socket):
        return watched
    return watched.but(joiner=helper(), args=("--pin", socket, *halves.join), descriptors=halves.descriptors)


def drop(path: str) -> bool:
    """End every keeper of a node whose tree did not fit any more; False where there is no trace of one."""
    from redpak.engine import keepers

    folder = keepers.folder()
    before = os.path.isdir(folder) and bool(os.listdir(folder))
    keepers.sweep()
    for one in keepers.everything():
        if one.node == os.path.realpath(path):
            keepers.end(one)
    return before
