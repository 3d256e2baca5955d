"""The repositories of a site: its `.repo` files and the command line, put together as dnf does."""

from __future__ import annotations

import os

from redpak.errors import BadConfig, Fault, RedpakError
from redpak.origin import COMMAND_LINE
from redpak.packages import inifile
from redpak.packages import variables as variables_of
from redpak.packages.repoconfig import (
    GUARDS,
    RepoConfig,
    UnknownRepo,
    base_of,
    from_section,
    matching,
    of_path,
    set_key,
    unusable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redpak.packages.model import Site


def variables(site: Site, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what repository files may refer to: the site's own variables, then those of the environment."""
    found = {"arch": site.arch, "basearch": variables_of.basearch(site.arch)}
    found.update(site.variables)
    found.update(variables_of.from_environment(os.environ if environ is None else environ))
    return found


def configured(
    site: Site,
    *,
    overrides: Sequence[tuple[str, str, str]] = (),
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
    switches: Sequence[tuple[str, bool]] = (),
    repo: Sequence[str] = (),
    repofrompath: Sequence[tuple[str, str]] = (),
    main: Mapping[str, str] | None = None,
    config_file: str = "",
    strict: bool = True,
    environ: Mapping[str, str] | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[RepoConfig]:
    """Return every repository of the site, the disabled ones too, by priority, cost and id.

    `overrides` are (id or glob, key, value), as of `--setopt=GLOB.KEY=VALUE`; `switches` are what
    `--enablerepo` (True) and `--disablerepo` (False) name, in the order of the command line, and take place
    after `disable` and `enable`, which are for callers that know no order. `repo` leaves only those enabled.
    `main` are keys of [main] that are defaults of repositories; `config_file` is a dnf.conf, whose sections but
    [main] are repositories as well. `warn` hears what dnf warns of. A broken file is an error in a node; for
    other roots it is left out with a warning, as dnf does, unless the fault would switch a check off.
    Raises BadConfig with the faults of all files, UnknownRepo (unless not `strict`).
    """
    say = warn or (lambda _message: None)
    known = variables(site, environ)
    base = base_of(main or {})
    found: dict[str, RepoConfig] = {}
    faults: list[Fault] = []
    for path in ([config_file] if config_file else []) + inifile.files(site.repositories):
        for config in _of_file(path, site, known, base, faults, say):
            if config.id in found:
                earlier = found[config.id].origin
                say(f"Repository {config.id} is listed more than once in the configuration")
                config = found[config.id].but(notes=(*found[config.id].notes, f"'{earlier}' counts"))
            found[config.id] = config
    if faults:
        raise BadConfig(faults)
    for label, path in repofrompath:
        if label in found:
            raise RedpakError(f"Repository {label} is listed more than once in the configuration")
        found[label] = of_path(label, path, known, base)
        switches = (*switches, (label, True))
    configs = _overridden(list(found.values()), overrides, known, say)
    configs = _usable(configs, say)
    wanted = [(pattern, False) for pattern in disable] + [(pattern, True) for pattern in enable]
    wanted += switches
    if repo:
        wanted = [("*", False), *wanted, *((pattern, True) for pattern in repo)]
    configs = _switched(configs, wanted, say, strict=strict)
    return sorted(configs, key=lambda one: (one.priority, one.cost))  # else in the order of files, as dnf's


def _of_file(
    path: str,
    site: Site,
    known: Mapping[str, str],
    base: RepoConfig,
    faults: list[Fault],
    say: Callable[[str], None],
) -> list[RepoConfig]:
    try:
        sections = inifile.read(path)
    except BadConfig as error:
        if site.is_node:
            faults += error.faults
        else:
            say("\n".join(str(fault) for fault in error.faults))
            say(f"Warning: failed loading '{path}', skipping.")
        return []
    found = []
    for section in sections:
        if section.id == "main":
            if any(section.value(key) for key in ("baseurl", "mirrorlist", "metalink")):
                say(f"'[main]' in '{path}' is no repository: dnf reserves that name")
            continue
        wrong: list[Fault] = []
        config = from_section(section, path, known, base, wrong)
        loosening = [f for f in wrong if any(f"'{key}' of" in f.message for key in GUARDS)]
        if site.is_node or loosening:
            faults += wrong
        else:
            for fault in wrong:
                say(str(fault))
            if not inifile.valid_id(config.id):
                continue
        for note in config.notes:
            if note.startswith("Repository"):
                say(note)
        found.append(config)
    return found


def _overridden(
    configs: list[RepoConfig],
    overrides: Sequence[tuple[str, str, str]],
    known: Mapping[str, str],
    say: Callable[[str], None],
) -> list[RepoConfig]:
    faults = []
    for pattern, key, text in overrides:
        ids = matching(configs, pattern)
        for at, config in enumerate(configs):
            if config.id not in ids:
                continue
            try:
                configs[at] = set_key(config, key, variables_of.substitute(text, known))
            except KeyError:
                say(f"Repo {config.id} did not have a {key} attr. before setopt")
            except ValueError as error:
                told = f"Error parsing --setopt with key '{config.id}.{key}', value '{text}': {error}"
                faults.append(Fault(origin=COMMAND_LINE, message=told))
    if faults:
        raise BadConfig(list(dict.fromkeys(faults)))
    return configs


def _usable(configs: list[RepoConfig], say: Callable[[str], None]) -> list[RepoConfig]:
    kept = []
    for config in configs:
        why = unusable(config)
        if why:
            say(why)
        else:
            kept.append(config)
    return kept


def _switched(
    configs: list[RepoConfig],
    wanted: Sequence[tuple[str, bool]],
    say: Callable[[str], None],
    *,
    strict: bool,
) -> list[RepoConfig]:
    by_id = {config.id: config for config in configs}
    for pattern, enabled in wanted:
        ids = matching(configs, pattern)
        if not ids and strict and enabled:
            raise UnknownRepo(f"Unknown repo: '{pattern}'")
        if not ids and pattern != "*":
            say(f"No repository match: {pattern}")
        for name in ids:
            by_id[name] = by_id[name].but(enabled=enabled)
    return list(by_id.values())
