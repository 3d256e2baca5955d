"""Carry a plan out: lower it, evaluate what is open, and start bwrap, through the helper where there is one."""

from __future__ import annotations

import os
import sys

from redpak import log
from redpak.engine import bwrap, host, locate, prepared, seccomp, sources, table
from redpak.engine.spec import Blob, LaunchSpec, Opened, Value
from redpak.errors import LaunchFailed, Refused, Usage
from redpak.paths import shipped
from redpak.plan.ops import Bind
from redpak.record import Record
from redpak.text import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redpak.plan.model import Plan

CHUNK = 120_000  # bytes of one variable; execve(2) takes 128 KiB, with its name
MINE = "rp_"  # how the variables begin that hand values to the helper, and those of frozen launchers
REPLANS = 20  # as many transactions may be faster than we
EBADF = 9  # errno(3)


class Options(Record):
    """How a plan is to be started."""

    force: bool = False  # leave out what is missing
    strict: bool = False  # refuse what is otherwise only noted
    bwrap: str = ""  # the bwrap to use, '' = the host's
    explain: tuple[
        str, ...
    ] = ()  # argv of what explains a failed start (gets bwrap's code and the program's words)
    lowered: Callable[[Plan, LaunchSpec], None] | None = None  # told of a launch before anything is evaluated
    again: tuple[str, ...] = ()  # argv of what starts over where a generation goes at the last moment
    begun: bool = False  # the launch helper is to tell the journal of events
    native: bool = False  # redpak-join makes the sandbox, not bubblewrap


class Moved(LaunchFailed):
    """A generation of packages that the plan shows was removed meanwhile: there is a newer one (exit code 125)."""


def run(
    plan: Plan,
    *,
    force: bool = False,
    strict: bool = False,
    engine: str | None = None,
    bwrap: str = "",
    explain: Sequence[str] = (),
    lowered: Callable[[Plan, LaunchSpec], None] | None = None,
    again: Sequence[str] = (),
    replan: Callable[[], Plan] | None = None,
    begun: bool = False,
) -> int:
    """Start the plan's command in its sandbox and return its exit code (128+n when signal n ended it).

    Does not return at all where the helper takes this process's place. `replan` makes the plan anew where packages
    are changed so fast that the one at hand is out of date. `begun`: this process is the launch, which the journal of
    events is to know of. Raises Refused with every reason before anything was
    started or made; NoProgram, CannotRun and LaunchFailed for the codes 127, 126 and 125.
    """
    options = Options(
        force=force, strict=strict, bwrap=bwrap, explain=tuple(explain), lowered=lowered, again=tuple(again),
        begun=begun,
    )  # fmt: skip
    held: list[int] = []
    try:
        for _ in range(REPLANS):
            try:
                hold(plan, held)
                break
            except Moved:
                if replan is None:
                    raise
                plan = replan()
        return table.choose(plan, engine or ("bwrap" if bwrap else None))(plan, options)
    finally:
        for fd in held:
            os.close(fd)


def hold(plan: Plan, held: list[int]) -> None:
    """Hold a shared lock on every generation of packages that a plan shows; the open directories go to `held`.

    Raises Moved where one of them is gone or going.
    """
    places = {
        sources.generation(op.src.literal) for op in plan.mounts if isinstance(op, Bind) and op.src.literal
    }
    for place in sorted(filter(None, places)):
        from redpak.engine.supervise import lease

        try:
            held.append(lease(place))
        except LaunchFailed as error:
            raise Moved(error.message, hint=error.hint) from error
        if not os.path.isdir(place):
            raise Moved(f"'{place}' was removed", hint="Start again.")


def helper() -> str:
    """Return the launch helper, '' where it is not built or switched off (REDPAK_NO_HELPER=1)."""
    if os.environ.get("REDPAK_NO_HELPER", "0") not in ("", "0"):
        return ""
    program = shipped("engine", "redpak-launch")
    return program if os.access(program, os.X_OK) else ""


def start(plan: Plan, options: Options) -> int:
    """Start a plan with bwrap; see `run`."""
    if not plan.command:
        raise Usage("there is no program to run", hint="Write it behind '--'.")
    cover_stdio()
    close_on_exec()
    here = host.look(options.bwrap, without=options.native)
    lowered = options.lowered
    if any(op.src.literal is None for op in plan.mounts if isinstance(op, Bind)):
        # Refuse what can be refused before a command runs, then again with the sources known.
        from redpak.engine import commands

        bwrap.lower(plan, here, force=options.force, strict=options.strict)
        plan, lowered = commands.settle_sources(plan, here.bwrap), None
    spec = bwrap.lower(plan, here, force=options.force, strict=options.strict)
    return launch(plan, options, spec, lowered)


