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


def cache() -> str:
    """Return this user's cache directory (XDG base directories); it can be deleted at any time."""
    if os.geteuid() == 0:
        return "/var/cache/redpak"
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "redpak")
