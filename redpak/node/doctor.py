"""What this host can and cannot do for redpak: every feature is tried, never guessed from a version.

Each finding that is not good says what to type. Only what keeps launches from working counts as a failure.
"""

from __future__ import annotations

import os
import shutil
import sys

from redpak import paths
from redpak.errors import BadConfig, Fault, RedpakError
from redpak.record import Record
from redpak.run import tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    Grade = Literal["ok", "note", "bad"]

FIXED_BWRAP = (0, 12)  # the first bubblewrap without CVE-2026-87766
SCOPE_ABI = 6  # Landlock's version that can confine abstract sockets and signals


class Finding(Record):
    """What was found out about one thing. `grade` "bad": launches do not work; "note": something is weaker."""

    name: str
    grade: Grade
    found: str
    fix: str = ""  # a command to type


def examine() -> list[Finding]:
    """Return every finding, in the order in which a person reads them; changes nothing on the host."""
    checks: tuple[Callable[[], Finding], ...] = (
        python, kernel_calls, user_namespaces, bwrap, helper, seccomp, landlock, keyrings, terminal,
        cgroups, delegation, sub_ids, rpm, templates, cache, launch,
    )  # fmt: skip
    findings = []
    for check in checks:
        try:
            findings.append(check())
        except (RedpakError, OSError) as error:
            findings.append(Finding(name=check.__name__.replace("_", " "), grade="note", found=str(error)))
    return findings


def works(findings: list[Finding]) -> bool:
    """Tell whether launches work."""
    return all(finding.grade != "bad" for finding in findings)


def word_of(file: str) -> str:
    """Return the first line of a small file, '' when it is not there."""
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return stream.readline().strip()
    except OSError:
        return ""


def installing(debian: str, fedora: str = "") -> str:
    """Return the command that installs a package on this host."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    if shutil.which("apt-get"):
        return f"{sudo}apt-get install {debian}"
    return f"{sudo}{'dnf' if shutil.which('dnf') else 'your package manager:'} install {fedora or debian}"


def setting(name: str, value: str) -> str:
    """Return the command that sets a kernel parameter now and for later."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"echo {name}={value} | {sudo}tee -a /etc/sysctl.d/90-redpak.conf && {sudo}sysctl --system"


def booting(argument: str) -> str:
    """Return the command that adds an argument to the kernel's command line."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    if shutil.which("grubby"):
        return f"{sudo}grubby --update-kernel=ALL --args={argument} && {sudo}reboot"
    line = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {argument}"'
    return f"echo '{line}' | {sudo}tee -a /etc/default/grub && {sudo}update-grub && {sudo}reboot"


def newer_kernel() -> str:
    """Return the command that installs the distribution's newest kernel."""
    return installing("linux-image-$(dpkg --print-architecture)", "kernel")


def tried(code: str, *words: str, ok: tuple[int, ...] = (0,), timeout_s: float = 30) -> str:
    """Run Python code in a child, with this package; return what it says.

    What is tried there (namespaces, keyrings, filters) would change this process.
    """
    package = os.path.dirname(paths.shipped())
    environ = {"PYTHONPATH": package, "HOME": os.path.expanduser("~")}
    if base := os.environ.get("XDG_CACHE_HOME"):
        environ["XDG_CACHE_HOME"] = base
    argv = [sys.executable, "-B", "-c", code, *words]
    return tool(argv, timeout_s=timeout_s, ok=ok, environ=environ).text.strip()


def python() -> Finding:
    """The interpreter."""
    import platform

    return Finding(name="python", grade="ok", found=f"{platform.python_version()} at {sys.executable}")


