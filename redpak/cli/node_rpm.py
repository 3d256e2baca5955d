"""`redpak node rpm`: rpm's own questions, asked about a node. And what looks after generations: recover, collect."""

from __future__ import annotations

from redpak import log
from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option, Verb
from redpak.errors import Usage


def rpm(args: Arguments) -> int:
    """Run rpm in a read-only view of a node."""
    from redpak.node import query, site

    words = args.words("ARGS")
    if not words:
        raise Usage("there is nothing to ask rpm", hint="Type, for instance: redpak node rpm PATH -- -qa")
    where = site.site_of(args.word("PATH"), core=args.value("core-os") or "", any_state=True)
    return query.rpm(where, words, everything=args.flag("all"))


def recover(args: Arguments) -> int:
    """Finish or remove what a killed command left."""
    import os

    from redpak.node import install
    from redpak.node.change import node_at

    path = args.word("PATH")
    done = install.recover(os.path.realpath(node_at(path)))
    if log.level > log.ERROR:
        output.lines([f"recovered '{path}'" if done else f"nothing to do in '{path}'"])
    return 0


def collect(args: Arguments) -> int:
    """Remove old generations."""
    import os

    from redpak.node import install
    from redpak.node.change import node_at

    said = args.value("keep") or str(install.KEEP)
    if not said.isascii() or not said.isdigit() or int(said) < 1:
        raise Usage(f"'{said}' is no number of generations", hint="Give 1 or more.")
    days = args.value("days") or "0"
    if not days.isascii() or not days.isdigit():
        raise Usage(f"'{days}' is no number of days", hint="Give a whole number.")
    path = args.word("PATH")
    gone = install.collect(os.path.realpath(node_at(path)), keep=int(said), age_s=int(days) * 86400.0)
    if log.level > log.ERROR:
        output.lines([f"removed generation {number}" for number in gone] or ["nothing to remove"])
    return 0


PATH = Argument(name="PATH", help="the node's directory")

VERBS = (
    Verb(
        name="node rpm",
        summary="Ask rpm about a node's packages: rpm runs in a read-only view of the node, with its database.",
        arguments=(PATH, Argument(name="ARGS", help="rpm's own words", kind="command")),
        options=(
            Option(name="all", help="with the packages of the core OS and of all ancestors, too"),
            Option(name="core-os", metavar="WHERE", kind="value",
                   help="the core OS: 'host', 'none', a root directory or a manifest, in place of the configured one"),
        ),
        examples=(
            ("redpak node rpm /srv/nodes/platform -- -qa", "all packages of the node"),
            ("redpak node rpm /srv/nodes/platform -- -V web",
             "which files have changed since 'web' was installed; with --all, also what its family lacks"),
            ("redpak node rpm --all /srv/nodes/platform -- -q --whatprovides /bin/sh", "in the whole family"),
        ),
        main=rpm,
    ),
    Verb(
        name="node recover",
        summary="Finish or remove what a killed command left in a node. Every command that changes packages does so.",
        arguments=(PATH,),
        examples=(("redpak node recover /srv/nodes/platform", "after a power failure"),),
        main=recover,
    ),
    Verb(
        name="node collect",
        summary="Remove old generations of a node's packages; what a running sandbox uses stays.",
        arguments=(PATH,),
        options=(
            Option(name="keep", metavar="COUNT", kind="value", help="how many stay, the current one included (3)"),
            Option(name="days", metavar="DAYS", kind="value", help="younger ones stay as well"),
        ),
        examples=(("redpak node collect --keep 1 /srv/nodes/platform", "no way back, the least space"),),
        main=collect,
    ),
)  # fmt: skip
