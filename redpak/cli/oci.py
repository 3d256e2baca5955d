"""`redpak oci`: nodes as bundles for OCI runtimes, and bundles explained."""

from __future__ import annotations

import os

from redpak import log
from redpak.cli import output
from redpak.cli.options import Argument, Arguments, Option, Verb

SUMMARY = "Make bundles for OCI runtimes (redpak-oci, runc, crun) of nodes, and explain any bundle."
JSON = Option(name="json", help="print JSON")


def bundle(args: Arguments) -> int:
    """Write a node's launch as a bundle."""
    from redpak.cli.oci_node import host
    from redpak.node.plan import plan_of
    from redpak.oci import bundle as oci_bundle

    made = plan_of(args.word("NODE"), admin=args.flag("admin"), command=args.words("CMD"))
    for warning in made.warnings:
        log.warn(warning)
    found = oci_bundle.make(made, host(), os.environ, force=args.flag("force"))
    for note in found.notes:
        log.warn(note)
    if args.flag("terminal"):
        found.config["process"]["terminal"] = True
    folder = args.word("DIR")
    if not folder:
        output.json(found.config)
        return 0
    oci_bundle.write(found, folder)
    if args.flag("json"):
        output.json({"bundle": os.path.abspath(folder), "node": made.node})
    elif log.level > log.ERROR:
        output.lines([f"made bundle '{os.path.abspath(folder)}' of node '{made.node}'"])
    return 0


def explain(args: Arguments) -> int:
    """Show a bundle as a plan, or why some things in it are as they are."""
    from redpak.oci.explain import read
    from redpak.plan import answer, wire
    from redpak.plan.explain import explain as why

    made = read(args.word("BUNDLE"))
    things = args.words("THING")
    if not things:
        if args.flag("json"):
            output.json(wire.document(made))
        else:
            from redpak.cli.plan import table

            output.lines(table(made))
        return 0
    told = []
    for thing in things:
        first = why(made, thing)
        kind, _, name = first.thing.partition(" ")
        if kind == "path":
            from redpak.cli.explain import look

            first = why(made, f"path:{name}", look(made, name))
        told.append(first)
    if args.flag("json"):
        output.json([answer.document(one) for one in told])
    else:
        for one in told:
            output.lines(answer.lines(one))
    return 0


def features(args: Arguments) -> int:  # noqa: ARG001 - every verb is given its arguments
    """Print what redpak-oci can do."""
    from redpak.oci.features import document

    output.json(document())
    return 0


VERBS = (
    Verb(
        name="oci bundle",
        summary="Make a bundle of a node: config.json and a directory rootfs. redpak-oci, runc and crun can run it.\n"
        "It has the same sandbox as 'redpak run'. Without DIR config.json is printed and nothing is written.",
        arguments=(
            Argument(name="NODE", help="the node"),
            Argument(name="DIR", help="the bundle's directory, new or empty", kind="optional"),
            Argument(name="CMD", help="the program to run, and its arguments; sh when left out", kind="command"),
        ),
        options=(
            Option(name="admin", short="a", help="read the admin configuration files as well"),
            Option(name="force", help="leave out mounts whose source is missing"),
            Option(name="terminal", short="t", help="give the program a terminal"),
            JSON,
        ),
        examples=(
            ("redpak oci bundle /nodes/app /tmp/app -- /usr/bin/app", "a bundle that runs one program"),
            ("runc run --bundle /tmp/app app1", "start it with another runtime"),
        ),
        main=bundle,
    ),
    Verb(
        name="oci explain",
        summary="Show what any bundle asks for as a plan, each thing with the line that asks for it.\n"
        "With a THING, tell about that alone, as 'redpak explain' does for nodes. Nothing is made, changed or run.",
        arguments=(
            Argument(name="BUNDLE", help="the bundle's directory"),
            Argument(
                name="THING",
                help="a path in the container, a variable, namespace, capability, limit or setting",
                kind="many",
            ),
        ),
        options=(JSON,),
        examples=(
            ("redpak oci explain /tmp/app", "everything"),
            ("redpak oci explain /tmp/app /etc/passwd net", "which mount shows this file; whose network it is"),
        ),
        main=explain,
    ),
    Verb(
        name="oci features",
        summary="Print what redpak-oci can do, as 'redpak-oci features' does (features.md of the specification).",
        options=(),
        examples=(("redpak oci features", "the document"),),
        main=features,
    ),
)  # fmt: skip
