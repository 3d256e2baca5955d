"""Launchers that `redpak run` made for itself: the second start of a node needs no planning.

A launcher checks its inputs itself. Here it is only found: by who asks, for which node, how, and with which redpak.
"""

from __future__ import annotations

import os

from redpak import __version__, paths
from redpak.engine.sources import only_ours
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.spec import LaunchSpec
    from redpak.plan.model import Plan

HEAD = "#!/bin/sh\n# redpak launcher: "  # as frozen.py writes it
ROOMS = ("", "config", "engine", "kernel", "node", "plan")


class Request(Record):
    """What was asked for: the same request gets the same launcher."""

    path: str  # the redpath as given
    admin: bool = False
    force: bool = False
    strict: bool = False
    quiet: bool = False  # without the plan's warnings
    bwrap: str = ""
    profile: str = ""  # where it was chosen by something else than the environment or a configuration file

    def words(self) -> tuple[str, ...]:
        """Return the options of `redpak run` that ask for the same."""
        flags = (
            ("--admin", self.admin), ("--force", self.force), ("--strict", self.strict), ("--quiet", self.quiet),
        )  # fmt: skip
        named = ("--bwrap", os.path.abspath(self.bwrap)) if self.bwrap else ()
        return (*(flag for flag, on in flags if on), *named)

    def spelled(self) -> str:
        """Return the redpath as given, made absolute but not resolved: the upstream profile shows it."""
        return self.path if self.path.startswith("/") else os.path.join(os.getcwd(), self.path)


def code_stamp() -> str:
    """Return what changes when a module of redpak changes: another redpak may plan in another way."""
    newest = count = total = 0
    for room in ROOMS:
        with os.scandir(paths.shipped(room) if room else paths.shipped()) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    at = entry.stat()
                    newest = max(newest, at.st_mtime_ns)
                    count += 1
                    total += at.st_size
    return f"{__version__}.{count}.{total}.{newest}"


def key(request: Request) -> str:
    """Return the request as one line."""
    asked = (
        request.spelled(), os.path.realpath(request.path), os.environ.get("REDPAK_PROFILE", ""), request.profile,
        *request.words(), f"{os.getuid()}:{os.getgid()}", f"{os.geteuid()}:{os.getegid()}",
        os.environ.get("redpak_MAIN", ""), paths.shipped(), code_stamp(),
    )  # fmt: skip
    return ascii(asked)


def folder() -> str:
    """Return where launchers are kept."""
    return os.path.join(paths.cache(), "launchers")


def path_of(key: str) -> str:
    """Return the file for a key. Two keys may share a name: the file says which one it is for."""
    import binascii

    data = key.encode()
    return os.path.join(folder(), f"{binascii.crc32(data):08x}{binascii.crc32(data, 0x5EED):08x}")


def fresh_launcher(request: Request) -> str | None:
    """Return the launcher that was made for `request`, None where there is none that can be trusted.

    Whether its inputs are unchanged is for the launcher to find out.
    """
    if os.environ.get("REDPAK_NO_HELPER", "0") not in ("", "0"):
        return None
    wanted = key(request)
    path = path_of(wanted)
    start = f"{HEAD}{wanted}\n".encode()
    try:
        if not (
            only_ours(os.lstat(paths.cache()), directory=True)
            and only_ours(os.lstat(folder()), directory=True)
        ):
            return None
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return path if only_ours(os.fstat(fd)) and os.read(fd, len(start)) == start else None
    finally:
        os.close(fd)


def store(request: Request, plan: Plan, spec: LaunchSpec) -> str:
    """Keep a launcher for `request`. Returns '' or why it cannot be, which is no error.

    `spec` is as lowered, before anything of it was evaluated.
    """
    from redpak.engine import frozen, run, seccomp
    from redpak.errors import RedpakError
    from redpak.fs import write_atomically

    helper = run.helper()
    reason = frozen.why_not(plan, spec, helper)
    if reason:
        return reason
    if not seccomp.keep(spec):
        return f"the filters in '{paths.cache()}' cannot be written"
    wanted = key(request)
    origins = frozen.Origins(path=request.spelled(), words=request.words(), key=wanted)
    if request.quiet:
        plan, spec = plan.but(warnings=()), spec.but(notes=())
    text = frozen.script(plan, spec.but(program=()), helper=helper, origins=origins)
    try:
        os.makedirs(os.path.dirname(folder()), mode=0o755, exist_ok=True)
        try:
            os.mkdir(folder(), 0o700)
        except FileExistsError:
            pass
        for place in (paths.cache(), folder()):
            if not only_ours(os.lstat(place), directory=True):
                return f"'{place}' is not a directory of ours, or can be changed by others"
        write_atomically(path_of(wanted), frozen.encoded(text), mode=0o700, durable=False)
    except (OSError, RedpakError) as error:
        return str(error)
    return ""


def rewrite(launcher: str, request: Request, plan: Plan, spec: LaunchSpec) -> str:
    """Make the launcher at a path anew, with the command that was frozen into it. Returns '' or why it cannot be.

    Anything that is not a launcher of ours is left alone.
    """
    from redpak.engine import frozen, run, seccomp
    from redpak.errors import RedpakError
    from redpak.fs import write_atomically

    if os.path.dirname(os.path.abspath(launcher)) == folder():
        return store(request, plan, spec)
    program = frozen.program_of(launcher)
    if program is None:
        return f"'{launcher}' is not a launcher of ours"
    reason = frozen.why_not(plan, spec, run.helper())
    if reason:
        return reason
    if not seccomp.keep(spec):
        return f"the filters in '{paths.cache()}' cannot be written"
    origins = frozen.Origins(path=request.spelled(), words=request.words())
    text = frozen.script(plan, spec.but(program=program), helper=run.helper(), origins=origins)
    try:
        mode = os.stat(launcher).st_mode & 0o7777
        write_atomically(launcher, frozen.encoded(text), mode=mode, durable=False)
    except (OSError, RedpakError) as error:
        return str(error)
    return ""
