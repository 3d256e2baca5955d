"""`redpak node`: create, list, show, enable, disable, move and delete nodes."""

from __future__ import annotations

import os

from redpak import log
from redpak.cli import node_audit, node_lock, node_manifest, node_repo, node_rpm, node_sbom, output
from redpak.cli.dnf.verbs import verbs as package_verbs
from redpak.cli.options import Argument, Arguments, Option, Verb
from redpak.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from redpak.node.create import Created
    from redpak.node.tree import Branch

SUMMARY = "Create, list, show, move and delete nodes."

NOUNS = {"node repo": node_repo.SUMMARY}

PATH = Argument(name="PATH", help="the node's directory")
HERE = Argument(name="PATH", help="the node's directory; the current one when left out", kind="optional")
ADMIN = Option(name="admin", short="a", help="read the admin configuration files as well")
JSON = Option(name="json", help="print JSON")


def create(args: Arguments) -> int:
    """Make a node."""
    from redpak.node.create import create as make

    model = args.value("model")
    made = make(
        args.word("PATH"),
        alias=args.value("alias"),
        template_normal=args.value("template"),
        template_admin=args.value("template-admin"),
        config=args.value("config"),
        system_node=not args.flag("no-system-node"),
        update=args.flag("update"),
        model=model if model in ("full", "root", "leaf") else None,  # type: ignore[arg-type]
    )
    if args.flag("json"):
        output.json(created_data(made))
        return 0
    if made.system:
        tell(f"created node '{made.system.path}' (alias 'system'), which stands for the core OS")
    tell(f"{'updated' if made.updated else 'created'} node '{made.path}' (alias '{made.alias}')")
    return 0


def tell(done: str) -> None:
    """Say on standard output what was done, unless --quiet."""
    if log.level > log.ERROR:
        output.lines([done])


def created_data(made: Created) -> dict[str, object]:
    """Return a new node for JSON."""
    return {
        "path": made.path,
        "alias": made.alias,
        "name": made.name,
        "updated": made.updated,
        "system": created_data(made.system) if made.system else None,
    }


def list_nodes(args: Arguments) -> int:
    """Print every node at and beneath a directory, one a line."""
    from redpak.errors import NotFound
    from redpak.node import tree
    from redpak.node.change import flat

    top = os.path.realpath(args.word("DIRECTORY") or ".")
    if not os.path.isdir(top):
        what = "is not a directory" if os.path.lexists(top) else "does not exist"
        raise NotFound(f"'{args.word('DIRECTORY')}' {what}", hint="Name a directory with nodes.")
    roots = [top] if tree.is_node(top) else tree.child_nodes(top)
    found = [branch for root in roots for branch in flat(tree.branch(root))]
    if args.flag("json"):
        rows = [{"path": one.path, "alias": one.alias, "state": one.state} for one in found]
        output.json(rows)
    else:
        output.lines(output.table([(one.path, one.alias, one.state) for one in found], indent=0))
    return 0


def show_tree(args: Arguments) -> int:
    """Draw a node and those beneath it."""
    from redpak.node import show, tree

    if args.flag("json") and args.flag("svg"):
        raise Usage("options '--json' and '--svg' exclude each other", hint="Choose one of them.")
    top: Branch = tree.beneath(args.word("PATH") or ".")
    if args.flag("svg"):
        from redpak.node import picture

        output.write(picture.draw(top.path))
    elif args.flag("json"):
        output.json(show.branch_data(top))
    else:
        output.lines(show.tree_lines(top))
    return 0


def show_node(args: Arguments) -> int:
    """Print what a node says and what its family says together."""
    from redpak.node import show

    shown = show.show(args.word("PATH") or ".", admin=args.flag("admin"))
    for warning in shown.merged.warnings:
        log.warn(str(warning))
    if args.flag("json"):
        output.json(show.as_data(shown))
    else:
        output.lines(show.as_text(shown).splitlines())
    return 0


def enable(args: Arguments) -> int:
    """Let programs be started in a node again."""
    return _state(args.word("PATH"), "Enable")


def disable(args: Arguments) -> int:
    """Let nothing be started in a node and those beneath it."""
    return _state(args.word("PATH"), "Disable")


def _state(path: str, state: Literal["Enable", "Disable"]) -> int:
    from redpak.node.change import node_at, set_state

    changed = set_state(path, state)
    node, done = node_at(path), f"{state.lower()}d"
    tell(f"{done} node '{node}'" if changed else f"node '{node}' was {done} already")
    return 0


