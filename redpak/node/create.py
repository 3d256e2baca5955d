"""Making a node: found a place, filled in the templates, checked everything; then written in one step (`write.py`)."""

from __future__ import annotations

import os

from redpak import paths
from redpak.config.model import Family, Node
from redpak.errors import BadConfig, Fault, NotFound, Refused, Usage
from redpak.node import guard, template, tree
from redpak.node.write import Draft, existing, write
from redpak.origin import COMMAND_LINE
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import NodeDoc
    from redpak.node.template import Model

RESERVED = ("_private",)  # names beneath /nodes that are no aliases


class Created(Record):
    """A node that was made."""

    path: str  # canonical
    alias: str
    name: str
    updated: bool = False
    system: Created | None = None  # the system node that was made above it


def create(
    path: str,
    *,
    alias: str = "",
    template_normal: str = "",
    template_admin: str = "",
    config: str = "",
    system_node: bool = True,
    update: bool = False,
    model: Model | None = None,
    directories: tuple[str, ...] = (),
    check_family: bool = True,
) -> Created:
    """Make the directory `path` a node and return it.

    Without a `model`: beneath a node it is a leaf; elsewhere a node 'system' is made of the parent directory
    first, or, without `system_node`, the new one gets the 'full' templates. `template_normal` and
    `template_admin` name other templates, `config` a file to take as the normal configuration. `update`
    replaces everything but the three headers of an existing node. `directories` are where templates are
    looked for. With `check_family`, the family must agree to the new member.

    Raises BadConfig with every fault, Refused, Usage, Busy; then nothing was made.
    """
    if config and template_normal:
        raise Usage("--config and --template exclude each other", hint="Give one of them.")
    target = canonical(path)
    parent = os.path.dirname(target)
    if target == "/":
        raise Refused("the root directory cannot be made a node", hint="Name a directory of its own.")
    ground = existing(parent)
    with guard.holding(ground, f"create node '{path}'"):
        exists = os.path.lexists(target)
        registered = exists and tree.is_node(target)
        refuse_target(target, exists=exists, registered=registered, update=update)
        above = [folder for folder in tree.ascending(parent) if tree.is_node(folder)]
        wants_system = not model and system_node and not above and not registered
        chosen: Model = model or ("leaf" if above or wants_system else "full")
        if registered and not model and not above:
            chosen = "root" if tree.child_nodes(target) else "full"
        relatives = (
            tree.family(above[0], admin=True, any_state=True, lenient=not check_family) if above else None
        )
        system = None
        if wants_system:
            refuse_pool(parent)
            refuse_adoption(parent)
            system = draft(parent, alias="system", normal="root", admin="root", directories=directories)
            relatives = Family(nodes=(system.node,), admin=True, defaults=main_defaults())
        new = draft(
            target,
            alias=alias,
            normal=config or template_normal or chosen,
            admin=template_admin or chosen,
            directories=directories,
            is_file=bool(config),
            update=update and exists,
        )
        refuse_alias(new, relatives)
        if check_family:
            agree(new, relatives)
        finish_half_done(new, exists=exists, registered=registered, update=update)
        write(ground, [system, new] if system else [new])
    above_it = Created(path=system.path, alias=system.alias, name=system.name) if system else None
    return Created(path=target, alias=new.alias, name=new.name, updated=update and exists, system=above_it)


def canonical(path: str) -> str:
    """Return the absolute path of a node to be, symbolic links above it resolved."""
    if not path or "\0" in path:
        raise Usage(f"'{path}' is no path", hint="Name the directory of the node.")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise Usage(f"{path!a} is not UTF-8", hint="Use another name for the directory.") from None
    full = os.path.abspath(path)
    return os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full))


def refuse_target(target: str, *, exists: bool, registered: bool, update: bool) -> None:
    """Raise Refused where a node cannot be made, or is one already."""
    if exists and (os.path.islink(target) or not os.path.isdir(target)):
        raise Refused(f"'{target}' is not a directory", hint="Name a new directory or an existing one.")
    if registered and not update:
        raise Refused(
            f"'{target}' is a node already",
            hint="Choose another path, or renew its configuration with --update.",
        )
    if update and not exists:
        raise Refused(f"'{target}' does not exist, so it cannot be updated", hint="Leave --update out.")


