"""What commands ask of the goal, word by word, and what dnf says about words that mean nothing."""

from __future__ import annotations

from redpak.cli.dnf import table
from redpak.cli.dnf.session import Failed
from redpak.cli.dnf.specs import Words, add_files, is_glob, require_repositories, sorted_out
from redpak.errors import Refused
from redpak.packages.goal import NoMatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redpak.cli.dnf.session import Session
    from redpak.packages.goal import Goal
    from redpak.packages.package import Package
    from redpak.packages.select import Form

FORMS: dict[str, tuple[Form, ...]] = {"": (), "name": ("name",), "name.arch": ("na",), "nevra": ("nevra",)}


def forms_of(command: str) -> tuple[Form, ...]:
    """Return how the specs of a command such as install-n are to be read."""
    return FORMS[table.form_of(command)]


def marked(session: Session, mark: Callable[[], object]) -> bool:
    """Ask something of the goal; tell whether it meant anything. What dnf would say is said."""
    try:
        mark()
    except NoMatch as error:
        say_notes(session)
        _say_no_match(session, error)
        return False
    say_notes(session)
    return True


def _say_no_match(session: Session, error: NoMatch) -> None:
    if error.kind == "group":
        session.err(error.message)
    else:
        session.info(error.message)
    if error.hint:
        session.err(f"hint: {error.hint}")


def say_notes(session: Session) -> None:
    """Print what the goal noted, and forget it."""
    for note in session.goal.notes:
        if note.warning:
            session.warn(note.text)
        else:
            session.info(note.text)
    session.goal.notes.clear()


def install(session: Session, words: Sequence[str], *, command: str = "install") -> None:
    """Mark packages for installation. Raises Failed when something cannot be found and that matters."""
    found = sorted_out(words)
    strict = session.conf.flag("strict")
    files_only = command == "localinstall"
    if not found.files:
        require_repositories(session)
    packages = add_files(session, found.files, strict=strict)
    if files_only and (found.specs or found.groups):
        for word in [*found.specs, *(f"@{name}" for name in found.groups)]:
            session.info(f"Not a valid rpm file path: {word}")
        if strict:
            raise Failed("Nothing to do.")
    goal = session.goal
    for package in packages:
        _install_file(session, goal, package, strict=strict)
    for name in found.groups:
        _group(session, name)
    if found.groups and strict:
        raise Failed("Nothing to do.")
    missing = [] if files_only else _install_specs(session, found.specs, command, strict=strict)
    if missing and strict:
        raise Failed(f"Unable to find a match: {' '.join(missing)}")


def _install_file(session: Session, goal: Goal, package: Package, *, strict: bool) -> None:
    marked(session, lambda: goal.install_package(package, strict=strict))


def _group(session: Session, name: str) -> None:
    session.err(f"Module or Group '{name}' is not available.")
    session.err("hint: Name the packages of the group: groups and modules are not supported.")


def _install_specs(session: Session, specs: Sequence[str], command: str, *, strict: bool) -> list[str]:
    """Mark packages by name; return the specs that mean nothing."""
    goal, missing = session.goal, []
    for spec in specs:
        if not _one_spec(session, goal, spec, command, strict=strict):
            suggest(session, spec)
            missing.append(spec)
    return missing


def _one_spec(session: Session, goal: Goal, spec: str, command: str, *, strict: bool) -> bool:
    return marked(session, lambda: goal.install(spec, strict=strict, forms=forms_of(command)))


def suggest(session: Session, spec: str) -> None:
    """Name a package that differs in upper and lower case only, and packages that declare themselves alternatives."""
    from redpak.packages.select import select

    universe = session.universe
    near = select(universe, spec, icase=True, provides=False, files=False).query
    if near and near[0].name != spec:
        session.info(f"  * Maybe you meant: {near[0].name}")
    if not is_glob(spec):
        others = universe.query().providing([f"alternative-for({spec})"])
        if others:
            names = ", ".join(sorted({package.name for package in others}))
            session.info(f'There are following alternatives for "{spec}": {names}')


def remove(session: Session, words: Sequence[str], *, command: str = "remove") -> bool:
    """Mark packages for removal; tell whether any was."""
    found = sorted_out(words)
    for name in found.groups:
        _group(session, name)
    goal, any_marked = session.goal, False
    locked: list[NoMatch] = []
    for spec in [*found.specs, *found.files]:
        any_marked |= _remove_one(session, goal, spec, command, locked)
    if locked:
        raise Refused(locked[0].message, hint=locked[0].hint)
    if not any_marked:
        session.warn("No packages marked for removal.")
    return any_marked


def _remove_one(session: Session, goal: Goal, spec: str, command: str, locked: list[NoMatch]) -> bool:
    """Mark one for removal; what an ancestor brings is put into `locked`."""
    try:
        goal.remove(spec, forms=forms_of(command))
    except NoMatch as error:
        say_notes(session)
        if error.kind == "locked":
            locked.append(error)
        else:
            _say_no_match(session, error)
        return False
    say_notes(session)
    return True


def split(session: Session, words: Sequence[str]) -> tuple[Words, list[Package]]:
    """Sort words and take package files into the universe, for commands that need repositories for names only."""
    found = sorted_out(words)
    if not found.files:
        require_repositories(session)
    return found, add_files(session, found.files, strict=False)