def launch(
    plan: Plan, options: Options, spec: LaunchSpec, lowered: Callable[[Plan, LaunchSpec], None] | None
) -> int:
    """Start a lowered plan; `lowered` is told of it. See `run`."""
    if options.explain or not helper():  # somebody must start over when its keeper goes at the last moment
        spec = prepared.use(spec)
    if options.native and not spec.joiner:
        spec = prepared.cold(spec)
    make_ready(plan, spec)
    if lowered is not None:
        lowered(plan, spec)
    stored = not spec.seccomp or seccomp.store(spec.seccomp, spec.seccomp_path)
    spec = inherit(spec)
    if not settled(spec):
        from redpak.engine import commands

        spec = commands.settle(spec)
    program = helper()
    if spec.become != (-1, -1) or not program:
        # Imported now: whom we become may be unable to read our files.
        from redpak.engine import supervise
    if spec.rlimits:
        import resource  # noqa: F401
    if spec.limits:
        from redpak.engine import limited

        return limited.start(plan, spec)
    told: tuple[str, ...] = ()
    if options.begun and program:
        from redpak.engine import begun

        told = begun.words(plan.node)
    joined = enter(spec)
    if program and stored and reachable(spec, program):
        place(spec.keep, joined)
        argv, environ = for_helper(spec, program, why(options.explain, spec), tuple(joined))
        argv[1:1] = told
        if spec.leases and options.again:
            argv[1:1] = [word for one in options.again for word in ("-e", one)]
        flush()
        try:
            os.execve(program, argv, {**(clean_environment() if options.explain else {}), **environ})
        except (
            OSError,
            ValueError,
        ) as error:  # too many words for execve(2), or a NUL byte in a file's content
            log.debug(f"start without '{program}': {error}")
    from redpak.engine import supervise
    from redpak.engine.announce import noted

    limit(spec)
    flush()
    with noted(plan, spec, spec.engine) as record:
        ended = supervise.supervise(spec, joined)
        record.ended(ended.code)
    if ended.code is not None:
        return ended.code
    if ended.bwrap == prepared.GONE and spec.joiner and prepared.drop(plan.node):
        return start(plan, options)
    from redpak.engine.failed import explained

    raise explained(plan, ended.bwrap, spec.engine)


def make_ready(plan: Plan, spec: LaunchSpec) -> None:
    """Tell what could not be done as asked, look whether all is there, and make what has to be made.

    Sets this process's umask. Raises Refused, NoProgram, CannotRun and LaunchFailed.
    """
    for note in spec.notes:
        log.warn(note)
    for fd in spec.keep:
        if not is_open(fd):
            raise Refused(f"descriptor {fd} is not open", hint=f"Start with {fd}<FILE.")
    reason = locate.program(plan, plan.command[0], os.environ)
    if reason and not spec.create:
        raise reason
    if spec.umask >= 0:
        os.umask(spec.umask)
    try:
        sources.make(spec.create)
    except OSError as error:
        raise LaunchFailed(f"cannot make '{error.filename}': {(error.strerror or '').lower()}") from error


def inherit(spec: LaunchSpec) -> LaunchSpec:
    """Return `spec` with the variables of the caller that it asks for."""
    args: list[str | Value] = []
    if spec.inherit_env:
        options = ("--setenv", "--unsetenv")
        own = {spec.args[at + 1] for at, word in enumerate(spec.args[:-1]) if word in options}
        for key, value in os.environ.items():
            # a launcher that is made anew has left its own variables behind
            if key and key not in own and not (key.startswith(MINE) and key[len(MINE) :].isdigit()):
                args += ["--setenv", key, Value(content=text(value), before=2)]
    for word in spec.args:
        if isinstance(word, Value) and word.inherited:
            args.append(word.but(content=text(os.environ.get(word.inherited, "")), inherited=""))
        else:
            args.append(word)
    return spec.but(args=tuple(args), inherit_env=False)


def settled(spec: LaunchSpec) -> bool:
    """Tell whether nothing is left to evaluate."""
    return all(
        one.content.literal is not None
        for one in (*spec.args, *spec.descriptors)
        if isinstance(one, (Value, Blob))
    )


def is_open(fd: int) -> bool:
    """Tell whether a descriptor is open."""
    try:
        os.fstat(fd)
    except OSError as error:
        if error.errno == EBADF:
            return False
        raise
    return True


def cover_stdio() -> None:
    """Open 0, 1 and 2 where the caller closed them, before anything else gets these numbers; make them block."""
    for fd in (0, 1, 2):
        try:
            os.set_blocking(fd, True)
        except OSError as error:
            if error.errno != EBADF:
                raise
            os.set_inheritable(os.open("/dev/null", os.O_RDWR), True)  # noqa: FBT003


