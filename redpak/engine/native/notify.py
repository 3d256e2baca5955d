"""Hand the descriptor of a filter that asks a supervisor over to it, with the container's state.

Source: runtime-spec, config-linux.md, "The Container Process State".
"""

from __future__ import annotations

from redpak.errors import LaunchFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from redpak.engine.native.box import Filter


def hand_over(one: Filter, fd: int, pid: int, state: Callable[[int, str], bytes] | None) -> None:
    """Send `fd` to the listener of a filter. Raises LaunchFailed."""
    import _socket as socket
    import json

    from redpak.engine.native import sockets
    from redpak.kernel import tty

    inner = json.loads(state(pid, "creating")) if state else {}
    said = {
        "ociVersion": inner.get("ociVersion", "1.2.1"),
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": one.listener_metadata,
        "state": inner,
    }
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sockets.connect(end, one.listener)
        tty.send_fds(end.fileno(), json.dumps(said).encode(), (fd,))
    except OSError as error:
        why = (error.strerror or "").lower()
        raise LaunchFailed(f"cannot reach the listener of system calls '{one.listener}': {why}") from error
    finally:
        end.close()
