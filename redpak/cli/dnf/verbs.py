"""DNF's commands as verbs of `redpak node`: the same grammar, with the node's directory as the first word."""

from __future__ import annotations

from redpak.cli.dnf import table
from redpak.cli.options import Argument, Arguments, Option, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATH = Argument(name="PATH", help="the node's directory")
WORDS = Argument(name="WORD", help="what the command takes: see 'redpak node VERB --help'", kind="many")
USUAL = (
    Option(name="assumeyes", short="y", help="answer yes to all questions"),
    Option(name="json", help="print JSON"),
)
NODE = "/srv/nodes/app"
# Each verb with what its example has after the node, and what that shows. `list` is the list of nodes already:
# that of packages is `packages`.
VERBS = {
    "install": ("nano -y", "nano, with what it needs and no ancestor has"),
    "remove": ("nano", "nano, and dependencies that nobody else needs"),
    "upgrade": ("--exclude=kernel*", "the newest versions, kernels aside"),
    "downgrade": ("nano", "the version before the installed one"),
    "reinstall": ("nano", "the same version again"),
    "autoremove": ("", "what nobody asked for and nobody needs"),
    "swap": ("vim-minimal vim-enhanced", "one goes, the other comes, in one transaction"),
    "distro-sync": ("", "the versions of the repositories, up or down"),
    "mark": ("install nano", "autoremove will leave nano alone"),
    "history": ("info last", "what the last transaction did"),
    "rollback": ("", "the packages of the transaction before the last, as they were on disk"),
    "packages": ("--installed", "what the node and its ancestors have"),
    "repoquery": ("--requires nano", "what nano needs"),
    "search": ("editor", "packages that speak of editors"),
    "info": ("nano", "what nano is, and where it comes from"),
    "check": ("", "whether the installed packages fit together"),
    "check-update": ("", "exit code 100 when there are updates"),
    "provides": ("/usr/bin/nano", "who brings that file"),
    "deplist": ("nano", "what nano needs, and who provides it"),
    "download": ("nano", "the package file, in the current directory"),
    "makecache": ("", "the metadata, now"),
    "clean": ("all", "caches and generations that nobody needs"),
    "repolist": ("--all", "the node's repositories"),
    "repoinfo": ("", "the same, with all details"),
    "updateinfo": ("list", "advisories that concern the node"),
}
COMMANDS = {"packages": "list"}  # verbs that are called otherwise than dnf's command


def run(name: str, words: Sequence[str], loud: int) -> int:
    """Run a command of dnf on the node that the first plain word names."""
    from redpak.cli.dnf.main import main

    more = ["--verbose"] * (loud > 0) + ["--quiet"] * (loud < 0)
    return main([name, *words, *more], program="redpak node", path_first=True)


def _raw(name: str) -> Callable[[Sequence[str], int], int]:
    return lambda words, loud: run(name, words, loud)


def _not_called(args: Arguments) -> int:
    raise AssertionError(f"'{args.verb.name}' reads its words itself")


def verbs() -> tuple[Verb, ...]:
    """Return the verbs for `redpak node`."""
    made = []
    for verb, (words, shows) in VERBS.items():
        name = COMMANDS.get(verb, verb)
        command = table.find(name)
        if command is None:
            raise AssertionError(f"dnf has no command '{name}'")
        summary = command.summary[0].upper() + command.summary[1:] + "."
        made.append(
            Verb(name=f"node {verb}", summary=summary, arguments=(PATH, WORDS), options=USUAL,
                 examples=((f"redpak node {verb} {NODE} {words}".rstrip(), shows),), main=_not_called, raw=_raw(name))
        )  # fmt: skip
    return tuple(made)
