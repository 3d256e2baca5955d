"""The reference page of configuration files, made from the table of settings: python -m redpak.config.reference"""

from __future__ import annotations

from redpak.config import settings
from redpak.config.sealed_limits import BINDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from redpak.config.setting import Kind, Merge, Setting

INTRODUCTION = """\
# Configuration

*This page is made from the table in `redpak/config/settings.py`: `python -m redpak.config.reference`.*

A node's configuration is `etc/redpak.yaml` in its directory (the older name `etc/redpack.yaml` is read when that is
absent); `etc/redpak-admin.yaml` is read in addition in administrative mode. The core OS's defaults are in
`/etc/redpak/main.yaml`, with the same keys; headers are optional there.

Files are YAML: one document, UTF-8, at most 1 MiB, 32 levels, 50,000 values, no aliases, no tags. Keys and the words
listed below may be written in any case; an unknown key, or the same key twice, is a fault. Values are read as written:
`no` is the text `no` where text is expected, and `027` is octal where a file mode is expected. All faults of a file are
reported at once, with file, line and column.

`$NODE_ALIAS`, `$NODE_NAME`, `$NODE_PATH`, `$NODE_INFO` (of the node that defines the entry), `$LEAF_ALIAS`,
`$LEAF_NAME`, `$LEAF_PATH`, `$LEAF_INFO` (of the node that is started) and the other variables are replaced where a
setting says *expanded*; `\\$` is a dollar sign; *commands* means that `$(command)` is replaced by its output when the
program starts.

What a line *In a family* says holds under the sealed profile. What a node says of one namespace (`share_net`) goes
before what any node says with `share_all`. An ancestor's `share_all: disabled` binds all the same: beneath it only
those namespaces are open that it or an older node opens by name.

Control group limits (`cgroups`) are applied as docs/cgroups.md says. A limit that the host cannot apply is refused,
and nothing is started.
"""

KINDS: dict[Kind, str] = {
    "text": "text",
    "alias": "letters, digits and `+ _ @ : -`",
    "bool": "`true` or `false` (also yes/no, on/off, enabled/disabled, 1/0)",
    "flag": "`0` or `1` (also the words for false and true)",
    "int": "a whole number: decimal, `0x…` or `0o…`",
    "share": "`unset`, `enabled`, `disabled`, or the absolute path of a namespace file",
    "octal": "three octal digits, `000` to `777`",
    "identity": "a name or a number",
    "label": "a SMACK label",
    "hostname": "a host name, at most 64 characters",
    "place": "an absolute path, or text that starts with a variable",
    "places": "absolute paths, separated by colons",
    "mount": "an absolute path without `..`",
    "source": "a path, target, command or number, as `mode` wants it",
    "command": "text",
    "variable": "the name of an environment variable",
    "capability": "the name of a capability, or `ALL`",
    "rlimit": "a number, `SOFT:HARD`, or `unlimited`; K, M, G and T may follow a number",
    "size": "bytes, with K, M, G or T if you like, or `max`",
    "cpus": "numbers and ranges: `0-2,4`",
    "weight": "1 to 10000",
    "nice": "-20 to 19",
    "bandwidth": "`QUOTA PERIOD` or `max PERIOD`, in microseconds",
    "count": "a whole number, or `max`",
    "oom": "`0`, or another number",
    "io-max": "`MAJOR:MINOR rbps=… wbps=… riops=… wiops=…`, one device a line or a list of such lines",
    "io-weight": "1 to 10000, or `MAJOR:MINOR WEIGHT`, one device a line or a list of such lines",
    "io-line": "`MAJOR:MINOR` and the kernel's words, one device a line or a list of such lines",
    "ignored": "anything",
    "mapping": "a mapping",
    "sequence": "a list",
}

MERGES: dict[Merge, str] = {
    "plain": "the oldest node that says it wins; another value below is ignored with a warning",
    "share": "a descendant may tighten it, never loosen it",
    "tri": "an ancestor's `Enabled` binds",
    "seal-true": "an ancestor's `true` binds",
    "seal-false": "an ancestor's explicit `false` binds",
    "seal-default": "an ancestor's explicit `default` binds",
    "accumulate": "all nodes' are joined, the leaf's first, the core OS's last",
    "capability": "what an ancestor drops stays dropped",
    "limit": "a descendant may only lower it",
    "profile": "the oldest node decides, else the core OS",
}

ENTRIES = {
    "exports": "Entries of the whole family are joined. When two nodes name the same `mount`, the oldest node's "
    "entry stays, with a warning. What an ancestor exports read-only (`Restricted`, `RestrictedFile`) can neither be "
    "exported more openly below, nor can anything beneath it, nor its source at another place. The three `Private` "
    "modes hold for their own node only.",
    "environ": "Variables of the whole family are joined. When two nodes name the same `key`, the oldest node's entry "
    "stays, with a warning.",
}


def page() -> str:
    """Return the page, in Markdown."""
    return "\n".join((INTRODUCTION, *_sections()))


def text_help() -> str:
    """Return one line a key, for `--help`."""
    rows = [(s.full, _plain(s.help)) for s in settings.SETTINGS if s.section]
    width = max(len(name) for name, _ in rows)
    return "".join(f"  {name.ljust(width)}  {text}\n" for name, text in rows)


def _plain(text: str) -> str:
    """Return the first sentence of a help text without Markdown."""
    return text.partition(". ")[0].replace("`", "").rstrip(".")


def _sections() -> Iterator[str]:
    for top in settings.SECTIONS:
        yield f"## {top.name}\n\n{top.help}\n"
        if top.name in ENTRIES:
            yield f"{ENTRIES[top.name]}\n"
        yield from _members(top.full, depth=3)


def _members(section: str, *, depth: int) -> Iterator[str]:
    for setting in settings.children(section):
        yield from _entry(setting, depth=depth)
        if setting.kind in ("mapping", "sequence"):
            yield from _members(setting.full, depth=depth + 1)


def _entry(setting: Setting, *, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} {setting.full}\n"
    yield f"{setting.help}\n"
    if setting.kind not in ("mapping", "sequence", "ignored"):
        facts = [f"- Value: {value_of(setting)}{expansion_of(setting)}"]
        if setting.required:
            facts.append("- Required")
        if setting.default:
            facts.append(f"- Default: `{setting.default}`")
        if setting.example:
            facts.append(f"- Example: `{setting.name}: {setting.example}`")
        facts.extend(_in_a_family(setting))
        yield "\n".join(facts) + "\n"
    elif setting.merge != "none":
        yield "\n".join(_in_a_family(setting)) + "\n"


def _in_a_family(setting: Setting) -> Iterator[str]:
    group, _, key = setting.full.removeprefix("config.cgroups.").partition(".")
    if setting.full.startswith("config.cgroups") and (group, key) not in BINDING:
        if key:
            yield "- In a family: each node sets it for its own group"
    elif setting.merge in MERGES:
        yield f"- In a family: {MERGES[setting.merge]}"
    if not setting.upstream:
        yield "- Not in red-pak 2.5"


def value_of(setting: Setting) -> str:
    """Return what a setting takes, in words."""
    if setting.words:
        return ", ".join(f"`{word}`" for word in setting.words) + (
            ", or the absolute path of a namespace file" if setting.kind == "share" else ""
        )
    return KINDS[setting.kind]


def expansion_of(setting: Setting) -> str:
    """Return what is replaced in a setting's value, in words."""
    if setting.commands:
        return "; *expanded*, *commands*"
    return "; *expanded*" if setting.expanded else ""


if __name__ == "__main__":
    print(page(), end="")
