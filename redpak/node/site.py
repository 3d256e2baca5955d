"""From a path to the place where packages are changed: the family's layers and what its configuration demands.

Reads configuration and looks at databases; changes nothing.
"""

from __future__ import annotations

import os

from redpak import paths
from redpak.errors import NotFound, doing
from redpak.packages.model import Layer, Site
from redpak.record import Record
from redpak.text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redpak.config.model import Family, Merged, MergedTag, Node

CORE = "core OS"  # what messages call that layer
RPM_DATABASES = ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")  # the first that is there
DPKG_DATABASE = "var/lib/dpkg/status"
HOST_REPOSITORIES = ("etc/yum.repos.d", "etc/yum/repos.d", "etc/distro.repos.d")  # dnf.conf(5), reposdir

# What a core OS calls its release: the package that provides one of these (dnf, const.py).
RELEASE_PROVIDES = (
    "system-release(releasever)",
    "system-release",
    "distribution-release(releasever)",
    "distribution-release",
    "redhat-release",
    "suse-release",
)
# dpkg's names of architectures, and uname's.
DPKG_ARCHES = {
    "amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7hl", "armel": "armv5tel", "i386": "i686",
    "ppc64el": "ppc64le", "riscv64": "riscv64", "s390x": "s390x", "loong64": "loongarch64",
}  # fmt: skip


class Facts(Record):
    """What is known of a core OS besides its packages."""

    arch: str = ""
    release: str = ""


def site_of(
    path: str,
    *,
    core: str = "",
    releasever: str = "",
    environ: Mapping[str, str] | None = None,
    any_state: bool = False,
) -> Site:
    """Return the site of the node at `path`: core OS, ancestors, the node.

    `core` says what the core OS is: '' what the family says (`core-os`), else the host; 'host'; 'none'; the root
    directory of another system; a manifest file. `releasever` '/' means the host's. `any_state` also takes nodes
    that are not enabled. Raises NotFound, BadConfig, Refused, RedpakError.
    """
    from redpak.config.merge import merge
    from redpak.node import collecting
    from redpak.node.family import context, family_of

    family, profile = family_of(path, environ=environ, any_state=any_state, may_write=True)
    merged = merge(family, profile, context(environ))
    first = core_layer(core) if core else configured_layer(merged)
    layers = [first] if first else []
    for node in family.nodes:
        if not any_state:  # who only looks is shown what is there
            collecting.refuse_lost(node.real)
        layers.append(node_layer(node, locked=True, taken=layers))
    layers[-1] = layers[-1].but(locked=False)
    facts = facts_of(first)
    arch = facts.arch or os.uname().machine
    leaf = os.path.realpath(path)
    roots = [first.path] if first is not None and first.database != "manifest" else []
    demanded = merged.tags.get("gpgcheck")
    binds = demanded is not None and demanded.value is True
    return Site(
        path=leaf,
        is_node=True,
        layers=tuple(layers),
        arch=arch,
        gpgcheck=True if binds else None,
        gpgcheck_because=str(demanded.origin) if demanded is not None and binds else "",
        cachedir=configured_place(merged, "cachedir"),
        repositories=(os.path.join(leaf, paths.REPOSITORIES),),
        variables=variables(
            arch,
            release_asked(releasever) or facts.release or release_of(leaf),
            [os.path.join(root, f"etc/{name}/vars") for root in (*roots, leaf) for name in ("yum", "dnf")],
            environ,
        ),
    )


def installroot(
    path: str, *, releasever: str = "", arch: str = "", environ: Mapping[str, str] | None = None
) -> Site:
    """Return the site of a plain directory, as dnf's --installroot means it: no core OS, no ancestors.

    The directory need not exist yet. Repositories and variables are its own where it has any, else the host's.
    """
    root = os.path.realpath(path)
    database = database_beneath(root) or os.path.join(root, RPM_DATABASES[0])
    layer = Layer(
        name=root, kind="node", path=root, database="rpm", rpmdb=database, tree=root, state=root, locked=False
    )
    own = [place for name in HOST_REPOSITORIES if os.path.isdir(place := os.path.join(root, name))]
    top = root if own else "/"
    machine = arch or os.uname().machine
    return Site(
        path=root,
        is_node=False,
        layers=(layer,),
        arch=machine,
        repositories=tuple(own) or tuple(f"/{name}" for name in HOST_REPOSITORIES),
        variables=variables(
            machine,
            release_asked(releasever) or release_in(database),
            tuple(os.path.join(top, f"etc/{name}/vars") for name in ("yum", "dnf")),
            environ,
        ),
    )


