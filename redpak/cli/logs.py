"""`redpak logs`: what a detached program said."""

from __future__ import annotations

import sys

from redpak.cli import output, running
from redpak.cli.options import Arguments, Option
from redpak.cli.sizes import moment
from redpak.errors import Refused, Usage
from redpak.state import ending, logfile, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from redpak.state.logfile import Line
    from redpak.state.sandboxes import Sandbox

SUMMARY = (
    "Print what a program that was started detached wrote: its standard output on standard output, its standard\n"
    "error on standard error. The log is capped; the oldest lines go first (redpak run --log-size)."
)
ARGUMENTS = (running.TARGET,)
OPTIONS = (
    Option(name="follow", short="f", help="go on until the program ends"),
    Option(name="since", metavar="TIME", kind="value", help="only what is younger: 10m, or 2026-11-22T08:40:00Z"),
    Option(name="tail", short="n", metavar="N", kind="value", help="only the last N lines of what is there; or all"),
    Option(name="timestamps", short="t", help="with the time of each line"),
    Option(name="stream", metavar="NAME", kind="value", choices=("stdout", "stderr"), help="only one of the two"),
    Option(name="json", help="a JSON object a line: time, stream, text"),
)  # fmt: skip
EXAMPLES = (
    ("redpak logs web", "all that is kept"),
    ("redpak logs -f --tail 20 web", "the last lines, and what comes"),
    ("redpak logs --since 10m --stream stderr web", "complaints of the last ten minutes"),
)


def main(args: Arguments) -> int:
    """Print it."""
    tail = args.value("tail")
    tail = "" if tail == "all" else tail
    if tail and not (tail.isascii() and tail.isdigit()):
        raise Usage(f"option '--tail' cannot be '{tail}'", hint="Write a number of lines.")
    since = logfile.stamp(moment(args.value("since"), "since")) if args.value("since") else ""
    one = running.find(args.word("ID"), ended=True)
    if one.entry is None or not one.entry.log:
        hint = "Start it with 'redpak run --detach' to have a log."
        what = (
            "runs in the foreground: what it writes" if one.lives else "ran in the foreground: what it wrote"
        )
        raise Refused(f"{one.called} {what} is on its terminal", hint=hint)
    reader = logfile.Reader(records.opened(one.entry))
    try:
        wanted = (line for line in reader.old() if chosen(line, since, args.value("stream")))
        lines = list(wanted)
        if tail:
            lines = lines[len(lines) - min(int(tail), len(lines)) :]
        show(lines, args)
        if args.flag("follow"):
            show((line for line in follow(one, reader) if chosen(line, since, args.value("stream"))), args)
    finally:
        reader.close()
    return 0


def chosen(line: Line, since: str, stream: str) -> bool:
    """Tell whether a line was asked for. What redpak says of the log itself is with standard error."""
    return line.time >= since and (not stream or line.stream == stream or line.stream == "redpak")


def follow(one: Sandbox, reader: logfile.Reader) -> Iterator[Line]:
    """Return lines as they come, until the sandbox has ended and nothing is left to read."""
    import os
    import select

    from redpak.kernel import inotify

    watch = reader.wait()
    end = ending.opened(one) if one.lives else -1
    try:
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        poll.register(1, 0)  # of a reader that goes away poll(2) tells unasked
        if end >= 0:
            poll.register(end, select.POLLIN)
        ended = end < 0
        yield from reader.new()
        while not ended:
            for fd, _what in poll.poll():
                if fd == 1:
                    raise BrokenPipeError
                if fd == watch:
                    inotify.events(watch)
                ended |= fd == end
            yield from reader.new()
    finally:
        os.close(watch)
        if end >= 0:
            os.close(end)


def show(lines: Iterable[Line], args: Arguments) -> None:
    """Print lines where they belong. On a terminal, what would command it is escaped."""
    from json import dumps

    plain = {1: not sys.stdout.isatty(), 2: not sys.stderr.isatty()}
    for line in lines:
        if args.flag("json"):
            text = line.text.decode(errors="replace")
            output.write(
                dumps({"time": line.time, "stream": line.stream, "whole": line.whole, "text": text}) + "\n"
            )
            continue
        fd = 1 if line.stream == "stdout" else 2
        text = line.text.decode(errors="surrogateescape")
        if not plain[fd]:
            from redpak.log import printable

            text = printable(text)
        head = f"{line.time} " if args.flag("timestamps") else ""
        shown = f"{head}{text}" + ("\n" if line.whole else "")
        if fd == 1:
            output.write(shown)
        else:
            sys.stderr.flush()
            sys.stderr.buffer.write(shown.encode(errors="surrogateescape"))
            sys.stderr.buffer.flush()
