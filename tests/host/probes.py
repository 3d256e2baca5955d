"""Runs inside a sandbox and tries to get out of it or to see what belongs to the caller.

Prints one JSON object: probe name → [verdict, detail], verdict 'ok' (the attempt failed), 'VULN' (it succeeded) or
'weak' (attack surface, or information that helps an attacker). `test_probes.py` lays the baits outside and judges.
Standard library only; each probe is one function; what is tried is in its docstring.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import stat
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
X86 = platform.machine() == "x86_64"
# Numbers from 424 on are the same everywhere; the older ones differ (x86_64, generic table).
NR = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "unshare": (272, 97), "keyctl": (250, 219), "ptrace": (101, 117), "shmget": (29, 194), "shmat": (30, 196),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "sethostname": (170, 161),
    "syslog": (103, 116), "kill": (62, 129), "prctl": (157, 167), "clone": (56, 220), "bpf": (321, 280),
    "open_tree": (428, 428), "fsopen": (430, 430), "clone3": (435, 435), "process_vm_readv": (310, 270),
    "add_key": (248, 217), "mknodat": (259, 33),
}  # fmt: skip
BAIT = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
ALL = {}


def probe(function):
    """Register a probe under its function name."""
    ALL[function.__name__] = function
    return function


def sysc(name, *args):
    """Make a system call; return (result, errno)."""
    words = [
        a if isinstance(a, bytes) or a is None else ctypes.c_long(a) if isinstance(a, int) else a
        for a in args
    ]
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(NR[name][0 if X86 else 1]), *words)
    return result, ctypes.get_errno()


def status(key, pid="self"):
    """Return one field of /proc/PID/status."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(key + ":"):
                return line.split(":", 1)[1].strip()
    return ""


def tried(name, *args):
    """Judge a system call that must not succeed."""
    result, error = sysc(name, *args)
    return ("VULN", "succeeded") if result >= 0 else ("ok", errno.errorcode.get(error, error))


@probe
def fds():
    """Use a descriptor that the caller left open (a directory descriptor on / opens the whole host)."""
    left = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd <= 2:
            continue
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target != f"/proc/{os.getpid()}/fd":
            left.append(f"{fd}->{target}")
    return ("VULN", " ".join(left)) if left else ("ok", "only 0, 1 and 2")


@probe
def cwd():
    """Leave through a working directory outside the root."""
    where = os.getcwd()
    return ("VULN", where) if where.startswith("(unreachable)") else ("ok", where)


@probe
def marker():
    """Read the caller's secret from the own environment."""
    return ("VULN", "in the environment") if BAIT.get("secret", "?") in str(dict(os.environ)) else ("ok", "")


@probe
def pid1env():
    """Read the caller's secret from the environment of any process in sight."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if BAIT.get("secret", "?").encode() in file.read():
                    return ("VULN", f"/proc/{pid}/environ")
        except OSError:
            continue
    return ("ok", "")


@probe
def pid1cmd():
    """Learn host paths from the command line of process 1."""
    with open("/proc/1/cmdline", "rb") as file:
        words = file.read()
    return ("weak", "host paths in it") if BAIT.get("pool", "?").encode() in words else ("ok", "")


@probe
def p1root():
    """Reach the host's root through another process's root."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.path.exists(f"/proc/{pid}/root{BAIT.get('secret_file', '/nonexistent')}"):
                return ("VULN", f"/proc/{pid}/root")
        except OSError:
            continue
    return ("ok", "")


@probe
def oldroot():
    """Find the old root where bubblewrap mounted it during set-up, or the secret file by name."""
    for name in ("/oldroot", "/newroot", "/.oldroot", BAIT.get("secret_file", "/nonexistent")):
        if os.path.lexists(name):
            return ("VULN", name)
    return ("ok", "")


