"""What scripts/clients.py makes of what a client's script printed: nothing that failed may count as well."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import clients
from tests.patience import PATIENCE_S

NAME = "podman-rootless"
PASSED = [f"rootless PASS step-{number} 7 ms" for number in range(40)]
SYSCTL = "rootless FAIL run-sysctl 9 ms  rc=127 no such file"
EXCUSED = {"run-sysctl": "this kernel has none"}


def total(passed: int, failed: int) -> str:
    return f"TOTAL podman rootless redpak-oci: {passed} pass, {failed} fail"


def test_every_step_passed() -> None:
    assert clients.verdict(NAME, [*PASSED, total(41, 0)], 0, ()) is None


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        ([*PASSED, total(40, 0)], 0, "40 of 41 steps passed"),
        ([*PASSED, SYSCTL, total(40, 1)], 1, "40 of 41 steps passed, 1 failed"),
        ([*PASSED, total(41, 0)], 1, "exit code 1"),
        (PASSED, 0, "did not come to its end"),
    ],
)
def test_what_is_missing_is_said(lines: list[str], code: int, said: str) -> None:
    assert said in (clients.verdict(NAME, lines, code, ()) or "")


def test_a_step_that_the_kernel_has_no_means_for_is_excused_and_no_other() -> None:
    assert clients.verdict(NAME, [*PASSED, SYSCTL, total(40, 1)], 1, EXCUSED) is None
    assert clients.verdict(NAME, [*PASSED, total(41, 0)], 0, EXCUSED) is None
    other = "rootless FAIL run-init 9 ms"
    assert "2 failed" in (clients.verdict(NAME, [*PASSED[1:], other, SYSCTL, total(39, 2)], 1, EXCUSED) or "")
    assert clients.verdict(NAME, [*PASSED[1:], SYSCTL, total(39, 1)], 1, EXCUSED) is not None
    assert clients.verdict(NAME, [*PASSED, SYSCTL, total(40, 1)], 0, EXCUSED) is not None


def test_a_kernel_that_has_the_means_excuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        clients, "LACKING", {(NAME, "a"): (["true"], "no a"), (NAME, "b"): (["false"], "no b")}
    )
    assert clients.lacking(NAME) == {"b": "no b"}
    assert clients.lacking("ctr") == {}


def test_programs_that_wait_wait_longer_on_a_slow_machine(tmp_path: Path) -> None:
    path = clients.slower(tmp_path / "slow", 30)
    words = ["timeout", "1", "sh", "-c", "sleep 0.05; exit 7"]  # one and a half seconds
    assert subprocess.run(words, env={"PATH": path}, check=False).returncode == 7
    assert not Path(clients.slower(tmp_path / "quick", 1).partition(":")[0]).exists()


def test_a_script_that_says_nothing_more_is_not_waited_for_without_end() -> None:
    talks = ["sh", "-c", "printf 'one\\ntwo'"]
    with subprocess.Popen(talks, stdout=subprocess.PIPE) as one:
        assert one.stdout
        assert list(clients.said(one.stdout, PATIENCE_S)) == ["one", "two"]
    with subprocess.Popen(["sh", "-c", "echo one; exec sleep 1000"], stdout=subprocess.PIPE) as other:
        assert other.stdout
        words = clients.said(other.stdout, PATIENCE_S)
        assert next(words) == "one"
        with pytest.raises(TimeoutError):
            list(clients.said(other.stdout, 0.1))
        other.kill()


def test_what_failed_is_told_with_its_reason() -> None:
    assert clients.lost([*PASSED, SYSCTL, total(40, 1)]) == {"run-sysctl": SYSCTL}
