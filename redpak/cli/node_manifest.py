"""`redpak node manifest`: write down a core OS, to prove and solve without it."""

from __future__ import annotations

import os

from redpak import log
from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option, Verb


def main(args: Arguments) -> int:
    """Write it."""
    from redpak import fs
    from redpak.node import site
    from redpak.packages import manifest

    layer = site.core_of(args.word("PATH") or "/")
    facts = site.facts_of(layer)
    text = manifest.text(layer, arch=facts.arch or os.uname().machine, releasever=facts.release)
    where = args.value("output")
    if not where:
        output.write(text)
        return 0
    fs.write_atomically(where, text.encode())
    if log.level > log.ERROR:
        output.lines([f"wrote '{where}', the manifest of core OS '{layer.path}'"])
    return 0


VERB = Verb(
    name="node manifest",
    summary="Write down a core OS as JSON: its packages, or what it offers where it has no rpm database.\n"
    "The setting 'core-os' and the option '--core-os' take the file in place of the system.",
    arguments=(
        Argument(
            name="PATH",
            help="a node, whose core OS is meant; or the root directory of a system; / when left out",
            kind="optional",
        ),
    ),
    options=(Option(name="output", short="o", metavar="FILE", kind="value", help="write to this file"),),
    examples=(
        ("redpak node manifest / -o core-os.json", "this machine, for a proof elsewhere"),
        ("redpak node manifest /srv/nodes/platform", "the core OS of a node's family"),
    ),
    main=main,
)
