"""The options of `repoquery`, and which of them fit together."""

from __future__ import annotations

from redpak.cli.dnf import repoquery_format as formats
from redpak.cli.dnf.listing import conflict
from redpak.cli.dnf.options import Argument, Option
from redpak.cli.dnf.session import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.options import Parsed

KINDS = (
    "conflicts", "enhances", "obsoletes", "provides", "recommends", "requires", "suggests", "supplements",
)  # fmt: skip
ATTRIBUTES = {
    "conflicts": "conflicts with",
    "depends": "requires, enhances, recommends, suggests or supplements",
    "enhances": "enhances",
    "provides": "provides",
    "recommends": "recommends",
    "requires": "requires",
    "requires-pre": "requires for its scripts",
    "suggests": "suggests",
    "supplements": "supplements",
}
LISTS = {
    "installed": "only installed packages",
    "extras": "only installed packages that no repository offers",
    "upgrades": "only packages that are newer than an installed one",
    "unneeded": "only packages that autoremove would remove",
    "userinstalled": "only packages that the user asked for",
}
WHAT = (
    "conflicts",
    "depends",
    "obsoletes",
    "provides",
    "requires",
    "recommends",
    "enhances",
    "suggests",
    "supplements",
)


def _flag(*flags: str, dest: str = "", help: str) -> Option:
    return Option(flags=flags, dest=dest or flags[-1].lstrip("-").replace("-", "_"), help=help)


def _form(flag: str, form: str, what: str) -> Option:
    return Option(flags=(flag,), dest="form", kind="const", const=form, exclusive="output", help=what)


def _output(*flags: str, dest: str, help: str) -> Option:
    return Option(flags=flags, dest=dest, exclusive="output", help=help)


OPTIONS = (
    _flag("-a", "--all", dest="all", help="query all packages"),
    _flag("--show-duplicates", help="query all versions of packages (default)"),
    Option(flags=("--arch", "--archlist"), dest="arches", kind="list", metavar="[arch]",
           help="show only packages of this architecture"),
    Option(flags=("-f", "--file"), dest="file", kind="many", metavar="FILE", help="show only packages that own FILE"),
    *(Option(flags=(f"--what{kind}",), dest=f"what{kind}", kind="commas", metavar="REQ",
             help=f"show only packages that {ATTRIBUTES.get(kind, kind).removesuffix('s')} REQ") for kind in WHAT),
    Option(flags=("--alldeps",), dest="alldeps", exclusive="deps",
           help="with --whatrequires: also what packages need by their files and provides; default"),
    Option(flags=("--exactdeps",), dest="exactdeps", exclusive="deps",
           help="with --whatrequires: dependencies exactly as given"),
    _flag("--recursive", help="with --whatrequires, or --requires --resolve: and so on"),
    _flag("--deplist", help="show all dependencies, and what packages provide them"),
    _flag("--resolve", help="show the packages that provide capabilities, instead of those"),
    _flag("--tree", help="show a tree of packages"),
    _flag("--srpm", help="operate on the source packages"),
    Option(flags=("--latest-limit",), dest="latest_limit", kind="number",
           help="show the N latest packages of a name and architecture (all but N when negative)"),
    _flag("--disable-modular-filtering", help="accepted: there are no modules"),
    _output("-i", "--info", dest="queryinfo", help="show all that is known of packages"),
    _output("-l", "--list", dest="queryfilelist", help="show the files of packages"),
    _output("-s", "--source", dest="querysourcerpm", help="show the names of the source packages"),
    _output("--changelogs", dest="querychangelogs", help="show the change logs of packages"),
    Option(flags=("--qf", "--queryformat"), dest="form", kind="value", metavar="QUERYFORMAT", exclusive="output",
           help='how packages are shown: "%%{name} %%{version} ..."'),
    _flag("--querytags", help="show the tags for --queryformat"),
    _form("--nevra", formats.DEFAULT, "show name-epoch:version-release.architecture (default)"),
    _form("--nvr", formats.NVR, "show name-version-release"),
    _form("--envra", formats.ENVRA, "show epoch:name-version-release.architecture"),
    _output("--groupmember", dest="groupmember", help="refused: groups are not supported"),
    *(Option(flags=flags, dest="pkgfilter", kind="const", const=flags[0].strip("-"), exclusive="filter", help=what)
      for flags, what in (
          (("--duplicates", "--duplicated"), "only installed packages that are there in several versions"),
          (("--installonly",), "only installed packages of which several versions may be there"),
          (("--unsatisfied",), "show installed packages whose dependencies nobody meets"),
      )),
    _flag("--location", help="show where packages can be downloaded"),
    *(Option(flags=(f"--{kind}",), dest="attribute", kind="const", const=kind, exclusive="attribute",
             help=f"show what a package {what}") for kind, what in ATTRIBUTES.items()),
    _flag("--available", help="only available packages"),
    *(Option(flags=(f"--{kind}", *(("--autoremove",) if kind == "unneeded" else ())), dest="list", kind="const",
             const=kind, exclusive="list", help=f"show {what}") for kind, what in LISTS.items()),
    _flag("--recent", help="only packages that were built in the last days"),
    _flag("--own", help="leave out the packages of ancestors and of the core OS"),
)  # fmt: skip
ARGUMENTS = (Argument(dest="key", metavar="KEY", help="the packages to show"),)

TREELESS = (
    "No valid switch specified\nusage: dnf repoquery [--conflicts|--enhances|--obsoletes|--provides|--recommends|"
    "--requires|--suggest|--supplements|--whatrequires] [key] [--tree]\n\ndescription:\n"
    "  For the given packages print a tree of the packages."
)


def attribute_of(args: Parsed) -> str:
    """Return which dependencies are to be shown instead of packages, '' for none. Raises Failed."""
    if not args.flag("obsoletes"):
        return args.value("attribute")
    if args.given("attribute"):
        conflict("--obsoletes", f"--{args.value('attribute')}")
    return "obsoletes"


def judge(args: Parsed) -> None:
    """Raise Failed where options do not fit together."""
    attribute = attribute_of(args)
    if args.flag("resolve") and not attribute:
        names = [f"'--{name}'" for name in ATTRIBUTES]
        raise Failed(
            "Option '--resolve' has to be used together with one of the "
            f"{', '.join(names[:-1])} or {names[-1]} options"
        )
    if args.flag("recursive"):
        if args.flag("exactdeps"):
            conflict("--recursive", "--exactdeps")
        if not args.values("whatrequires") and not (attribute == "requires" and args.flag("resolve")):
            raise Failed(
                "Option '--recursive' has to be used with '--whatrequires <REQ>' (optionally with '--alldeps', "
                "but not with '--exactdeps'), or with '--requires <REQ> --resolve'"
            )
    for name in ("alldeps", "exactdeps"):
        if args.flag(name) and not (args.values("whatrequires") or args.values("whatdepends")):
            raise Failed(f"argument --{name} requires --whatrequires or --whatdepends option")
    if args.flag("available") and args.value("list") not in ("", "installed"):
        conflict("--available", f"--{args.value('list')}")
    if args.flag("tree") and not args.values("whatrequires") and attribute not in KINDS:
        raise Failed(TREELESS)
    if args.flag("groupmember"):
        raise Failed("groups are not supported: name the packages")
