"""Every file and directory name that redpak uses, once."""

from __future__ import annotations

import os

STATUS = ".rednode.yaml"
LOCK = ".redpak.lock"
PACKAGES = ".redpak"  # a node's generations of packages, and what belongs to them
NORMAL_CONFIGS = ("etc/redpak.yaml", "etc/redpack.yaml")  # the first one that exists
ADMIN_CONFIGS = ("etc/redpak-admin.yaml", "etc/redpack-admin.yaml")
REPOSITORIES = "etc/yum.repos.d"
RPM_LOCK = ".rpm.lock"
RPM_DATABASE = "var/rpm/lib"  # what $REDNODE_VARDIR has always said
TRUSTED_KEYS = f"{PACKAGES}/keys"
SEEN_METADATA = f"{PACKAGES}/repos"
SYSTEM_CONFIG = "/etc/redpak"
RUNTIME = "REDPAK_RUNTIME_DIR"

# What a system's top directory holds: what programs and people change, what packages bring, and what nobody keeps.
STATE_TOPS = ("etc", "home", "root", "srv", "var")
TREE_TOPS = ("bin", "boot", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr")
PASSING_TOPS = ("dev", "proc", "run", "sys", "tmp")


def shipped(*parts: str) -> str:
    """Return the path of a file that the package carries (templates, main.yaml, the launch helper)."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), *parts)


def main_config() -> str:
    """Return the core OS's defaults: $redpak_MAIN, else /etc/redpak/main.yaml, else the shipped file."""
    named = os.environ.get("redpak_MAIN")
    if named:
        return named
    system = f"{SYSTEM_CONFIG}/main.yaml"
    return system if os.path.exists(system) else shipped("config", "main.yaml")


def template_directories() -> tuple[str, ...]:
    """Return where templates are looked for: $REDNODE_TEMPLATE_DIR, /etc/redpak/templates.d, the shipped ones."""
    named = os.environ.get("REDNODE_TEMPLATE_DIR") or os.environ.get("redpak_TMPL")
    return (*((named,) if named else ()), f"{SYSTEM_CONFIG}/templates.d", shipped("node", "templates.d"))


def runtime() -> str:
    """Return this user's runtime directory, whether or not it is there or theirs: `state/place.py` judges that.

    $REDPAK_RUNTIME_DIR, for tests and for hosts that keep it elsewhere. Root's is /run/redpak. Anybody else's lies in
    $XDG_RUNTIME_DIR or /run/user/UID where one of these belongs to the user alone, else it is /tmp/redpak-UID.
    """
    named = os.environ.get(RUNTIME, "")
    if named.startswith("/"):
        return named.rstrip("/") or "/"
    uid = os.geteuid()
    if uid == 0:
        return "/run/redpak"
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if base.startswith("/") and _is_of(base, uid):
            return os.path.join(base, "redpak")
    return f"/tmp/redpak-{uid}"


def _is_of(base: str, uid: int) -> bool:
    """Tell whether a directory belongs to a user, and nobody else can change what is in it."""
    try:
        at = os.lstat(base)
    except OSError:
        return False
    return at.st_mode & 0o170000 == 0o040000 and at.st_uid == uid and not at.st_mode & 0o022


def cache() -> str:
    """Return this user's cache directory (XDG base directories); it can be deleted at any time."""
    if os.geteuid() == 0:
        return "/var/cache/redpak"
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "redpak")
