"""Whether a process still lives, as /proc tells it, and whose lock it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from redpak.oci import life, store

LEADERLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_whose_first_thread_alone_has_ended_lives() -> None:
    with subprocess.Popen([sys.executable, "-c", LEADERLESS], stdout=subprocess.PIPE) as one:
        assert one.stdout
        one.stdout.readline()
        while state_of(one.pid) != "Z":
            pass
        assert life.start_time(one.pid) > 0
        one.kill()
        os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
        assert (state_of(one.pid), life.start_time(one.pid)) == ("Z", 0)


def test_to_ask_whether_a_container_is_busy_keeps_its_lock(tmp_path: Path) -> None:
    made = store.make(str(tmp_path), "a", {"status": life.CREATING}, b"{}")
    assert not made.busy()
    look = (
        "import sys; from redpak.oci import store; print(store.load(sys.argv[1], 'a').busy())",
        str(tmp_path),
    )
    told = subprocess.run([sys.executable, "-c", *look], capture_output=True, text=True, check=True)
    assert told.stdout == "True\n"
    made.unlock()
