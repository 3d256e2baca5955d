"""What a program of a launch would find at a path: the plan's mounts over the files of this host, links followed."""

from __future__ import annotations

import os

from redpak.node.prove_plan import BIND, LINK, beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.node.prove_plan import Launch, Mount

MOST_LINKS = 40  # as the kernel (ELOOP)


class View:
    """The file tree of one launch. `core` is the root of the core OS, '' where it is not here."""

    def __init__(self, launch: Launch, core: str) -> None:
        self.core = core
        self.mounts: dict[str, Mount] = {mount.at: mount for mount in launch.mounts}
        self.above: set[str] = set()  # directories that are only there because something is mounted beneath
        for mount in launch.mounts:
            folder = os.path.dirname(mount.at)
            while folder not in self.above and folder != "/":
                self.above.add(folder)
                folder = os.path.dirname(folder)
        self.known: dict[str, tuple[str, str]] = {}

    def look(self, path: str) -> str | None:
        """Return the file of this host behind a path, None when nothing is there, or only a launch knows it."""
        return self.resolve(path)[0] or None

    def place(self, path: str) -> str:
        """Return a path without links in it."""
        return self.resolve(path)[1]

    def resolve(self, path: str) -> tuple[str, str]:
        """Return the file of this host ('' when there is none) and the path without links."""
        if path not in self.known:
            self.known[path] = self._resolve(path)
        return self.known[path]

    def _resolve(self, path: str) -> tuple[str, str]:
        rest = [part for part in reversed(path.split("/")) if part and part != "."]
        here = disk = ""  # what is resolved so far, and where it is on this host ('': only in the view)
        links = 0
        while rest:
            part = rest.pop()
            if part == "..":
                here = os.path.dirname(here)
                disk = self.resolve(here)[0] if here else ""
                continue
            at = f"{here}/{part}"
            target = ""
            mount = self.mounts.get(at)
            if mount is not None:
                if mount.kind == LINK:
                    target = mount.source
                elif mount.kind == BIND and mount.source:
                    disk = os.path.realpath(self.source(mount))
                else:
                    disk = ""
            elif disk:
                disk = f"{disk}/{part}"
                try:
                    target = os.readlink(disk)
                except OSError:
                    target = ""
            if target:
                links += 1
                if links > MOST_LINKS:
                    return "", path
                if target.startswith("/"):
                    here, disk = "", ""
                else:
                    disk = os.path.dirname(disk) if mount is None else self.resolve(here)[0] if here else ""
                rest += [one for one in reversed(target.split("/")) if one and one != "."]
                continue
            here = at
            if not disk and at not in self.above and at not in self.mounts:
                return "", at
        return (disk if disk and os.path.lexists(disk) else ""), here or "/"

    def source(self, mount: Mount) -> str:
        """Return where a bind's source is on this host: of the core OS beneath its root."""
        return mount.source if mount.beneath else beneath(self.core, mount.source)

    def shown(self, file: str) -> str:
        """Return a path of the view at which a file of this host is shown, '' when none is."""
        for mount in self.mounts.values():
            if mount.kind != BIND or not mount.source:
                continue
            source = os.path.realpath(self.source(mount))
            if file == source or file.startswith(source.rstrip("/") + "/"):
                at = mount.at + file[len(source) :] if source != "/" else mount.at.rstrip("/") + file
                if self.look(at) == file:
                    return at
        return ""
