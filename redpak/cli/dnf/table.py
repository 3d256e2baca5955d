"""Every command of dnf that is here: its names and where its code is. Modules are imported when a command is used.

A command's module has

    OPTIONS    tuple of options.Option: those beside the general ones
    ARGUMENTS  tuple of options.Argument
    def run(session: Session, args: Parsed) -> int     (the exit code)
"""

from __future__ import annotations

from redpak.record import Record


class Command(Record):
    """One word of the command line."""

    names: tuple[str, ...]  # its name first, then its aliases
    module: str  # of redpak.cli.dnf
    summary: str
    changes: bool = False  # whether it may change packages: such a command of a node takes its lock


# Aliases that also say how a package is to be named: install-nevra takes NEVRAs only.
FORMS = {"n": "name", "na": "name.arch", "nevra": "nevra"}


def _forms(verb: str) -> tuple[str, ...]:
    return tuple(f"{verb}-{form}" for form in FORMS)


COMMANDS = (
    Command(names=("autoremove", *_forms("autoremove")), module="remove", changes=True,
            summary="remove packages that were installed as dependencies and are no longer needed"),
    Command(names=("check",), module="check", summary="check for problems among the installed packages"),
    Command(names=("check-update", "check-upgrade"), module="check_update",
            summary="check for available package upgrades"),
    Command(names=("clean",), module="clean", summary="remove cached data"),
    Command(names=("deplist",), module="deplist",
            summary="list the dependencies of packages and what provides them"),
    Command(names=("distro-sync", "distrosync", "distribution-synchronization", "dsync"), module="upgrade",
            changes=True, summary="synchronize installed packages to the latest available versions"),
    Command(names=("download",), module="download", summary="download packages into the current directory"),
    Command(names=("downgrade", "dg"), module="downgrade", changes=True, summary="downgrade a package"),
    Command(names=("group", "groups", "grp", "groupinstall", "groupupdate", "groupremove", "grouperase",
                   "groupinfo", "grouplist", "group-install", "group-update", "group-remove"),
            module="refused", summary="groups are not supported: name the packages"),
    Command(names=("help",), module="helping", summary="show help"),
    Command(names=("history", "hist"), module="history", changes=True,
            summary="show past transactions, undo and redo them"),
    Command(names=("info", "if"), module="info", summary="show details about packages"),
    Command(names=("install", "localinstall", "in", *_forms("install")), module="install", changes=True,
            summary="install packages"),
    Command(names=("list", "ls"), module="list", summary="list packages"),
    Command(names=("makecache", "mc"), module="makecache", summary="fetch the metadata of repositories"),
    Command(names=("mark",), module="mark", changes=True,
            summary="mark or unmark installed packages as installed by the user"),
    Command(names=("module",), module="refused", summary="modules are not supported"),
    Command(names=("provides", "whatprovides", "prov", "wp"), module="provides",
            summary="find what package provides something"),
    Command(names=("reinstall", "rei"), module="reinstall", changes=True, summary="reinstall a package"),
    Command(names=("remove", "erase", "rm", *_forms("remove"), *_forms("erase")), module="remove", changes=True,
            summary="remove packages"),
    Command(names=("repoinfo",), module="repoinfo", summary="show details about repositories"),
    Command(names=("repolist",), module="repolist", summary="list the configured repositories"),
    Command(names=("repoquery", "rq", *_forms("repoquery")), module="repoquery",
            summary="search for packages by many criteria"),
    Command(names=("rollback",), module="rollback", changes=True,
            summary="go back to the packages of an earlier transaction, as they were on disk"),
    Command(names=("search", "se"), module="search", summary="search packages by words"),
    Command(names=("repository-packages", "repo-pkgs", "repo-packages", "repository-pkgs"), module="refused",
            summary="not supported: give install, upgrade and others --repo"),
    Command(names=("shell", "sh"), module="refused", summary="the interactive shell is not supported"),
    Command(names=("swap",), module="swap", changes=True, summary="remove one package and install another"),
    Command(names=("updateinfo", "upif", "advisory", "list-updateinfo", "list-security", "list-sec",
                   "info-updateinfo", "info-security", "info-sec", "summary-updateinfo"),
            module="updateinfo", summary="show advisories about packages"),
    Command(names=("upgrade", "update", "upgrade-to", "update-to", "localupdate", "up"), module="upgrade",
            changes=True, summary="upgrade packages"),
    Command(names=("upgrade-minimal", "update-minimal", "up-min"), module="upgrade", changes=True,
            summary="upgrade packages, each to the first version that fixes something"),
)  # fmt: skip


def find(name: str) -> Command | None:
    """Return the command of that name or alias."""
    for command in COMMANDS:
        if name in command.names:
            return command
    return None


def form_of(name: str) -> str:
    """Return how specs are to be read: 'name', 'name.arch' or 'nevra' for aliases such as install-n, else ''."""
    return FORMS.get(name.rpartition("-")[2], "") if "-" in name else ""
