"""Plan → Box, by way of the LaunchSpec that `bwrap.lower` makes: one set of rules and refusals for both engines.

A LaunchSpec's arguments are a small vocabulary of steps, all decided; here they are given the meaning that bwrap(1)
gives them, mount flags and order included, so that a plan has one sandbox and not one for each engine.
"""

from __future__ import annotations

import os

from redpak.engine.native.box import (
    Attributes,
    Bind,
    Box,
    Caps,
    Filter,
    IdMap,
    Limit,
    MakeDir,
    MakeFile,
    MakeSymlink,
    NewMount,
    Process,
    ReadonlyPath,
    Space,
)
from redpak.engine.spec import Blob, LaunchSpec, Opened, Value
from redpak.errors import LaunchFailed
from redpak.kernel import caps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import SpaceKind, Step
    from redpak.origin import Origin

# MOUNT_ATTR_* of mount_setattr(2) and MS_* of mount(2), by number: newmount.py would cost ctypes before it is needed
READ_ONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
SLAVE = 1 << 19
QUIET = NOSUID | NODEV
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEV_LINKS = (
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("fd", "/proc/self/fd"),
    ("core", "/proc/kcore"),
)
PROC_WRITABLE = ("sys", "sysrq-trigger", "irq", "bus")  # what uid 0 may write by file mode alone
NEW: tuple[SpaceKind, ...] = ("user", "ipc", "pid", "net", "uts", "cgroup")


class Lowered:
    """What grows while the words of a LaunchSpec are read."""

    def __init__(self, spec: LaunchSpec, contents: dict[int, bytes], joined: dict[int, int]) -> None:
        self.words = [one if isinstance(one, str) else _known(one) for one in spec.args]
        self.opened: dict[int, Opened | Blob] = dict(spec.numbered())
        self.contents = contents
        self.joined = joined
        self.spaces: list[Space] = []
        self.steps: list[Step] = []
        self.environ: dict[str, str] = {}
        self.kept = 0
        self.ids = (os.geteuid(), os.getegid())
        self.locks: list[str] = []
        self.said: dict[str, str] = {}  # --hostname, --chdir
        self.flags: set[str] = set()
        self.mode = 0o644

    def read(self) -> None:
        """Go through the words."""
        words = iter(self.words)
        for word in words:
            match word:
                case "--setenv":
                    key = next(words)
                    self.environ[key] = next(words)
                case "--unsetenv":
                    self.environ.pop(next(words), None)
                case "--cap-drop":
                    next(words)
                    self.kept = 0
                case "--cap-add":
                    name = next(words)
                    self.kept |= (1 << len(caps.NAMES)) - 1 if name == "ALL" else caps.bit(name)
                case "--seccomp":
                    next(words)
                case "--disable-userns" | "--die-with-parent" | "--new-session":
                    self.flags.add(word)
                case "--uid":
                    self.ids = (int(next(words)), self.ids[1])
                case "--gid":
                    self.ids = (self.ids[0], int(next(words)))
                case "--hostname" | "--chdir":
                    self.said[word] = next(words)
                case "--userns" | "--pidns":
                    kind: SpaceKind = "user" if word == "--userns" else "pid"
                    self.spaces.append(
                        Space(kind=kind, path=f"/proc/self/fd/{self.joined[int(next(words))]}")
                    )
                case "--perms":
                    self.mode = int(next(words), 8)
                case "--lock-file":
                    self.locks.append(next(words))
                case _ if word.startswith("--unshare-"):
                    kind = next(one for one in NEW if word == f"--unshare-{one}")
                    if all(space.kind != kind for space in self.spaces):
                        self.spaces.append(Space(kind=kind))
                case _:
                    self.mount(word, next(words), words)

    def mount(self, word: str, first: str, words: object) -> None:
        """Add what one option makes in the file tree."""
        assert hasattr(words, "__next__")
        match word:
            case "--ro-bind-fd" | "--bind-fd":
                source = self.opened[int(first)]
                assert isinstance(source, Opened)
                attributes = QUIET | (READ_ONLY if word == "--ro-bind-fd" else 0)
                self.bind(next(words), source.path, attributes, source.because)
            case "--file" | "--ro-bind-data":
                dst, over = next(words), word == "--ro-bind-data"
                content = self.contents[int(first)]
                self.steps.append(MakeFile(dst=dst, content=content, mode=self.mode, mount=over))
                self.mode = 0o644
            case "--dir":
                self.steps.append(MakeDir(dst=first))
            case "--tmpfs":
                self.steps.append(NewMount(dst=first, fstype="tmpfs", data="mode=0755", attr_set=QUIET))
            case "--mqueue":
                self.steps.append(NewMount(dst=first, fstype="mqueue"))
            case "--symlink":
                self.steps.append(MakeSymlink(dst=next(words), target=first))
            case "--remount-ro":
                self.steps.append(Attributes(dst=first, attr_set=READ_ONLY | QUIET))
            case "--proc":
                self.proc(first)
            case "--dev":
                self.dev(first)
            case _:
                raise LaunchFailed(f"the native engine does not know '{word}'")

    def bind(self, dst: str, source: str, attributes: int, because: Origin | None = None) -> None:
        """Show a host path; nosuid (and for all but devices nodev) with everything mounted below it."""
        more = {} if because is None else {"because": because}
        self.steps.append(Bind(dst=dst, source=source, rec_set=attributes, propagation=SLAVE, **more))  # type: ignore[arg-type]

    def proc(self, dst: str) -> None:
        """Add a procfs of the new pid namespace, or the host's where that is shared."""
        if all(word not in self.words for word in ("--unshare-pid", "--pidns")):
            self.bind(dst, "/proc", QUIET)
        else:
            self.steps.append(NewMount(dst=dst, fstype="proc", attr_set=QUIET | NOEXEC))
        if os.geteuid() == 0:
            writable = [name for name in PROC_WRITABLE if os.access(f"/proc/{name}", os.W_OK)]
            self.steps += [ReadonlyPath(dst=f"{dst.rstrip('/')}/{name}") for name in writable]

    def dev(self, dst: str) -> None:
        """Add a minimal /dev."""
        at = dst.rstrip("/")
        self.steps.append(NewMount(dst=dst, fstype="tmpfs", data="mode=0755", attr_set=QUIET))
        for name in DEVICES:
            self.bind(f"{at}/{name}", f"/dev/{name}", NOSUID)
        self.steps += [MakeSymlink(dst=f"{at}/{name}", target=target) for name, target in DEV_LINKS]
        self.steps += [MakeDir(dst=f"{at}/shm"), MakeDir(dst=f"{at}/pts")]
        data = "newinstance,ptmxmode=0666,mode=620"
        self.steps.append(NewMount(dst=f"{at}/pts", fstype="devpts", data=data, attr_set=NOSUID | NOEXEC))
        self.steps.append(MakeSymlink(dst=f"{at}/ptmx", target="pts/ptmx"))
        try:
            name = os.ttyname(1)
        except OSError:
            return  # standard output is no terminal
        self.bind(f"{at}/console", name, NOSUID)


