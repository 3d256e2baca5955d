"""`redpak node sbom`: a bill of materials of a node, as SPDX or CycloneDX."""

from __future__ import annotations

from redpak.cli.options import Argument, Arguments, Option, Verb
from redpak.cli.place import session_at, site_at
from redpak.cli.write import write_out
from redpak.errors import RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMATS = ("spdx", "cyclonedx")


def main(args: Arguments) -> int:
    """Write the document."""
    from redpak.node.sbom import document

    path = args.word("PATH")
    text = document(
        site_at(path),
        args.value("format", "spdx"),
        family=args.flag("all"),
        files=args.flag("files"),
        bases=_bases(path),
    )
    write_out(args.value("output"), text, what="the bill of materials")
    return 0


def _bases(path: str) -> Mapping[str, Sequence[str]]:
    """Return the base URLs of the repositories, as far as their files can be read."""
    try:
        return {one.id: one.baseurl for one in session_at(path).configs}
    except RedpakError:
        return {}


VERB = Verb(
    name="node sbom",
    summary="Write a bill of materials: the node's packages with licences, digests, where they came from and what "
    "they need of its family. The same packages give the same bytes (SOURCE_DATE_EPOCH is obeyed).",
    arguments=(Argument(name="PATH", help="the node's directory; the current one when left out", kind="optional"),),
    options=(
        Option(name="format", short="f", metavar="FORMAT", kind="value", choices=FORMATS,
               help="SPDX 2.3 or CycloneDX 1.6, both JSON; spdx when left out"),
        Option(name="output", short="o", metavar="FILE", kind="value", help="write to this file"),
        Option(name="all", help="with all packages of ancestors and of the core OS"),
        Option(name="files", help="with the files of each package"),
    ),
    examples=(
        ("redpak node sbom /srv/nodes/platform/app -o app.spdx.json", "SPDX 2.3"),
        ("redpak node sbom /srv/nodes/platform/app --all --format cyclonedx", "CycloneDX 1.6 of the whole family"),
    ),
    main=main,
)  # fmt: skip
