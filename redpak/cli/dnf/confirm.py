"""The question before anything is changed. Without an answer (no terminal, end of input) it is No."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.session import Session

YES, NO = ("y", "yes"), ("n", "no")


def confirmed(session: Session) -> bool:
    """Tell whether to go on: what -y or --assumeno say, else what the user answers."""
    if session.conf.flag("assumeno"):
        return False
    if session.conf.flag("assumeyes"):
        return True
    return asked(default_yes=session.conf.flag("defaultyes"))


def asked(*, default_yes: bool = False, question: str = "") -> bool:
    """Ask on standard output, read standard input until the answer is one."""
    question = question or ("Is this ok [Y/n]: " if default_yes else "Is this ok [y/N]: ")
    while True:
        sys.stdout.write(question)
        sys.stdout.flush()
        try:
            line = sys.stdin.readline() if sys.stdin else ""
        except KeyboardInterrupt:
            return False
        answer = line.strip().lower()
        if not answer:
            return default_yes
        if answer in YES + NO:
            return answer in YES
