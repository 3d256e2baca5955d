"""Which repositories take part: files, options, and what is said when one does not answer."""

from __future__ import annotations

from redpak.cli.dnf.session import Failed
from redpak.packages.repoconfig import UnknownRepo
from redpak.packages.repofile import configured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.cli.dnf.session import Session
    from redpak.packages.metadata import Metadata
    from redpak.packages.repoconfig import RepoConfig


def known(session: Session) -> list[RepoConfig]:
    """Return every repository, the disabled ones too. Raises Failed for an id that is configured nowhere."""
    options = session.options
    try:
        found = configured(
            session.site,
            overrides=overrides(session),
            switches=switches(session),
            repo=options.values("repo"),
            repofrompath=tuple(options.pairs("repofrompath").items()),
            main=dict(session.conf.repository_defaults()),
            config_file=session.conf.path,
            strict=session.conf.flag("strict"),
            warn=session.warn,
        )
        for label, path in options.pairs("repofrompath").items():
            session.info(f"Added {label} repo from {path}")
        return found
    except UnknownRepo as error:
        raise Failed(error.message) from None


def overrides(session: Session) -> list[tuple[str, str, str]]:
    """Return what the command line says about keys of repositories: (glob, key, value)."""
    said = []
    if session.options.given("gpgcheck"):
        said += [("*", "gpgcheck", "0"), ("*", "repo_gpgcheck", "0")]
    for text in session.options.values("setopt"):
        name, equals, value = text.partition("=")
        glob, dot, key = name.rpartition(".")
        if dot and equals and "=" not in value:
            said.append((glob, key, value))
    return said


def switches(session: Session) -> list[tuple[str, bool]]:
    """Return what --enablerepo and --disablerepo name, in order."""
    found = []
    for text in session.options.values("repos_ed"):
        option, _, name = text.partition("=")
        found.append((name, option != "--disablerepo"))
    return found


def synchronised(session: Session) -> list[Metadata]:
    """Return the metadata of the enabled repositories."""
    from redpak.cli.dnf.downloads import confirmer
    from redpak.cli.dnf.progress import Downloads
    from redpak.packages.metadata import sync

    return sync(
        session.configs,
        site=session.site,
        refresh=session.options.flag("refresh"),
        offline=session.conf.flag("cacheonly"),
        progress=Downloads(session),
        confirm=confirmer(session, of_packages=False),
        warn=session.warn,
    )


def is_local(config: RepoConfig) -> bool:
    """Tell whether a repository's packages are files of this machine."""
    return any(url.startswith("file:") or url.startswith("/") for url in config.baseurl)
