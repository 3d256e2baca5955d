"""`redpak events`: what happens to sandboxes, as it happens."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.options import Arguments, Option
from redpak.cli.sizes import moment
from redpak.errors import Usage
from redpak.state import journal, logfile, place, seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

SUMMARY = (
    "Follow life events, one a line: create, start, exit, lost, oom, exec, stop, kill, pause, resume, remove.\n"
    "A launch in the foreground tells of its start and exit by its launch helper, one that stays in Python by itself.\n"
    "Where these are killed, the exit is noted by who notices it: this command while it follows, else the next one,\n"
    "with the code unknown. Other users' events are in their own runtime directories."
)
ARGUMENTS = ()
OPTIONS = (
    Option(name="since", metavar="TIME", kind="value", help="those of the past as well: 10m, or a date"),
    Option(name="no-follow", help="only those of the past"),
    Option(
        name="filter", metavar="KEY=VALUE", kind="repeat", help="only some: event=exit, id=3f9a, name=web"
    ),
    Option(name="json", help="a JSON object a line"),
)
EXAMPLES = (
    ("redpak events", "what happens from now on"),
    ("redpak events --since 1h --no-follow --json", "the last hour, as JSON lines"),
    ("redpak events --filter event=oom", "only where memory ran out"),
)
KEYS = ("event", "id", "name")


def main(args: Arguments) -> int:
    """Print them."""
    filters = [word.partition("=") for word in args.values("filter")]
    for key, equals, value in filters:
        if key not in KEYS or not equals or (key == "event" and value not in journal.KINDS):
            hint = f"Write event=, id= or name=; events are {', '.join(journal.KINDS)}."
            raise Usage(f"option '--filter' cannot be '{key}{equals}{value}'", hint=hint)
    since = moment(args.value("since"), "since") if args.value("since") else None
    wanted = [(key, value) for key, _, value in filters]
    if args.flag("no-follow"):
        if place.existing():
            seen.settle()
            show(seen.once(journal.past()), wanted, since or 0.0, args)
        return 0
    show(seen.follow(history=since is not None, reader=1), wanted, since or 0.0, args)
    return 0


def show(
    events: Iterable[dict[str, Any]], wanted: list[tuple[str, str]], since: float, args: Arguments
) -> None:
    """Print those that were asked for."""
    from json import dumps

    for one in events:
        if one.get("time", 0) < since or not all(fits(one, key, value) for key, value in wanted):
            continue
        if args.flag("json"):
            output.write(dumps(one) + "\n")
            continue
        more = " ".join(
            f"{key}={shown(value)}"
            for key, value in one.items()
            if key not in ("time", "event", "id", "ticks") and value != ""
        )
        output.lines([f"{logfile.stamp(one['time'])} {one['event']:8} {one['id']} {more}".rstrip()])


def shown(value: Any) -> str:
    """Return a value for people: words as a shell takes them."""
    import shlex

    if value is None:
        return "unknown"
    return shlex.join(value if isinstance(value, list) else [str(value)])


def fits(one: dict[str, Any], key: str, value: str) -> bool:
    """Tell whether an event is one of those."""
    given = str(one.get(key, ""))
    return given.startswith(value) if key == "id" else given == value
