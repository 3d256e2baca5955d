"""`redpak node lock`: write down exactly which packages a node has."""

from __future__ import annotations

import time

from redpak.cli.options import Argument, Arguments, Option, Verb
from redpak.cli.place import session_at, site_at
from redpak.cli.write import write_out
from redpak.errors import RedpakError, Usage, doing

DAY_S = 86400


def main(args: Arguments) -> int:
    """Write the lock."""
    from redpak.node import lock as locks
    from redpak.packages import lock as files

    path = args.word("PATH")
    if args.flag("digest"):
        write_out(args.value("output"), f"{locks.tree_digest(site_at(path))}\n", what="the digest")
        return 0
    site, session = site_at(path), session_at(path)
    counter = _number(args, "counter")
    expires = int(time.time()) + _number(args, "days") * DAY_S if args.flag("days") else 0
    try:
        lock = locks.make(site, session.configs, counter=counter, expires=expires)
    except RedpakError:  # the history does not know all; the repositories may
        lock = locks.make(site, session.configs, universe=session.universe, counter=counter, expires=expires)
    if args.flag("sign"):
        with doing("read the signing key"), open(args.value("sign"), "rb") as file:
            secret = file.read(1 << 16)
        lock = files.sign(lock, secret)
    write_out(args.value("output"), files.encode(lock), what="the lock")
    return 0


def _number(args: Arguments, name: str) -> int:
    text = args.value(name, "0")
    if not text.isdecimal() or (args.flag(name) and not int(text)):
        raise Usage(f"option '--{name}' is '{text}'", hint="Give a number above 0.")
    return int(text)


VERB = Verb(
    name="node lock",
    summary="Write a lock: every package of the node with the digest of its file and the key that signed it, and "
    "what its ancestors hold. 'redpak node install PATH --locked FILE' makes a node have exactly that.",
    arguments=(Argument(name="PATH", help="the node's directory; the current one when left out", kind="optional"),),
    options=(
        Option(name="output", short="o", metavar="FILE", kind="value", help="write to this file"),
        Option(name="digest", help="only print the digest of what the node has: its files and packages; "
               "two nodes made of one lock have the same"),
        Option(name="sign", metavar="KEY", kind="value", help="sign it with this private key (ed25519, PEM)"),
        Option(name="days", metavar="DAYS", kind="value", help="let it expire after that many days"),
        Option(name="counter", metavar="NUMBER", kind="value",
               help="its number: a node refuses locks with a lower one than it has used; "
               "that of the newest transaction when left out"),
    ),
    examples=(
        ("redpak node lock /srv/nodes/platform/app -o app.lock", "what the node has now"),
        ("redpak node lock /srv/nodes/platform/app --sign key.pem --days 90", "signed, and for three months"),
    ),
    main=main,
)  # fmt: skip
