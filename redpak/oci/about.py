"""What redpak-oci says about itself: --version and --help."""

from __future__ import annotations

import sys

from redpak import __version__
from redpak.errors import Usage
from redpak.oci.commands import COMMANDS, GLOBAL, SPECIFICATION


def version() -> None:
    """Print the version of the program and of the specification, as clients look for them."""
    sys.stdout.write(f"redpak-oci version {__version__}\nspec: {SPECIFICATION}\n")


def usage(name: str = "") -> None:
    """Print the commands, or the options of one. Raises Usage for a command that is not there."""
    if not name:
        lines = ["usage: redpak-oci [option …] COMMAND [option …] [argument …]", "", "commands:"]
        lines += [f"  {one:11}{COMMANDS[one][4]}" for one in COMMANDS]
        lines += [
            "",
            "options:",
            *_options(GLOBAL, ""),
            "",
            "redpak-oci COMMAND --help shows the options of a command.",
        ]
    elif name in COMMANDS:
        _, _, known, words, what = COMMANDS[name]
        lines = [f"usage: redpak-oci {name} [option …] {words}".rstrip(), "", f"  {what}"]
        lines += ["", "options:", *_options(known, name)] if known else []
    else:
        raise Usage(f"there is no command '{name}'", hint="See redpak-oci --help.")
    sys.stdout.write("\n".join(lines) + "\n")


def _options(known: dict[str, str], name: str) -> list[str]:
    from redpak.oci.texts import TEXTS

    rows = []
    for option, kind in known.items():
        value, text = TEXTS[name][option]
        short = f", -{kind[0]}" if kind[:1].isalpha() else ""
        more = " (may be repeated)" if "*" in kind else ""
        rows.append((f"--{option}{short} {value}".rstrip(), text + more))
    wide = max(len(words) for words, _ in rows)
    return [f"  {words:{wide}}  {text}" for words, text in rows]
