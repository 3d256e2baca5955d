"""`updateinfo`: advisories about installed packages, as a summary, a list or in full."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase

from redpak.cli import output
from redpak.cli.dnf.options import Argument, Option
from redpak.packages import evr
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redpak.cli.dnf.options import Parsed
    from redpak.cli.dnf.session import Session
    from redpak.packages.advisories import Advisory, Fixed
    from redpak.packages.query import Query

WHICH = {
    "available": "advisories about newer versions of installed packages (default)",
    "installed": "advisories about equal and older versions of installed packages",
    "updates": "advisories about newer versions of those installed packages for which a newer version is available",
    "all": "advisories about any versions of installed packages",
}
FORMS = {"summary": "show summary of advisories (default)", "list": "show list of advisories",
         "info": "show info of advisories"}  # fmt: skip
DIRECT = {  # commands that say the form themselves
    "list-updateinfo": "list", "list-security": "list", "list-sec": "list", "info-updateinfo": "info",
    "info-security": "info", "info-sec": "info", "summary-updateinfo": "summary",
}  # fmt: skip
KINDS = ("bugfix", "enhancement", "security", "newpackage")
WORDS = {"sec": "security"} | {kind: kind for kind in KINDS}
SEVERITIES = ("Critical", "Important", "Moderate", "Low")

OPTIONS = (
    *(Option(flags=(f"--{which}",), dest="which", kind="const", const=which, exclusive="which", help=text)
      for which, text in WHICH.items()),
    *(Option(flags=(f"--{form}",), dest="form", kind="const", const=form, exclusive="form", help=text)
      for form, text in FORMS.items()),
    Option(flags=("--with-cve",), dest="with_cve", help="show only advisories with CVE reference"),
    Option(flags=("--with-bz",), dest="with_bz", help="show only advisories with bugzilla reference"),
)  # fmt: skip
ARGUMENTS = (
    Argument(dest="spec", metavar="SPEC", help="ids of advisories, names of packages, or: list, info …"),
)

BAR = "=" * 79
LABELS = (
    "Update ID",
    "Type",
    "Updated",
    "Bugs",
    "CVEs",
    "Description",
    "Severity",
    "Rights",
    "Files",
    "Installed",
)


class Wish(Record):
    """What is asked for. An advisory counts when it fits any of the criteria, or when there are none."""

    form: str
    which: str
    specs: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    bugs: tuple[str, ...] = ()
    cves: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    with_cve: bool = False
    with_bz: bool = False

    def fits(self, one: Advisory) -> bool:
        """Tell whether an advisory counts."""
        criteria = (
            self.specs,
            self.kinds,
            self.bugs,
            self.cves,
            self.severities,
            self.with_cve,
            self.with_bz,
        )
        if not any(criteria):
            return True
        return (
            one.kind in self.kinds
            or any(fnmatchcase(one.id, spec) for spec in self.specs)
            or one.severity in self.severities
            or any(one.mentions("bugzilla", bug) for bug in self.bugs)
            or any(one.mentions("cve", cve) for cve in self.cves)
            or (self.with_cve and any(ref.kind == "cve" for ref in one.references))
            or (self.with_bz and any(ref.kind == "bugzilla" for ref in one.references))
        )


class Hit(Record):
    """A package of an advisory that concerns something installed."""

    advisory: Advisory
    fixed: Fixed
    installed: bool  # this version or a newer one is there


def run(session: Session, args: Parsed) -> int:
    """Show advisories."""
    wish = wish_of(args)
    hits = list(found(session, wish))
    if session.as_json:
        output.json([_data(one, hits) for one in _advisories(hits)])
        return 0
    show = {"list": _list, "info": _info, "summary": _summary}[wish.form]
    text = show(session, wish, hits)
    if text or wish.form == "info":
        session.out(text)
    return 0


def wish_of(args: Parsed) -> Wish:
    """Return what the command line asks for; words may say what options say."""
    specs = list(args.values("spec"))
    form = args.value("form")
    if args.command in DIRECT:
        form = DIRECT[args.command]
    elif specs and specs[0] in FORMS:
        form = form or specs[0]
        specs.pop(0)
    which = args.value("which")
    if not which and specs and specs[0] in WHICH:
        which = specs.pop(0)
    kinds = {kind for kind in KINDS if args.flag(kind)}
    with_cve, with_bz = args.flag("with_cve"), args.flag("with_bz")
    first = specs[0] if specs else ""
    if first in WORDS:
        kinds.add(WORDS[first])
    with_cve, with_bz = with_cve or first == "cves", with_bz or first in ("bugzillas", "bzs")
    if first in WORDS or first in ("cves", "bugzillas", "bzs"):
        specs.pop(0)
    return Wish(
        form=form or "summary", which=which or "available", specs=(*specs, *args.values("advisory")),
        kinds=tuple(sorted(kinds)), bugs=args.values("bugzilla"), cves=args.values("cves"),
        severities=args.values("severity"), with_cve=with_cve, with_bz=with_bz,
    )  # fmt: skip


def found(session: Session, wish: Wish) -> Iterator[Hit]:
    """Yield what concerns installed packages of the layer that may change."""
    universe = session.universe
    own = universe.query().own()
    some = _judged(own, wish.which)
    by_name = own.by_name()
    for advisory in universe.advisories():
        fits = wish.fits(advisory)
        for fixed in advisory.packages:
            if not fits and not any(fnmatchcase(fixed.name, spec) for spec in wish.specs):
                continue
            here = [one for one in some if one.name == fixed.name and one.arch == fixed.arch]
            if any(_concerns(evr.compare(fixed.evr, one.evr), wish.which) for one in here):
                there = any(evr.compare(one.evr, fixed.evr) >= 0 for one in by_name.get(fixed.name, ()))
                yield Hit(advisory=advisory, fixed=fixed, installed=there)


def _judged(own: Query, which: str) -> Query:
    match which:
        case "available":
            return own.latest()
        case "updates":
            newer = {(one.name, one.arch) for one in own.universe.query().available().upgrades()}
            return own.where(lambda one: (one.name, one.arch) in newer)
        case _:
            return own


def _concerns(order: int, which: str) -> bool:
    return {"installed": order <= 0, "all": True}.get(which, order > 0)


def _advisories(hits: Sequence[Hit]) -> list[Advisory]:
    return list({(one.advisory.repo, one.advisory.id): one.advisory for one in hits}.values())


def _summary(_: Session, wish: Wish, hits: Sequence[Hit]) -> str:
    kinds: dict[str, str] = {}
    severities: dict[str, set[str]] = {}
    for one in hits:
        kinds[one.advisory.id] = one.advisory.kind
        if one.advisory.kind == "security":
            severities.setdefault(one.advisory.severity, set()).add(one.advisory.id)
    if not kinds:
        return ""

    def count(*names: str) -> int:
        return sum(kind in names for kind in kinds.values())

    rows = [(0, "New Package", count("newpackage")), (0, "Security", count("security"))]
    rows += [(1, f"{name} Security", len(severities.get(name, ()))) for name in SEVERITIES]
    others = [ids for name, ids in severities.items() if name not in SEVERITIES]
    rows += [
        (1, "Unknown Security", sum(map(len, others))),
        (0, "Bugfix", count("bugfix")),
        (0, "Enhancement", count("enhancement")),
        (0, "other", sum(kind not in KINDS for kind in kinds.values())),
    ]
    width = max(len(str(number)) for _, _, number in rows if number)
    lines = [
        f"    {str(number).rjust(width + 4 * deep)} {name} notice(s)" for deep, name, number in rows if number
    ]
    return "\n".join([f"Updates Information Summary: {wish.which}", *lines])


def _label(one: Advisory) -> str:
    if one.kind == "security":
        return f"{one.severity}/Sec." if one.severity in SEVERITIES else "Unknown/Sec."
    return one.kind if one.kind in KINDS else "unknown"


def _list(session: Session, wish: Wish, hits: Sequence[Hit]) -> str:
    rows: dict[tuple[str, bool, str], dict[str, str]] = {}
    for one in hits:
        ids = rows.setdefault((one.fixed.nevra, one.installed, moment(one.advisory)), {})
        if wish.with_cve or wish.with_bz:
            wanted = (("cve", wish.with_cve), ("bugzilla", wish.with_bz))
            hidden = {kind for kind, asked in wanted if not asked}
            ids |= {ref.id: _label(one.advisory) for ref in one.advisory.references if ref.kind not in hidden}
        else:
            ids[one.advisory.id] = _label(one.advisory)
    shown = [
        (nevra, installed, updated, id_, label)
        for (nevra, installed, updated), ids in sorted(rows.items())
        for id_, label in ids.items()
    ]
    if not shown:
        return ""
    wide = [
        max(len(text) for text in texts)
        for texts in zip(*((row[0], row[3], row[4]) for row in shown), strict=True)
    ]
    lines = []
    for nevra, installed, updated, id_, label in shown:
        mark = ("i " if installed else "  ") if wish.which == "all" else ""
        line = f"{mark}{id_.ljust(wide[1])} {label.ljust(wide[2])} "
        lines.append(line + (f"{nevra.ljust(wide[0])} {updated}" if session.level > 2 else nevra))
    return "\n".join(lines)


def _info(session: Session, wish: Wish, hits: Sequence[Hit]) -> str:
    blocks = {_block(session, wish, one) for one in hits}
    return "\n\n".join(sorted(blocks, key=str.lower))


def _block(session: Session, wish: Wish, hit: Hit) -> str:
    one = hit.advisory
    verbose = session.level > 2
    values: tuple[list[str], ...] = (
        [one.id],
        [one.kind if one.kind in KINDS else "unknown"],
        [moment(one)],
        sorted(f"{ref.id} - {ref.title}" for ref in one.references if ref.kind == "bugzilla"),
        sorted(ref.id for ref in one.references if ref.kind == "cve"),
        one.description.splitlines(),
        [one.severity] if one.severity and one.severity != "None" else [],
        one.rights.splitlines() if verbose else [],
        sorted({fixed.filename for fixed in one.packages if _fits_here(session, fixed.arch)})
        if verbose
        else [],
        [str(hit.installed).lower()] if wish.which == "all" else [],
    )
    width = max(map(len, LABELS))
    lines = [BAR, f"  {one.title}", BAR]
    for label, texts in zip(LABELS, values, strict=True):
        for at, text in enumerate(texts):
            lines.append(f"{('' if at else label).rjust(width)}: {text}")
    return "\n".join(lines)


def _fits_here(session: Session, arch: str) -> bool:
    return arch in ("noarch", session.site.arch) or session.universe.pool.arch == arch


def moment(one: Advisory) -> str:
    """Return when an advisory was changed last: date and time, whatever its repository writes."""
    text = one.updated or one.issued
    if text.isdecimal():
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(text)))
    return f"{text} 00:00:00" if len(text) == len("2025-01-31") else text


def _data(one: Advisory, hits: Sequence[Hit]) -> dict[str, object]:
    mine = [hit for hit in hits if (hit.advisory.repo, hit.advisory.id) == (one.repo, one.id)]
    return {
        "id": one.id,
        "repo": one.repo,
        "type": one.kind,
        "severity": one.severity,
        "title": one.title,
        "updated": moment(one),
        "description": one.description,
        "references": [
            {"type": ref.kind, "id": ref.id, "title": ref.title, "url": ref.href} for ref in one.references
        ],
        "packages": [{"nevra": hit.fixed.nevra, "installed": hit.installed} for hit in mine],
    }
