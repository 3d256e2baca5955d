"""What the doctor says."""

from __future__ import annotations

from redpak.node import doctor
from redpak.node.doctor import Finding


def test_every_finding_that_is_not_good_has_a_command_to_type() -> None:
    findings = doctor.examine()
    names = [finding.name for finding in findings]
    for name in ("python", "user namespaces", "bwrap", "launch helper", "landlock", "keyrings", "seccomp",
                 "cgroups", "delegation", "terminal", "sub-ids", "rpm", "launch"):  # fmt: skip
        assert name in names
    for finding in findings:
        assert finding.found
        if finding.grade != "ok":
            assert finding.fix, finding


def test_only_what_keeps_launches_from_working_is_a_failure() -> None:
    good = Finding(name="a", grade="ok", found="x")
    assert doctor.works([good, good.but(grade="note")])
    assert not doctor.works([good, good.but(grade="bad")])
