"""What a program can see of its sandbox, as JSON: run inside, by the core OS's own Python, under each engine."""

import ctypes
import json
import os
import resource
import signal
import stat
import sys


def lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError as error:
        return [str(error.strerror)]


def mounts() -> list[list[str]]:
    found = []
    for line in lines("/proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        _, _, _, root, point, options, *tags = left.split()
        fstype, _, superblock = right.split()
        kinds = sorted(tag.split(":")[0] for tag in tags)
        if fstype == "tmpfs":
            root, superblock = "", ",".join(sorted(set(superblock.split(",")) & {"ro", "rw"}))
        found.append([point, fstype, root, options, *kinds, superblock])
    return sorted(found)


def devices() -> dict[str, str]:
    found = {}
    for folder, folders, files in os.walk("/dev"):
        for name in (*folders, *files):
            at = os.lstat(os.path.join(folder, name))
            link = os.readlink(os.path.join(folder, name)) if stat.S_ISLNK(at.st_mode) else ""
            found[os.path.join(folder, name)] = (
                f"{at.st_mode:o} {at.st_rdev:x} {at.st_uid}:{at.st_gid} {link}"
            )
    return found


def tree() -> dict[str, str]:
    found = {}
    for name in os.listdir("/"):
        at = os.lstat("/" + name)
        found[name] = f"{at.st_mode:o} {at.st_uid}:{at.st_gid}"
    return found


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}").split(":")[0]
        except OSError:
            continue
    found.pop(max(found, key=int), None)  # what lists the directory
    return found


libc = ctypes.CDLL(None, use_errno=True)
KEYCTL = 250 if os.uname().machine == "x86_64" else 219
status = dict(line.split(":\t", 1) for line in lines("/proc/self/status") if ":\t" in line)
WANTED = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
          "Seccomp_filters", "SigBlk", "SigIgn", "SigCgt", "Umask", "NSpid")  # fmt: skip
report = {
    "mounts": mounts(),
    "namespaces": {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in os.listdir("/proc/self/ns")},
    "status": {key: status.get(key, "").strip() for key in WANTED},
    "environ": dict(os.environ),
    "limits": {
        name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name[:7] == "RLIMIT_"
    },
    "cwd": os.getcwd(),
    "descriptors": descriptors(),
    "devices": devices(),
    "root": tree(),
    "hostname": os.uname().nodename,
    "terminal": [os.isatty(fd) for fd in (0, 1, 2)],
    "session": [os.getsid(0) == os.getpid(), os.getsid(0) == 0, os.getpgrp() == os.getpid()],
    "signals": [str(signal.getsignal(n)) for n in (1, 2, 3, 13, 15, 17, 25)],
    "keyring": libc.syscall(ctypes.c_long(KEYCTL), 0, -3, 0),
    "cgroup": lines("/proc/self/cgroup"),
    "uid_map": [line.split() for line in lines("/proc/self/uid_map")],
    "gid_map": [line.split() for line in lines("/proc/self/gid_map")],
    "setgroups": lines("/proc/self/setgroups"),
    "oom": lines("/proc/self/oom_score_adj"),
    "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) < 10),
    "personality": libc.personality(0xFFFFFFFF),
    "new user namespace": libc.unshare(0x10000000),
    "links": lines("/proc/net/dev")[2:3],
    "dumpable": libc.prctl(3, 0, 0, 0, 0),
    "death signal": libc.prctl(2, ctypes.byref(ctypes.c_int()), 0, 0, 0),
    "files": {
        path: lines(path) for path in ("/etc/made", "/etc/from-caller", "/data/file") if os.path.exists(path)
    },
}
sys.stdout.write(json.dumps(report))
