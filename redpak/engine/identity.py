"""Who a program runs as and in which namespaces it starts, where bubblewrap and the launch helper leave that to us."""

from __future__ import annotations

import os

from redpak.errors import LaunchFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.spec import LaunchSpec


def enter(spec: LaunchSpec) -> dict[int, int]:
    """Join and leave namespaces, drop groups, become another user.

    Returns the open namespaces that bwrap joins: {number in its arguments: descriptor}. Raises LaunchFailed.
    """
    for_bwrap: dict[int, int] = {}
    try:
        if spec.joins or spec.newtime:
            from redpak.kernel import ns

            for join in spec.joins:
                fd = os.open(join.path, os.O_RDONLY | os.O_CLOEXEC)
                if join.fd:
                    for_bwrap[join.fd] = fd
                else:
                    ns.setns(fd, join.kind, join.path)
                    os.close(fd)
            if spec.newtime:
                if os.geteuid() == 0:
                    ns.unshare(ns.CLONE_NEWTIME)
                else:
                    ns.unshare_as_myself(ns.CLONE_NEWTIME)
        if spec.smack:
            with open("/proc/self/attr/current", "w", encoding="ascii") as file:
                file.write(spec.smack)
        if os.geteuid() == 0:
            drop_groups(must=spec.become != (-1, -1))
            user, group = spec.become
            if group >= 0:
                os.setresgid(group, group, group)
            if user >= 0:
                os.setresuid(user, user, user)
    except OSError as error:
        thing = f" '{error.filename}'" if error.filename else ""
        why = (error.strerror or "").lower()
        hint = "Joining takes rights over the namespace: start as root, or join its user namespace too."
        raise LaunchFailed(
            f"cannot enter the sandbox's identity and namespaces:{thing} {why}", hint=hint
        ) from error
    return for_bwrap


def drop_groups(*, must: bool) -> None:
    """Drop supplementary groups; inside a user namespace that forbids it they mean nothing anyway, unless `must`."""
    try:
        os.setgroups([])
    except PermissionError:
        if must and os.getgroups():
            raise
