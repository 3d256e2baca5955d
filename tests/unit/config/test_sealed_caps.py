"""The sealed merge of capabilities."""

from __future__ import annotations

import pytest

from redpak.config.model import Merged
from redpak.config.sealed_caps import canonical
from redpak.config.settings import CAPABILITIES
from tests.unit.config.strategies import Spec, faults, sealed

N0, N1 = "/pool/n0/etc/redpak.yaml", "/pool/n0/n1/etc/redpak.yaml"


def caps(*asks: tuple[str, int]) -> Spec:
    """Return a node that only asks for capabilities."""
    return {"caps": list(asks)}


def in_force(*specs: Spec, admin: bool = False, defaults: Spec | None = None) -> dict[str, int]:
    """Return what is in force."""
    return {ask.cap: ask.add for ask, _ in sealed(*specs, admin=admin, defaults=defaults).capabilities}


def refused(*specs: Spec) -> str:
    """Return the only fault's message; it is the youngest node's and names the oldest."""
    (fault,) = faults(*specs)
    assert fault.origin.file != N0
    assert "/etc/redpak.yaml:" in fault.message
    return fault.message


def seals(merged: Merged) -> list[tuple[str, str]]:
    """Return who seals what."""
    return [(c.thing, c.origin.file) for c in merged.contests if c.kind == "seals"]


@pytest.mark.parametrize(
    "name", ["net_admin", "NET_ADMIN", "cap_net_admin", "CAP_NET_ADMIN", "Cap_Net_Admin"]
)
def test_case_and_prefix_of_a_name_do_not_count(name: str) -> None:
    assert canonical(name) == "CAP_NET_ADMIN"
    assert in_force(caps((name, 1))) == {"CAP_NET_ADMIN": 1}
    assert refused(caps(("CAP_NET_ADMIN", 0)), caps((name, 1)))


@pytest.mark.parametrize("name", ["", "CAP_ALL", "CAP_", "everything", "CAP_CAP_CHOWN", "\0"])
def test_an_unknown_name_is_a_fault(name: str) -> None:
    assert len(faults(caps((name, 0)))) == 1


def test_all_of_the_kernels_names_are_known() -> None:
    assert all(canonical(name) == name for name in CAPABILITIES)


def test_nothing_is_kept_that_nobody_asks_for() -> None:
    assert in_force({}) == {}


def test_a_child_may_add_what_nobody_dropped_and_drop_what_an_ancestor_added() -> None:
    assert in_force(caps(("chown", 1)), caps(("kill", 1), ("chown", 0))) == {"CAP_CHOWN": 0, "CAP_KILL": 1}


def test_a_drop_binds_descendants_also_one_in_the_middle() -> None:
    assert f"{N0}:3" in refused(caps(("chown", 0)), {}, caps(("chown", 1)))
    assert f"{N1}:3" in refused(caps(("chown", 1)), caps(("chown", 0)), caps(("chown", 1)))


def test_dropping_all_forbids_every_other_one() -> None:
    assert "drops ALL" in refused(caps(("ALL", 0)), caps(("chown", 1)))
    assert "drops ALL" in refused(caps(("ALL", 0)), caps(("all", 1)))
    assert "drops ALL" in refused(caps(("ALL", 1)), caps(("ALL", 0)), caps(("chown", 1)))


def test_what_a_node_adds_by_name_is_not_dropped_by_its_all() -> None:
    parent = caps(("ALL", 0), ("chown", 1))
    assert in_force(parent, caps(("chown", 1))) == {"ALL": 0, "CAP_CHOWN": 1}
    assert refused(parent, caps(("kill", 1)))
    assert in_force(parent, caps(("chown", 0))) == {"ALL": 0, "CAP_CHOWN": 0}


def test_adding_all_is_no_way_around_one_drop() -> None:
    assert "CAP_CHOWN" in refused(caps(("chown", 0)), caps(("ALL", 1)))


def test_adding_all_again_does_not_bring_back_what_was_dropped() -> None:
    same = caps(("ALL", 1), ("sys_module", 0))
    assert in_force(same, same) == {"ALL": 1, "CAP_SYS_MODULE": 0}
    assert in_force(caps(("ALL", 1)), caps(("sys_module", 0)), caps(("ALL", 1))) == {
        "ALL": 1,
        "CAP_SYS_MODULE": 0,
    }


def test_dropping_all_beside_an_ancestors_named_add_is_not_silent() -> None:
    got = sealed(caps(("chown", 1)), caps(("ALL", 0)))
    assert {ask.cap: ask.add for ask, _ in got.capabilities} == {"ALL": 0, "CAP_CHOWN": 1}
    (warning,) = got.warnings
    assert "CAP_CHOWN" in warning.message
    assert f"{N0}:3" in warning.message
    assert faults(caps(("chown", 1)), caps(("ALL", 0)), caps(("chown", 1))) == ()


def test_a_file_must_not_both_add_and_drop() -> None:
    assert len(faults(caps(("chown", 1), ("CAP_CHOWN", 0)))) == 1
    assert faults(caps(("chown", 1), ("CAP_CHOWN", 1))) == ()


def test_an_admin_file_wins_in_its_node_but_not_over_ancestors() -> None:
    own = {**caps(("chown", 1)), "admin": caps(("chown", 0))}
    assert in_force(own, admin=True) == {"CAP_CHOWN": 0}
    assert in_force(own) == {"CAP_CHOWN": 1}
    assert len(faults(caps(("kill", 0)), {"admin": caps(("kill", 1))}, admin=True)) == 1


def test_the_core_os_is_overridden_by_any_word_about_it() -> None:
    core = caps(("chown", 0), ("kill", 1), ("ALL", 0))
    assert in_force(caps(("chown", 1)), defaults=core) == {"ALL": 0, "CAP_CHOWN": 1, "CAP_KILL": 1}
    assert in_force(caps(("ALL", 0)), defaults=caps(("kill", 1))) == {"ALL": 0}
    assert in_force(caps(("ALL", 1)), defaults=caps(("kill", 0))) == {"ALL": 1}


def test_who_seals_a_capability_is_told() -> None:
    got = sealed(caps(("ALL", 0), ("chown", 0)), caps(("kill", 0)))
    assert sorted(seals(got)) == [("capability ALL", N0), ("capability CAP_CHOWN", N0)]