def refuse_pool(parent: str) -> None:
    """Raise Refused where the directory above a first node is no place for a system node."""
    hint = "Make a directory for your nodes, or use --no-system-node."
    if parent in ("/", os.path.realpath(os.path.expanduser("~"))):
        raise Refused(f"'{parent}' cannot be made a system node: it holds much else", hint=hint)
    if not os.path.isdir(parent):
        return
    if os.stat(parent).st_mode & 0o002:
        raise Refused(f"'{parent}' is writable by everybody: no place for a system node", hint=hint)
    if any(os.path.lexists(os.path.join(parent, name)) for name in ("etc/passwd", "usr/bin/env", "bin/sh")):
        raise Refused(f"'{parent}' holds an operating system: no place for a system node", hint=hint)


def refuse_adoption(parent: str) -> None:
    """Raise Refused where nodes beneath the directory above would get a system node that nobody asked for."""
    if os.path.isdir(parent) and (found := tree.child_nodes(parent)):
        raise Refused(
            f"the system node '{parent}' would become an ancestor of the node at '{found[0]}' as well",
            hint="Make a directory of its own for the new node, or use --no-system-node.",
        )


def draft(
    path: str,
    *,
    alias: str,
    normal: str,
    admin: str,
    directories: tuple[str, ...],
    is_file: bool = False,
    update: bool = False,
) -> Draft:
    """Return a node to be made at `path`. Raises BadConfig with the faults of both templates."""
    faults: list[Fault] = []
    old = headers_of(path, paths.NORMAL_CONFIGS) if update else None
    old_admin = headers_of(path, paths.ADMIN_CONFIGS) if update else None
    if old and alias and alias != old.alias:
        hint = "Leave --alias out, or edit the file."
        raise Usage(f"--update keeps the alias '{old.alias}'", hint=hint)
    info = f"Node created by {creator()}"
    chosen = alias or os.path.basename(path)
    headers = old or template.Headers(alias=chosen, name=uuid(), info=info)
    above = old_admin or template.Headers(alias=f"admin-of-{headers.alias}", name=uuid(), info=info)
    refuse_name(headers.alias, faults, given=bool(alias))
    if faults:  # said once is enough: what else is wrong is found under a name that is right
        headers, above = headers.but(alias="x"), above.but(alias="x")
    if is_file and not os.path.exists(normal):
        raise NotFound(f"there is no file '{normal}'", hint="Name a configuration file.")
    file = os.path.abspath(normal) if is_file else template.find(normal, "normal", directories)
    at = os.path.join(path, paths.NORMAL_CONFIGS[0])
    text, doc = filled(file, headers, at, faults)
    admin_file = template.find(admin, "admin", directories)
    admin_at = os.path.join(path, paths.ADMIN_CONFIGS[0])
    admin_text, admin_doc = filled(admin_file, above, admin_at, faults)
    if faults or doc is None or admin_doc is None:
        raise BadConfig(faults)
    node = Node(path=path, real=path, normal=doc, admin=admin_doc)
    return Draft(
        path=path,
        alias=headers.alias,
        name=headers.name,
        normal=text.encode(),
        admin=admin_text.encode(),
        node=node,
    )


def filled(file: str, headers: template.Headers, at: str, faults: list[Fault]) -> tuple[str, NodeDoc | None]:
    """Return a template's text with a node's headers, and the document that it makes at `at`."""
    try:
        found = template.read(file)
    except BadConfig as error:
        faults.extend(error.faults)
        return "", None
    doc = template.checked(found.numbered, file, faults)
    if doc is None:
        return "", None
    text = template.with_headers(found.text, headers)
    template.checked(text, file, faults)
    return text, doc.but(file=at, alias=headers.alias, name=headers.name, info=headers.info)


