"""`redpak-oci kill ID [SIGNAL]`: send a signal to the first process of a container, or with --all to every one."""

from __future__ import annotations

from redpak.oci import life, signals, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.oci.main import Call

KILL = 9


def kill(call: Call) -> None:
    """Send the signal. Only a created, running or paused container takes one; with --all a stopped one does too."""
    number = signals.number(call.words[1] if len(call.words) > 1 else "TERM")
    container = store.load(call.root, call.words[0])
    if call.asked.flag("all"):
        every(container, number)
        return
    if number == KILL and container.data.get("shares_pid") and life.alive(container):
        every(container, number)  # nothing else ends what the first process leaves behind
        return
    life.send(container, number)
    if number == KILL and life.frozen(container):  # what is frozen on version 1 cannot even die
        from redpak.cgroup import group as groups

        groups.load(container.data["cgroup"]).thaw()


def every(container: store.Container, number: int) -> None:
    """Send a signal to all processes of a container by its control group.

    Without a group of its own only the first process gets it, KILL the others too.
    """
    if container.data.get("cgroup") or life.status(container) != life.STOPPED:
        from redpak.oci import members

        members.send(container, number)
