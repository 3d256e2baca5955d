"""What would break: changes written as 'NODE: upgrade X', tried on a tree without touching it."""

from __future__ import annotations

import os

from redpak.errors import NotFound, RedpakError, Usage
from redpak.node import prove_cache, prove_tree
from redpak.packages.finding import Finding
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from redpak.node.prove_tree import Forest
    from redpak.packages.facts import Facts, Place
    from redpak.packages.model import Site
    from redpak.packages.package import Package
    from redpak.packages.universe import Universe
    from redpak.packages.whatif import Change

VERBS = ("install", "remove", "upgrade", "downgrade")
CORE_WORDS = ("core", "core-os", "core OS")


class Question(Record):
    """One change that is asked about."""

    text: str
    node: str
    verb: str
    what: tuple[str, ...]


class Harm(Record):
    """A node that would break."""

    path: str
    name: str
    inherited: bool  # nothing of its own breaks: it stands on what does
    findings: tuple[Finding, ...]
    telling: tuple[Finding, ...]  # those of them that its own packages have to do with, else the first


class Answer(Record):
    """What the changes would do."""

    goes: tuple[tuple[str, str], ...]  # node's name, nevra
    comes: tuple[tuple[str, str], ...]
    harms: tuple[Harm, ...]
    refused: tuple[str, ...] = ()  # why a change cannot even be made
    idle: tuple[str, ...] = ()  # changes after which everything is as before
    nodes: int = 0  # that were looked at
    cached: tuple[tuple[str, int, int], ...] = ()


def parse(text: str) -> Question:
    """Take 'NODE: VERB WHAT…' apart. Raises Usage."""
    node, colon, rest = text.partition(": ")
    words = rest.split()
    if not colon or len(words) < 2 or words[0] not in VERBS or not node.strip():
        raise Usage(
            f"'{text}' is no change of a node",
            hint=f"Write 'NODE: VERB PACKAGE', with a verb of {', '.join(VERBS)}.",
        )
    return Question(text=text, node=node.strip(), verb=words[0], what=tuple(words[1:]))


def ask(root: str, texts: Sequence[str], *, core: str = "", fresh: bool = False) -> Answer:
    """Return what changes would break in the tree at `root`. Raises Usage, NotFound, RedpakError."""
    from redpak.packages import whatif

    questions = [parse(text) for text in texts]
    cache = prove_cache.Cache(f"{os.path.realpath(root)}\0{core}", fresh=fresh)
    forest = prove_tree.forest(root, core=core, cache=cache)
    places = forest.places()
    if forest.wrong:
        at, why = next(iter(forest.wrong.items()))
        raise RedpakError(
            f"the packages of '{forest.members[at].name}' cannot be read: {why}", hint="Type: redpak prove"
        )
    cache.save()
    changes: list[Change] = []
    refused: list[str] = []
    idle: list[str] = []
    now = places
    for question in questions:
        at = member_named(forest, question.node)
        change, whys = change_of(forest, now, at, question)
        refused += whys
        if change is None and not whys:
            idle.append(f"'{question.text}' changes nothing: it is so already")
        if change is not None:
            changes.append(change)
            now = whatif.applied(now, [change])
    harms = whatif.harms(places, changes, arch=forest.arch) if changes else []
    return Answer(
        goes=tuple((places[one.place].name, nevra) for one in changes for nevra in one.goes),
        comes=tuple((places[one.place].name, new.nevra) for one in changes for new in one.comes),
        harms=tuple(
            Harm(
                path=places[harm.place].path, name=places[harm.place].name, inherited=harm.inherited,
                findings=harm.findings, telling=harm.telling,
            )
            for harm in harms
        ),
        refused=tuple(refused),
        idle=tuple(idle),
        nodes=len(whatif.affected(places, changes)),
        cached=tuple((part, cache.hits.get(part, 0), count) for part, count in sorted(cache.asked.items())),
    )  # fmt: skip


def member_named(forest: Forest, word: str) -> int:
    """Return the member that a word means: 'core', an alias, a path, or the end of a path."""
    members = forest.members
    if word in CORE_WORDS:
        found = [at for at, member in enumerate(members) if member.launch is None]
    else:
        real = os.path.realpath(word)
        found = [at for at in forest.nodes() if members[at].path == real]
        found = found or [at for at in forest.nodes() if members[at].name == word]
        tail = "/" + word.strip("/")
        found = found or [at for at in forest.nodes() if members[at].path.endswith(tail)]
    if not found:
        names = ", ".join(members[at].name for at in forest.nodes()[:8])
        raise NotFound(
            f"there is no node '{word}' in this tree", hint=f"Name one of 'core', {names}, or a path."
        )
    if len(found) > 1:
        where = ", ".join(f"'{members[at].path}'" for at in found[:4])
        raise Usage(f"'{word}' means several nodes: {where}", hint="Give the path.")
    return found[0]


