"""The table of settings, held against itself and against what reads it."""

from __future__ import annotations

import pytest

from redpak.config import kinds, settings
from redpak.config.model import NodeDoc
from redpak.config.reference import KINDS, MERGES, page, text_help
from redpak.config.setting import Setting

LEAVES = [s for s in settings.SETTINGS if s.kind not in ("mapping", "sequence", "ignored")]


def test_names_are_unique_and_lower_case() -> None:
    assert len(settings.BY_FULL) == len(settings.SETTINGS)
    assert all(full == full.lower() for full in settings.BY_FULL)


def test_the_table_has_every_key_of_red_pak() -> None:
    keys = [
        "persistdir", "rpmdir", "cachedir", "path", "ldpath", "umask", "set-user", "set-group", "smack", "verbose",
        "maxage", "map-root-user", "gpgcheck", "inherit", "unsafe", "inherit-env", "die-with-parent",
        "new-session", "share_all", "share_user", "share_cgroup", "share_net", "share_pid", "share_ipc",
        "share_time", "cgroups", "hostname", "chdir", "cgrouproot", "capabilities",
    ]  # fmt: skip
    assert [s.name for s in settings.CONFIG if s.upstream] == keys
    assert [s.name for s in settings.CONFIG if not s.upstream] == ["seccomp", "rlimits", "profile", "core-os"]
    assert len(settings.EXPORT_MODES) == 16
    assert len(settings.CGROUP_FIELDS) == 18


def test_there_are_41_capabilities_in_the_kernels_order() -> None:
    assert len(settings.CAPABILITIES) == 41
    assert settings.CAPABILITIES.index("CAP_SYS_ADMIN") == 21
    assert settings.CAPABILITIES[-1] == "CAP_CHECKPOINT_RESTORE"


@pytest.mark.parametrize("setting", LEAVES, ids=lambda s: s.full)
def test_every_example_and_default_is_a_value_that_is_read(setting: Setting) -> None:
    assert setting.example
    for text in (setting.example, setting.default):
        if text:
            kinds.strict(setting, text)


@pytest.mark.parametrize("setting", [s for s in LEAVES if s.upstream], ids=lambda s: s.full)
def test_every_example_means_the_same_to_red_pak(setting: Setting) -> None:
    assert kinds.lenient(setting, setting.example) == kinds.strict(setting, setting.example)


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda s: s.full)
def test_every_setting_is_on_the_reference_page_and_in_the_help(setting: Setting) -> None:
    assert f"# {setting.full}\n" in page()
    assert setting.help.endswith(".")
    if setting.section:
        assert f"  {setting.full} " in text_help()


def test_every_kind_and_every_way_of_merging_is_explained() -> None:
    assert {s.kind for s in settings.SETTINGS if not s.words} <= set(KINDS)
    assert {s.merge for s in settings.SETTINGS} <= {*MERGES, "none"}


def test_plain_settings_are_those_that_tags_can_hold() -> None:
    assert {"cgroups", "capabilities", "rlimits", "maxage", "inherit"}.isdisjoint(
        s.name for s in settings.PLAIN
    )
    assert {"cgroups", "capabilities", "rlimits"} <= set(NodeDoc.__fields__)
