"""`redconf create`: make a node from templates, as red-pak 2.5 does. Silent when it works, nothing made when not.

The node's path is taken beneath the root path (`/` by default), never beneath the working directory. No system
node is made above it. Under upstream-2.5 the files are the templates read and written anew (comments go, keys are
sorted) and nothing is checked against the ancestors; under the sealed profile `redpak node create` does the work.
"""

from __future__ import annotations

import os

from redpak import paths
from redpak.cli.compat.getopt import Switch, parse
from redpak.cli.compat.redwrap_dump import new_uuid, today
from redpak.cli.compat.report import ERROR, say
from redpak.config.model import UPSTREAM
from redpak.errors import Fault, RedpakError, Usage
from redpak.fs import write_atomically
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import NodeDoc

SWITCHES = (
    Switch(key="alias", longs=("alias",), shorts="a", takes="value"),
    Switch(key="config", longs=("config",), shorts="c", takes="value"),
    Switch(key="config-adm", longs=("config-adm",), shorts="C", takes="value"),
    Switch(key="full", longs=("full",), shorts="f"),
    Switch(key="leaf", longs=("leaf",), shorts="l"),
    Switch(key="root", longs=("root",), shorts="r"),
    Switch(key="model", longs=("model",), shorts="m", takes="value"),
    Switch(key="node", longs=("node",), shorts="n", takes="value"),
    Switch(key="redroot", longs=("redroot",), shorts="R", takes="value"),
    Switch(key="templates", longs=("templates",), shorts="t", takes="value"),
    Switch(key="update", longs=("update",), shorts="u"),
    Switch(key="help", longs=("help",), shorts="h"),
)
USAGE = """\
Usage: redconf create [options] [redpath [redroot]]

  -a, --alias ALIAS        alias of the node (default: last component of redpath)
  -c, --config T           template of the normal configuration
  -C, --config-adm T       template of the administrative configuration
  -f, --full               templates of the model full
  -l, --leaf               templates of the model leaf (default)
  -r, --root               templates of the model root
  -m, --model M            templates of the model M
  -n, --node P             the node's path, beneath redroot
  -R, --redroot P          an existing directory (default: /)
  -t, --templates DIR      directory of the templates
  -u, --update             write an existing node's configuration anew, keeping its headers
"""
ALIAS_CHARACTERS = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_+@:-")
LONGEST_PATH = 4095  # PATH_MAX less the final NUL


