"""Where a value comes from: the file and line that asked for it."""

from __future__ import annotations

from redpak.record import Record


class Origin(Record):
    """A place in a file. `file` is '' for redpak's own defaults and for the command line."""

    file: str
    line: int = 0  # 1-based; 0 where no line applies
    column: int = 0  # 1-based; 0 where no column applies
    note: str = ""  # "default", "command line", "environment REDPAK_PROFILE", … where there is no file

    def __str__(self) -> str:
        if not self.file:
            return self.note or "default"
        return f"{self.file}:{self.line}" if self.line else self.file

    def full(self) -> str:
        """Return 'file:line:column', as compilers write it."""
        return f"{self}:{self.column}" if self.file and self.line and self.column else str(self)


DEFAULT = Origin(file="", note="default")
COMMAND_LINE = Origin(file="", note="command line")
