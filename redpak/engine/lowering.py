"""What grows while a plan is lowered: bwrap's arguments, descriptors, and every reason why it cannot be done."""

from __future__ import annotations

from redpak.engine.spec import FIRST_FD, Blob, Join, Opened, Value
from redpak.errors import Refused
from redpak.origin import DEFAULT, Origin
from redpak.record import Record
from redpak.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.host import Host
    from redpak.plan.model import FileInput, Plan


class Reason(Record):
    """Why a plan cannot be carried out."""

    message: str
    hint: str = ""
    because: Origin

    def __str__(self) -> str:
        return f"{self.because}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class Unfit(Refused):
    """A plan cannot be carried out here, as it is: carries every reason that was found (exit code 3)."""

    def __init__(self, node: str, reasons: tuple[Reason, ...]) -> None:
        self.reasons = reasons
        if len(reasons) == 1:
            one = reasons[0]
            super().__init__(f"cannot start node '{node}': {one.because}: {one.message}", hint=one.hint)
        else:
            told = "".join(f"\n  {one}" for one in reasons)
            super().__init__(f"cannot start node '{node}', for {len(reasons)} reasons:{told}")


class Lowering:
    """A plan, a host, and what came of them so far."""

    def __init__(self, plan: Plan, host: Host, *, force: bool, strict: bool) -> None:
        self.plan = plan
        self.host = host
        self.force = force
        self.strict = strict
        self.args: list[str | Value] = []
        self.descriptors: list[Opened | Blob] = []
        self.keep: list[int] = []
        self.create: list[str] = []
        self.leases: list[str] = []
        self.joined: list[Join] = []
        self.reasons: list[Reason] = []
        self.notes: list[str] = []
        self.listed: list[FileInput] = []  # directories whose entries matter
        self.because = {choice.name: choice.because for choice in plan.choices}
        self.become = (-1, -1)
        self.filter = b""
        self.filter_path = ""
        self.trees = tuple(member.path.rstrip("/") for member in plan.family if member.path != "/")

    def refuse(self, message: str, hint: str, because: Origin) -> None:
        """Note a reason; the rest is still looked at."""
        self.reasons.append(Reason(message=message, hint=hint, because=because))

    def doubt(self, message: str, hint: str, because: Origin) -> None:
        """Note what cannot be done as asked: a reason under `strict`, else the user is told."""
        if self.strict:
            self.refuse(message, hint, because)
        else:
            self.notes.append(f"{because}: {message}")

    def why(self, choice: str) -> Origin:
        """Return who made a choice."""
        return self.because.get(choice, DEFAULT)

    def descriptor(self, one: Opened | Blob) -> str:
        """Add a descriptor and return its number."""
        self.descriptors.append(one)
        return str(FIRST_FD + len(self.descriptors) - 1)

    def word(self, value: Text | str, because: Origin, before: int = 1) -> str | Value:
        """Return a word for the arguments: a string where it is known, else a Value."""
        known = value if isinstance(value, str) else value.literal
        if known is None:
            assert isinstance(value, Text)
            sealed = self.plan.profile == "sealed"
            return Value(content=value, before=before, strip=sealed, because=because)
        return known
