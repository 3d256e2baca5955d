"""The VM ring: tests inside guests of Debian's kernel with cgroup v2 alone, a few guests at a time.

`./dev test vm [plain|selinux|uml|systemd|user|clients|podman|rootless|docker|ctr]… [PATH]… [-OPTION…]`: paths
replace the tests of each guest, options go to pytest. 'clients' are the last four.
"""

from __future__ import annotations

import compileall
import concurrent.futures
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from redpak.oci import pack
from scripts import failures
from scripts.vm.guest import Ended, Guest, boot
from scripts.vm.images import CHECKOUT, CannotMake, Images, ready

TIMEOUT_S = 1500  # the most that a guest may take: where nothing else runs all of them take less than half
LAST, AGAIN = 3000, 120  # lines of a guest that are kept, and the most that are printed again when it failed
AT_ONCE = 1 + (os.cpu_count() or 1)  # each guest has one processor, and often waits
# What these kernels (6.1) and monitors do not have. 'program:…' would belong here as well.
MAY_SKIP = "landlock6 cgroup-v1 loop clocks"
UML_LACKS = " cgroup-v2:cpuset overlay"  # for ordinary users the latter

# User-mode Linux runs Python five times as fast as QEMU without KVM, so QEMU gets what the other has no controller for.
PLAIN = """
within 500
as_root 'root, every limit of cgroup v2, and what user-mode Linux has no controller for' {plain}
finish
"""
UML = """
within 500
as_root 'root, conformance' {conformance}
within 300
as_root 'root, host ring' {root}
finish
"""
SYSTEMD = """
within 500
as_root 'root under systemd' {systemd}
as_user $mapped 'ordinary user under systemd' {systemd}
finish
"""
USER = """
within 200
as_user $mapped 'ordinary user, limits in a delegated cgroup' tests/vm
within 300
as_user $ordinary 'ordinary user, host ring' {user}
finish
"""
SELINUX = """
within 150
as_root 'root, labels of SELinux' {selinux}
finish
"""
CLIENTS = """
within 600
clients {name}
finish
"""
# The scripts that drive podman, containerd and docker: somebody else's, so they lie beside the checkout.
SCRIPTS = CHECKOUT.parent / "shared/yardsticks/oci-clients"
SCRIPTED = ("podman", "rootless", "docker", "ctr")  # the guests that run them
# A selection of what other rings run in full on the host: here it is about cgroup v2, another kernel, and systemd.
# REDPAK_VM_FULL=1 runs everything, for hours.
CONFORMANCE = """
test_cgroups.py
test_lifecycle.py::test_a_created_container_has_a_whole_state
test_lifecycle.py::test_a_started_container_runs_until_it_is_killed_and_goes_when_deleted
test_lifecycle.py::test_a_created_container_can_be_killed
test_lifecycle.py::test_delete_by_force_ends_a_running_container
test_lifecycle.py::test_delete_takes_back_what_create_made_and_nothing_else
test_lifecycle.py::test_run_gives_the_programs_code_and_leaves_nothing
test_console.py::test_a_terminal_comes_over_the_console_socket
test_devices.py::test_the_rules_for_devices_count_in_their_order
test_hooks.py::test_hooks_run_in_their_phase_and_order
test_mounts.py::test_a_cgroup_mount_shows_the_containers_own_cgroup
test_mounts.py::test_an_overlay_can_be_mounted
test_namespaces.py::test_a_user_namespace_has_the_configured_maps
test_rootless.py::test_a_users_container_lives_and_dies
test_seccomp.py::test_notify_hands_the_listener_the_descriptor_and_the_state
"""
HOST = """
tests/host/test_equivalence.py tests/host/test_probes.py tests/host/test_native_box.py tests/host/test_native_leaks.py
tests/host/test_life_detached.py
"""
# One bubblewrap, and a few of each file.
FEW = (
    "(test_a_plan_gives_the_same_sandbox and (plain or limits)) or (no_probe_gets_out and system and disabled and "
    "(helper or native) and not python) or (test_native and not fifty and not shifted and not fails) or "
    "it_runs_on_when or stop_asks or limit_that_cannot"
)
SELECTION = {
    "plain": "tests/vm tests/conformance/test_cgroups.py -k 'vm or cpuset or huge or block'",
    "conformance": " ".join(f"tests/conformance/{word}" for word in CONFORMANCE.split())
    + " -k 'not block'",  # QEMU has that
    "root": f"{HOST} -k '{FEW}'".replace("\n", " "),
    "user": f"{HOST} -k '({FEW}) and not row and not stop_asks and not helper'".replace("\n", " "),
    "selinux": "tests/vm/test_labels_selinux.py",
    "systemd": "tests/vm tests/clients/test_cri_systemd.py -k 'systemd or scope or memory_max'",
}
EVERYTHING = SELECTION | {
    "conformance": "tests/conformance",
    "root": "tests/host",
    "user": "tests/host",
}
PROBE = (
    CHECKOUT / ".dev/probe"
)  # what conformance tests run in containers: to compile it takes a guest a minute
FULL = os.environ.get("REDPAK_VM_FULL") == "1"
CHOSEN = EVERYTHING if FULL else SELECTION
PATIENCE = int(os.environ.get("REDPAK_VM_PATIENCE") or (30 if FULL else 2))  # times what each step may take

