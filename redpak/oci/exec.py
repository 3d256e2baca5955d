"""`redpak-oci exec ID COMMAND`: one more program in a running container, with the rights of its first one."""

from __future__ import annotations

from redpak.errors import BadConfig, RedpakError, Usage
from redpak.oci import console, life, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.engine.native.box import Process
    from redpak.oci.main import Call


def execute(call: Call) -> int:
    """Return the program's exit code, 0 with --detach."""
    asked = call.asked
    container = store.load(call.root, call.words[0])
    status = life.status(container)
    if status == life.STOPPED or status == life.CREATING:
        raise RedpakError(f"cannot exec in a {status} container: container not running: '{container.name}'")
    if status == life.PAUSED and not asked.flag("ignore-paused"):
        raise RedpakError(
            f"cannot exec in a paused container: '{container.name}'",
            hint="Resume it, or use --ignore-paused to have the program wait.",
        )
    process, warnings = _process(call, container)
    detached = asked.flag("detach")
    send = None
    if asked.text("console-socket") or (process.terminal and detached):
        console.check(asked, terminal=process.terminal, detached=detached)
        send = console.sender(asked.text("console-socket"))
    process = process.but(keyring=container.data.get("keyring", ""))  # never the caller's
    count, told = console.handed_on(asked)
    if told:
        process = process.but(environ=(*process.environ, *told))
    if not detached and not asked.flag("no-subreaper"):
        from redpak.kernel.process import adopt_orphans

        adopt_orphans()
    from redpak.oci.main import warn

    for warning in warnings:
        warn(call.common, warning)
    return _carry_out(call, container, process, send, count)


def _carry_out(
    call: Call,
    container: store.Container,
    process: Process,
    send: Callable[[int], None] | None,
    count: int,
) -> int:
    from redpak.engine.native import enter
    from redpak.oci import foreground
    from redpak.oci.state import encoded

    kept = [-1]

    def keep(master: int) -> None:
        kept[0] = master
        foreground.resize(master)  # before the program can ask

    def created(pid: int) -> None:
        if call.asked.text("pid-file"):
            console.write_pid(call.asked.text("pid-file"), pid)

    group = None
    if container.data.get("cgroup"):
        from redpak.cgroup import group as groups

        group = groups.load(container.data["cgroup"])
    if call.asked.several("cgroup"):
        from redpak.oci.groups import inner

        group = inner(group, call.asked.several("cgroup"), container.name)
    elif group is not None:
        from redpak.oci.groups import joinable

        group = joinable(group, container.pid)
    running = enter.enter(
        container.pid,
        process,
        cgroup=group,
        console=send or keep,
        created=created,
        state=lambda _pid, _status: encoded(container, life.RUNNING, container.pid),
        preserve_fds=count,
        started=int(container.data.get("start_time", 0)),
        chroot=container.data.get("shares") is not None,
    )
    if call.asked.flag("detach"):
        return 0
    return foreground.Attached(running, kept[0]).wait()


def _process(call: Call, container: store.Container) -> tuple[Process, list[str]]:
    """Return what is to run: as a document says, or as the container's own process with what the options change."""
    from redpak.oci import process as reading
    from redpak.oci.parts import Faults, Part

    asked = call.asked
    data = container.config()
    faults = Faults()
    top = Part(data, "", faults)
    if asked.text("process"):
        if len(call.words) > 1:
            raise Usage("either --process or a command, not both")
        path = asked.text("process")
        found, warnings = reading.load(path, like=data.get("process"))
        if asked.flag("tty"):
            found = found.but(terminal=True)
    else:
        words = call.words[1:]
        if words[:1] == ["--"]:
            words = words[1:]
        if not words:
            raise Usage("there is no program to run", hint="Name one, or a file with --process.")
        groups = []
        for word in asked.several("additional-gids"):
            if not word.isascii() or not word.isdigit():
                raise Usage(f"option '--additional-gids' wants a number, not '{word}'")
            groups.append(int(word))
        own = reading.read(top.part("process"))
        faults.warnings.clear()  # `create` has told them
        found, warnings = reading.changed(
            own,
            tuple(words),
            env=tuple(asked.several("env")),
            cwd=asked.text("cwd"),
            user=asked.text("user"),
            groups=tuple(groups),
            caps=tuple(one for word in asked.several("cap") for one in word.split(",")),
            terminal=asked.flag("tty"),
            no_new_privs=True if asked.flag("no-new-privs") else None,
            apparmor=asked.text("apparmor"),
            selinux=asked.text("process-label"),
        )
    return _restricted(top, found), warnings


def _restricted(top: object, process: Process) -> Process:
    """Put the container's own system call filter and personality on the program."""
    from redpak.oci.parts import Part

    assert isinstance(top, Part)
    section = top.part("linux")
    if any(
        "seccomp" in key or key == "personality" for key in section.data
    ):  # also a node's own, node_handler.py
        from redpak.oci import linux
        from redpak.paths import cache

        kept = linux.filters(section, cache())
        process = process.but(personality=linux.personality(section), seccomp=kept)
    if top.faults.found:
        raise BadConfig(top.faults.error().faults)
    from redpak.oci.process import within

    return within(process, top)