@probe
def tiocsti():
    """Push a command into the caller's terminal (judged outside as well)."""
    try:
        tty = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        tty = 0
    for request in (0x5412, 0x5412 | 1 << 32):  # the second: CVE-2019-10063
        for byte in b"echo injected\n":
            result = LIBC.ioctl(ctypes.c_int(tty), ctypes.c_ulong(request), ctypes.byref(ctypes.c_char(byte)))
            if result == 0:
                return ("VULN", hex(request))
    return ("ok", "")


@probe
def tioclinux():
    """Paste into a virtual console (CVE-2023-28100)."""
    return (
        ("VULN", "")
        if LIBC.ioctl(0, ctypes.c_ulong(0x541C), ctypes.byref(ctypes.c_char(2))) == 0
        else ("ok", "")
    )


@probe
def procexe():
    """Overwrite the launcher's program through /proc/PID/exe (CVE-2019-5736)."""
    for pid in ("1", "self"):
        for way in (os.O_RDWR, os.O_WRONLY):
            try:
                os.close(os.open(f"/proc/{pid}/exe", way))
                return ("VULN", f"/proc/{pid}/exe")
            except OSError:
                pass
    return ("ok", "")


@probe
def pidview():
    """See processes of the host."""
    seen = [pid for pid in os.listdir("/proc") if pid.isdigit()]
    return (
        ("VULN", f"{len(seen)} processes")
        if str(BAIT.get("host_pid", -1)) in seen and len(seen) > 12
        else ("ok", "")
    )


@probe
def kill():
    """Signal a process of the host (judged outside)."""
    result, error = sysc("kill", int(BAIT.get("host_pid", 2**22 - 1)), signal.SIGUSR1)
    return ("VULN", "sent") if result == 0 else ("ok", errno.errorcode.get(error))


@probe
def ptrace():
    """Attach to a process of the host."""
    return tried("ptrace", 16, int(BAIT.get("host_pid", 2**22 - 1)), 0, 0)


@probe
def ptrace1():
    """Attach to process 1 of the sandbox."""
    result, error = sysc("ptrace", 16, 1, 0, 0)
    return ("weak", "attached") if result == 0 else ("ok", errno.errorcode.get(error))


@probe
def caps():
    """Hold a capability that was not asked for."""
    sets = {key: int(status(key), 16) for key in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    held = {key: hex(value) for key, value in sets.items() if value}
    if held:
        return ("VULN", str(held))
    return ("weak", "bounding set " + status("CapBnd")) if int(status("CapBnd"), 16) else ("ok", "")


@probe
def nnp():
    """Gain privileges by exec."""
    return ("ok", "") if status("NoNewPrivs") == "1" else ("VULN", "no_new_privs is off")


@probe
def seccomp():
    """Run without a system call filter."""
    return ("ok", "") if status("Seccomp") == "2" else ("weak", "no filter")


@probe
def groups():
    """Keep the caller's supplementary groups."""
    extra = [g for g in os.getgroups() if g not in (os.getgid(), 65534)]
    return ("VULN", str(extra)) if extra else ("ok", "")


@probe
def nosuid():
    """Find a mount on which set-uid programs or device nodes work."""
    open_ones = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split()
            kind = fields[fields.index("-") + 1]
            options = fields[5].split(",")
            if kind in ("proc", "devpts", "mqueue"):
                continue
            if "nosuid" not in options:
                open_ones.append(fields[4])
    return ("VULN", " ".join(open_ones)) if open_ones else ("ok", "")


@probe
def devnodes():
    """Make a device node and open the disk or memory."""
    for where in ("/tmp", "/dev", "/dev/shm", "/run"):
        path = f"{where}/probe-node"
        try:
            os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(254, 0))
            os.close(os.open(path, os.O_RDONLY))
            return ("VULN", path)
        except OSError:
            pass
        finally:
            if os.path.lexists(path):
                os.unlink(path)
    return ("ok", "")


