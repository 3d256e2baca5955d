"""What the options of redpak-oci mean, for --help alone: no other command loads this file."""

from __future__ import annotations

# (what its value is called, what it does)
_CREATE = {
    "bundle": ("DIR", "the bundle's directory; '.' by default"),
    "config": ("FILE", "the configuration, beneath the bundle; config.json by default"),
    "console-socket": ("SOCKET", "who listens there gets the master of the container's terminal"),
    "pid-file": ("FILE", "write the number of the container's first process there"),
    "no-pivot": ("", "leave the old root by chroot, for a root file system on a ramdisk; less safe"),
    "no-new-keyring": ("", "keep the caller's session keyring"),
    "no-subreaper": ("", "do not take over what the container's processes leave behind"),
    "preserve-fds": ("N", "pass N of the caller's descriptors on, from 3 upwards"),
}
_EXEC = {
    "console-socket": ("SOCKET", "who listens there gets the master of the program's terminal"),
    "cwd": ("DIR", "where to start the program, in the container"),
    "env": ("KEY=VALUE", "one more variable"),
    "tty": ("", "give the program a terminal of its own"),
    "user": ("UID[:GID]", "whom to run it as"),
    "additional-gids": ("GID", "one more group of it"),
    "process": ("FILE", "a 'process' of the specification to run, in place of words"),
    "detach": ("", "come back when it runs"),
    "pid-file": ("FILE", "write the number of its process there"),
    "process-label": ("LABEL", "its SELinux label"),
    "apparmor": ("PROFILE", "its AppArmor profile"),
    "no-new-privs": ("", "no program that it executes gets more rights"),
    "cap": ("CAP", "one more capability, CAP_NET_RAW say"),
    "preserve-fds": ("N", "pass N of the caller's descriptors on, from 3 upwards"),
    "cgroup": ("[CONTROLLER:]PATH", "a control group for it, beneath the container's"),
    "ignore-paused": ("", "also in a paused container: the program waits with it"),
    "no-subreaper": ("", "do not take over what the program leaves behind"),
}
_UPDATE = {
    "resources": ("FILE", "read all of them from there, as JSON; '-' is standard input"),
    "blkio-weight": ("N", "share of the disks, 10 to 1000"),
    "cpu-period": ("USEC", "microseconds of a period, for --cpu-quota"),
    "cpu-quota": ("USEC", "microseconds of processor in a period; -1: no limit"),
    "cpu-burst": ("USEC", "microseconds that may be saved up for later periods"),
    "cpu-share": ("N", "share of the processors, against other groups"),
    "cpu-rt-period": ("USEC", "microseconds of a period, for --cpu-rt-runtime"),
    "cpu-rt-runtime": ("USEC", "microseconds of it for programs in real time"),
    "cpu-idle": ("N", "1: only what others leave of the processors; 0: as others"),
    "cpuset-cpus": ("LIST", "the processors to use, 0-3,7 say"),
    "cpuset-mems": ("LIST", "the memory nodes to use"),
    "kernel-memory": ("BYTES", "most memory of the kernel; refused where the kernel has no such limit"),
    "kernel-memory-tcp": ("BYTES", "most memory of TCP's buffers"),
    "memory": ("BYTES", "most memory, 64m say; -1: no limit"),
    "memory-reservation": ("BYTES", "what it is to be left with where memory is short"),
    "memory-swap": ("BYTES", "most memory and swap together; -1: no limit"),
    "pids-limit": ("N", "most processes; -1: no limit"),
    "l3-cache-schema": ("TEXT", "refused: nothing here manages the processor's caches"),
    "mem-bw-schema": ("TEXT", "refused: nothing here manages memory bandwidth"),
}
TEXTS: dict[str, dict[str, tuple[str, str]]] = {
    "": {
        "root": ("DIR", "where the states are; /run/redpak-oci, for a user's own below $XDG_RUNTIME_DIR"),
        "log": ("FILE", "add errors and warnings to it"),
        "log-format": ("FORMAT", "of these lines: text (default) or json"),
        "log-level": ("LEVEL", "taken for runc's sake: errors and warnings are what there is"),
        "debug": ("", "tell an error with the place in redpak where it arose"),
        "systemd-cgroup": ("", "have systemd make the control groups"),
        "rootless": ("WORD", "taken for runc's sake: what this user may do is found out"),
        "cgroup-manager": ("NAME", "who makes them: cgroupfs (default), systemd, or disabled"),
        "criu": ("FILE", "taken for runc's sake: there is no checkpointing"),
        "version": ("", "print the version"),
        "help": ("", "print this"),
    },
    "create": _CREATE,
    "run": {
        **_CREATE,
        "detach": ("", "come back when the program runs"),
        "keep": ("", "do not delete the container when it ends"),
    },
    "exec": _EXEC,
    "update": _UPDATE,
    "kill": {"all": ("", "to all processes of the container")},
    "delete": {"force": ("", "kill it first; that there is none is no error")},
    "list": {
        "format": ("FORMAT", "table (default) or json"),
        "quiet": ("", "the ids alone"),
    },
    "ps": {"format": ("FORMAT", "table (default) or json")},
    "events": {
        "interval": ("SPAN", "between two lines of statistics, 500ms say; 5s by default"),
        "stats": ("", "once, and end"),
    },
    "spec": {
        "bundle": ("DIR", "where to write it; '.' by default"),
        "rootless": ("", "one that an ordinary user can start"),
    },
}
