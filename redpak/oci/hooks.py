"""Hooks in the runtime's namespaces: prestart, createRuntime, poststart, poststop (runtime-spec, config.md)."""

from __future__ import annotations

from redpak.errors import RedpakError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from redpak.engine.native.box import Hook


class HookFailed(RedpakError):
    """A hook ended with an error, ran out of time, or could not be started."""


def to_list(hooks: Iterable[Hook]) -> list[dict[str, Any]]:
    """Return hooks as they stand in the state file."""
    return [
        {"path": one.path, "args": one.args, "env": one.environ, "timeout": one.timeout_s, "cwd": one.cwd}
        for one in hooks
    ]


def from_list(found: Iterable[dict[str, Any]]) -> list[Hook]:
    """Return the hooks of a state file."""
    from redpak.engine.native.box import Hook

    return [
        Hook(
            path=one["path"],
            args=tuple(one["args"]),
            environ=tuple(one["env"]),
            timeout_s=one["timeout"],
            cwd=one.get("cwd", ""),
        )
        for one in found
    ]


def run(phase: str, hooks: Iterable[Hook], state: bytes) -> None:
    """Run hooks one after the other, each with the container's state on its standard input.

    Raises HookFailed for the first that fails.
    """
    for hook in hooks:
        _run(phase, hook, state)


def run_all(phase: str, hooks: Iterable[Hook], state: bytes) -> list[str]:
    """Run hooks and go on where one fails, as it is for poststop; return what went wrong."""
    wrong = []
    for hook in hooks:
        try:
            _run(phase, hook, state)
        except HookFailed as error:
            wrong.append(error.message)
    return wrong


def _run(phase: str, hook: Hook, state: bytes) -> None:
    from redpak.engine.native import hooks as runner
    from redpak.engine.native.wire import Failed

    try:
        runner.run(hook, phase, state)
    except Failed as error:
        raise HookFailed(f"error running hook: {error}") from None
