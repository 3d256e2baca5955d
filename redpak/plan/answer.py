"""The answer to a question about a plan, and its two forms: lines for people, JSON for programs."""

from __future__ import annotations

from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.origin import Origin
    from redpak.plan.model import Rival


class Fact(Record):
    """One line about a thing."""

    label: str
    value: str
    because: Origin | None = None


class Located(Record):
    """Where a path inside the sandbox really leads (the caller looked at the host; a plan is only data)."""

    real: str  # the path inside the sandbox, all symlinks followed
    host: str = ""  # the host file behind it, '' when there is none
    what: str = ""  # what that is: "a directory", "a file", "nothing", …


class Explanation(Record):
    """The answer about one thing."""

    thing: str  # "path /etc/passwd", "variable PATH", …
    answer: str  # one sentence
    because: Origin | None = None  # None where nobody asked
    host: str = ""  # the host path that is shown, '' when there is none or it is only known at start
    facts: tuple[Fact, ...] = ()
    lost: tuple[Rival, ...] = ()
    seals: tuple[Rival, ...] = ()


def lines(told: Explanation) -> list[str]:
    """Return an explanation as lines for a person."""
    origin = f"   [{told.because}]" if told.because else ""
    shown = [f"{told.thing}: {told.answer}{origin}"]
    rows = [(fact.label, fact.value, fact.because) for fact in told.facts]
    rows += [("lost", _rival_said(rival, told), rival.because) for rival in told.lost]
    rows += [("sealed", _seal_said(rival, told), rival.because) for rival in told.seals]
    width = max((len(label) for label, _, _ in rows), default=0)
    for label, value, because in rows:
        shown.append(f"  {label.ljust(width)}  {value}" + (f"   [{because}]" if because else ""))
    return shown


def _rival_said(rival: Rival, told: Explanation) -> str:
    same = rival.thing.partition(" ")[2] == told.thing.partition(" ")[2]
    name = "" if same else f"{rival.thing}: "
    return f"{name}{rival.asked}" + (f" ({rival.why})" if rival.why else "")


def _seal_said(rival: Rival, told: Explanation) -> str:
    """Say what an ancestor's word means to the nodes beneath it."""
    if rival.thing.startswith("mount "):
        means = "no node beneath may show it, or its source, writable"
    else:
        means = "no node beneath may loosen it"
    return f"{_rival_said(rival, told)}: {means}"


def document(told: Explanation) -> dict[str, object]:
    """Return an explanation as a JSON document."""
    from redpak.plan.wire import put_origin

    def origin(because: Origin | None) -> object:
        return None if because is None else put_origin(because)

    def rivals(given: tuple[Rival, ...]) -> list[dict[str, object]]:
        return [
            {"thing": one.thing, "asked": one.asked, "why": one.why, "origin": origin(one.because)}
            for one in given
        ]

    return {
        "thing": told.thing,
        "answer": told.answer,
        "origin": origin(told.because),
        "host": told.host,
        "facts": [
            {"label": fact.label, "value": fact.value, "origin": origin(fact.because)} for fact in told.facts
        ],
        "lost": rivals(told.lost),
        "seals": rivals(told.seals),
    }