# ---- layers ----


def core_layer(core: str) -> Layer | None:
    """Return the layer of a core OS; None for 'none'. Raises NotFound, and RedpakError for what is neither."""
    if core == "none":
        return None
    if core in ("", "host"):
        return root_layer("/")
    if not os.path.exists(core):
        raise NotFound(
            f"core OS '{core}' does not exist", hint="Name a root directory, a manifest, 'host' or 'none'."
        )
    where = os.path.realpath(core)
    if os.path.isdir(where):
        return root_layer(where)
    return Layer(name=CORE, kind="core", path=where, database="manifest")


def core_of(path: str) -> Layer:
    """Return the core OS that a path means: that of a node's family, a root directory, or a manifest.

    Raises NotFound when there is nothing at the path or the family has no core OS.
    """
    from redpak.node import tree

    if os.path.isdir(path) and tree.is_node(path):
        layer = site_of(path, any_state=True).layers[0]
        if layer.kind == "core":
            return layer
        raise NotFound(f"the family of '{path}' has no core OS", hint="Name the root directory of a system.")
    found = core_layer(path if path.startswith("/") else f"./{path}")
    assert found is not None
    return found


def root_layer(root: str) -> Layer:
    """Return the layer of a system's root directory, by the database that it has.

    On a Debian system an empty rpm database says nothing, `rpm -qa` makes one; nor does one of an older rpm.
    """
    layer = Layer(name=CORE, kind="core", path=root, database="none", tree=root, state=root)
    debian = os.path.exists(os.path.join(root, DPKG_DATABASE))
    folder = database_beneath(root)
    if folder and not (debian and is_empty(folder)):
        return layer.but(database="rpm", rpmdb=folder)
    return layer.but(database="dpkg") if debian else layer


def node_layer(node: Node, *, locked: bool, taken: Iterable[Layer]) -> Layer:
    """Return the layer of a node: its current generation, else what lies in its directory.

    A node that shows another layer's database (a system node that stands for the core OS) has none of its own.
    """
    from redpak.node import generations

    with doing("read the node's generation"):
        generation = generations.current(node.real)
    database = os.path.join(generation, generations.DATABASE) if generation else own_database(node)
    same = any(layer.rpmdb and same_place(layer.rpmdb, database) for layer in taken)
    return Layer(
        name=node.alias,
        kind="node",
        path=node.real,
        database="none" if same else "rpm",
        rpmdb="" if same else database,
        tree=os.path.join(generation, generations.TREE) if generation else node.real,
        state=node.real,
        locked=locked,
    )


def own_database(node: Node) -> str:
    """Return where a node without generations keeps its database: what its file says (rpmdir), else var/lib/rpm."""
    said = node.normal.tags.get("rpmdir")
    if said is not None and isinstance(said.value, str):
        place = said.value.replace("$NODE_PATH", node.real)
        if place.startswith("/") and "$" not in place:
            return place
    places = [os.path.join(node.real, name) for name in RPM_DATABASES]
    return next((place for place in places if has_database(place)), places[0])


def database_beneath(root: str) -> str:
    """Return the directory of a system's rpm database, '' when it has none. Links in the root stay in the root."""
    from redpak.packages import ldconf

    look = ldconf.rooted(root)
    found = (look(f"/{name}") for name in RPM_DATABASES)
    return next((folder for folder in found if folder is not None and has_database(folder)), "")


def has_database(folder: str) -> bool:
    """Tell whether a directory holds an rpm database of any format."""
    return any(
        os.path.exists(os.path.join(folder, name)) for name in ("rpmdb.sqlite", "Packages.db", "Packages")
    )


def is_empty(folder: str) -> bool:
    """Tell whether an rpm database holds no package, as far as we can read it."""
    from redpak.packages import rpmdb

    if not os.path.exists(os.path.join(folder, rpmdb.FILE)):
        return True
    return all(header.is_key for header in rpmdb.read(folder))


def same_place(one: str, two: str) -> bool:
    """Tell whether two paths lead to the same thing; what is absent is the same as nothing."""
    try:
        return os.path.samefile(one, two)
    except OSError:
        return False