def _known(value: Value) -> str:
    literal = value.content.literal
    assert literal is not None, "a settled LaunchSpec has no open ends"
    return literal


def box(
    spec: LaunchSpec,
    name: str,
    contents: dict[int, bytes],
    joined: dict[int, int],
    *,
    own_session: bool = False,
) -> Box:
    """Return the Box of a settled LaunchSpec, for this process's own user and namespaces.

    `contents` are the bytes of the files, by the number of their descriptor; `joined` the open user and pid
    namespaces to join, likewise. `own_session`: the program gets one even where the plan does not ask.
    """
    work = Lowered(spec, contents, joined)
    work.read()
    real = (os.geteuid(), os.getegid())
    kinds = {space.kind for space in work.spaces}
    if real[0] != 0 and "user" not in kinds:
        work.spaces.append(Space(kind="user"))  # an ordinary user's sandbox always has one
    new_user = any(space.kind == "user" and not space.path for space in work.spaces)
    work.spaces.append(Space(kind="mount"))
    if spec.newtime:
        work.spaces.append(Space(kind="time"))
    kept = work.kept if new_user or "user" in kinds else work.kept & _bounding()
    try:
        here = os.getcwd()
    except OSError:
        here = "/"  # it was removed
    tries = (here, *([work.environ["HOME"]] if work.environ.get("HOME") else []), "/")
    chdir = work.said.get("--chdir", "")
    session = own_session or "--new-session" in work.flags
    uid, gid = work.ids if new_user or "user" in kinds else real
    # a devpts wants user 0; and the limit on user namespaces is to be one of a namespace around the program's
    disable = "--disable-userns" in work.flags and new_user
    nested = new_user and (disable or ("--dev" in work.words and (uid, gid) != (0, 0)))
    outer = (0, 0) if nested else (uid, gid)
    return Box(
        name=name,
        spaces=tuple(work.spaces),
        uid_map=(IdMap(inside=outer[0], outside=real[0], count=1),) if new_user else (),
        gid_map=(IdMap(inside=outer[1], outside=real[1], count=1),) if new_user else (),
        deny_setgroups=new_user,
        nested=(uid, gid) if nested else None,
        steps=tuple(work.steps),
        hostname=work.said.get("--hostname", ""),
        sysctl=(("user.max_user_namespaces", "1"),) if disable else (),
        process=Process(
            args=spec.program,
            environ=tuple(f"{key}={value}" for key, value in work.environ.items()),
            cwd=chdir or "/",
            cwd_from=(chdir,) if chdir else tries,
            uid=uid,
            gid=gid,
            caps=Caps(bounding=kept, effective=kept, permitted=kept, inheritable=kept, ambient=kept),
            seccomp=(Filter(program=spec.seccomp),) if spec.seccomp else (),
            rlimits=tuple(Limit(name=one.name, soft=one.soft, hard=one.hard) for one in spec.rlimits),
            new_session=session,
            keyring="_",
            scope=spec.scope,
        ),
        init=True,
        die_with_parent="--die-with-parent" in work.flags,
        leases=spec.leases,
        locks=tuple(work.locks),
    )


def _bounding() -> int:
    from redpak.engine.host import _bounding as bounding

    return bounding()
