"""Records: made whole, moved by a rename, read back whatever happened to them."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

import pytest

from redpak.errors import Busy, NotFound, Usage
from redpak.state import gc, proc, records, sandboxes, truth
from redpak.state.records import Entry, Exit
from redpak.state.sandboxes import Sandbox

NOBODY = proc.Pid(pid=2**22 - 1, start=1)


def made(name: str = "", node: str = "/nodes/app") -> tuple[Entry, int]:
    return records.new(node=node, command=("sleep", "9"), name=name, plan=b"{}", uid=os.getuid())


def ended(name: str = "", code: int | None = 0, when: float = 0.0) -> Entry:
    entry, lock = made(name)
    done = records.finish(entry, Exit(code=code, ended=when or time.time()))
    os.close(lock)
    return done


def recorded(*, ended: bool = False) -> list[Sandbox]:
    """Return the sandboxes of records; others may launch something on this host in the meantime."""
    return [one for one in sandboxes.everything(ended=ended) if one.entry is not None]


def test_a_record_is_read_back_as_it_was_written() -> None:
    entry, lock = made("web")
    me = proc.known(os.getpid())
    entry = entry.but(supervisor=me, launcher=me, cgroup={"paths": {}}, leases=("/g/1",))
    records.save(entry)
    (read,) = records.everything()
    assert read == entry.but(log=f"{entry.path}/log")
    os.close(lock)


def test_stages_are_directories_and_a_rename_is_the_transition(runtime: Path) -> None:
    entry, lock = made()
    assert (runtime / "starting" / entry.id).is_dir()
    running = records.move(entry, "running")
    assert os.listdir(runtime / "starting") == []
    assert (runtime / "running" / entry.id / "plan.json").read_bytes() == b"{}"
    done = records.finish(running, Exit(code=3, ended=1.5))
    assert records.again(entry).exit == Exit(code=3, ended=1.5)
    assert done.stage == "ended"
    os.close(lock)


def test_the_first_word_on_an_end_is_kept() -> None:
    done = ended(code=3)
    again = records.move(done, "running")
    records.finish(again, Exit(reason="somebody else noticed later"))
    assert records.again(done).exit is not None
    assert records.again(done).exit.code == 3  # type: ignore[union-attr]


def test_a_name_is_taken_while_its_owner_lives_and_free_afterwards() -> None:
    entry, lock = made("web")
    with pytest.raises(Busy, match=f"'web' is taken by {entry.id}"):
        made("web")
    os.close(lock)  # its supervisor is gone, and nothing of it runs
    other, lock = made("web")
    assert sandboxes.find("web").id == other.id
    assert sandboxes.find(entry.id, ended=True).status == "lost"
    os.close(lock)


@pytest.mark.parametrize("name", ["9lives", "-x", "a b", "a/b", "ä", "x" * 65, "."])
def test_a_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(Usage, match="cannot be a name"):
        made(name)


def test_who_has_the_lock_runs_whatever_the_numbers_say() -> None:
    entry, lock = made()
    records.save(entry.but(supervisor=NOBODY))
    (one,) = recorded()
    assert one.status == "starting"
    os.close(lock)
    assert recorded() == []


def test_a_number_that_was_given_to_another_process_is_nobody() -> None:
    entry, lock = made()
    me = proc.known(os.getpid())
    assert me is not None
    records.save(entry.but(main=me.but(start=me.start + 1)))
    os.close(lock)
    (one,) = recorded(ended=True)
    assert one.status == "lost"
    assert "killed while it was being started" in one.reason


def test_what_runs_on_without_its_supervisor_is_shown_as_adrift() -> None:
    entry, lock = made()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(lock)  # else it would hold it, too
        os.write(writer, b"!")
        signal.pause()
        os._exit(0)
    try:
        with os.fdopen(reader, "rb") as said:
            assert said.read(1) == b"!"
        os.close(writer)
        records.save(entry.but(supervisor=NOBODY, init=proc.known(child), main=proc.known(child)))
        os.close(lock)
        (one,) = recorded()
        assert (one.status, one.lives) == ("adrift", True)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    (one,) = recorded(ended=True)
    assert one.status == "lost"
    assert f"its supervisor (pid {NOBODY.pid}) was killed" in one.reason


def test_a_record_of_an_earlier_start_of_the_host_is_lost_whoever_has_its_numbers_now() -> None:
    entry, lock = made()
    me = proc.known(os.getpid())
    records.save(entry.but(boot="an-earlier-one", main=me, supervisor=me))
    os.close(lock)
    (one,) = recorded(ended=True)
    assert (one.status, one.reason) == ("lost", "the host was started anew")


@pytest.mark.parametrize("damage", ["no JSON", "[]", '{"redpak-record": 99}', "{}", ""])
def test_a_damaged_record_is_shown_and_says_so(damage: str) -> None:
    entry, lock = made()
    Path(entry.path, "record.json").write_text(damage)
    os.close(lock)
    (one,) = recorded(ended=True)
    assert (one.id, one.status) == (entry.id, "lost")
    assert "record" in one.reason


def test_an_end_that_was_written_but_not_moved_is_taken_to_its_place() -> None:
    entry, lock = made()
    running = records.move(entry, "running")
    records.finish(running, Exit(code=4, ended=2.0))
    records.move(records.again(entry), "running")  # as if it had been killed before the rename
    os.close(lock)
    (one,) = recorded(ended=True)
    assert (one.status, one.code) == ("exited", 4)


def test_a_removed_record_is_gone_at_once(runtime: Path) -> None:
    done = ended()
    records.remove(done)
    assert records.everything() == []
    assert os.listdir(runtime / "aside") == []
    with pytest.raises(NotFound, match="was removed"):
        records.again(done)


def test_what_a_killed_start_left_aside_is_swept_when_it_is_old_and_nobody_holds_it(runtime: Path) -> None:
    ended()
    for name, age, held in (("old", 100, False), ("held", 100, True), ("young", 0, False)):
        at = runtime / "aside" / name
        at.mkdir()
        (at / "lock").touch()
        lock = os.open(at / "lock", os.O_RDWR)
        if held:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keep = lock
        else:
            os.close(lock)
        os.utime(at, (time.time() - age, time.time() - age))
    records.sweep_aside()
    assert sorted(os.listdir(runtime / "aside")) == ["held", "young"]
    os.close(keep)


def test_old_records_go_and_so_do_the_oldest_of_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    old = ended(when=now - gc.LONGEST_S - 1)
    kept = [ended(when=now - age) for age in (1, 2, 3)]
    assert [one.id for one in gc.too_old(records.everything(), now)] == [old.id]
    monkeypatch.setattr(gc, "MOST", 2)
    assert {one.id for one in gc.too_old(records.everything(), now)} == {old.id, kept[2].id}
    assert {one.id for one in gc.sweep()} == {old.id, kept[2].id}
    assert {one.id for one in records.everything()} == {kept[0].id, kept[1].id}


def test_logs_that_take_too_much_room_go_with_their_records(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    new, big, older = (ended(when=now - age) for age in (1, 2, 3))
    Path(big.path, "log").write_bytes(b"x" * 5000)
    monkeypatch.setattr(gc, "MOST_BYTES", 4000)
    assert [one.id for one in gc.too_old(records.everything(), now)] == [big.id, older.id]
    assert new.id not in {one.id for one in gc.too_old(records.everything(), now)}


def test_settle_notices_an_end_once_and_says_so_in_the_journal() -> None:
    from redpak.state import journal

    entry, lock = made("web")
    os.close(lock)
    for _ in range(2):
        settled = truth.settle(records.again(entry))
        assert settled is not None
        assert settled.stage == "ended"
    assert [one["event"] for one in journal.past()] == ["lost"]


def test_what_is_left_in_its_control_group_belongs_to_a_record(tmp_path: Path) -> None:
    group = tmp_path / "group"
    group.mkdir()
    child = os.fork()
    if child == 0:
        signal.pause()
    (group / "cgroup.procs").write_text(f"{child}\n0\n")
    entry, lock = records.new(node="/n", command=("x",), name="", plan=b"{}", uid=0)
    entry = entry.but(cgroup={"paths": {"": str(group), "gone": str(tmp_path / "gone")}})
    records.save(entry)
    os.close(lock)
    try:
        (known,) = truth.everything()
        assert known.living == (child,)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    (known,) = truth.everything()
    assert known.entry.stage == "ended"