# ---- what the configuration says ----


def configured_core(merged: Merged) -> str:
    """Return what the family says of its core OS: absolute, or a word; '' when it says nothing."""
    tag = merged.tags.get("core-os")
    said = literal(tag)
    if tag is None or said in ("", "host", "none") or said.startswith("/"):
        return said
    return os.path.join(owner_path(merged.family, tag), said)


def configured_layer(merged: Merged) -> Layer | None:
    """Return the core OS that the family says. Raises NotFound, with who says it, when that is not there."""
    try:
        return core_layer(configured_core(merged))
    except NotFound as error:
        said = merged.tags.get("core-os")
        raise NotFound(f"{error.message} ({said.origin if said else ''})", hint=error.hint) from None


def owner_path(family: Family, tag: MergedTag) -> str:
    """Return the directory that a relative path of a setting starts from: the node's that says it."""
    return family.nodes[tag.owner].real if tag.owner >= 0 else os.path.dirname(paths.main_config())


def configured_place(merged: Merged, key: str) -> str:
    """Return an absolute path of the configuration, '' when there is none or it is only known at a launch."""
    said = literal(merged.tags.get(key))
    return os.path.normpath(said) if said.startswith("/") else ""


def literal(tag: MergedTag | None) -> str:
    """Return a setting's text, '' when it is absent or has parts that only a launch knows."""
    if tag is None:
        return ""
    value = tag.value
    if isinstance(value, Text):
        return value.literal or ""
    return value if isinstance(value, str) else ""


# ---- variables of repository files ----


def variables(
    arch: str, release: str, directories: Iterable[str], environ: Mapping[str, str] | None
) -> tuple[tuple[str, str], ...]:
    """Return the variables of repository files, sorted. The system's own win, then those of files, then DNF_VAR_*."""
    from redpak.packages import variables as known

    found = known.from_environment(os.environ if environ is None else environ)
    found.update(known.read(directories))
    found.update(arch=arch, basearch=known.basearch(arch))
    if release:
        found["releasever"] = release
    return tuple(sorted(found.items()))


def release_asked(releasever: str) -> str:
    """Return the release that a caller wants; '/' is the host's."""
    return facts_of(root_layer("/")).release if releasever == "/" else releasever


def facts_of(layer: Layer | None) -> Facts:
    """Return what a core OS says of itself."""
    if layer is None:
        return Facts()
    if layer.database == "manifest":
        from redpak.packages import manifest

        known = manifest.read(layer.path)
        return Facts(arch=known.arch, release=known.releasever)
    release = release_in(layer.rpmdb) if layer.database == "rpm" else ""
    return Facts(
        arch="" if layer.path == "/" else arch_of(layer),
        release=release or release_of(layer.path),
    )


def release_in(database: str) -> str:
    """Return the release that an rpm database knows: that of the package which says so, or which it says."""
    from redpak.packages import rpmdb
    from redpak.packages.header_tags import EQUAL, SENSE

    for wanted in RELEASE_PROVIDES:
        for header in rpmdb.providing(database, wanted):
            for name, flags, evr in header.provides:
                named = header.name not in (wanted, wanted.partition("(")[0])
                if name == wanted and flags & SENSE == EQUAL and evr and named:
                    return evr
            return header.version
    return ""


def release_of(root: str) -> str:
    """Return VERSION_ID of a system's os-release, '' when it has none. Source: os-release(5)."""
    from redpak.packages import ldconf

    look = ldconf.rooted(root)
    for name in ("/etc/os-release", "/usr/lib/os-release"):
        text = ldconf.text_of(look, name, 65536)
        if text is None:
            continue
        for line in text.splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "VERSION_ID":
                return value.strip().strip("\"'")
        return ""
    return ""


def arch_of(layer: Layer) -> str:
    """Return the architecture of a system that may be another machine's, '' when nothing tells it."""
    if layer.database == "rpm":
        from redpak.packages import rpmdb

        found = {header.arch for header in rpmdb.providing(layer.rpmdb, "rtld(GNU_HASH)")} - {"noarch"}
        here = os.uname().machine
        return here if here in found else max(found, default="", key=lambda arch: ("64" in arch, arch))
    if layer.database == "dpkg":
        from redpak.packages import dpkg

        return DPKG_ARCHES.get(dpkg.arch(layer.path), "")
    return ""
