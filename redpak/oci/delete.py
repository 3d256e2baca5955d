"""`redpak-oci delete ID`: undo what `create` made, then run the poststop hooks."""

from __future__ import annotations

from redpak.errors import NotFound, RedpakError
from redpak.oci import life, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.oci.main import Call

KILL = 9
GONE_WITHIN_S = 10.0


def delete(call: Call) -> None:
    """Delete a stopped container; with --force any, and it is no error if there is none."""
    force = call.asked.flag("force")
    name = store.checked_id(call.words[0])
    root = call.root
    try:
        container = store.load(root, name)
        if force:
            _interrupt(container)
        container.lock(within_s=GONE_WITHIN_S if force else 0)
    except NotFound:
        if force:
            store.sweep(root)
            return
        raise
    status = life.status(container)
    if status == life.CREATING:  # we hold the lock, so whoever created it is gone
        status = life.STOPPED
    if status != life.STOPPED and not force:
        raise RedpakError(
            f"cannot delete container '{name}' that is not stopped: {status}",
            hint="Kill it first, or delete it with --force.",
        )
    from redpak.oci.main import warn

    for wrong in remove(container):
        warn(call.common, wrong)


def _interrupt(container: store.Container) -> None:
    """Kill the first process before the lock is ours, so that a `create` or `start` under way fails and lets go."""
    try:
        if container.data.get("shares_pid"):
            from redpak.oci import members

            members.send(
                container, KILL
            )  # what is below the first process cannot be found when that has ended
        else:
            life.send(container, KILL)
    except RedpakError:
        pass


def remove(container: store.Container) -> list[str]:
    """Kill what is left, remove the control group and the state, run the poststop hooks; return their failures.

    May be called again after it was killed half-way. Raises RedpakError when something does not go away.
    """
    if life.alive(container):
        _kill(container)
    if container.data.get("cgroup"):
        from redpak.cgroup import group as groups

        groups.load(container.data["cgroup"]).remove()
    elif container.data.get("status") == life.CREATING and not container.pid:
        from redpak.oci.groups import leave_none

        leave_none(container)
    shares = container.data.get("shares")
    if shares is not None:
        from redpak.engine.native.shared import take_away

        take_away(container.mounts, container.name, joined=shares, within_s=GONE_WITHIN_S)
    hooks = container.data.get("poststop")
    told = b""
    if hooks:
        from redpak import quickjson
        from redpak.oci.state import document

        told = quickjson.dumps(document(container, life.STOPPED)).encode()
    container.forget()
    if not hooks:
        return []
    from redpak.oci.hooks import from_list, run_all

    return run_all("poststop", from_list(hooks), told)


def _kill(container: store.Container) -> None:
    if life.frozen(container):
        from redpak.cgroup import group as groups

        groups.load(container.data["cgroup"]).thaw()  # version 1 delivers no signal to what is frozen
    try:
        life.send(container, KILL)
    except life.NotRunning:
        return
    if not life.wait_gone(container, GONE_WITHIN_S):
        raise RedpakError(
            f"the first process of container '{container.name}' (pid {container.pid}) does not end",
            hint="Look in /proc/PID/stack for what it waits for, then delete the container again.",
        )
