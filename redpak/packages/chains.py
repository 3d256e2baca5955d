"""Tell how a broken edge comes about: who has something alike, who needs the broken package, and what helps."""

from __future__ import annotations

from redpak.packages.facts import chain, spelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.packages.edges import Broken, Tree

MOST = 3  # links, or examples, that are shown


def near(tree: Tree, edge: Broken) -> list[str]:
    """Return who has something like what is missing: another version above, or the thing itself elsewhere."""
    if edge.kind != "missing-requirement":
        return []
    above = chain(tree.places, edge.place)
    found = []
    for name, flags, evr in tree.plain(edge.dep):
        if tree.met(above, (name, flags, evr)):
            continue
        for at in sorted(tree.providers(above, (name, 0, ""))):
            found.append(f"{shown(tree, at)} provides another version of {name}")
        elsewhere = [level for level in range(len(tree.places)) if level not in above]
        for at in sorted(tree.providers(elsewhere, (name, flags, evr)))[:MOST]:
            found.append(
                f"{shown(tree, at)} provides {spelled((name, flags, evr))}, "
                "but not to this node: it is no ancestor"
            )
    return found


def users(tree: Tree, edge: Broken) -> list[str]:
    """Return who needs the broken package, outwards: one way, a line a link."""
    above = frozenset(chain(tree.places, edge.place))
    at = number_of(tree, edge)
    found: list[str] = []
    seen = {at}
    while len(found) < MOST:
        others = (one for one in tree.needed_by(at) if one not in seen and tree.owner[one] in above)
        user = next(others, None)
        if user is None:
            break
        found.append(link(tree, at, user))
        seen.add(user)
        at = user
    return found


class Ways:
    """The shortest ways from one package to those that need it, and what needs those, through all databases."""

    def __init__(self, tree: Tree, at: int) -> None:
        self.tree = tree
        self.came = {at: -1}
        self.first: dict[int, int] = {}  # the package of a database that is reached first
        queue = [at]
        for one in queue:
            for user in tree.needed_by(one):
                if user not in self.came:
                    self.came[user] = one
                    self.first.setdefault(tree.owner[user], user)
                    queue.append(user)

    def to(self, place: int) -> list[str]:
        """Return the way to a package of `place`, a line a link; [] when none of it needs the package."""
        at = self.first.get(place, -1)
        found = []
        while at >= 0 and self.came[at] >= 0:
            found.append(link(self.tree, self.came[at], at))
            at = self.came[at]
        return found[::-1]


def link(tree: Tree, at: int, user: int) -> str:
    """Return that `user` needs `at`, each with its node."""
    return f"{shown(tree, at)} is needed by {shown(tree, user)}"


def shown(tree: Tree, at: int) -> str:
    """Return a package and its node."""
    return f"{tree.packages[at].nevra} [{tree.name_of(at)}]"


def number_of(tree: Tree, edge: Broken) -> int:
    """Return the number of the package that an edge starts from."""
    return next(at for at in tree.own(edge.owner) if tree.packages[at] is edge.package)


def hint(tree: Tree, edge: Broken) -> str:
    """Return what helps, as one imperative sentence."""
    mine, node = edge.package.name, tree.places[edge.place].name
    match edge.kind:
        case "missing-requirement":
            return f"Install what provides {spelled(edge.dep)} in '{node}' or above it, or remove '{mine}'."
        case "duplicate":
            return f"Remove '{mine}' from '{node}'."
        case _:
            other = edge.other.name if edge.other else ""
            return f"Remove '{mine}' or '{other}'."