# Guest and the features that a strict run insists on, the slowest first.
GUESTS = (
    (Guest(name="docker", command=CLIENTS.format(name="docker")), ""),
    (Guest(name="rootless", command=CLIENTS.format(name="podman-rootless"), kind="uml"), ""),
    (Guest(name="podman", command=CLIENTS.format(name="podman"), kind="uml"), ""),
    (Guest(name="uml", command=UML.format(**CHOSEN), kind="uml"), "vm cgroup-v2 swap disk"),
    (
        Guest(name="systemd", command=SYSTEMD.format(**CHOSEN), kind="uml", manager="systemd"),
        "vm cgroup-v2 systemd swap disk podman containerd",
    ),
    (Guest(name="user", command=USER.format(**CHOSEN), kind="uml"), "vm cgroup-v2 swap disk"),
    (Guest(name="ctr", command=CLIENTS.format(name="ctr")), ""),
    (Guest(name="plain", command=PLAIN.format(**CHOSEN)), "vm cgroup-v2 swap disk apparmor"),
    (
        Guest(name="selinux", command=SELINUX.format(**CHOSEN), boot="security=selinux selinux=1"),
        "vm cgroup-v2 selinux",
    ),
)


class Printer:
    """Prints what guests say, whole lines, each with the guest's name before it, and keeps the last of it."""

    lock = threading.Lock()

    def __init__(self, name: str) -> None:
        self.name = name
        self.rest = b""
        self.last: deque[str] = deque(maxlen=LAST)

    def __call__(self, data: bytes) -> None:
        """Print the lines that are complete now."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        with self.lock:
            for raw in lines:
                line = raw.decode(errors="replace").rstrip()
                self.last.append(line)
                print(f"{self.name:8}| {line}", flush=True)

    def end(self) -> None:
        """Print what came without an end of line."""
        if self.rest:
            self(b"\n")


def prepared(guest: Guest, must_have: str, paths: list[str], options: list[str]) -> Guest:
    """Return the guest with what the user asked for."""
    command = f". /run/vm/settings\n. /run/vm/steps.sh\n{guest.command}"
    env = {
        "VM_WORDS": shlex.join(options),
        "VM_PATHS": shlex.join(paths),
        "STRICT": os.environ.get("REDPAK_TEST_STRICT", ""),
        "MAY_SKIP": MAY_SKIP + (UML_LACKS if guest.kind == "uml" else ""),
        "MUST_HAVE": must_have,
        "VM_PATIENCE": str(PATIENCE),
        "VM_SCRIPTS": str(SCRIPTS),
    }
    return replace(guest, command=command, env=env, timeout_s=TIMEOUT_S * PATIENCE, silence_s=150 * PATIENCE)


def complaints(lines: Iterable[str]) -> list[str]:
    """Return what is worth reading twice of what a guest said that failed: pytest's failures, and lines that say so."""
    found: list[str] = []
    telling = False  # within pytest's sections FAILURES and ERRORS
    for line in lines:
        if re.fullmatch(r"=+ .* =+", line):
            telling = bool(re.fullmatch(r"=+ (FAILURES|ERRORS) =+", line))
        if telling or re.search(r"\b(FAILED|FAIL|ERROR|OUT OF TIME)\b", line):
            found.append(line)
    return found[-AGAIN:]


