"""Who may change packages: one writer a node, nobody above it meanwhile, and nobody beneath it unnoticed."""

from __future__ import annotations

import errno
import os
import time

from redpak import log
from redpak.errors import Busy, doing
from redpak.fs import locked
from redpak.node import generations, tree, trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redpak.packages.model import Site

PATIENCE_S = 1.0
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO in its place makes nobody wait


class holding:  # noqa: N801 - reads as a verb: with holding(node, "recover"):
    """Hold a node's package lock for the block. Raises Busy, Refused where another user could lead us astray.

    What is left of a killed command may hold it a moment longer.
    """

    def __init__(self, node: str, act: str) -> None:
        self.node = node
        self.lock = locked(f"{node}/{generations.LOCK}", " ".join(log.printable(act).split())[:150])

    def __enter__(self) -> None:
        trust.packages(self.node)
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.lock.__enter__()
                break
            except Busy:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
        try:
            here = os.path.samestat(os.stat(self.lock.path), os.fstat(self.lock.fd))
        except OSError:
            here = False
        if not here:
            self.__exit__()
            raise Busy(f"'{self.node}' was moved or deleted meanwhile", hint="Look where it is now.")

    def __exit__(self, *_: object) -> None:
        self.lock.__exit__(None, None, None)


class unchanging:  # noqa: N801 - reads as a verb: with unchanging(ancestors):
    """Keep the packages of nodes from changing for the block; `alone`: and those of all nodes beneath them.

    Nodes that never had packages have no lock. Raises Busy, RedpakError.
    """

    def __init__(self, nodes: Iterable[str], *, alone: bool = False) -> None:
        self.nodes = tuple(nodes)
        self.alone = alone  # whoever changes packages holds the locks above, shared
        self.fds: list[int] = []

    def __enter__(self) -> None:
        import fcntl

        kind = fcntl.LOCK_EX if self.alone else fcntl.LOCK_SH
        try:
            with doing("look whether packages are being changed"):
                for node in self.nodes:
                    try:
                        fd = os.open(
                            f"{node}/{generations.LOCK}",
                            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                        )
                    except FileNotFoundError:
                        continue
                    self.fds.append(fd)
                    try:
                        fcntl.flock(fd, kind | fcntl.LOCK_NB)
                    except BlockingIOError:
                        what = "in or beneath" if self.alone else "of"
                        raise Busy(
                            f"the packages {what} '{node}' are being changed",
                            hint="Try again when it is done.",
                        ) from None
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        while self.fds:
            os.close(self.fds.pop())


class writing:  # noqa: N801 - reads as a verb: with writing(site, "install"):
    """Hold a node's package lock for the block, and keep its ancestors from changing. Raises Busy, RedpakError."""

    def __init__(self, site: Site, act: str) -> None:
        self.node = site.path
        self.folder = f"{site.path}/{generations.FOLDER}"
        self.lock = holding(site.path, act)
        self.above = unchanging(layer.path for layer in site.layers[:-1] if layer.kind == "node")

    def __enter__(self) -> None:
        trust.packages(self.node)
        hint = "Be the node's owner, or root, on a file system that can be written."
        with doing("make the directory of generations", hint=hint):
            for name in ("", "/generations", "/work"):  # never the node itself: it may be gone
                try:
                    os.mkdir(self.folder + name)
                except FileExistsError:
                    pass
            if not os.access(self.folder, os.W_OK, effective_ids=True):
                why = errno.EROFS if os.statvfs(self.folder).f_flag & os.ST_RDONLY else errno.EACCES
                raise OSError(why, os.strerror(why), self.folder)
        self.lock.__enter__()
        try:
            self.above.__enter__()
        except BaseException:
            self.lock.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.above.__exit__()
        self.lock.__exit__()


def below(node: str) -> dict[str, str]:
    """Return the generation of every node beneath one, by path ('' = it has none): what a proof about them rests on."""
    found = tree.child_nodes(node)
    for one in found:
        found += tree.child_nodes(one)
    with doing("look at the nodes beneath"):
        return {one: generations.link_of(one) for one in found}


def unchanged(site: Site, proved: Mapping[str, str] | None) -> None:
    """Raise Busy unless every member has the generation that the site was made from, and all beneath that of `proved`.

    Call it in `writing`: what starts beneath from then on finds the lock taken. What had started before shows here,
    by its own lock or by its new generation.
    """
    for layer in site.layers:
        if layer.kind != "node" or layer.database == "none":
            continue
        now = generations.current(layer.path)
        known = os.path.dirname(layer.rpmdb) if f"/{generations.GENERATIONS}/" in layer.rpmdb else ""
        if now != known:
            raise changed(layer.path)
    if proved is None:
        return
    for node in proved:
        with unchanging([node]):
            pass
    there = below(site.path)
    if there != proved:
        raise changed(min(node for node, _ in there.items() ^ proved.items()))


def changed(node: str) -> Busy:
    """Return the error for a node that is not as it was."""
    return Busy(
        f"the packages of '{node}' were changed by another command meanwhile", hint="Run the command again."
    )