@probe
def devview():
    """Find devices in /dev that a sandbox has no use for."""
    usual = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"}
    found = []
    for name in os.listdir("/dev"):
        at = os.lstat(f"/dev/{name}").st_mode
        if (stat.S_ISBLK(at) or stat.S_ISCHR(at)) and name not in usual:
            found.append(name)
    return ("VULN", " ".join(found)) if found else ("ok", "")


@probe
def procw():
    """Write the kernel's settings: a core_pattern runs a program as the host's root."""
    for name in ("kernel/core_pattern", "kernel/modprobe", "vm/overcommit_memory", "fs/file-max"):
        try:
            with open(f"/proc/sys/{name}") as file:
                same = file.read()
            with open(f"/proc/sys/{name}", "w") as file:
                file.write(same)
            return ("VULN", name)
        except OSError:
            pass
    for name in ("sysrq-trigger", "irq/default_smp_affinity", "timer_list"):
        try:
            os.close(os.open(f"/proc/{name}", os.O_WRONLY))
            return ("VULN", name)
        except OSError:
            pass
    return ("ok", "")


@probe
def procr():
    """Read kernel memory or addresses."""
    for name in ("kcore", "kpageflags", "kpagecount"):
        try:
            with open(f"/proc/{name}", "rb") as file:
                if file.read(8):
                    return ("VULN", name)
        except OSError:
            pass
    weak = [
        name for name in ("keys", "kallsyms", "config.gz", "iomem") if os.access(f"/proc/{name}", os.R_OK)
    ]
    return ("weak", " ".join(weak)) if weak else ("ok", "")


@probe
def sysw():
    """Write to /sys."""
    for name in ("/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run", "/sys/power/state"):
        try:
            os.close(os.open(name, os.O_WRONLY))
            return ("VULN", name)
        except OSError:
            pass
    return ("ok", "")


@probe
def cgroup_mount():
    """Mount a control group hierarchy and use its release agent."""
    os.makedirs("/tmp/probe-cg", exist_ok=True)
    for kind in (b"cgroup2", b"cgroup", b"proc", b"sysfs", b"tmpfs"):
        result, _ = sysc("mount", b"x", b"/tmp/probe-cg", kind, 0, None)
        if result == 0:
            sysc("umount2", b"/tmp/probe-cg", 2)
            return ("VULN", kind.decode())
    return ("ok", "")


@probe
def mountover():
    """Mount over a file that the node shows."""
    return tried("mount", b"/tmp", b"/proc", None, 4096, None)


@probe
def remount():
    """Make a read-only mount writable."""
    for where in BAIT.get("readonly", ["/bin"]):
        result, _ = sysc("mount", b"none", where.encode(), None, 32 | 4096, None)
        if result == 0:
            return ("VULN", where)
    return ("ok", "")


@probe
def umount():
    """Uncover what a mount hides."""
    return tried("umount2", b"/proc", 2)


@probe
def userns():
    """Make a user namespace, the door to most kernel bugs."""
    pid = os.fork()
    if pid == 0:
        result, _ = sysc("unshare", 0x10000000)
        os._exit(7 if result == 0 else 0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7:
        return ("weak", "unshare")
    for flags in (0x10000000, 0x10000000 | 0x20000):
        result, _ = sysc("clone", flags | signal.SIGCHLD, 0, 0, 0, 0)
        if result == 0:
            os._exit(0)
        if result > 0:
            os.waitpid(result, 0)
            return ("weak", "clone")
    args = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, signal.SIGCHLD)
    result, _ = sysc("clone3", args, 88)
    if result == 0:
        os._exit(0)
    if result > 0:
        os.waitpid(result, 0)
        return ("weak", "clone3")
    return ("ok", "")


