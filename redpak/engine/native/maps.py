"""Write the id maps of a new user namespace: by ourselves where we may, by newuidmap(1) for an ordinary user."""

from __future__ import annotations

import os

from redpak.errors import LaunchFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.box import Box, IdMap

PLACES = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin")


def write(pid: int, box: Box) -> None:
    """Map the ids of process `pid`, which is in a user namespace of its own. Raises LaunchFailed."""
    from redpak.kernel import ns

    users, groups = _rows(box.uid_map), _rows(box.gid_map)
    privileged = os.geteuid() == 0
    own_user = [row[1:] for row in users] == [(os.geteuid(), 1)]
    own_group = [row[1:] for row in groups] == [(os.getegid(), 1)]
    deny = box.deny_setgroups or (not privileged and own_group)
    try:
        if privileged:
            try:
                ns.write_maps(pid, users, groups, deny_setgroups=deny)
                return
            except PermissionError:
                if not (own_user and own_group):
                    raise
            deny = True  # root without the capabilities: an ordinary user by another name
        ns.write_maps(pid, users if own_user else [], groups if own_group else [], deny_setgroups=deny)
    except OSError as error:
        why = (error.strerror or "").lower()
        raise LaunchFailed(
            f"cannot map the ids of '{box.name}': {why}", hint="Look at its id maps."
        ) from error
    if users and not own_user:
        _by_helper("newuidmap", pid, users, box)
    if groups and not own_group:
        _by_helper("newgidmap", pid, groups, box)


def _rows(maps: tuple[IdMap, ...]) -> list[tuple[int, int, int]]:
    return [(one.inside, one.outside, one.count) for one in maps]


def _by_helper(name: str, pid: int, rows: list[tuple[int, int, int]], box: Box) -> None:
    program = next((f"{place}/{name}" for place in PLACES if os.access(f"{place}/{name}", os.X_OK)), "")
    if not program:
        raise LaunchFailed(
            f"cannot map the ids of '{box.name}': '{name}' is not installed",
            hint="Install the package 'uidmap'.",
        )
    words = [name, str(pid), *(str(number) for row in rows for number in row)]
    said = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
        child = os.posix_spawn(
            program, words, {"PATH": ":".join(PLACES)}, file_actions=actions, setsigmask=()
        )
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told = os.pread(said, 400, 0).decode(errors="replace").strip()
    finally:
        os.close(said)
    if code:
        hint = "Compare its id maps with /etc/subuid and /etc/subgid."
        raise LaunchFailed(
            f"cannot map the ids of '{box.name}': {told or f'{name} failed with code {code}'}", hint=hint
        )
