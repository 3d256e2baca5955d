"""One test guest: boots, runs a command as root, passes on what it prints and how it ends, and leaves nothing.

The monitor (QEMU or user-mode Linux) shows the host's root to the guest. As root it runs in a sandbox of its own in
which everything is read-only and which dies with us; the guest's disks are memory.
"""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from scripts.vm.images import CHECKOUT, HERE, CannotMake, Images, archive

CONSOLE_KEPT = 64 * 1024  # bytes of the kernel's console that are shown when a guest fails
INSIDE = ("init", "common.sh", "plain.sh", "service.sh", "steps.sh", "systemd.sh")
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What to boot. `kind` is 'qemu' (every controller, slow system) or 'uml' (quick; cpu, io, memory and pids)."""

    name: str
    command: str  # a script for bash
    kind: str = "qemu"
    manager: str = "plain"  # or systemd
    memory_mib: int = 2048
    processors: int = 1
    disk_mib: int = 1024
    swap_mib: int = 512
    timeout_s: float = 600
    silence_s: float = 300  # a guest that prints nothing for so long hangs
    boot: str = ""  # more words for QEMU's kernel
    modules: tuple[str, ...] = ("loop", "tun", "fuse", "veth", "bridge", "dummy")
    env: dict[str, str] = field(default_factory=dict)


def memory_file(name: str, content: bytes = b"", *, size_bytes: int = 0) -> int:
    """Return a descriptor of a file that is only in memory, and sparse."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    if size_bytes:
        os.truncate(descriptor, size_bytes)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def shell_words(values: dict[str, str]) -> str:
    """Return assignments for a shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def run_files(guest: Guest) -> bytes:
    """Return the archive that is appended to the initial file system: our init, and what to do."""
    code = stat.S_IFREG | 0o755
    settings = shell_words({**guest.env, "VM_CHECKOUT": str(CHECKOUT), "VM_MODULES": " ".join(guest.modules)})
    entries = [("vm/command", code, guest.command.encode()), ("vm/settings", code, settings.encode())]
    for name in INSIDE:
        entries.append((name if name == "init" else f"vm/{name}", code, (HERE / name).read_bytes()))
    return archive(entries)


def sandboxed() -> list[str]:
    """Return the words that keep a monitor from the host's files and alive no longer than we are."""
    if os.geteuid() != 0:
        # Another user namespace would show everyone's files as nobody's. QEMU itself refuses to write.
        return ["setpriv", "--pdeathsig", "KILL", "--"]
    return [
        "bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-net", "--unshare-uts",
        "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--cap-add", "CAP_DAC_READ_SEARCH",
        "--chdir", "/", "--",
    ]  # fmt: skip


def accelerator() -> str:
    """Return how QEMU shall run the guest: emulation, unless the user says that KVM works here."""
    return os.environ.get("REDPAK_VM_ACCEL") or "tcg,thread=multi"


def processor() -> str:
    """Return which processor QEMU shall show: where it emulates, one whose instructions are quickly translated."""
    emulated = accelerator().startswith("tcg") and os.uname().machine == "x86_64"
    return "Westmere,+rdrand" if emulated else "max"


def here(descriptor: int) -> str:
    """Return a path by which a child opens a descriptor that it inherited."""
    return f"/proc/self/fd/{descriptor}"


def qemu(guest: Guest, images: Images, fds: dict[str, int]) -> list[str]:
    """Return the command line of QEMU."""
    program = f"qemu-system-{os.uname().machine}"
    if shutil.which(program) is None:
        raise CannotMake(f"there is no '{program}': install the package 'qemu-system-x86'")
    # norandmaps: what is translated for one process is good for the next, which starts in two thirds of the time.
    words = [
        program, "-M", "q35", "-cpu", processor(), "-accel", accelerator(), "-smp", str(guest.processors),
        "-m", str(guest.memory_mib), "-nodefaults", "-display", "none", "-no-reboot",
        "-kernel", str(images.kernel), "-initrd", here(fds["initrd"]),
        "-append", f"console=ttyS0 panic=-1 quiet mitigations=off norandmaps vm_kind=9p vm_modules={images.modules} "
        f"vm_manager={guest.manager} systemd.unified_cgroup_hierarchy=1 {guest.boot}",
        "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
    ]  # fmt: skip
    for stream in ("console", "out", "code"):
        words += ["-chardev", f"file,id={stream},path={here(fds[stream])}", "-serial", f"chardev:{stream}"]
    for disk in ("disk", "swap"):
        drive = (
            f"file={here(fds[disk])},if=none,id={disk},format=raw,cache=unsafe,file.locking=off,aio=threads"
        )
        words += ["-drive", drive, "-device", f"virtio-blk-pci,drive={disk},serial={disk}"]
    return words


