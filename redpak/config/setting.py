"""One setting: everything that is known about a key of a configuration file.

`settings.py` holds the table of them. Loading, checking, merging, the JSON Schema, the reference page and the
help texts all read that table, so that a new key is one entry there and one use in `node/plan.py`.
"""

from __future__ import annotations

from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    # How a value is written; `kinds.py` reads, checks and describes each of them.
    Kind = Literal[
        "text", "alias", "bool", "flag", "int", "tri", "share", "octal", "choice", "identity", "label",
        "hostname", "place", "places", "mount", "source", "command", "variable", "capability", "rlimit",
        "size", "cpus", "weight", "nice", "bandwidth", "count", "oom", "io-max", "io-weight", "io-line",
        "sequence", "mapping", "ignored",
    ]  # fmt: skip

    # What the sealed profile does when two nodes of a family say different things.
    Merge = Literal[
        "none",  # of one file alone: headers, the fields of an entry, ignored keys
        "plain",  # the oldest that says it wins; another value below is a warning
        "share",  # disabled, then a path to join, then enabled: never loosened
        "tri",  # Enabled binds; Unset says nothing
        "seal-true",  # true binds
        "seal-false",  # false binds
        "seal-default",  # the value 'default' binds
        "accumulate",  # all of them, in order
        "capability",  # a drop binds
        "limit",  # never larger than an ancestor's
        "profile",  # the oldest node's, else the core OS's
    ]


class Setting(Record):
    """A key, where it may stand, what it takes and what it means."""

    section: str  # dotted: "headers", "exports", "config", "config.capabilities", "config.cgroups.mem"
    name: str
    kind: Kind
    help: str  # what it does, in one or two sentences of Markdown
    example: str = ""  # as written in a file
    default: str = ""  # as written in a file; '' when absence means that nothing is asked for
    merge: Merge = "none"
    expanded: bool = False  # $NODE_PATH and the like are replaced
    commands: bool = False  # and $(commands) too
    words: tuple[str, ...] = ()  # the words that it takes, in their canonical spelling
    aliases: tuple[tuple[str, str], ...] = ()  # further spellings of those words: (lower case, canonical)
    required: bool = False
    upstream: bool = True  # red-pak 2.5 has this key too
    always: bool = False  # red-pak writes it even when nobody set it

    @property
    def full(self) -> str:
        """The dotted name: 'config.cgroups.mem.max'."""
        return f"{self.section}.{self.name}" if self.section else self.name
