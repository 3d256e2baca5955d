"""Run one command in a test guest: `./dev vm [--uml | --systemd] COMMAND`. Everything that it writes vanishes."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys

from scripts.vm.guest import Guest, boot
from scripts.vm.images import CHECKOUT, CannotMake, ready

PREAMBLE = f'cd "{CHECKOUT}"\n'


def out(data: bytes) -> None:
    """Pass on what the guest prints."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def terminated(number: int, _frame: object) -> None:
    """End as if interrupted, so that the guest is ended as well."""
    raise SystemExit(128 + number)


def main() -> int:
    """Boot, run, report; return the command's exit code, or 125 if there is none."""
    parser = argparse.ArgumentParser(prog="./dev vm", description=__doc__)
    parser.add_argument(
        "--uml", action="store_true", help="user-mode Linux: boots faster, has fewer controllers"
    )
    parser.add_argument("--systemd", action="store_true", help="systemd is the guest's manager")
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS")
    parser.add_argument("--boot", default="", metavar="WORDS", help="more words for QEMU's kernel")
    parser.add_argument("--console", action="store_true", help="show the kernel's console in the end")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="one word: a script for bash; more: a program"
    )
    asked = parser.parse_args()
    words = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    if not words:
        parser.error("say what to run")
    command = words[0] if len(words) == 1 else shlex.join(words)
    guest = Guest(
        name="guest",
        command=PREAMBLE + command + "\n",
        kind="uml" if asked.uml else "qemu",
        manager="systemd" if asked.systemd else "plain",
        memory_mib=asked.memory,
        timeout_s=asked.timeout,
        boot=asked.boot,
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, terminated)
    try:
        ended = boot(guest, ready(), out)
    except CannotMake as error:
        print(f"vm: {error}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130
    if asked.console or ended.code is None:
        print(f"--- the kernel's console\n{ended.console}---", file=sys.stderr)
    if ended.code is None:
        print(f"vm: the command has no exit code: {ended.why}", file=sys.stderr)
        return 125
    return ended.code


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
