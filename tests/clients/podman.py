"""podman with storage and configuration of its own, as root or as an ordinary user."""

from __future__ import annotations

import itertools
import resource
from pathlib import Path

from tests.clients.world import World, runtime
from tests.conftest import Ran
from tests.patience import PATIENCE_S, eventually

NUMBERS = itertools.count(1)
CONFIGURATION = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_nocgroup = ["{name}", "{path}"]
runtime_supports_json = ["{name}", "{path}"]
[engine.runtimes]
{name} = ["{path}"]
"""


class Podman:
    """podman with storage of its own. Calling it runs it; `run` starts a container without network that is removed."""

    def __init__(self, world: World, *, rootless: bool) -> None:
        self.world = world
        self.rootless = rootless
        world.groups.add("libpod_parent")  # where it puts them by itself
        place = world.at / ("user" if rootless else "root")
        place.mkdir(exist_ok=True)
        most = int(Path("/proc/sys/kernel/pid_max").read_text())
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        configuration = world.at / f"{place.name}.conf"
        configuration.write_text(
            CONFIGURATION.format(
                files=min(files if files >= 0 else 1 << 20, 1 << 20),
                processes=min(processes if processes >= 0 else most, most),
                name=runtime().name,
                path=runtime(),
            )
        )
        self.env = {"CONTAINERS_CONF": str(configuration)}
        self.words = ["podman", f"--root={place}/s", f"--runroot={place}/r", f"--runtime={runtime().name}"]
        if not rootless:
            self.words += [f"--tmpdir={place}/t", "--storage-driver=overlay"]

    def __call__(self, *words: str, stdin: bytes = b"", timeout_s: float = PATIENCE_S) -> Ran:
        """Run a command of podman."""
        return self.world.run(
            *self.words, *words, env=self.env, user=self.rootless, stdin=stdin, timeout_s=timeout_s
        )

    def run(self, *words: str, stdin: bytes = b"") -> Ran:
        """Run a container to its end."""
        return self("run", "--rm", "--network=none", *words, stdin=stdin)

    def out(self, *words: str) -> str:
        """Run a command that must end well; return what it printed."""
        done = self(*words)
        assert done.code == 0, done
        return done.out.strip()

    def start(self, *words: str) -> str:
        """Start a container in the background; return its name."""
        name = f"c{next(NUMBERS)}"
        self.out("run", "--detach", "--network=none", f"--name={name}", *words)
        return name

    def prints(self, name: str, text: str) -> None:
        """Wait until a container has written a line; what it does before that is done then."""
        eventually(lambda: text in self.out("logs", name).splitlines())

    def remove(self, name: str) -> None:
        """Remove a container at once."""
        self.out("rm", "--force", "--time=0", name)