def uml(guest: Guest, images: Images, fds: dict[str, int]) -> list[str]:
    """Return the command line of user-mode Linux."""
    return [
        str(images.uml), f"mem={guest.memory_mib}M", "uml_dir=/dev/shm/uml", f"initrd={here(fds['initrd'])}",
        "con=null", "con0=null,fd:1", "ssl=null", f"ssl1=null,fd:{fds['out']}", f"ssl2=null,fd:{fds['code']}",
        f"ubd0={here(fds['disk'])}", f"ubd1={here(fds['swap'])}",
        "console=tty0", "quiet", "panic=-1", "vm_kind=hostfs", f"vm_modules={images.modules}",
        f"vm_manager={guest.manager}",
    ]  # fmt: skip


class Ended:
    """How a guest ended: the command's exit code, or why there is none, and the last of the kernel's console."""

    def __init__(self, *, code: int | None, why: str, console: str, seconds: float, cpu_s: float) -> None:
        self.code = code
        self.why = why
        self.console = console
        self.seconds = seconds
        self.cpu_s = cpu_s  # of the host's processors: less than `seconds` where others use them too


def listen(
    streams: dict[str, int], guest: Guest, began: float, say: Callable[[bytes], None]
) -> tuple[dict[str, bytes], str]:
    """Read what a guest writes until it has ended, is silent or its time is up; output goes to `say` as it comes.

    Returns the other streams' last bytes, and why there may be no exit code.
    """
    kept = {"console": b"", "code": b""}
    deadline = began + guest.timeout_s
    silent = time.monotonic() + guest.silence_s
    with selectors.DefaultSelector() as selector:
        for name, descriptor in streams.items():
            selector.register(descriptor, selectors.EVENT_READ, name)
        while selector.get_map():
            left = min(deadline, silent) - time.monotonic()
            if left <= 0:
                if silent < deadline:
                    return kept, f"it hangs: it said nothing for {guest.silence_s:.0f} s"
                return kept, f"its {guest.timeout_s:.0f} s were over"
            for key, _ in selector.select(left):
                silent = time.monotonic() + guest.silence_s
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fd)
                elif key.data == "out":
                    say(data)
                else:
                    kept[key.data] = (kept[key.data] + data)[-CONSOLE_KEPT:]
                    if key.data == "code" and b"\n" in kept["code"]:
                        deadline = min(deadline, time.monotonic() + 20)  # it only has to switch itself off
    return kept, "it ended by itself, without an exit code"


def spent(pid: int) -> float:
    """Return the seconds of a processor that a process and all below it have taken; 0 once it is gone (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(spent(int(one)) for one in children)


def boot(guest: Guest, images: Images, say: Callable[[bytes], None]) -> Ended:
    """Boot a guest and wait until its command has ended or its time is up. Raises CannotMake."""
    began = time.monotonic()
    if os.geteuid() != 0:
        # The host's files are shown as the user may read them. User-mode Linux could even write those of the user.
        guest = replace(guest, kind="qemu")
    base = images.uml_initrd if guest.kind == "uml" else images.initrd
    theirs = {
        "initrd": memory_file("initrd", base.read_bytes() + run_files(guest)),
        "disk": memory_file("disk", size_bytes=guest.disk_mib * MIB),
        "swap": memory_file("swap", size_bytes=guest.swap_mib * MIB),
    }
    ours: dict[str, int] = {}
    monitor: subprocess.Popen[bytes] | None = None
    cpu_s = 0.0
    try:
        for stream in ("console", "out", "code"):
            ours[stream], theirs[stream] = os.pipe()
        words = (uml if guest.kind == "uml" else qemu)(guest, images, theirs)
        monitor = subprocess.Popen(
            [*sandboxed(), *words], stdin=subprocess.DEVNULL, stdout=theirs["console"], stderr=theirs["console"],
            pass_fds=tuple(theirs.values()), start_new_session=True,
            env={"PATH": os.environ["PATH"], "TMPDIR": "/dev/shm", "HOME": "/"},
        )  # fmt: skip
        for descriptor in theirs.values():
            os.close(descriptor)
        theirs.clear()
        pid = monitor.pid

        def heard(data: bytes) -> None:
            nonlocal cpu_s
            cpu_s = max(cpu_s, spent(pid))
            say(data)

        kept, why = listen(ours, guest, began, heard)
    finally:
        if monitor is not None:
            try:
                os.killpg(monitor.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            monitor.wait()
        for descriptor in (*theirs.values(), *ours.values()):
            os.close(descriptor)
    seconds = time.monotonic() - began
    text = kept["code"].decode(errors="replace").strip()
    code = int(text) if text.isdigit() else None
    return Ended(
        code=code,
        why=why if code is None else "",
        console=kept["console"].decode(errors="replace"),
        seconds=seconds,
        cpu_s=cpu_s,
    )