def close_on_exec() -> None:
    """Let no program that we start inherit a descriptor of the caller; those that are passed on are opened up again."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2:
            try:
                os.set_inheritable(fd, False)  # noqa: FBT003
            except OSError as error:
                if error.errno != EBADF:  # the listing's own descriptor
                    raise


def clean_environment() -> dict[str, str]:
    """Return our environment without what makes the dynamic linker load other code."""
    return {key: value for key, value in os.environ.items() if not key.startswith("LD_")}


def enter(spec: LaunchSpec) -> dict[int, int]:
    """Join and leave namespaces, drop groups, become another user: what bwrap and the helper leave to us.

    Returns the open namespaces that bwrap joins: {number in its arguments: descriptor}. Raises LaunchFailed.
    """
    if spec.joins or spec.newtime or spec.smack or spec.become != (-1, -1):
        from redpak.engine import identity

        return identity.enter(spec)
    if os.geteuid() == 0:
        try:
            os.setgroups([])
        except PermissionError:
            pass  # inside a user namespace that forbids it groups mean nothing
    return {}


def limit(spec: LaunchSpec) -> None:
    """Set resource limits on this process (and so on everything that it starts). Raises LaunchFailed."""
    if not spec.rlimits:
        return
    import resource

    for one in spec.rlimits:
        try:
            resource.setrlimit(rlimit_number(one.name), (one.soft, one.hard))
        except (OSError, ValueError) as error:
            raise LaunchFailed(f"{one.because}: cannot limit '{one.name}': {error}") from error


def rlimit_number(name: str) -> int:
    """Return the kernel's number of a resource limit."""
    import resource

    number: int = getattr(resource, "RLIMIT_" + name.upper())
    return number


def reachable(spec: LaunchSpec, program: str) -> bool:
    """Tell whether whom we have become may start the helper and read the filter's file."""
    if spec.become == (-1, -1):
        return True
    read = os.access(spec.seccomp_path, os.R_OK, effective_ids=True) if spec.seccomp else True
    return read and os.access(program, os.X_OK, effective_ids=True)


def flush() -> None:
    """Write out what is still in Python's buffers; None stands for a descriptor that was closed."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def place(keep: tuple[int, ...], joined: dict[int, int]) -> None:
    """Open what is passed on up again, and move open namespaces to the numbers that bwrap's arguments name."""
    for fd in keep:
        os.set_inheritable(fd, True)  # noqa: FBT003
    for number, fd in joined.items():
        if fd != number:
            os.dup2(fd, number, inheritable=True)
        else:
            os.set_inheritable(fd, True)  # noqa: FBT003


def why(explain: tuple[str, ...], spec: LaunchSpec) -> tuple[str, ...]:
    """Return the words of what explains a failed start, with the engine that made it."""
    if not spec.joiner or "--why-failed" not in explain:
        return explain
    at = explain.index("--why-failed") + 1
    return (*explain[:at], "--engine", spec.engine, *explain[at:])


def for_helper(
    spec: LaunchSpec, program: str, explain: tuple[str, ...], joined: tuple[int, ...]
) -> tuple[list[str], dict[str, str]]:
    """Return the helper's command line and variables for a settled LaunchSpec (what the options mean: launch.c)."""
    environ: dict[str, str] = {}

    def hidden(value: str) -> str:
        name = f"{MINE}{len(environ) + 1}"
        environ[name] = value
        return name

    argv = [program]
    for path in spec.leases:
        argv += ["-g", path]
    for fd in sorted({*spec.keep, *joined}):
        argv += ["-k", str(fd)]
    for word in explain:
        argv += ["-x", word]
    for one in spec.descriptors:
        if isinstance(one, Opened):
            argv += ["-o" if one.how == "path" else "-r", one.path]
            continue
        content = os.fsencode(one.content.literal or "")
        argv += ["-d", ""]
        for at in range(0, len(content), CHUNK):
            argv += ["-m", hidden(os.fsdecode(content[at : at + CHUNK]))]
    for limit_ in spec.rlimits:
        argv += ["-l", f"{rlimit_number(limit_.name)}:{limit_.soft}:{limit_.hard}"]
    argv += [flag for flag, on in (("-s", spec.scope), ("-n", spec.pidns), ("-t", spec.newsession)) if on]
    words, late = spec.parted()
    for option, value in late:
        for word in option:
            argv += ["-a", word]
        argv += ["-v", hidden(value.content.literal or "")]
    return [*argv, "--", spec.starter, str(len(words)), *words, *spec.program], environ