def move(args: Arguments) -> int:
    """Rename a node's directory."""
    from redpak.node.change import move as rename

    for path in rename(args.word("PATH"), args.word("TO")):
        tell(f"moved node to '{path}'")
    return 0


def delete(args: Arguments) -> int:
    """Delete a node and its content."""
    from redpak.node.change import delete as remove

    for path in remove(args.word("PATH"), recursive=args.flag("recursive")):
        tell(f"deleted node '{path}'")
    return 0


VERBS = (
    Verb(
        name="node create",
        summary="Make a directory a node: its configuration from templates, and the directories it needs to start.\n"
        "The first node of a pool gets a node 'system' above it, made of the directory that holds it.",
        arguments=(PATH,),
        options=(
            Option(name="alias", short="a", metavar="ALIAS", kind="value",
                   help="the node's name in its family; the directory's name when left out"),
            Option(name="template", short="t", metavar="NAME", kind="value",
                   help="another template; a name with '/' is a file"),
            Option(name="template-admin", metavar="NAME", kind="value",
                   help="another template of the admin configuration"),
            Option(name="config", short="c", metavar="FILE", kind="value",
                   help="take this file as the configuration; its headers are replaced"),
            Option(name="model", short="m", metavar="MODEL", kind="value", choices=("full", "root", "leaf"),
                   help="full, root or leaf templates; chosen by the place when left out"),
            Option(name="no-system-node", help="make no system node; the node then stands for itself (full)"),
            Option(name="update", short="u", help="renew an existing node's configuration, all but its headers"),
            JSON,
        ),
        examples=(
            ("redpak node create /srv/nodes/platform", "a node, with the system node /srv/nodes above it"),
            ("redpak node create /srv/nodes/platform/app --alias nav", "a node beneath, seen at /nodes/nav"),
            ("redpak node create ./alone --no-system-node", "a node on the core OS that has no family"),
        ),
        main=create,
    ),
    Verb(
        name="node list",
        summary="List the nodes at and beneath a directory: path, alias and state.",
        arguments=(
            Argument(name="DIRECTORY", help="where to look; the current one when left out", kind="optional"),
        ),
        options=(JSON,),
        examples=(("redpak node list /srv/nodes", "every node of a pool"),),
        main=list_nodes,
    ),
    Verb(
        name="node tree",
        summary="Draw a node and those beneath it.",
        arguments=(HERE,),
        options=(JSON, Option(name="svg", help="print a picture (SVG) of who shares what with whom")),
        examples=(
            ("redpak node tree /srv/nodes", "the pool as text"),
            ("redpak node tree /srv/nodes --svg >nodes.svg", "the pool as a picture, for a browser"),
        ),
        main=show_tree,
    ),
    Verb(
        name="node show",
        summary="Show what a node's files say and what its family says together, each value with file and line.",
        arguments=(HERE,),
        options=(ADMIN, JSON),
        examples=(("redpak node show /srv/nodes/platform/app", "own and merged configuration"),),
        main=show_node,
    ),
    Verb(
        name="node enable",
        summary="Let programs be started in a node again.",
        arguments=(PATH,),
        examples=(("redpak node enable /srv/nodes/platform", "it, and nodes beneath it, can be launched"),),
        main=enable,
    ),
    Verb(
        name="node disable",
        summary="Let nothing more be started in a node and in those beneath it; what runs goes on.",
        arguments=(PATH,),
        examples=(("redpak node disable /srv/nodes/platform", "launches are refused from now on"),),
        main=disable,
    ),
    Verb(
        name="node move",
        summary="Rename a node's directory, with the nodes beneath it. Aliases stay.",
        arguments=(PATH, Argument(name="TO", help="its new path; nothing may be there yet")),
        examples=(("redpak node move /srv/nodes/app /srv/nodes/platform/app", "make it a member of a family"),),
        main=move,
    ),
    Verb(
        name="node delete",
        summary="Delete a node with its content. It vanishes at once; symbolic links are not followed.",
        arguments=(PATH,),
        options=(Option(name="recursive", short="r", help="delete the nodes beneath it as well"),),
        examples=(("redpak node delete /srv/nodes/platform/app", "gone"),),
        main=delete,
    ),
    *package_verbs(),
    *node_repo.VERBS,
    *node_rpm.VERBS,
    node_manifest.VERB,
    node_audit.VERB,
    node_lock.VERB,
    node_sbom.VERB,
)  # fmt: skip
