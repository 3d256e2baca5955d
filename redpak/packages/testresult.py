"""Answers of the solver as test cases write them: kinds of lines, and how two answers differ."""

from __future__ import annotations

from redpak.errors import RedpakError
from redpak.record import Record

# What a result may hold: the word of the flag, and the first words of its lines.
KINDS = {
    "transaction": (
        "erase", "install", "reinstall", "downgrade", "change", "upgrade", "obsolete", "multiinstall",
        "multireinstall",
    ),
    "problems": ("problem",), "jobs": ("job",), "recommended": ("recommended", "suggested"), "order": ("order",),
    "orphaned": ("orphaned",), "unneeded": ("unneeded", "unneeded_filtered"), "alternatives": ("alternative",),
    "rules": ("rule",), "genid": ("genid",), "reason": ("reason",), "cleandeps": ("cleandeps",),
    "userinstalled": ("userinstalled", "autoinst"), "orderedges": ("orderedge",), "proof": ("proof",),
}  # fmt: skip
COMPUTED = ("transaction", "problems", "jobs", "recommended", "order")


class BadCase(RedpakError):
    """A file is no test case, or one that this library cannot run (exit code 2); `faults` has every reason."""

    code = 2

    def __init__(self, path: str, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"cannot replay '{path}': " + "; ".join(faults))


class Answer(Record):
    """One question of a case, answered."""

    result: tuple[str, ...]  # sorted lines
    expected: tuple[str, ...] | None = None  # sorted; None: the case does not say
    unknown: tuple[
        str, ...
    ] = ()  # kinds that the case asks for and the library does not tell; not in `expected`

    @property
    def difference(self) -> tuple[str, ...]:
        """'-' and what was expected, '+' and what came instead; empty when it is equal."""
        if self.expected is None:
            return ()
        missing, extra = list(self.expected), []
        for line in self.result:
            if line in missing:
                missing.remove(line)
            else:
                extra.append(line)
        both = [(line, "-") for line in missing] + [(line, "+") for line in extra]
        return tuple(f"{sign}{line}" for line, sign in sorted(both))
