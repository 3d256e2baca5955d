"""A LaunchSpec as a bwrap command line for people: paths instead of descriptors, ready to be pasted into bash.

It starts the same sandbox, without what the launcher adds around it (session keyring, Landlock scope, signals, codes).
"""

from __future__ import annotations

from redpak.engine.spec import Blob, LaunchSpec, Opened, Value
from redpak.text import Ask, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.text import Text

SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-"
BY_PATH = {"--bind-fd": "--bind", "--ro-bind-fd": "--ro-bind"}


def quoted(word: str) -> str:
    """Return one word as a shell reads it."""
    if word and all(c in SAFE for c in word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def computed(content: Text) -> str:
    """Return shell code, inside double quotes or bare, for a text whose parts are computed at start."""
    code = []
    for part in content.parts:
        match part:
            case str():
                code.append(quoted(part))
            case Run(command=command):
                code.append(f'"$(bash -r -c {quoted(command)})"')
            case Ask(name="PID"):
                code.append('"$$"')
            case Ask(name="UUID"):
                code.append('"$(cat /proc/sys/kernel/random/uuid)"')
            case _:
                code.append("\"$(date '+%d-%b-%Y %H:%M (%Z)')\"")
    return "".join(code) or "''"


def produced(content: Text) -> str:
    """Return shell code that writes a text to its standard output, newlines kept."""
    code = []
    for part in content.parts:
        match part:
            case Run(command=command):
                code.append(f"bash -r -c {quoted(command)}")
            case str():
                code.append(f"printf %s {quoted(part)}")
            case _:
                code.append(f"printf %s {computed(content.but(parts=(part,)))}")
    return "; ".join(code) or ":"


def _shown(spec: LaunchSpec) -> list[tuple[str, bool]]:
    """Return (word, whether it is shell code already) for everything behind the program's name."""
    words: list[tuple[str, bool]] = []
    opened = {
        str(number): one for number, one in spec.numbered() if isinstance(one, Opened) and one.how == "path"
    }
    by_path = False
    for arg in spec.args:
        if isinstance(arg, Value):
            code = f'"${{{arg.inherited}-}}"' if arg.inherited else computed(arg.content)
            words.append((code, True))
            continue
        if by_path and arg in opened:
            words.append((opened[arg].path, False))
        else:
            words.append((BY_PATH.get(arg, arg), False))
        by_path = arg in BY_PATH
    return words


def command_line(spec: LaunchSpec) -> list[str]:
    """Return the words of the equivalent bwrap command; what is computed at start stands there as text."""
    words = [spec.bwrap]
    plain = iter(_shown(spec))
    for arg in spec.args:
        word, code = next(plain)
        if code and isinstance(arg, Value):
            word = f"${arg.inherited}" if arg.inherited else str(arg.content)
        words.append(word)
    return [*words, "--", *spec.program]


def shell_line(spec: LaunchSpec) -> str:
    """Return one line for bash that runs the equivalent bwrap command."""
    line = [] if spec.inherit_env else ["env", "-i"]
    line.append(quoted(spec.bwrap))
    line += [word if code else quoted(word) for word, code in _shown(spec)]
    line += ["--", *(quoted(word) for word in spec.program)]
    for number, one in spec.numbered():
        if isinstance(one, Blob):
            line.append(f"{number}< <({produced(one.content)})")
        elif one.how == "read":
            line.append(f"{number}<{quoted(one.path)}")
    return " ".join(line)