@probe
def newmountapi():
    """Reach the new mount calls that old filters do not know."""
    for name, args in (("fsopen", (b"tmpfs", 0)), ("open_tree", (-100, b"/", 1))):
        result, error = sysc(name, *args)
        if result >= 0:
            return ("VULN", name)
        if error not in (errno.ENOSYS, errno.EPERM):
            return ("weak", f"{name} {errno.errorcode.get(error)}")
    result, error = sysc("fsopen", b"no-such-file-system", 0)
    return (
        ("ok", "")
        if error in (errno.ENOSYS, errno.EPERM)
        else ("weak", f"fsopen {errno.errorcode.get(error)}")
    )


@probe
def x32abi():
    """Pass the filter by x32 system call numbers."""
    if not X86:
        return ("ok", "not on this machine")
    pid = os.fork()
    if pid == 0:
        result = LIBC.syscall(ctypes.c_long(0x40000000 | 39))
        os._exit(7 if result > 0 else 0)
    end = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return ("weak", "getpid answered") if end == 7 else ("ok", str(end))


@probe
def i386abi():
    """Pass the filter by 32-bit system calls (int 0x80)."""
    if not X86:
        return ("ok", "not on this machine")
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # mov eax, 20 (getpid); int 0x80; ret
    pid = os.fork()
    if pid == 0:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        result = call()
        os._exit(7 if result > 0 else 0)
    end = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return ("weak", "getpid answered") if end == 7 else ("ok", str(end))


@probe
def keyring():
    """Read the caller's session keyring."""
    found = []
    for ring in (-3, -4, -5):  # session, user, user session
        buffer = ctypes.create_string_buffer(4096)
        serial, _ = sysc("keyctl", 10, ring, b"user", BAIT.get("key", "redpak:none").encode(), 0)
        if serial > 0:
            size, _ = sysc("keyctl", 11, int(serial), buffer, 4096, 0)
            if size > 0:
                found.append(buffer.raw[:size].decode(errors="replace"))
    return ("VULN", " ".join(found)) if found else ("ok", "")


@probe
def abstract():
    """Talk to a daemon of the host by an abstract socket (no file permission guards it)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(2)
        try:
            sock.connect("\0" + BAIT.get("abstract", "redpak-none"))
        except OSError as error:
            return ("ok", errno.errorcode.get(error.errno, str(error)))
    return ("VULN", "connected")


@probe
def pathsock():
    """Talk to a daemon of the host by a socket file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(BAIT.get("socket_file", "/nonexistent"))
        except OSError as error:
            return ("ok", errno.errorcode.get(error.errno, str(error)))
    return ("VULN", "connected")


@probe
def loopback():
    """Talk to a service on the host's loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(2)
        try:
            sock.connect(("127.0.0.1", int(BAIT.get("port", 9))))
        except OSError as error:
            return ("ok", errno.errorcode.get(error.errno, str(error)))
    return ("VULN", "connected")


@probe
def vsock():
    """Talk to the hypervisor: no network namespace holds these sockets back."""
    try:
        socket.socket(40, socket.SOCK_STREAM).close()
    except OSError as error:
        return ("ok", errno.errorcode.get(error.errno, str(error)))
    return ("VULN", "socket made")


@probe
def sysvshm():
    """Attach shared memory of the host."""
    result, error = sysc("shmget", int(BAIT.get("shm_key", 1)), 0, 0)
    return ("VULN", "found") if result >= 0 else ("ok", errno.errorcode.get(error))


@probe
def devshm():
    """See the host's POSIX shared memory."""
    return ("VULN", "") if os.path.exists(BAIT.get("shm_file", "/nonexistent")) else ("ok", "")


@probe
def uts():
    """Rename the host (to the name that it has)."""
    same = os.uname().nodename.encode()
    result, error = sysc("sethostname", same, len(same))
    return ("VULN", "allowed") if result == 0 else ("ok", errno.errorcode.get(error))


@probe
def dmesg():
    """Read the kernel's log."""
    result, error = sysc("syslog", 3, ctypes.create_string_buffer(64), 64)
    return ("weak", "readable") if result >= 0 else ("ok", errno.errorcode.get(error))


