"""`redpak verify`: is this the tree that the certificate speaks of? Without the solver."""

from __future__ import annotations

from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option

SUMMARY = (
    "Hold a tree against the certificate that 'redpak prove --certificate' wrote: its signature, the digest of every\n"
    "package, file and configuration, and every dependency by a plain walk. The solver is not asked."
)
ARGUMENTS = (
    Argument(name="CERT", help="the certificate"),
    Argument(name="ROOT", help="the node, or the directory with nodes, that it was made for"),
)
OPTIONS = (
    Option(name="key", metavar="PUB", kind="value", help="the public key (PEM) that must have signed it"),
    Option(name="core-os", metavar="WHAT", kind="value",
           help="the core OS: a manifest file, the root of another system, 'host' or 'none'; else what the nodes say"),
    Option(name="json", help="print JSON"),
)  # fmt: skip
EXAMPLES = (
    ("redpak verify nodes.cert /srv/nodes --key factory.pem", "on the device, before it is put to use"),
)
CODES = (("0", "it is that tree, and it is coherent"), ("1", "something differs"))


def main(args: Arguments) -> int:
    """Verify and print what differs."""
    from redpak.cli.prove import spelled
    from redpak.node import witness

    checked = witness.verify(
        args.word("CERT"), args.word("ROOT"), key=args.value("key"), core=args.value("core-os")
    )
    if args.flag("json"):
        output.json({
            "good": checked.good, "signer": checked.signer, "trusted": checked.trusted, "members": checked.members,
            "packages": checked.packages, "findings": [one.data() for one in checked.findings],
        })  # fmt: skip
        return 0 if checked.good else 1
    shown = []
    for one in checked.findings:
        shown += spelled(one, one.grade)
    if checked.signer:
        unknown = (
            "not the key that was asked for" if args.value("key") else "not compared with any key: give --key"
        )
        shown.append(
            f"signed by {checked.signer} ({'the key that was asked for' if checked.trusted else unknown})"
        )
    what = f"{checked.members} members, {checked.packages} packages"
    shown.append(f"Verified: {what}." if checked.good else f"Not verified: {what}.")
    output.lines(shown)
    return 0 if checked.good else 1
