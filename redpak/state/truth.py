"""What is true of a record now: nothing that a killed supervisor left behind is believed, and nothing is dropped."""

from __future__ import annotations

import os

from redpak.errors import RedpakError
from redpak.record import Record
from redpak.state import proc, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.state.records import Entry

DYING_S = 0.3  # how long the processes of a killed supervisor may take to follow it


ROUNDS = 30  # of looking again while somebody dies
TRIES = 100  # a record moves on twice in its life


class Known(Record):
    """A record and what is true of it. `supervised`: somebody looks after it; `living`: what runs without anybody."""

    entry: Entry
    supervised: bool = False
    living: tuple[int, ...] = ()


def _supervised(entry: Entry) -> bool | None:
    """Tell whether somebody looks after a record; None where it is no longer there: it moved on, or was removed.

    The supervisor's lock tells, not its number: numbers are given out again.
    """
    import fcntl

    try:
        fd = os.open(os.path.join(entry.path, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False if os.path.isdir(entry.path) else None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _living(entry: Entry) -> tuple[int, ...]:
    """Return the launcher and what is in the sandbox, those that are not about to end."""
    import select
    import time

    from redpak.state import members

    if entry.boot != proc.boot():
        return ()
    end = time.monotonic() + DYING_S
    while True:
        left = members.of_entry(entry)
        wait = end - time.monotonic()
        if not left or wait <= 0:
            return left
        try:
            fd = os.pidfd_open(left[0])
        except ProcessLookupError:
            continue
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(max(1, wait * 1000))
        finally:
            os.close(fd)


def look(entry: Entry) -> Known | None:
    """Return what is true of a record; an end that nobody noticed is noticed now. None where it was removed."""
    import time

    from redpak.errors import NotFound

    patience = ROUNDS
    for _ in range(TRIES):
        if entry.stage not in records.LIVING:
            return Known(entry=entry)
        supervised = _supervised(entry)
        if supervised and (entry.main is None or proc.alive(entry.main) or patience == 0):
            return Known(entry=entry, supervised=True)
        if supervised:  # its program has just ended: its supervisor is writing that down
            patience -= 1
            time.sleep(DYING_S / ROUNDS)
        try:
            now = records.again(entry)
            if supervised or supervised is None or now.path != entry.path:
                entry = now  # it moved on while we looked
                continue
            # What was read after nobody had the lock any more is the last that was written.
            living = _living(now)
            if living:
                return Known(entry=now, living=living)
            if records.has_exit(now):
                return Known(entry=records.finish(now, records.Exit()))
            return Known(entry=_lost(now))
        except NotFound:
            return None
        except RedpakError:
            continue  # another command took it to its end
    return Known(entry=entry, supervised=True)


def settle(entry: Entry) -> Entry | None:
    """Return a record as it is now, see `look`."""
    known = look(entry)
    return known.entry if known is not None else None


def _lost(entry: Entry) -> Entry:
    """Write down that it ended without anybody there to see it."""
    import time

    from redpak.state import journal

    if entry.boot and entry.boot != proc.boot():
        reason = "the host was started anew"
    elif entry.broken:
        reason = f"nothing of it runs, and {entry.broken}"
    elif entry.supervisor is None:
        reason = "it was killed while it was being started"
    else:
        reason = f"its supervisor (pid {entry.supervisor.pid}) was killed, and it ended with it"
    done = records.finish(entry, records.Exit(reason=reason, ended=time.time()))
    journal.note("lost", done.id, name=done.name, reason=reason)
    return done


def everything() -> list[Known]:
    """Return every record with what is true of it, oldest first."""
    found = (look(one) for one in records.everything())
    return [one for one in found if one is not None]
