"""`redpak-oci create ID`: read the bundle, make everything of the sandbox, and leave its program at the gate."""

from __future__ import annotations

import os

from redpak.errors import RedpakError, Usage
from redpak.oci import console, life, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.engine.native.box import Box
    from redpak.engine.native.start import Running
    from redpak.oci.config import Config
    from redpak.oci.main import Call


def create(call: Call) -> None:
    """Create a container and leave; `start`, called later by anybody, runs its program."""
    container, _, _ = make(call, detached=True)
    container.unlock()


def make(call: Call, *, detached: bool) -> tuple[store.Container, Running, int]:
    """Create a container: its record, locked by us, its first process, and the terminal's master where it is ours.

    Raises RedpakError; then nothing of the container is left, and its poststop hooks have run.
    """
    asked = call.asked
    name = store.checked_id(call.words[0])
    root = call.root
    if os.path.exists(f"{root}/{name}/{store.STATE}"):
        raise store.exists(name)
    found, text = _read(call)
    box = _box(call, found, name)
    console.check(asked, terminal=box.process.terminal, detached=detached)
    send = console.sender(asked.text("console-socket")) if asked.text("console-socket") else None
    count, told = console.handed_on(asked)
    if told:
        box = box.but(process=box.process.but(environ=(*box.process.environ, *told)))
    container = store.make(root, name, _record(call, found, name), text)
    try:
        notify = os.environ.get("NOTIFY_SOCKET", "")
        if notify:
            from redpak.oci.notify import prepare

            box = prepare(container, box, notify)
        return _carry_out(call, container, box, found, send, count, detached=detached)
    except BaseException:
        from redpak.oci import delete

        for wrong in delete.remove(container):
            from redpak.oci.main import warn

            warn(call.common, wrong)
        raise


def _read(call: Call) -> tuple[Config, bytes]:
    from redpak import quickjson
    from redpak.errors import NotFound
    from redpak.oci import config
    from redpak.oci.main import warn
    from redpak.paths import cache

    bundle = os.path.abspath(call.asked.text("bundle") or os.getcwd())
    path = os.path.join(bundle, call.asked.text("config", config.NAME))
    if not os.path.isfile(path):
        missing = (
            f"JSON specification file {path} not found" if os.path.isdir(bundle) else "no such directory"
        )
        raise NotFound(f"cannot read the bundle '{bundle}': {missing}", hint="Name a bundle with --bundle.")
    text = quickjson.read(path, size_bytes=config.SIZE_BYTES)
    data = quickjson.loads(text, file=path)
    found = config.parse(data, bundle=bundle, file=path, text=text, cache=cache())
    if found.annotations:
        from redpak.oci import node_handler

        if node := node_handler.asked(data):
            found, text = node_handler.instead(found, node)
    for warning in found.warnings:
        warn(call.common, warning)
    return found, text


def _box(call: Call, found: Config, name: str) -> Box:
    if not found.has_process:
        raise Usage("the configuration has no 'process', so there is nothing to start")
    if not os.path.isdir(found.rootfs):
        raise RedpakError(
            f"cannot use the root '{found.rootfs}': no such file or directory",
            hint="Correct root.path in config.json.",
        )
    box = found.named(name, keyring=not call.asked.flag("no-new-keyring"))
    return box.but(no_pivot=True) if call.asked.flag("no-pivot") else box


def _record(call: Call, found: Config, name: str) -> dict[str, object]:
    from redpak.oci.groups import named
    from redpak.oci.hooks import to_list

    kind, path = named(call, found, name)
    return {
        "ociVersion": found.version,
        "id": name,
        "status": life.CREATING,
        "pid": 0,
        "bundle": found.bundle,
        "rootfs": found.rootfs,
        "created": life.now(),
        "owner": _owner(),
        "annotations": found.annotations,
        "cgroup_kind": kind,
        "cgroup_path": path,
        "systemd": call.common.flag("systemd-cgroup"),
        "keyring": "" if call.asked.flag("no-new-keyring") else name,
        "shares": shares(found.box, "mount"),
        "shares_pid": shares(found.box, "pid") is not None,
        "poststart": to_list(found.hooks["poststart"]),
        "poststop": to_list(found.hooks["poststop"]),
    }


def shares(box: Box, kind: str) -> str | None:
    """Return None for a namespace of the container's own, else the path that it is joined by, "": the caller's."""
    space = next((one for one in box.spaces if one.kind == kind), None)
    return space.path or None if space is not None else ""


def _owner() -> str:
    uid = os.geteuid()
    if uid == 0:
        return "root"
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _carry_out(
    call: Call,
    container: store.Container,
    box: Box,
    found: Config,
    send: Callable[[int], None] | None,
    count: int,
    *,
    detached: bool,
) -> tuple[store.Container, Running, int]:
    from redpak.engine.native import start
    from redpak.oci import groups, hooks, quick
    from redpak.oci.state import encoded

    group = groups.make(container, found)
    kept = [-1]

    def keep(master: int) -> None:
        kept[0] = master
        from redpak.oci.foreground import resize

        resize(master)  # before the program can ask

    def before(pid: int) -> None:
        told = encoded(container, life.CREATING, pid)
        hooks.run("prestart", found.hooks["prestart"], told)
        hooks.run("createRuntime", found.hooks["createRuntime"], told)

    def after(pid: int) -> None:
        container.data.update(
            pid=pid, start_time=life.start_time(pid), status=life.CREATED, freezer=groups.freezer(group)
        )
        if group is not None:
            group.settled()
            container.data["cgroup"] = group.to_dict()
        container.save()
        if call.asked.text("pid-file"):
            console.write_pid(call.asked.text("pid-file"), pid)
        quick.note(container, found, waits=detached)

    running = start.create(
        box,
        cgroup=group,
        gate=container.gate,
        console=send or keep,
        prestart=before if found.hooks["prestart"] or found.hooks["createRuntime"] else None,
        created=after,
        state=lambda pid, status: encoded(container, status, pid),
        preserve_fds=count,
        stdio=None if send else (0, 1, 2),
        mounts=container.mounts if container.data["shares"] is not None else "",
    )
    from redpak.oci.main import warn

    for warning in running.warnings:
        warn(call.common, warning)
    return container, running, kept[0]