def kernel_calls() -> Finding:
    """The system calls that launches stand on."""
    from redpak.kernel import files

    name = "kernel"
    release = os.uname().release
    missing = []
    try:
        os.close(files.open_plain("/", os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        missing.append("openat2 (5.6)")
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        missing.append("pidfd_open (5.3)")
    try:
        files.close_range(files.LAST_FD - 1, files.LAST_FD)
    except OSError:
        missing.append("close_range (5.9)")
    if missing:
        found = f"{release} lacks {', '.join(missing)}"
        return Finding(name=name, grade="bad", found=found, fix=newer_kernel())
    return Finding(name=name, grade="ok", found=f"{release}: openat2, pidfd_open, close_range")


def user_namespaces() -> Finding:
    """Namespaces without privilege."""
    name = "user namespaces"
    code = (
        "from redpak.kernel import ns; ns.unshare_as_myself(ns.CLONE_NEWNS | ns.CLONE_NEWPID); print('yes')"
    )
    try:
        tried(code)
    except RedpakError as error:
        grade: Grade = "bad" if os.geteuid() else "note"
        for file, wrong, right in (
            ("kernel/unprivileged_userns_clone", "0", "1"),
            ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
            ("user/max_user_namespaces", "0", "15000"),
        ):
            if word_of(f"/proc/sys/{file}") == wrong:
                key = file.replace("/", ".")
                return Finding(name=name, grade=grade, found=f"forbidden by {key}", fix=setting(key, right))
        return Finding(
            name=name,
            grade=grade,
            found=f"cannot be made: {error.message.rpartition(': ')[2]}",
            fix="redpak doctor   # outside the container or service that forbids them",
        )
    return Finding(name=name, grade="ok", found="can be made")


def bwrap() -> Finding:
    """The program that builds sandboxes."""
    from redpak.engine import host

    try:
        program = host.choose_bwrap()
    except RedpakError as error:
        fix = installing("bubblewrap")
        return Finding(name="bwrap", grade="bad", found=error.message, fix=fix)
    version, _ = host.features(program)
    found = f"{program} {'.'.join(map(str, version))}, not set-uid, takes descriptors (--bind-fd)"
    if version < FIXED_BWRAP:
        found += "; has CVE-2026-87766 (follows a node's symbolic links), which redpak keeps out of its reach"
    return Finding(name="bwrap", grade="ok", found=found)


def helper() -> Finding:
    """The C program that starts bwrap without Python."""
    from redpak.engine.run import helper as program_of

    program = program_of()
    if program:
        return Finding(name="launch helper", grade="ok", found=program)
    source, target = paths.shipped("engine", "launch.c"), paths.shipped("engine", "redpak-launch")
    found = "not built: launches go through Python, some 20 ms slower"
    return Finding(name="launch helper", grade="note", found=found, fix=f"cc -O2 -o {target} {source}")


def seccomp() -> Finding:
    """System call filters."""
    from redpak.engine import seccomp as filters

    machine = os.uname().machine
    if not filters.supported():
        found = f"no filter for {machine}: programs keep every system call"
        fix = "redpak plan NODE   # and set 'seccomp: none' where that is acceptable"
        return Finding(name="seccomp", grade="note", found=found, fix=fix)
    actions = word_of("/proc/sys/kernel/seccomp/actions_avail").split()
    if "errno" not in actions:
        found = "the kernel has no system call filters"
        return Finding(name="seccomp", grade="bad", found=found, fix=newer_kernel())
    return Finding(
        name="seccomp", grade="ok", found=f"filter for {machine}, {len(filters.build()) // 8} instructions"
    )


def landlock() -> Finding:
    """Confinement of abstract sockets and signals, for programs that share the host's network."""
    from redpak.kernel import landlock as kernel

    version = kernel.abi()
    if version >= SCOPE_ABI:
        return Finding(
            name="landlock", grade="ok", found=f"ABI {version}: abstract sockets and signals are confined"
        )
    modules = word_of("/sys/kernel/security/lsm")
    why = f"ABI {version}" if version else "off"
    found = f"{why}: programs that share the network reach the host's abstract sockets"
    off = not version and modules and "landlock" not in modules
    fix = booting(f"lsm=landlock,{modules}") if off else newer_kernel()
    return Finding(name="landlock", grade="note", found=found, fix=fix)


def keyrings() -> Finding:
    """The caller's keys must stay behind."""
    code = "from redpak.kernel import process; process.new_session_keyring(); print('yes')"
    try:
        tried(code)
    except RedpakError as error:
        why = error.message.rpartition(": ")[2]
        if "not implemented" in why.lower():
            return Finding(name="keyrings", grade="ok", found="the kernel has none, so nothing can leak")
        fix = setting("kernel.keys.maxkeys", "2000")
        return Finding(name="keyrings", grade="bad", found=f"no new session keyring: {why}", fix=fix)
    return Finding(name="keyrings", grade="ok", found="each sandbox gets a session keyring of its own")


def terminal() -> Finding:
    """Injection of input into the caller's terminal."""
    legacy = word_of("/proc/sys/dev/tty/legacy_tiocsti")
    if legacy == "0":
        return Finding(name="terminal", grade="ok", found="TIOCSTI is off in the kernel, and filtered")
    found = (
        "TIOCSTI is on in the kernel; redpak's filter stops it, programs with 'seccomp: none' could use it"
    )
    if not legacy:
        found = found.replace("is on in the kernel", "cannot be switched off in this kernel")
        return Finding(name="terminal", grade="note", found=found, fix=newer_kernel())
    return Finding(name="terminal", grade="note", found=found, fix=setting("dev.tty.legacy_tiocsti", "0"))


def cgroups() -> Finding:
    """Control groups, for limits."""
    name = "cgroups"
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        controllers = word_of("/sys/fs/cgroup/cgroup.controllers")
        if not controllers:
            found = "version 2, but without controllers: no limits"
            return Finding(name=name, grade="note", found=found, fix=booting("cgroup_no_v1=all"))
        return Finding(name=name, grade="ok", found=f"version 2: {controllers}")
    fix = booting("systemd.unified_cgroup_hierarchy=1")
    if os.path.isdir("/sys/fs/cgroup/unified"):
        return Finding(
            name=name,
            grade="note",
            found="hybrid of versions 1 and 2: not every limit, and only for root",
            fix=fix,
        )
    if os.path.isdir("/sys/fs/cgroup/memory"):
        return Finding(
            name=name, grade="note", found="version 1: not every limit, and only for root", fix=fix
        )
    fix = "mount -t cgroup2 none /sys/fs/cgroup"
    return Finding(name=name, grade="note", found="not mounted: no limits", fix=fix)


def delegation() -> Finding:
    """A control group of this user's own."""
    name = "delegation"
    fix = "systemd-run --user --scope -p Delegate=yes bash"
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return Finding(
            name=name, grade="note", found="needs cgroups version 2", fix="redpak doctor   # see cgroups"
        )
    own = word_of("/proc/self/cgroup").partition("::")[2]
    folder = f"/sys/fs/cgroup{own}"
    if os.access(folder, os.W_OK) and os.access(f"{folder}/cgroup.subtree_control", os.W_OK):
        return Finding(name=name, grade="ok", found=f"{folder} is ours")
    return Finding(name=name, grade="note", found=f"{folder} is not ours: no limits from here", fix=fix)


def sub_ids() -> Finding:
    """Further user ids, for nodes with files of several owners."""
    import pwd

    name = "sub-ids"
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        found = f"uid {os.getuid()} has no name, so no further ids"
        return Finding(name=name, grade="note", found=found, fix=f"useradd -u {os.getuid()} NAME")
    lacks = [program for program in ("newuidmap", "newgidmap") if not shutil.which(program)]
    if lacks:
        fix = installing("uidmap", "shadow-utils")
        return Finding(name=name, grade="note", found=f"no {' and no '.join(lacks)}", fix=fix)
    if os.geteuid() == 0:
        return Finding(name=name, grade="ok", found="root needs none")
    for file in ("/etc/subuid", "/etc/subgid"):
        try:
            with open(file, encoding="utf-8", errors="replace") as stream:
                there = any(line.split(":")[0] in (user, str(os.getuid())) for line in stream)
        except OSError:
            there = False
        if not there:
            fix = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            return Finding(name=name, grade="note", found=f"none for '{user}' in {file}", fix=fix)
    return Finding(name=name, grade="ok", found=f"'{user}' has some")


def rpm() -> Finding:
    """The package tool, for nodes made of packages."""
    program = shutil.which("rpm")
    if program:
        return Finding(name="rpm", grade="ok", found=program)
    return Finding(
        name="rpm", grade="note", found="not installed: no packages in nodes", fix=installing("rpm")
    )


def templates() -> Finding:
    """The templates and the core OS's defaults."""
    from redpak.node import template, tree

    name = "templates"
    faults: list[Fault] = []
    main = paths.main_config()
    tree.document(main, lenient=False, defaults=True, may_write=False, faults=faults)
    if faults:
        return Finding(name=name, grade="bad", found=str(faults[0]), fix=f"${{EDITOR:-vi}} {main}")
    found = template.names("normal", paths.template_directories())
    return Finding(name=name, grade="ok", found=f"{', '.join(found)}; defaults from {main}")


def cache() -> Finding:
    """Where parsed files, filters and launchers are kept."""
    folder = paths.cache()
    place = folder
    while not os.path.exists(place):
        place = os.path.dirname(place)
    if os.access(place, os.W_OK):
        return Finding(name="cache", grade="ok", found=folder)
    found = f"'{folder}' cannot be written: every launch reads its YAML anew"
    fix = "export XDG_CACHE_HOME=/var/tmp/$USER"
    return Finding(name="cache", grade="note", found=found, fix=fix)


LAUNCH = """
import sys
from redpak.engine.run import run
from redpak.errors import RedpakError
from redpak.node.plan import plan_of
try:
    sys.exit(run(plan_of(sys.argv[1], command=("sh", "-c", "echo started"))))
except RedpakError as error:
    sys.exit(f"{error.message} {'; '.join(map(str, getattr(error, 'faults', ())))}")
"""


def launch() -> Finding:
    """A real node, made in a temporary directory, started, and gone."""
    import tempfile

    from redpak.node.create import create

    name = "launch"
    try:
        with tempfile.TemporaryDirectory(prefix="redpak-doctor-") as folder:
            node = create(os.path.join(folder, "doctor"), system_node=False)
            said = tried(LAUNCH, node.path)
    except BadConfig as error:
        return Finding(name=name, grade="bad", found=str(error.faults[0]), fix="redpak doctor -v")
    except RedpakError as error:
        return Finding(
            name=name, grade="bad", found=error.message, fix="redpak doctor -vv   # see the lines above"
        )
    if said.splitlines()[-1:] != ["started"]:
        return Finding(name=name, grade="bad", found=f"the program said '{said}'", fix="redpak doctor -vv")
    return Finding(name=name, grade="ok", found="a node from the templates starts")
