"""What every ring shares: the marker `needs`, programs run as a user would, and the settings of hypothesis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from scripts import failures
from tests.features import missing
from tests.patience import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parent.parent
STRICT = os.environ.get("REDPAK_TEST_STRICT") == "1"
MAY_SKIP = frozenset(os.environ.get("REDPAK_TEST_MAY_SKIP", "").split())
ONLY_NEEDS = os.environ.get("REDPAK_TEST_ONLY_NEEDS", "")  # run only what needs this feature
# Who runs the tests, and on which machine, is a choice, not a lack: another run has these. MUST_HAVE: this is that run.
MUST_HAVE = frozenset(os.environ.get("REDPAK_TEST_MUST_HAVE", "").split())
KINDS = "root user subids vm cgroup-v1 cgroup-v2 systemd swap disk apparmor selinux"
CHOICES = frozenset(KINDS.split()) - {ONLY_NEEDS} - MUST_HAVE

# Who starts us in the background or by nohup(1) ignores signals that tests send to programs, and these inherit that.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

settings.register_profile(
    "redpak", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("redpak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not need the one feature that this run is for."""
    if not ONLY_NEEDS:
        return
    wanted = [item for item in items if any(ONLY_NEEDS in mark.args for mark in item.iter_markers("needs"))]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Do not call it a failure that nothing needs the one feature that this run is for."""
    if ONLY_NEEDS and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Note what failed for `./dev test`, who tells it again in the end."""
    for kind in ("failed", "error"):
        for report in terminalreporter.stats.get(kind, ()):
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message if crash else str(report.longrepr).strip().rpartition("\n")[2]
            failures.note(f"{report.nodeid} - {why}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose needs this host does not meet; fail it where CI says that they must be met."""
    for mark in item.iter_markers("needs"):
        for feature in mark.args:
            why = missing(feature)
            if why is None:
                continue
            if STRICT and feature.partition(":")[0] not in CHOICES | MAY_SKIP and feature not in MAY_SKIP:
                pytest.fail(f"this host lacks '{feature}': {why}", pytrace=False)
            pytest.skip(f"needs '{feature}': {why}")


class Ran:
    """How a program ended."""

    def __init__(self, argv: list[str], done: subprocess.CompletedProcess[bytes]) -> None:
        self.argv = argv
        self.code = done.returncode
        self.out = done.stdout.decode(errors="replace")
        self.err = done.stderr.decode(errors="replace")

    def __repr__(self) -> str:
        return f"{self.argv} ended with {self.code}\n--- out\n{self.out}--- err\n{self.err}---"


class Program:
    """One of this checkout's programs. `argv` and `environ` are there for tests that start it by themselves."""

    def __init__(self, name: str, env: dict[str, str], cwd: Path) -> None:
        self.argv = [sys.executable, str(REPOSITORY / "scripts" / name)]
        self.environ = {**env, "PYTHONPATH": str(REPOSITORY)}
        self.cwd = cwd

    def __call__(
        self,
        *words: str | Path,
        env: dict[str, str] | None = None,
        stdin: bytes = b"",
        timeout_s: float = PATIENCE_S,
        cwd: str | Path | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> Ran:
        """Run it to its end: `redpak("run", leaf, "--", "true").code`."""
        argv = [*self.argv, *map(str, words)]
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            env={**self.environ, **(env or {})},
            timeout=timeout_s,
            cwd=cwd or self.cwd,
            pass_fds=pass_fds,
            check=False,
        )
        return Ran(argv, done)


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a clean environment for programs: nothing of the developer's own, and directories of its own."""
    home = tmp_path_factory.mktemp("home")
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "REDPAK_RUNTIME_DIR": str(home / "run"),
    }


@pytest.fixture
def redpak(environment: dict[str, str], tmp_path: Path) -> Program:
    """Return the program `redpak`, in a clean environment."""
    return Program("redpak", environment, tmp_path)


@pytest.fixture
def redwrap(environment: dict[str, str], tmp_path: Path) -> Program:
    """Return the program `redwrap`, in a clean environment."""
    return Program("redwrap", environment, tmp_path)


@pytest.fixture
def redconf(environment: dict[str, str], tmp_path: Path) -> Program:
    """Return the program `redconf`, in a clean environment."""
    return Program("redconf", environment, tmp_path)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Path]:
    """Return a directory for nodes that the current user owns, which is not writable for others."""
    at = tmp_path / "pool"
    at.mkdir(mode=0o755)
    yield at
    for folder, _, _ in os.walk(at):  # a sandbox may leave directories that even pytest cannot empty
        if not os.path.islink(folder):
            os.chmod(folder, 0o755)
