"""Mount sources that the maker of a sandbox opens, as the sandbox's own root could not."""

from __future__ import annotations

import os

from redpak.engine.native import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.engine.native.child import Job

SPARE_FDS = 64  # what the making needs besides the sources that are held open


def open_sources(job: Job) -> None:
    """Open mount sources here where the sandbox's own root could not: in a user namespace made by root.

    Idmapped ones in any case: the user namespace of the map is made by a process that /proc knows by its number here.
    """
    from redpak.engine.native.box import Bind

    box = job.box
    if box is None:
        return
    all_ = os.geteuid() == 0 and any(s.kind == "user" for s in box.spaces)
    if not all_ and not any(isinstance(step, Bind) and any(step.idmap) for step in box.steps):
        return
    from redpak.engine.native import binds, tree

    if not tree.have("open_tree", "move_mount"):
        return
    shown = [
        (number, step)
        for number, step in enumerate(box.steps)
        if isinstance(step, Bind) and (all_ or any(step.idmap))
    ]
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(shown) + len(os.listdir("/proc/self/fd")) + SPARE_FDS
    if soft != -1 and wanted > soft:
        job.nofile = (soft, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard != -1 else wanted, hard))
    try:
        if box.root and all_:
            job.doing.now("open the root directory", box.root)
            source = os.open(box.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                job.ready[-1] = tree.clone_tree(source)
            finally:
                os.close(source)
        for number, step in shown:
            job.ready[number] = made = binds.open_bind(step, job.doing)  # closed in any case from here on
            if made is not None:
                binds.configure(made, step)
    except OSError as error:
        raise wire.error_of(wire.failure(job.doing, error), box.name) from error


def close_sources(job: Job) -> None:
    """Close what open_sources opened, and put the limit back."""
    for made in job.ready.values():
        if made is not None:
            made.close()
    job.ready = {}
    if job.nofile is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, job.nofile)
