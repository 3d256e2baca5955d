"""`redpak node repo`: add, list, remove, enable and disable the repositories of a node."""

from __future__ import annotations

import os

from redpak import paths
from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option, Verb
from redpak.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.packages.repoconfig import RepoConfig

SUMMARY = "Add, list, remove, enable and disable the repositories of a node."

PATH = Argument(name="PATH", help="the node's directory")
IDS = Argument(name="ID", help="ids of repositories, or globs such as 'test-*'", kind="some")
JSON = Option(name="json", help="print JSON")


def directory_of(path: str) -> str:
    """Return where a node keeps its repository files. Raises NotFound when `path` is no node."""
    from redpak.node.change import node_at

    return os.path.join(node_at(path), paths.REPOSITORIES)


def tell(done: str) -> None:
    """Say on standard output what was done, unless --quiet."""
    from redpak import log

    if log.level > log.ERROR:
        output.lines([done])


def add(args: Arguments) -> int:
    """Write a repository file."""
    from redpak.packages import reposetup

    given = {name: args.value(name) for name in ("name", "id") if args.value(name)}
    keys: dict[str, str] = {"name": given["name"]} if "name" in given else {}
    if args.values("gpgkey"):
        keys["gpgkey"] = "\n".join(map(reposetup.key_url, args.values("gpgkey")))
    if args.flag("no-gpgcheck"):
        keys["gpgcheck"] = "0"
    if args.flag("repo-gpgcheck"):
        keys["repo_gpgcheck"] = "1"
    if args.flag("disabled"):
        keys["enabled"] = "0"
    for text in args.values("set"):
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Usage(f"'{text}' is no setting", hint="Write --set KEY=VALUE.")
        keys[key.strip()] = value.strip()
    kinds = [name for name in ("mirrorlist", "metalink") if args.flag(name)]
    if len(kinds) > 1:
        raise Usage("options '--mirrorlist' and '--metalink' exclude each other", hint="Choose one of them.")
    done = reposetup.add(
        directory_of(args.word("PATH")),
        args.word("SOURCE"),
        name=given.get("id", ""),
        kind=kinds[0] if kinds else "baseurl",
        keys=keys,
    )
    for made in done.ids:
        tell(f"added repository '{made}' ({done.path})")
    for warning in done.warnings:
        from redpak import log

        log.warn(warning)
    return 0


def list_repositories(args: Arguments) -> int:
    """Print the node's repositories."""
    from redpak import log
    from redpak.node.site import site_of
    from redpak.packages.repofile import configured

    site = site_of(args.word("PATH"), any_state=True)
    found = configured(site, warn=log.warn)
    if not args.flag("all"):
        found = [config for config in found if config.enabled]
    if args.flag("json"):
        output.json([as_data(config) for config in found])
        return 0
    if not found:
        tell(f"no {'' if args.flag('all') else 'enabled '}repositories")
        return 0
    rows = [("ID", "STATE", "CHECKS", "SOURCE", "NAME")]
    for config in found:
        checks = [w for w, on in (("packages", config.gpgcheck), ("metadata", config.repo_gpgcheck)) if on]
        state = "enabled" if config.enabled else "disabled"
        rows.append((config.id, state, "+".join(checks) or "none", source(config), config.name))
    output.lines(output.table(rows, indent=0))
    return 0


def source(config: RepoConfig) -> str:
    """Return where a repository's packages come from, for a person: without a password."""
    from redpak.packages.access import shown

    return shown(config.source)


def as_data(config: RepoConfig) -> dict[str, object]:
    """Return a repository for JSON: every key but secrets."""
    from redpak.packages.access import shown
    from redpak.packages.repoconfig import KEYS, SECRETS

    data: dict[str, object] = {"id": config.id, "file": config.path, "line": config.origin.line}
    for key in KEYS:
        value = getattr(config, key)
        if key in SECRETS:
            value = "***" if value else ""
        elif isinstance(value, tuple):
            value = [shown(one) for one in value]
        elif isinstance(value, str):
            value = shown(value)
        data[key] = value
    return data


def remove(args: Arguments) -> int:
    """Take repositories out of the node's files."""
    from redpak.packages import reposetup

    for name, path in reposetup.remove(directory_of(args.word("PATH")), args.words("ID")):
        tell(f"removed repository '{name}' ({path})")
    return 0


def enable(args: Arguments) -> int:
    """Let repositories take part."""
    return _switch(args, enabled=True)


def disable(args: Arguments) -> int:
    """Let repositories take part no longer."""
    return _switch(args, enabled=False)


def _switch(args: Arguments, *, enabled: bool) -> int:
    from redpak.packages import reposetup

    done = "enabled" if enabled else "disabled"
    for name, changed in reposetup.switch(directory_of(args.word("PATH")), args.words("ID"), enabled=enabled):
        tell(f"{done} repository '{name}'" if changed else f"repository '{name}' was {done} already")
    return 0


VERBS = (
    Verb(
        name="node repo add",
        summary="Add a repository to a node: a URL, a directory, or a .repo file that somebody publishes.\n"
        "Packages must be signed (gpgcheck=1) unless told otherwise.",
        arguments=(
            PATH,
            Argument(name="SOURCE", help="base URL, directory, or path or URL of a .repo file; $variables stay"),
        ),
        options=(
            Option(name="id", metavar="ID", kind="value", help="the repository's id; made from the source if left out"),
            Option(name="name", metavar="TEXT", kind="value", help="its name for people"),
            Option(name="gpgkey", metavar="URL", kind="repeat", help="URL or path of a key that signs it"),
            Option(name="no-gpgcheck", help="take unsigned packages, unless the family forbids it"),
            Option(name="repo-gpgcheck", help="the metadata must be signed as well"),
            Option(name="mirrorlist", help="SOURCE is the URL of a list of mirrors"),
            Option(name="metalink", help="SOURCE is the URL of a metalink"),
            Option(name="disabled", help="do not enable it"),
            Option(name="set", metavar="KEY=VALUE", kind="repeat", help="any key of dnf.conf(5): priority=10"),
        ),
        examples=(
            ("redpak node repo add /srv/nodes/app https://example.com/el9/x86_64 --gpgkey https://example.com/KEY",
             "packages signed by that key"),
            ("redpak node repo add /srv/nodes/app ./vendor.repo", "what a vendor's file says"),
        ),
        main=add,
    ),
    Verb(
        name="node repo list",
        summary="List the enabled repositories of a node: id, what is checked, where it is.",
        arguments=(PATH,),
        options=(Option(name="all", short="a", help="list the disabled ones too"), JSON),
        examples=(("redpak node repo list /srv/nodes/app --all", "every repository with its state"),),
        main=list_repositories,
    ),
    Verb(
        name="node repo remove",
        summary="Remove repositories from a node. Packages that came from them stay.",
        arguments=(PATH, IDS),
        examples=(("redpak node repo remove /srv/nodes/app vendor", "its file goes when nothing else is in it"),),
        main=remove,
    ),
    Verb(
        name="node repo enable",
        summary="Let repositories of a node take part.",
        arguments=(PATH, IDS),
        examples=(("redpak node repo enable /srv/nodes/app vendor-testing", "its packages can be installed"),),
        main=enable,
    ),
    Verb(
        name="node repo disable",
        summary="Let repositories of a node take part no longer; --enablerepo still brings them in.",
        arguments=(PATH, IDS),
        examples=(("redpak node repo disable /srv/nodes/app 'vendor-*'", "all of them"),),
        main=disable,
    ),
)  # fmt: skip
