"""Signals by name or number."""

from __future__ import annotations

from redpak.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # what `signal` is made of: that one imports enum, which takes longer than all the rest

# Aliases of signal(7) that _signal does not have.
_MORE = {"IOT": 6, "POLL": 29, "CLD": 17, "UNUSED": 31}


def number(word: str) -> int:
    """Return the number of 'TERM', 'SIGTERM', 'sigterm', '15', 'RTMIN+3' or 'RTMAX-1'; raises Usage."""

    last = _signal.SIGRTMAX
    if word.isascii() and word.isdigit():
        found = int(word)
        if 0 <= found <= last:  # 0 asks whether there is somebody to signal (kill(2))
            return found
        raise Usage(f"there is no signal {word}", hint=f"Signals go from 1 to {last}.")
    name = word.upper().removeprefix("SIG")
    for base, sign in (("RTMIN", "+"), ("RTMAX", "-")):
        if name.startswith(base + sign) and name[6:].isascii() and name[6:].isdigit():
            found = int(getattr(_signal, f"SIG{base}")) + int(f"{sign}{name[6:]}")
            if _signal.SIGRTMIN <= found <= last:
                return found
    value = (
        getattr(_signal, f"SIG{name}", _MORE.get(name))
        if name not in ("_BLOCK", "_UNBLOCK", "_SETMASK", "_DFL", "_IGN")
        else None
    )
    if not isinstance(value, int):
        raise Usage(f"unknown signal '{word}'", hint="Take a name such as TERM, or a number.")
    return value