def refuse_name(alias: str, faults: list[Fault], *, given: bool) -> None:
    """Add a fault when a name cannot be an alias."""
    hint = "Use letters, digits and _ + @ : - only."
    if not given:
        hint = "Give one with --alias: letters, digits and _ + @ : - only."
    if alias in RESERVED:
        message = f"'{alias}' cannot be an alias: it is reserved for the node's private directory"
        faults.append(Fault(origin=COMMAND_LINE, message=message, hint="Choose another one with --alias."))
        return
    good = alias.isascii() and all(c.isalnum() or c in "_+@:-" for c in alias)
    if not alias or not good:
        faults.append(Fault(origin=COMMAND_LINE, message=f"'{alias}' cannot be an alias", hint=hint))


def refuse_alias(new: Draft, relatives: Family | None) -> None:
    """Raise Refused when a member of the family, above or beneath, has the alias already."""
    taken = [(node.alias, node.real) for node in relatives.nodes] if relatives else []
    if os.path.isdir(new.path):
        below = [tree.branch(child) for child in tree.child_nodes(new.path)]
        while below:
            branch = below.pop()
            taken.append((branch.alias, branch.path))
            below.extend(branch.children)
    for alias, path in taken:
        if alias == new.alias and path != new.path:
            raise Refused(
                f"alias '{alias}' is taken in this family, by the node at '{path}'",
                hint="Give another one with --alias: both would be shown at /nodes/" + alias + ".",
            )


def main_defaults() -> NodeDoc | None:
    """Return the core OS's defaults. Raises BadConfig."""
    faults: list[Fault] = []
    doc = tree.document(paths.main_config(), lenient=False, defaults=True, may_write=False, faults=faults)
    if faults:
        raise BadConfig(faults)
    return doc


def agree(new: Draft, relatives: Family | None) -> None:
    """Raise BadConfig when the new member and its ancestors contradict each other."""
    older = tuple(node for node in relatives.nodes if node.real != new.path) if relatives else ()
    defaults = relatives.defaults if relatives else main_defaults()
    merges(Family(nodes=(*older, new.node), defaults=defaults, admin=True))


def merges(family: Family) -> None:
    """Raise BadConfig when a family cannot be merged, without or with its admin configurations."""
    from redpak.config.merge import merge, profile_of
    from redpak.node.family import context

    normal = family.but(nodes=tuple(node.but(admin=None) for node in family.nodes), admin=False)
    for one in (normal, family):
        merge(one, profile_of(one, os.environ), context())


def headers_of(path: str, names: tuple[str, ...]) -> template.Headers | None:
    """Return the headers of a node's present configuration; None when there is none that can be read."""
    file = tree.first_file(path, names)
    if not file:
        return None
    faults: list[Fault] = []
    doc = tree.either(file, faults)
    return template.Headers(alias=doc.alias, name=doc.name, info=doc.info) if doc and not faults else None


def creator() -> str:
    """Return 'user(host) the DD-Mon-YYYY HH:MM (TZ)'."""
    import pwd
    import time

    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}({os.uname().nodename}) the {time.strftime('%d-%b-%Y %H:%M (%Z)')}"


def uuid() -> str:
    """Return a new random UUID (RFC 4122, version 4)."""
    from uuid import uuid4

    return str(uuid4())


def finish_half_done(new: Draft, *, exists: bool, registered: bool, update: bool) -> None:
    """Raise Refused when the directory, no node yet, has a configuration that is not what we are to write.

    One that is, but for its headers, was left by a command that was killed.
    """
    if not exists or registered or update:
        return
    for file, text in ((paths.NORMAL_CONFIGS[0], new.normal), (paths.ADMIN_CONFIGS[0], new.admin)):
        full = os.path.join(new.path, file)
        if not os.path.lexists(full):
            continue
        blank = template.Headers(alias="x", name="", info="")
        try:
            with open(full, encoding="utf-8") as stream:
                same = template.with_headers(stream.read(), blank) == template.with_headers(
                    text.decode(), blank
                )
        except (OSError, ValueError) as error:
            raise Refused(f"'{full}' exists already and cannot be read: {error}") from None
        if not same:
            raise Refused(
                f"'{full}' exists already, though '{new.path}' is no node",
                hint="Make it one, with a new configuration under the same headers, with --update.",
            )
