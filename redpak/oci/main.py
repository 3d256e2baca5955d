"""The program `redpak-oci`: an OCI runtime with the command line of runc and crun. The only place here that reports.

Everything is imported by the command that needs it: `state`, `kill` and `delete` are called a lot, and should cost
little more than the interpreter does.
"""

from __future__ import annotations

import os
import sys

from redpak.errors import BadConfig, RedpakError, Usage
from redpak.oci.commands import COMMANDS, GLOBAL, HELP, OWN_OPTIONS, WORDS
from redpak.oci.options import Options, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn


NODES = ""


class Call:
    """One call of the program: its command, its options, its words, and the global options."""

    def __init__(self, name: str, asked: Options, words: list[str], common: Options) -> None:
        self.name = name
        self.asked = asked
        self.words = words
        self.common = common

    @property
    def root(self) -> str:
        """Where the states are."""
        from redpak.oci.store import default_root

        return os.path.abspath(self.common.text("root") or default_root())


def entry(nodes: str = "", last: Callable[[], object] | None = None) -> NoReturn:
    """Run the command line of this process and leave at once: there is nothing to tidy up that the kernel does not.

    `nodes` is the module that knows nodes, for containers that name one (node_handler); "" = there are none.
    `last` is called when all is done and said.
    """
    global NODES
    NODES = nodes
    _standard()
    code = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            code = code or 1
    if last is not None:
        last()
    os._exit(code)


def _standard() -> None:
    """Put /dev/null where a standard descriptor is closed: the next file that we open would be the container's."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open("/dev/null", os.O_RDONLY)  # the lowest free number; writing there fails as before


def main(words: Sequence[str]) -> int:
    """Run `redpak-oci words…` and return its exit code."""
    common = Options()
    name = ""
    try:
        common, rest = parse(words, GLOBAL, mixed=False)
        _check_format(common)
        if common.flag("version"):
            return _about("version")
        if common.flag("help") or not rest or rest[0] == "help":
            return _about("usage", *(rest[1:2] if rest[:1] == ["help"] else []))
        name = rest[0]
        return _dispatch(name, rest[1:], common)
    except RedpakError as error:
        _report(_told(error), error.hint, common, error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is, one line and a code
        _report(_unexpected(error), "", common, error)
    return 255 if name == "exec" else 1


def _dispatch(name: str, words: list[str], common: Options) -> int:
    if name not in COMMANDS:
        raise Usage(f"there is no command '{name}'", hint="See redpak-oci --help.")
    module, function, known, _, _ = COMMANDS[name]
    if known is None:
        raise RedpakError(
            f"{name} is not supported: redpak-oci does no checkpointing",
            hint="Stop the container and start it again, or use a runtime with CRIU.",
        )
    asked, rest = parse(words, {**known, **HELP}, stop_at=OWN_OPTIONS.get(name, 0))
    if asked.flag("help"):
        return _about("usage", name)
    least, most = WORDS.get(name, (1, 1))
    if len(rest) < least or (0 <= most < len(rest)):
        wanted = COMMANDS[name][3] or "no argument"
        raise Usage(f"'{name}' wants {wanted}, and was given {len(rest)} argument(s)", hint="See --help.")
    run = getattr(__import__(f"redpak.oci.{module}", fromlist=(function,)), function)
    code = run(Call(name, asked, rest, common))
    if _warnings:
        _log_warnings(common)
    return code if isinstance(code, int) else 0


def _about(function: str, *given: str) -> int:
    from redpak.oci import about

    getattr(about, function)(*given)
    return 0


def _check_format(common: Options) -> None:
    if common.text("log-format", "text") not in ("text", "json"):
        wrong = common.text("log-format")
        common.given["log-format"] = "text"
        raise Usage(f"unknown log format '{wrong}'", hint="Take 'text' or 'json'.")


def _told(error: RedpakError) -> str:
    """Return the message, in the words that docker and podman look for when they choose 126 and 127."""
    if isinstance(error, BadConfig):
        return f"{error.message}: " + "; ".join(str(fault) for fault in error.faults)
    text = error.message
    if (
        error.code == 127
        and "executable file not found" not in text
        and "no such file or directory" not in text
    ):
        text += ": executable file not found"
    if error.code == 126 and "permission denied" not in text and "operation not permitted" not in text:
        text += ": permission denied"
    return text


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError):
        thing = f" '{error.filename}'" if error.filename else ""
        return f"unexpected failure{thing}: {(error.strerror or str(error)).lower()}"
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else ""
    return f"unexpected {type(error).__name__}{where}: {' '.join(str(error).split())}"


def _report(message: str, hint: str, common: Options, error: BaseException) -> None:
    from redpak.log import printable

    message = printable(message)
    to_log(common, "error", message)
    text = f"redpak-oci: {message}\n" + (f"hint: {printable(hint)}\n" if hint else "")
    if common.flag("debug") or os.environ.get("REDPAK_DEBUG"):
        import traceback

        text += "".join(traceback.format_exception(error))
    try:
        os.write(2, text.encode(errors="backslashreplace"))
    except OSError:
        pass  # nobody reads it: the log and the exit code say it too


_warnings: list[str] = []


def warn(common: Options, message: str) -> None:
    """Tell of something that does not stop us: in the log, without one on standard error.

    Standard error is the container's as well, so what can be told elsewhere is; but that it has fewer rights than
    were asked for, its user has to see.
    """
    from redpak.log import printable

    message = printable(message)
    if common.text("log"):
        _warnings.append(message)
    if not common.text("log") or "not permitted" in message:
        try:
            os.write(2, f"redpak-oci: warning: {message}\n".encode(errors="backslashreplace"))
        except OSError:
            pass


def _log_warnings(common: Options) -> None:
    """Write them when all went well: podman takes the log of a command that failed for one document, the error."""
    for message in _warnings:
        to_log(common, "warning", message)


def to_log(common: Options, level: str, message: str) -> None:
    """Add a line to the file of --log: what conmon, containerd and docker read when a command fails."""
    path = common.text("log")
    if not path:
        return
    from redpak.oci.life import now

    at = now()
    at = f"{at[:19]}Z"
    if common.text("log-format") == "json":
        from redpak import quickjson

        line = quickjson.dumps({"level": level, "msg": message, "time": at})
    else:
        told = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        line = f'time="{at}" level={level} msg="{told}"'
    try:
        fd = os.open(
            path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, 0o644
        )
        try:
            os.write(fd, line.encode() + b"\n")
        finally:
            os.close(fd)
    except OSError as error:
        os.write(2, f"redpak-oci: cannot write the log '{path}': {(error.strerror or '').lower()}\n".encode())