def change_of(
    forest: Forest, places: Sequence[Place], at: int, question: Question
) -> tuple[Change | None, list[str]]:
    """Return the change that a question means, None for none, and why it cannot be made."""
    from redpak.packages import coming, pseudo, whatif

    own = places[at].packages
    goes: list[str] = []
    comes: list[Facts] = []
    names: list[str] = []
    for word in question.what:
        installed = [package for package in own if word in spellings(package)]
        if question.verb == "remove":
            if not installed:
                hint = "Name one that is."
                if [package.name for package in own] == [pseudo.NAME]:
                    hint = f"This core OS has no rpm packages: all that it offers counts as one, '{pseudo.NAME}'."
                raise NotFound(f"package '{word}' is not installed in '{places[at].name}'", hint=hint)
            goes += [package.nevra for package in installed]
        elif word.endswith(".rpm") and os.path.isfile(word):
            comes.append(coming.of_file(word))
        elif word.endswith(".rpm") and not any(letter in word for letter in "*?["):
            raise NotFound(f"there is no package file '{word}'", hint="Download it, and name its file.")
        else:
            names.append(word)
    refused: list[str] = []
    if names:
        more, removed, refused = from_repositories(forest, at, question.verb, names)
        comes += more
        goes += removed
    if not goes and not comes:
        return None, refused
    return whatif.change(at, own, goes=goes, comes=comes), refused


def spellings(package: Facts) -> tuple[str, ...]:
    """Return all that a package is called."""
    name, evr, arch = package.name, package.evr, package.arch
    return (name, f"{name}.{arch}", f"{name}-{package.version}", f"{name}-{evr}", f"{name}-{evr}.{arch}")


def from_repositories(
    forest: Forest, at: int, verb: str, names: Sequence[str]
) -> tuple[list[Facts], list[str], list[str]]:
    """Return what the repositories of a member would bring, what goes for it, and why that cannot be.

    Where the member's own solver finds no way, the packages are taken all the same: what is asked is what breaks.
    """
    from redpak.node import prove
    from redpak.packages import coming, goal, problems, wishes

    site = site_for(forest, at, names[0])
    universe = prove.remembered(site)
    wanted = goal.Goal(universe)
    try:
        for name in names:
            match verb:
                case "install":
                    wanted.install(name)
                case "upgrade":
                    wanted.upgrade(name)
                case _:
                    wanted.downgrade(name)
        transaction = wanted.resolve()
    except wishes.NoMatch as error:
        place = forest.members[at].name
        text = f"no package '{error.spec}' is in '{place}' or its repositories, as '{verb}' needs it"
        raise NotFound(
            text, hint=error.hint or "See 'redpak node packages PATH', or name a package file."
        ) from None
    except problems.Unsolvable as error:
        member = forest.members[at].name
        refused = [f"{member}: {line.strip()}" for line in error.message.splitlines() if line.strip()]
        return [coming.of_package(one, with_files=True) for one in meant(universe, verb, names)], [], refused
    found = coming.of_items(transaction.items, universe, with_files=True)
    gone = [item.nevra for item in transaction.items if item.action == "remove"]
    gone += [nevra for item in transaction.items for nevra in item.replaces]
    return found, gone, []


def meant(universe: Universe, verb: str, names: Sequence[str]) -> list[Package]:
    """Return the packages that repositories have for some names: the newest, or the next older ones."""
    from redpak.packages.select import select

    found = []
    for name in names:
        for word, offered in select(universe, name).query.available().by_name().items():
            fitting = [package for package in offered if package.arch in (universe.arch, "noarch")]
            if verb == "downgrade":
                own = list(universe.query().own().named([word]))
                fitting = [package for package in fitting if own and package < own[0]]
            if fitting:
                found.append(max(fitting))
    return found


def site_for(forest: Forest, at: int, name: str) -> Site:
    """Return where the packages of a member come from. Raises Usage for a core OS that has no repositories."""
    from redpak.node.prove_disk import core_of
    from redpak.node.site import installroot, site_of

    member = forest.members[at]
    if member.launch is not None:
        return site_of(member.path, core=core_of(forest, at), any_state=True)
    if member.layer.database != "rpm":
        raise Usage(
            f"this core OS has no rpm repositories, so '{name}' has to be a package file",
            hint="Download the package and name its file.",
        )
    return installroot(member.path, arch=forest.arch)