def lost(lines: Iterable[str]) -> list[str]:
    """Return the tests, and the steps of client scripts, that failed in a guest, with what it said why."""
    found: dict[str, str] = {}
    excused: set[str] = set()
    for line in lines:
        if told := re.match(r"(tests/.+?) (?:FAILED|ERROR)\b", line):  # as it ran
            found.setdefault(told[1], told[1])
        elif told := re.match(r"(?:FAILED|ERROR) ((tests/.+?)(?: - .*)?)$", line):  # in pytest's summary
            found[told[2]] = told[1]
        elif told := re.match(r"\S+: \S+ +FAIL +(\S+)", line):
            found[told[1]] = line
        elif told := re.search(r"not to be had: (\S+):", line):
            excused.add(told[1])
        elif "OUT OF TIME" in line:
            found[line] = line
    return [line for name, line in found.items() if name not in excused]


def run(guest: Guest, images: Images, printer: Printer) -> Ended:
    """Run one guest and print what it says."""
    ended = boot(guest, images, printer)
    printer.end()
    if ended.code is None:
        printer(f"{ended.why}; the last of its console:\n".encode())
        for line in ended.console.splitlines()[-60:]:
            printer(f"(console) {line}\n".encode())
    return ended


def terminated(number: int, _frame: object) -> None:
    """End at once: the guests die with us."""
    os._exit(128 + number)


def main(words: list[str]) -> int:
    """Run the guests that were asked for; return 0 if all tests in all of them passed."""
    known = {guest.name for guest, _ in GUESTS} | {"clients"}
    names = [word for word in words if word in known]
    paths = [word for word in words if word not in known and os.path.exists(word.partition("::")[0])]
    options = [
        word for word in words if word not in names and word not in paths
    ]  # with their values: -k NAME
    chosen = {*names, *(SCRIPTED if "clients" in names else ())} or known
    if not names and (paths or "-k" in options):
        chosen -= {*SCRIPTED}  # they run no test
    unscripted = {*SCRIPTED} & chosen if not SCRIPTS.is_dir() else set()
    if unscripted:
        print(f"vm: NOT RUN: the client scripts, there is no {SCRIPTS}", file=sys.stderr)
    guests = [
        prepared(guest, must, paths, options) for guest, must in GUESTS if guest.name in chosen - unscripted
    ]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, terminated)
    began = time.monotonic()
    printers = [Printer(guest.name) for guest in guests]
    try:
        images = ready()
        # What is compiled here is not compiled in each guest.
        PROBE.unlink(missing_ok=True)
        compileall.compile_dir("redpak", quiet=2)
        cc = ["cc", "-static", "-O1", "-o", str(PROBE), "tests/conformance/probe.c"]
        subprocess.run(cc, check=False, stdin=subprocess.DEVNULL)  # without it the tests say what is missing
        pack.write(pack.Pack(pack.place(), {}, 0))
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            ends = list(pool.map(lambda guest, printer: run(guest, images, printer), guests, printers))
    except CannotMake as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    for ended, printer in zip(ends, printers, strict=True):
        if ended.code != 0:  # what said so lies far above, among what the others said
            print(f"vm: guest {printer.name} complained:", *complaints(printer.last), sep="\n")
            what = lost(printer.last) + [ended.why] * (ended.code is None)
            failures.note(*(f"{printer.name}: {one}" for one in what or ["it names no test"]))
    for guest, ended in zip(guests, ends, strict=True):
        how = ended.why if ended.code is None else "passed" if ended.code == 0 else "FAILED"
        print(f"vm: guest {guest.name}: {how} ({ended.seconds:.0f} s, {ended.cpu_s:.0f} s of a processor)")
    print(f"vm: all in {time.monotonic() - began:.0f} s")
    if unscripted:
        print(f"vm: NOT RUN: {' '.join(sorted(unscripted))}: there is no {SCRIPTS}")
    strict = os.environ.get("REDPAK_TEST_STRICT") == "1"
    return 0 if all(ended.code == 0 for ended in ends) and not (strict and unscripted) else 1


if __name__ == "__main__":
    os.umask(0o022)
    os.chdir(CHECKOUT)
    sys.exit(main(sys.argv[1:]))
