"""The commands of redpak-oci: where each one lives, and its options (see options.parse for how they are written)."""

from __future__ import annotations

SPECIFICATION = "1.2.1"  # of the OCI runtime

GLOBAL = {
    "root": "=",
    "log": "=",
    "log-format": "=",
    "log-level": "=",
    "debug": "",
    "systemd-cgroup": "",
    "rootless": "=",
    "cgroup-manager": "=",
    "criu": "=",
    "version": "v",
    "help": "h",
}
HELP = {"help": "h"}
_CREATE = {
    "bundle": "b=",
    "config": "f=",
    "console-socket": "=",
    "pid-file": "=",
    "no-pivot": "",
    "no-new-keyring": "",
    "no-subreaper": "",
    "preserve-fds": "=",
}
_EXEC = {
    "console-socket": "=",
    "cwd": "=",
    "env": "e=*",
    "tty": "t",
    "user": "u=",
    "additional-gids": "g=*",
    "process": "p=",
    "detach": "d",
    "pid-file": "=",
    "process-label": "=",
    "apparmor": "=",
    "no-new-privs": "",
    "cap": "c=*",
    "preserve-fds": "=",
    "cgroup": "=*",
    "ignore-paused": "",
    "no-subreaper": "",
}
_UPDATE = {
    "resources": "r=",
    "blkio-weight": "=",
    "cpu-period": "=",
    "cpu-quota": "=",
    "cpu-burst": "=",
    "cpu-share": "=",
    "cpu-rt-period": "=",
    "cpu-rt-runtime": "=",
    "cpu-idle": "=",
    "cpuset-cpus": "=",
    "cpuset-mems": "=",
    "kernel-memory": "=",
    "kernel-memory-tcp": "=",
    "memory": "=",
    "memory-reservation": "=",
    "memory-swap": "=",
    "pids-limit": "=",
    "l3-cache-schema": "=",
    "mem-bw-schema": "=",
}
# name: (module in redpak.oci with that function, function, options, the other words, what it does)
COMMANDS = {
    "create": ("create", "create", _CREATE, "<container-id>", "create a container; its program waits for start"),
    "start": ("start", "start", {}, "<container-id>", "run the program of a created container"),
    "state": ("state", "state", {}, "<container-id>", "print the state of a container"),
    "kill": ("kill", "kill", {"all": "a"}, "<container-id> [signal]", "send a signal, TERM unless named"),
    "delete": (
        "delete", "delete", {"force": "f"}, "<container-id>", "delete a stopped container; with --force, kill it",
    ),
    "run": ("run", "run", {**_CREATE, "detach": "d", "keep": ""}, "<container-id>", "create and start a container"),
    "exec": ("exec", "execute", _EXEC, "<container-id> <command> [argument …]", "run one more program in it"),
    "list": ("list", "list_all", {"format": "f=", "quiet": "q"}, "", "list containers"),
    "ps": ("ps", "ps", {"format": "f="}, "<container-id> [ps options]", "show the processes of a container"),
    "pause": ("pause", "pause", {}, "<container-id>", "freeze all processes of a container"),
    "resume": ("pause", "resume", {}, "<container-id>", "let them go on"),
    "update": ("update", "update", _UPDATE, "<container-id>", "change the limits of a container"),
    "events": (
        "events", "events", {"interval": "=", "stats": ""}, "<container-id>", "print statistics and OOM events",
    ),
    "spec": ("spec", "spec", {"bundle": "b=", "rootless": ""}, "", "write a config.json to begin with"),
    "features": ("features", "features", {}, "", "print what this runtime can do"),
    "checkpoint": ("refused", "checkpoint", None, "<container-id>", "refused: there is no checkpointing"),
    "restore": ("refused", "restore", None, "<container-id>", "refused: there is no checkpointing"),
}  # fmt: skip
# How many words may be there, and whether options end at the first: a program's own options follow.
WORDS = {"kill": (1, 2), "exec": (1, -1), "list": (0, 0), "ps": (1, -1), "spec": (0, 0), "features": (0, 0)}
OWN_OPTIONS = {"exec": 1, "ps": 1}