@probe
def handle():
    """Open a host file by its handle (CVE-2014-… 'shocker')."""

    class Handle(ctypes.Structure):
        _fields_ = (("size", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128))

    blob = Handle(8, 1)
    blob.data[0] = 2
    fd = os.open("/bin", os.O_RDONLY)
    try:
        result, error = sysc("open_by_handle_at", fd, ctypes.byref(blob), os.O_RDONLY)
    finally:
        os.close(fd)
    return ("VULN", "opened") if result >= 0 else ("ok", errno.errorcode.get(error))


@probe
def chroot():
    """Make an own root, the first step of the classic escape."""
    pid = os.fork()
    if pid == 0:
        result, _ = sysc("chroot", b"/tmp")
        os._exit(7 if result == 0 else 0)
    return ("weak", "") if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7 else ("ok", "")


@probe
def setns():
    """Enter another process's namespaces."""
    for pid in ("1", str(BAIT.get("host_pid", 1))):
        for kind in ("mnt", "user", "net", "pid"):
            try:
                fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
            except OSError:
                continue
            result, _ = sysc("setns", fd, 0)
            os.close(fd)
            if result == 0 and os.path.exists(BAIT.get("secret_file", "/nonexistent")):
                return ("VULN", kind)
    return ("ok", "")


@probe
def mountinfo():
    """Learn host paths from the mount table."""
    with open("/proc/self/mountinfo") as file:
        return ("weak", "host paths in it") if BAIT.get("pool", "?") in file.read() else ("ok", "")


@probe
def rootw():
    """Write into what the node shows read-only."""
    for where in BAIT.get("readonly", ["/bin"]):
        try:
            os.close(os.open(f"{where}/probe-write", os.O_WRONLY | os.O_CREAT, 0o600))
            return ("VULN", where)
        except OSError:
            pass
    return ("ok", "")


@probe
def sigstate():
    """Start with blocked or ignored signals of the caller."""
    blocked, ignored = int(status("SigBlk"), 16), int(status("SigIgn"), 16)
    # CPython itself ignores SIGPIPE (13) and SIGXFSZ (25)
    ignored &= ~(1 << 12 | 1 << 24)
    return ("VULN", f"blocked {blocked:x} ignored {ignored:x}") if blocked or ignored else ("ok", "")


@probe
def stdioflags():
    """Start with non-blocking standard streams."""
    bad = [fd for fd in (0, 1, 2) if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK]
    return ("VULN", str(bad)) if bad else ("ok", "")


@probe
def vmread():
    """Read another process's memory."""
    local = ctypes.create_string_buffer(8)
    pair = struct.pack("PN", ctypes.addressof(local), 8)
    far = struct.pack("PN", 4096, 8)
    result, error = sysc("process_vm_readv", int(BAIT.get("host_pid", 1)), pair, 1, far, 1, 0)
    return ("VULN", "") if result >= 0 or error == errno.EFAULT else ("ok", errno.errorcode.get(error))


@probe
def bpf():
    """Load a BPF program."""
    result, error = sysc("bpf", 0, ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 4, 1), 128), 128)
    return ("weak", "map made") if result >= 0 else ("ok", errno.errorcode.get(error))


@probe
def limits():
    """Raise a hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return ("ok", "unlimited")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))
    except (ValueError, OSError):
        return ("ok", "")
    return ("weak", "raised")


def main():
    """Run every probe; one that crashes counts as weak, never as ok."""
    if os.readlink("/proc/self/ns/mnt") == BAIT.get("host_mnt", os.readlink("/proc/self/ns/mnt")):
        sys.exit(
            "these probes mount, unmount and write: they only run inside a sandbox, started by test_probes.py"
        )
    found = {}
    wanted = BAIT.get("only") or ALL
    for name in wanted:
        try:
            found[name] = ALL[name]()
        except Exception as error:  # noqa: BLE001 - whatever happens is a finding
            found[name] = ("weak", f"probe broke: {error!r}")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
