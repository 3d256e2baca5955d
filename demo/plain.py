"""The command line that `redpak plan --bwrap` prints, started as directly as can be: for comparing start times.

A shell that reads it would add its own time, so what the shell would do (the redirections) is done here.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
from pathlib import Path


class Plain:
    """One bubblewrap command line."""

    def __init__(self, text: str, scratch: Path) -> None:
        code = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
        code = re.sub(r'"?\$\{(\w+)-\}"?', lambda found: shlex.quote(os.environ.get(found[1], "")), code)
        filters = re.findall(r"(\d+)< <\(base64 -d <<<(\S+)\)", code)
        code = re.sub(r"\d+< <\(.*?\)", "", code)
        words = shlex.split(code)
        self.opened = [
            (int(fd), path)
            for fd, _, path in (word.partition("<") for word in words)
            if fd.isdigit() and path
        ]
        self.argv = [word for word in words if not re.match(r"\d+<", word)]
        while self.argv[0] in ("env", "-i"):
            del self.argv[0]
        for fd, data in filters:
            kept = scratch / f"filter-{fd}"
            kept.write_bytes(base64.b64decode(data))
            self.opened.append((int(fd), str(kept)))

    def run(self) -> int:
        """Start it, wait for it, and return its exit code."""
        actions = [(os.POSIX_SPAWN_OPEN, fd, path, os.O_RDONLY, 0) for fd, path in self.opened]
        pid = os.posix_spawn(self.argv[0], self.argv, {}, file_actions=actions)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
