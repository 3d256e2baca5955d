"""The cache of launchers: only what was made for the same request, by the same code, and can be trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from redpak import paths
from redpak.engine import cache, seccomp
from redpak.engine.spec import LaunchSpec
from redpak.plan.model import Plan

PLAN = Plan(
    node="/n",
    profile="sealed",
    family=(),
    mounts=(),
    environ=(),
    namespaces=(),
    uid=os.getuid(),
    gid=os.getgid(),
)
SPEC = LaunchSpec(bwrap="/usr/bin/bwrap", args=("--tmpfs", "/"), uid=os.getuid(), gid=os.getgid())


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a cache and a helper of its own."""
    at = tmp_path / "cache"
    monkeypatch.setattr(paths, "cache", lambda: str(at))
    monkeypatch.delenv("REDPAK_NO_HELPER", raising=False)
    monkeypatch.delenv("REDPAK_PROFILE", raising=False)
    monkeypatch.setattr("redpak.engine.run.helper", lambda: "/bin/true")
    return at


def test_a_launcher_is_found_by_the_same_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    request = cache.Request(path="/n")
    assert cache.fresh_launcher(request) is None
    assert cache.store(request, PLAN, SPEC) == ""
    found = cache.fresh_launcher(request)
    assert found is not None
    assert found.startswith(cache.folder() + "/")
    for other in (
        {"admin": True},
        {"force": True},
        {"strict": True},
        {"bwrap": "/b"},
        {"path": "/n/"},
        {"path": "/m"},
    ):
        assert cache.fresh_launcher(request.but(**other)) is None, other
    monkeypatch.setenv("REDPAK_PROFILE", "upstream-2.5")
    assert cache.fresh_launcher(request) is None


def test_a_launcher_holds_no_program(own_cache: Path) -> None:
    request = cache.Request(path="/n")
    assert cache.store(request, PLAN, SPEC.but(program=("secret",))) == ""
    assert "secret" not in Path(cache.fresh_launcher(request) or "").read_text()


def test_a_launcher_that_others_could_have_written_is_not_used(own_cache: Path) -> None:
    request = cache.Request(path="/n")
    cache.store(request, PLAN, SPEC)
    found = cache.fresh_launcher(request)
    assert found is not None
    os.chmod(found, 0o770)
    assert cache.fresh_launcher(request) is None
    os.chmod(found, 0o700)
    os.chmod(cache.folder(), 0o777)
    assert cache.fresh_launcher(request) is None
    assert "changed by others" in cache.store(request, PLAN, SPEC)
    os.chmod(cache.folder(), 0o700)
    os.rename(found, own_cache / "aside")
    os.symlink(own_cache / "aside", found)
    assert cache.fresh_launcher(request) is None


def test_another_code_of_redpak_plans_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.code_stamp()
    for room in cache.ROOMS:
        (tmp_path / "redpak" / room).mkdir(exist_ok=True, parents=True)
    monkeypatch.setattr(paths, "shipped", lambda *parts: str(tmp_path.joinpath("redpak", *parts)))
    empty = cache.code_stamp()
    (tmp_path / "redpak" / "engine" / "new.py").write_text("x = 1\n")
    assert len({before, empty, cache.code_stamp()}) == 3


def test_without_the_helper_nothing_is_kept_or_used(monkeypatch: pytest.MonkeyPatch) -> None:
    request = cache.Request(path="/n")
    cache.store(request, PLAN, SPEC)
    monkeypatch.setenv("REDPAK_NO_HELPER", "1")
    assert cache.fresh_launcher(request) is None
    monkeypatch.setattr("redpak.engine.run.helper", lambda: "")
    assert "launch helper" in cache.store(request, PLAN, SPEC)


def test_a_cache_that_cannot_be_written_is_a_reason_not_an_error(own_cache: Path) -> None:
    own_cache.write_text("a file is in the way")
    assert cache.store(cache.Request(path="/n"), PLAN, SPEC) != ""


def test_only_launchers_are_rewritten_and_they_keep_their_command(tmp_path: Path) -> None:
    request = cache.Request(path="/n")
    mine, other = tmp_path / "mine", tmp_path / "other"
    other.write_text("precious")
    assert "not a launcher" in cache.rewrite(str(other), request, PLAN, SPEC)
    assert other.read_text() == "precious"
    from redpak.engine import frozen

    origins = frozen.Origins(path="/n")
    made = frozen.script(PLAN, SPEC.but(program=("echo", "it's")), helper="/bin/true", origins=origins)
    mine.write_bytes(frozen.encoded(made))
    mine.chmod(0o750)
    assert cache.rewrite(str(mine), request, PLAN, SPEC.but(program=("id",), umask=0o77)) == ""
    assert frozen.program_of(str(mine)) == ("echo", "it's")
    assert "umask 0077" in mine.read_text()
    assert mine.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_cache_that_others_could_exchange_is_neither_filled_nor_used(own_cache: Path, mode: int) -> None:
    # Whoever may rename in the directory above puts other launchers and filters between the look and the start.
    request = cache.Request(path="/n")
    filtered = str(own_cache / "filter.bpf")
    assert cache.store(request, PLAN, SPEC) == ""
    assert seccomp.store(b"filter", filtered)
    os.chmod(own_cache, mode)
    assert cache.fresh_launcher(request) is None
    assert "changed by others" in cache.store(request, PLAN, SPEC)
    assert not seccomp.store(b"filter", filtered)
    os.chmod(own_cache, 0o755)
    os.chmod(filtered, 0o666)
    assert seccomp.store(b"filter", filtered)  # written anew
    assert os.stat(filtered).st_mode & 0o777 == 0o644


def test_a_quiet_request_has_a_launcher_of_its_own() -> None:
    request = cache.Request(path="/n")
    plan = PLAN.but(warnings=("careful",))
    assert cache.store(request, plan, SPEC) == cache.store(request.but(quiet=True), plan, SPEC) == ""
    loud, quiet = cache.fresh_launcher(request), cache.fresh_launcher(request.but(quiet=True))
    assert "careful" in Path(loud or "").read_text()
    assert "careful" not in Path(quiet or "").read_text()
    assert "--quiet" in Path(quiet or "").read_text()
