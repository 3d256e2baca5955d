"""The VM ring: tests inside guests of Debian's kernel with cgroup v2 alone, as many at a time as there are processors.

`./dev test vm [plain|uml|systemd|user|clients]… [PATH]… [-OPTION…]`: paths replace the tests of each guest, options
go to pytest.
"""

from __future__ import annotations

import compileall
import concurrent.futures
import os
import shlex
import signal
import sys
import threading
import time
from dataclasses import replace

from scripts.vm.guest import Ended, Guest, boot
from scripts.vm.images import CHECKOUT, CannotMake, Images, ready

TIMEOUT_S = (
    1500  # the most that a guest may take: all of them together take less than half where nothing else runs
)
AT_ONCE = max(2, os.cpu_count() or 1)  # each guest has one processor
# What these kernels (6.1) and monitors do not have. 'program:…' would belong here as well.
MAY_SKIP = "landlock6 cgroup-v1 loop clocks"
UML_LACKS = " cgroup-v2:cpuset overlay"  # for ordinary users the latter

# User-mode Linux runs Python five times as fast as QEMU without KVM, so QEMU gets what the other has no controller for.
PLAIN = """
within 400
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
within 300
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
CLIENTS = """
within 300
as_root 'podman as root' {podman}
as_root 'containerd by ctr' {ctr}
finish
"""
# A selection of what other rings run in full on the host: here it is about cgroup v2, another kernel, and systemd.
# REDPAK_VM_FULL=1 runs everything, which takes hours.
CONFORMANCE = """
tests/conformance/test_cgroups.py tests/conformance/test_lifecycle.py
test_bundle.py::test_a_readonly_root_cannot_be_written
test_console.py::test_a_terminal_comes_over_the_console_socket
test_console.py::test_exec_has_the_rights_of_the_first_process
test_devices.py::test_the_rules_for_devices_count_in_their_order
test_features.py::test_every_option_of_mounts_is_listed
test_hooks.py::test_hooks_run_in_their_phase_and_order
test_mounts.py::test_a_cgroup_mount_shows_the_containers_own_cgroup
test_mounts.py::test_an_overlay_can_be_mounted
test_namespaces.py::test_a_user_namespace_has_the_configured_maps
test_paths.py::test_a_masked_file_reads_as_empty
test_process.py::test_the_five_sets_of_capabilities_are_the_configured_ones
test_rootless.py::test_a_users_container_lives_and_dies
test_seccomp.py::test_notify_hands_the_listener_the_descriptor_and_the_state
"""
HOST = """
tests/host/test_equivalence.py tests/host/test_probes.py tests/host/test_native_box.py tests/host/test_native_leaks.py
tests/host/test_life_detached.py
"""
# One bubblewrap, and a few of each file.
FEW = (
    "(test_a_plan_gives_the_same_sandbox and (plain or limits or root)) or (no_probe_gets_out and system and disabled "
    "and (helper or native) and not python) or (test_native and not fifty and not shifted) or it_runs_on_when "
    "or both_streams or stop_asks or kill_takes or limit_that_cannot"
)
SELECTION = {
    "plain": "tests/vm tests/conformance/test_cgroups.py -k 'vm or cpuset or huge or block'",
    "conformance": " ".join(
        word if "/" in word else f"tests/conformance/{word}" for word in CONFORMANCE.split()
    ),
    "root": f"{HOST} -k '{FEW}'".replace("\n", " "),
    "user": f"{HOST} -k '{FEW}'".replace("\n", " "),
    "systemd": "tests/vm -k 'systemd or scope or memory_max'",
    "podman": "tests/clients/test_podman_life.py -k 'root and not rootless and "
    "(limits or limit or processes or statistics or paused or joins or left_of)'",
    "ctr": "tests/clients/test_containerd.py -k 'prints or limit or joins or told or paused or left_of'",
}
EVERYTHING = SELECTION | {
    "conformance": "tests/conformance",
    "root": "tests/host",
    "user": "tests/host",
    "podman": "tests/clients/test_podman.py tests/clients/test_podman_life.py",
    "ctr": "tests/clients/test_containerd.py",
}
FULL = os.environ.get("REDPAK_VM_FULL") == "1"
CHOSEN = EVERYTHING if FULL else SELECTION
PATIENCE = int(os.environ.get("REDPAK_VM_PATIENCE") or (30 if FULL else 1))  # times what each step may take

# Guest and the features that a strict run insists on, the slowest first.
GUESTS = (
    (Guest(name="uml", command=UML.format(**CHOSEN), kind="uml"), "vm cgroup-v2 swap disk"),
    (Guest(name="plain", command=PLAIN.format(**CHOSEN)), "vm cgroup-v2 swap disk"),
    (
        Guest(name="systemd", command=SYSTEMD.format(**CHOSEN), kind="uml", manager="systemd"),
        "vm cgroup-v2 systemd swap disk",
    ),
    (Guest(name="user", command=USER.format(**CHOSEN), kind="uml"), "vm cgroup-v2 swap disk"),
    (Guest(name="clients", command=CLIENTS.format(**CHOSEN), kind="uml"), "vm cgroup-v2 podman containerd"),
)


class Printer:
    """Prints what guests say, whole lines, each with the guest's name before it."""

    lock = threading.Lock()

    def __init__(self, name: str) -> None:
        self.name = name
        self.rest = b""

    def __call__(self, data: bytes) -> None:
        """Print the lines that are complete now."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        with self.lock:
            for line in lines:
                print(f"{self.name:8}| {line.decode(errors='replace').rstrip()}", flush=True)

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
    }
    return replace(guest, command=command, env=env, timeout_s=TIMEOUT_S * PATIENCE, silence_s=150 * PATIENCE)


def run(guest: Guest, images: Images) -> Ended:
    """Run one guest and print what it says."""
    printer = Printer(guest.name)
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
    known = {guest.name for guest, _ in GUESTS}
    names = [word for word in words if word in known]
    paths = [word for word in words if word not in known and os.path.exists(word.partition("::")[0])]
    options = [
        word for word in words if word not in names and word not in paths
    ]  # with their values: -k NAME
    guests = [
        prepared(guest, must, paths, options) for guest, must in GUESTS if not names or guest.name in names
    ]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, terminated)
    began = time.monotonic()
    try:
        images = ready()
        # What is compiled here is not compiled in each guest, at every start of a program.
        compileall.compile_dir("redpak", quiet=2)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            ends = list(pool.map(lambda guest: run(guest, images), guests))
    except CannotMake as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    for guest, ended in zip(guests, ends, strict=True):
        how = ended.why if ended.code is None else "passed" if ended.code == 0 else "FAILED"
        print(f"vm: guest {guest.name}: {how} ({ended.seconds:.0f} s, {ended.cpu_s:.0f} s of a processor)")
    print(f"vm: all in {time.monotonic() - began:.0f} s")
    return 0 if all(ended.code == 0 for ended in ends) else 1


if __name__ == "__main__":
    os.umask(0o022)
    os.chdir(CHECKOUT)
    sys.exit(main(sys.argv[1:]))
