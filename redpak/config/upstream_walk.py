"""The way of red-pak 2.5 through a family's files, and what it says when a descendant asks for too much."""

from __future__ import annotations

from redpak.errors import BadConfig, Fault
from redpak.origin import Origin
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Family, NodeDoc


class Forbidden(BadConfig):
    """A descendant asks for what an ancestor forbids (exit code 2); the message is red-pak's own."""

    def __init__(self, message: str, origin: Origin, ancestor: Origin) -> None:
        super().__init__([Fault(origin=origin, message=message, hint=f"It is forbidden at {ancestor}.")])
        self.message = message
        self.args = (message,)


class Visit(Record):
    """One file on the way from the leaf to the oldest ancestor."""

    owner: int
    admin: bool
    path: str  # of the node, as spelled
    doc: NodeDoc

    def __str__(self) -> str:
        return f"{self.path} (admin)" if self.admin else self.path


def visits_of(family: Family) -> list[Visit]:
    """Return the files in the order in which red-pak reads them: leaf first, admin before normal."""
    visits = []
    for owner in range(len(family.nodes) - 1, -1, -1):
        node = family.nodes[owner]
        if family.admin and node.admin is not None:
            visits.append(Visit(owner=owner, admin=True, path=node.path, doc=node.admin))
        visits.append(Visit(owner=owner, admin=False, path=node.path, doc=node.normal))
    return visits
