"""The filter that answers chown(2) for those who cannot change owners."""

from __future__ import annotations

import pytest

from redpak.kernel import bpf
from redpak.packages import nochown


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_only_changes_of_owners_are_answered(machine: str) -> None:
    program = nochown.build(machine)
    arch = bpf.ARCHITECTURES[machine]
    for number in range(500):
        answer = bpf.run(program, number, arch)
        assert answer == (bpf.RET_ERRNO if number in nochown.CALLS[machine] else bpf.RET_ALLOW)
    other = bpf.ARCHITECTURES["aarch64" if machine == "x86_64" else "x86_64"]
    assert bpf.run(program, nochown.CALLS[machine][0], other) == bpf.RET_ALLOW


def test_there_is_none_for_a_machine_whose_calls_are_not_known() -> None:
    assert nochown.build("s390x") == b""
