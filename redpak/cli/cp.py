"""`redpak cp`: copy files into a running sandbox, or out of it."""

from __future__ import annotations

import os

from redpak.cli import output, running
from redpak.cli.options import Argument, Arguments
from redpak.errors import RedpakError, Usage
from redpak.state import copying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.copying import End

SUMMARY = (
    "Copy a file or a directory into a running sandbox, or out of it. A path inside is written ID:PATH, absolute;\n"
    "links and '..' in it never lead out. Where TO is a directory, FROM goes into it. Modes are kept without set-id\n"
    "bits, owners for root only, links as they are; devices, FIFOs and sockets are refused."
)
ARGUMENTS = (
    Argument(name="FROM", help="ID:PATH, or a path of the host (write ./a:b for one with a colon)"),
    Argument(name="TO", help="the other one of the two"),
)
OPTIONS = (running.JSON,)
EXAMPLES = (
    ("redpak cp web:/tmp/report.txt .", "out of the sandbox"),
    ("redpak cp settings.ini web:/tmp/", "into it"),
    ("redpak cp web:/var/log ./log-of-web", "a directory with all in it"),
)


def main(args: Arguments) -> int:
    """Copy it."""
    source, target = parted(args.word("FROM")), parted(args.word("TO"))
    if bool(source[0]) == bool(target[0]):
        which = "both paths are" if source[0] else "neither of the two paths is"
        raise Usage(f"{which} inside a sandbox", hint="Write one of them as ID:PATH.")
    one = running.find(source[0] or target[0])
    root = copying.root_of(running.main_of(one))
    held = [root]
    try:
        begin = _end(root, source, held, must=True)
        end = _end(root, target, held, must=False)
        name = os.path.basename(os.path.normpath(source[1]))
        name = one.called if name in ("", ".", "..") else name
        done = copying.copy(begin, end, name=name)
    finally:
        for fd in held:
            os.close(fd)
    if args.flag("json"):
        output.json({"files": done.files, "bytes": done.bytes, "refused": list(done.refused)})
    if done.refused:
        raise RedpakError(f"not copied: {'; '.join(done.refused)}", hint="The rest was copied.")
    return 0


def _end(root: int, at: tuple[str, str], held: list[int], *, must: bool) -> End:
    end = copying.inside(root, at[1], must=must) if at[0] else copying.outside(at[1], must=must)
    held.append(end.folder)
    return end


def parted(word: str) -> tuple[str, str]:
    """Return (sandbox, path): ('', path) for one of the host. Raises Usage for a path inside that is not absolute."""
    before, colon, after = word.partition(":")
    if not colon or before.startswith((".", "/")) or "/" in before:
        return "", word
    if not after.startswith("/"):
        raise Usage(f"'{word}' does not name an absolute path in a sandbox", hint=f"Write {before}:/{after}")
    if not before:
        raise Usage(f"'{word}' names no sandbox", hint=f"Write ID:{after}")
    return before, after
