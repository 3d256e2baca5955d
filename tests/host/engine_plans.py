"""Plans made by hand, and a way to start them: the engine's host tests need no node and no configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redpak.origin import Origin
from redpak.plan import wire
from redpak.plan.model import CHOICES, Choice, Member, Namespace, Plan, SetVar, UnsetVar
from redpak.plan.ops import Bind, Dev, Dir, Proc, Symlink
from redpak.plan.tidy import tidy
from redpak.text import Text, text
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from redpak.plan.model import Op

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Origin(file="etc/redpak.yaml", line=7)
START = """
import os, sys
from redpak.errors import RedpakError
from redpak.engine.run import run
from redpak.plan import wire
with open(sys.argv[1], "rb") as file:
    plan = wire.read(file.read())
try:
    bwrap, engine = os.environ.pop("TEST_BWRAP", ""), os.environ.pop("TEST_ENGINE", "") or None
    code = run(plan, force="force" in sys.argv, strict="strict" in sys.argv, bwrap=bwrap, engine=engine)
except RedpakError as error:
    print(f"{type(error).__name__}: {error.message} ({error.hint})", file=sys.stderr)
    code = error.code
sys.exit(code)
"""


def bind(dst: str, src: object, **more: object) -> Bind:
    """Return a read-only bind unless asked otherwise."""
    return Bind(dst=dst, src=src if isinstance(src, Text) else text(str(src)), because=HERE, **more)  # type: ignore[arg-type]


def core_os() -> list[Op]:
    """Return the host's programs, as any node sees them."""
    ops: list[Op] = [bind("/usr", "/usr"), Proc(dst="/proc", because=HERE), Dev(dst="/dev", because=HERE)]
    for name in ("bin", "lib", "lib64", "sbin"):
        if os.path.islink(f"/{name}"):
            ops.append(Symlink(dst=f"/{name}", target=f"usr/{name}", because=HERE))
        elif os.path.isdir(f"/{name}"):
            ops.append(bind(f"/{name}", f"/{name}"))
    return [*ops, Dir(dst="/tmp", because=HERE)]


def plan(
    *command: str,
    mounts: tuple[Op, ...] = (),
    environ: tuple[SetVar | UnsetVar, ...] = (),
    namespaces: dict[str, str] | None = None,
    choices: dict[str, object] | None = None,
    node: str = "/nowhere",
    base: bool = True,
    **more: object,
) -> Plan:
    """Return a plan on the host as core OS; `namespaces` as {"net": "host", "ipc": "/path/to/join"}."""
    modes = {**dict.fromkeys(("cgroup", "ipc", "mount", "net", "pid", "user", "uts"), "new"), "time": "host"}
    modes.update(namespaces or {})
    path = SetVar(key="PATH", value=text("/usr/bin:/bin"), because=HERE)
    return tidy(
        Plan(
            node=node,
            profile="sealed",
            family=(Member(alias="test", name="test", path=node),),
            mounts=(*(core_os() if base else ()), *mounts),
            environ=environ if any(one.key == "PATH" for one in environ) else (path, *environ),
            namespaces=tuple(
                Namespace(kind=kind, mode="join", path=mode, because=HERE)  # type: ignore[arg-type]
                if mode.startswith("/")
                else Namespace(kind=kind, mode=mode, because=HERE)  # type: ignore[arg-type]
                for kind, mode in modes.items()
            ),
            choices=tuple(
                Choice(name=name, value=value, because=HERE)  # type: ignore[arg-type]
                for name, value in {**CHOICES, **(choices or {})}.items()
            ),
            command=command,
            uid=os.getuid(),
            gid=os.getgid(),
            **more,  # type: ignore[arg-type]
        )
    )


class Launcher:
    """Starts plans with one bwrap, with the helper or without."""

    def __init__(self, folder: Path, bwrap: str, helper: dict[str, str], environment: dict[str, str]) -> None:
        self.file = folder / "plan.json"
        self.environ = {**environment, "PYTHONPATH": str(REPOSITORY), "TEST_BWRAP": bwrap, **helper}

    def argv(self, made: Plan, *options: str) -> list[str]:
        """Write the plan down and return the command line that starts it."""
        self.file.write_bytes(wire.canonical(made))
        return [sys.executable, "-c", START, str(self.file), *options]

    def __call__(
        self,
        made: Plan,
        *options: str,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        wrapper: list[str] | None = None,
        **more: object,
    ) -> tuple[int, str, str]:
        """Start a plan, behind the words of `wrapper`, and return code, output and errors."""
        done = subprocess.run(
            [*(wrapper or []), *self.argv(made, *options)],
            input=stdin,
            capture_output=True,
            env={**self.environ, **(env or {})},
            timeout=PATIENCE_S,
            check=False,
            **more,  # type: ignore[call-overload]
        )
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def shell(script: str, **more: object) -> Plan:
    """Return a plan that runs a shell script."""
    return plan("/bin/sh", "-c", script, **more)  # type: ignore[arg-type]


@pytest.fixture(name="launch")
def launcher(tmp_path: Path, bwrap: str, helper: dict[str, str], environment: dict[str, str]) -> Launcher:
    """Return what starts a plan: over every bwrap, with the helper and without."""
    return Launcher(tmp_path, bwrap, helper, environment)