class CreateFailed(RedpakError):
    """A node was not created (exit code 1, or 2 for wrong input); the message is red-pak's."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Order(Record):
    """A node to create."""

    node: str  # absolute path, no trailing slash
    alias: str
    normal: str  # template
    admin: str  # template
    templates: tuple[str, ...]  # directories
    update: bool = False
    upstream: bool = False  # read and write as red-pak does


def run(words: list[str]) -> int:
    """Run `redconf create words…`. Raises RedpakError."""
    import sys

    given, rest = parse(words, SWITCHES, permute=True)
    asked = {key: value or "" for key, value in given}
    if "help" in asked:
        sys.stdout.write(USAGE)
        return 0
    create(order(asked, rest))
    return 0


def order(asked: dict[str, str], rest: list[str]) -> Order:
    """Check what the command line asks for. Raises Usage and CreateFailed."""
    if len(rest) > 2:
        raise Usage(f"unexpected argument '{rest[2]}'", hint="Run 'redconf create --help'.")
    redpath = rest[0] if rest else asked.get("node", "")
    redroot = rest[1] if len(rest) > 1 else asked.get("redroot", "/")
    model = next((name for name in ("full", "leaf", "root") if name in asked), asked.get("model", "leaf"))
    if any("\0" in word for word in (redpath, redroot)) or not redpath.strip("/"):
        raise Usage("the path of the node is missing", hint="Run 'redconf create --help'.")
    if len(redroot.encode(errors="surrogateescape")) > LONGEST_PATH:
        raise CreateFailed("Root path too long", code=2)
    if not redroot.startswith("/"):
        raise CreateFailed("Root path isn't absolute", code=2)
    if not os.path.isdir(redroot):
        raise CreateFailed("Root path isn't existing", code=4)
    node = os.path.normpath(f"{redroot}/{redpath}")
    node = "/" + node.lstrip("/")
    if len(node.encode(errors="surrogateescape")) > LONGEST_PATH:
        raise CreateFailed("Node path too long", code=2)
    alias = asked.get("alias", os.path.basename(node))
    if not alias:
        raise CreateFailed("Default alias is empty", code=2)
    if not frozenset(alias) <= ALIAS_CHARACTERS:
        raise CreateFailed("Invalid alias", code=2)
    named = asked.get("templates")
    return Order(
        node=node,
        alias=alias,
        normal=asked.get("config", model),
        admin=asked.get("config-adm", model),
        templates=(named,) if named else paths.template_directories(),
        update="update" in asked,
        upstream=os.environ.get("REDPAK_PROFILE") == UPSTREAM,
    )


def create(asked: Order) -> None:
    """Make or update a node: everything is read and checked before the first directory is made."""
    normal = os.path.join(asked.node, paths.NORMAL_CONFIGS[0])
    admin = os.path.join(asked.node, paths.ADMIN_CONFIGS[0])
    if asked.update and not os.path.exists(normal):
        raise CreateFailed("Can't update not existing config", code=4)
    for file in (normal, admin):
        if os.path.lexists(file) and not asked.update:
            raise CreateFailed("Configuration file already existing")
    normal_template = find_template(asked.normal, "-normal.yaml", asked.templates)
    admin_template = find_template(asked.admin, "-admin.yaml", asked.templates)
    if asked.upstream:
        as_red_pak(asked, {normal: normal_template, admin: admin_template})
        return
    from redpak.node.create import create as make

    make(
        asked.node,
        alias="" if asked.update else asked.alias,
        template_normal=os.path.abspath(normal_template),
        template_admin=os.path.abspath(admin_template),
        system_node=False,
        update=asked.update,
        model="leaf",
    )


def as_red_pak(asked: Order, templates: dict[str, str]) -> None:
    """Make or update a node as red-pak does; `templates` are those of the normal and the admin file."""
    who = f"{os.environ.get('LOGNAME', 'Unknown')}({os.environ.get('HOSTNAME', 'localhost')})"
    info = f"Node created by {who} the {today()}"
    contents: dict[str, str] = {}
    for (file, template), alias in zip(
        templates.items(), (asked.alias, f"admin-of-{asked.alias}"), strict=True
    ):
        doc = read(template, fit=True)
        if os.path.lexists(file):
            old = read(file)
            doc = doc.but(alias=old.alias, name=old.name, info=old.info)
        else:
            doc = doc.but(alias=alias, name=new_uuid(), info=info)
        contents[file] = written(doc)
    store(asked.node, contents)


def find_template(name: str, suffix: str, directories: tuple[str, ...]) -> str:
    """Return the file of a template: as named, with .yaml, or with the suffix of its kind. Raises CreateFailed."""
    places = [name] if "/" in name else [os.path.join(directory, name) for directory in directories]
    for place in places:
        if len(place.encode(errors="surrogateescape")) > LONGEST_PATH:
            raise CreateFailed("Config path too long", code=2)
        for file in (place, f"{place}.yaml", f"{place}{suffix}"):
            if os.path.isfile(file):
                return file
    raise CreateFailed("No configuration file", code=4)


def read(file: str, *, fit: bool = False) -> NodeDoc:
    """Return a configuration file, read as red-pak reads it. Reports its faults and raises CreateFailed.

    With `fit`, blocks of a template that are meant for other hosts are left out.
    """
    from redpak.config import load
    from redpak.node import template

    faults: list[Fault] = []
    if fit:
        data = template.read(file).numbered.encode()
        doc = load.load_bytes(data, file, lenient=True, faults=faults)
    else:
        doc = load.load(file, lenient=True, faults=faults)
    for fault in faults:
        say(ERROR, str(fault))
    if doc is None or faults:
        raise CreateFailed("Can't load configuration file", code=2)
    return doc


def written(doc: NodeDoc) -> str:
    """Return the content of a configuration file, as red-pak writes it."""
    from redpak.config.dump import dump

    return dump(doc, upstream=True)


def store(node: str, files: dict[str, str]) -> None:
    """Write the files of a node, its status last: that is what makes it a node. Undone when it fails half-way."""
    made: list[str] = []
    done: list[str] = []
    try:
        make_directories(os.path.join(node, "etc"), made)
        for file, content in files.items():
            fresh = not os.path.lexists(file)
            try:
                write_atomically(file, content.encode(errors="surrogateescape"))
            except RedpakError as error:
                raise CreateFailed(f"Can't store configuration file ({error.message})") from error
            if fresh:
                done.append(file)
        if not os.path.lexists(os.path.join(node, paths.STATUS)):
            store_status(node)
    except BaseException:
        for file in done:
            os.unlink(file)
        for directory in reversed(made):
            os.rmdir(directory)
        raise


def store_status(node: str) -> None:
    """Write the status of an enabled node."""
    from redpak.node import status

    fresh = status.new(node, by="red-manager")
    try:
        status.write(fresh)
    except RedpakError as error:
        raise CreateFailed(f"Can't store status file ({error.message})") from error


def make_directories(path: str, made: list[str]) -> None:
    """Make a directory and those above it; what was made is added to `made`. Raises CreateFailed."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        try:
            os.mkdir(directory, 0o755)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise CreateFailed(f"Can't create directories ({directory}: {why})") from error
        made.append(directory)
