"""A picture of a pool: nodes from the core OS to the leaves, what each one brings, and who sees it.

Plain SVG written by hand: no library, no script, no font or file from elsewhere. It has two sets of colours
and takes the one that the reader's screen asks for.
"""

from __future__ import annotations

import os
from html import escape

from redpak.errors import BadConfig, RedpakError
from redpak.node import show, tree
from redpak.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from redpak.config.model import Merged, MergedExport
    from redpak.node.tree import Branch

# All lengths are SVG user units, which browsers show as CSS pixels.
WIDTH, GAP_X, GAP_Y, MARGIN = 280, 130, 28, 32
LINE, PAD, HEAD = 17, 12, 62
ROWS = 28  # exports shown a node; the rest is counted
INNER = WIDTH - 2 * PAD  # what a line of text in a box may take
SIZES = {"title": 15, "note": 11, "row": 11}  # of the fonts

KINDS = ("read-only", "writable", "private", "own")
NAMESPACES = ("user", "cgroup", "net", "pid", "ipc", "time")

STYLE = """
  .paper { fill: #fbfbfa } .box { fill: #ffffff; stroke: #c9ccd3 } .bad { stroke: #c0392b } .off {
  stroke-dasharray: 5 4 } .line { fill: none; stroke: #8b94a3; stroke-width: 1.5 } .tip { fill: #8b94a3 }
  .title { font: 600 15px system-ui, sans-serif; fill: #1d2330 } .note { font: 11px system-ui, sans-serif;
  fill: #626b7a } .row { font: 11px ui-monospace, monospace; fill: #333b49 } .rule { stroke: #e4e6ea }
  .read-only { fill: #2f6fb4 } .writable { fill: #c26a12 } .private { fill: #7a4fb0 } .own { fill: #5e7d68 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #16181d } .box { fill: #20242c; stroke: #454c59 } .bad { stroke: #ff8a7a }
    .line { stroke: #7b8596 } .tip { fill: #7b8596 } .rule { stroke: #363c47 }
    .title { fill: #eef0f4 } .note { fill: #a3acbb } .row { fill: #d5dae3 }
    .read-only { fill: #7db8f5 } .writable { fill: #f3ab5f } .private { fill: #c3a2f0 } .own { fill: #9ec7ab }
  }
"""


class Row(Record):
    """One export in a box."""

    kind: str  # one of KINDS
    text: str
    title: str  # shown by browsers under the pointer


class Box(Record):
    """A node in the picture."""

    title: str
    notes: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    more: int = 0  # exports that are not shown
    inherited: int = 0  # mounts that it gets from its ancestors
    shared: tuple[str, ...] = ()  # namespaces that its programs share with the host
    apart: tuple[str, ...] = ()  # namespaces of their own
    css: str = "box"
    children: tuple[Box, ...] = ()

    @property
    def height(self) -> int:
        """How tall the box is drawn."""
        lines = len(self.rows) + bool(self.more)
        feet = 2 if self.shared or self.apart else 0
        return HEAD + lines * LINE + feet * LINE + PAD


def draw(path: str, *, admin: bool = False) -> str:
    """Return the picture of the node at `path`, of all beneath it and of its ancestors. Raises NotFound."""
    top = tree.beneath(path)
    above = [up for up in tree.ascending(os.path.dirname(top.path)) if tree.is_node(up)]
    oldest = above[-1] if above else top.path
    box = box_of(top, admin=admin, top=oldest)
    for up in above:
        box = box_of(tree.branch(up).but(children=()), admin=admin, top=oldest).but(children=(box,))
    host = Box(
        title="core OS",
        notes=(os.uname().nodename, "what no node exports stays invisible"),
        children=(box,),
    )
    return svg(host)


def box_of(branch: Branch, *, admin: bool, top: str) -> Box:
    """Return a node and those beneath it as boxes; paths beneath `top`, the oldest node, are written from there."""
    children = tuple(box_of(child, admin=admin, top=top) for child in branch.children)
    at = branch.path if branch.path == top else "…" + branch.path.removeprefix(top)
    state = "" if branch.state == "Enable" else f"  [{branch.state}]"
    css = "box" if branch.state == "Enable" else "box off"
    try:
        merged = show.show(branch.path, admin=admin).merged
    except BadConfig as error:
        count = len(error.faults)
        notes = (at, f"{count} {'fault' if count == 1 else 'faults'}: {error.faults[0].message}")
        return Box(title=branch.alias + state, notes=notes, css="box bad", children=children)
    except RedpakError as error:
        return Box(title=branch.alias + state, notes=(at, error.message), css="box bad", children=children)
    me = len(merged.family.nodes) - 1
    mine = [export for export in merged.exports if export.owner == me]
    rows = tuple(row_of(export, branch.path) for export in mine)
    return Box(
        title=branch.alias + state,
        notes=(at,),
        rows=rows[:ROWS],
        more=max(0, len(rows) - ROWS),
        inherited=len(merged.exports) - len(mine),
        shared=tuple(kind for kind in NAMESPACES if share(merged, kind) == "host"),
        apart=tuple(kind for kind in NAMESPACES if share(merged, kind) != "host"),
        css=css,
        children=children,
    )


def share(merged: Merged, kind: str) -> str:
    """Return 'host' where a namespace is the host's, else 'own' or what is joined."""
    value = merged.shares[kind].value.lower()
    if value == "enabled" or (kind == "time" and value == "unset"):
        return "host"
    return "own" if value in ("disabled", "unset") else value


def row_of(export: MergedExport, path: str) -> Row:
    """Return the line for one export: where it appears, and from where in the node."""
    match export.mode:
        case "Restricted" | "RestrictedFile":
            kind = "read-only"
        case "Public" | "PublicFile":
            kind = "writable"
        case "Private" | "PrivateFile" | "PrivateRestricted":
            kind = "private"
        case _:
            kind = "own"
    source = str(export.path) if export.path is not None else ""
    if export.mode == "Symlink":
        text = f"{export.mount} → {source}"
    else:
        inside = source.removeprefix(path + "/") if source.startswith(path + "/") else source
        text = export.mount if not inside or inside == export.mount else f"{export.mount} ← {inside}"
    return Row(kind=kind, text=text, title=f"{export.mode} {export.mount} {source} ({export.origin})")


def svg(root: Box) -> str:
    """Return the whole picture."""
    parts: list[str] = []
    height, depth = extent(root)
    wide = MARGIN * 2 + depth * WIDTH + (depth - 1) * GAP_X
    tall = MARGIN * 2 + height + 40
    place(root, MARGIN, MARGIN, height, parts)
    legend(MARGIN, tall - 24, parts)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}" '
            f'width="{wide}" height="{tall}" role="img" aria-label="nodes and what they share">',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{wide}" height="{tall}"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def extent(box: Box) -> tuple[int, int]:
    """Return the height of a box with all that hangs on it, and how many columns that takes."""
    if not box.children:
        return box.height, 1
    sizes = [extent(child) for child in box.children]
    total = sum(height for height, _ in sizes) + GAP_Y * (len(sizes) - 1)
    return max(total, box.height), 1 + max(depth for _, depth in sizes)


def place(box: Box, x: int, y: int, height: int, parts: list[str]) -> int:
    """Draw a box, centred in `height` from `y`, with its children to the right; return the middle of its edge."""
    top = y + (height - box.height) // 2
    middle = top + HEAD // 2
    parts.append(
        f'<g><rect class="{box.css}" x="{x}" y="{top}" width="{WIDTH}" height="{box.height}" rx="10"/>'
    )
    write(parts, x + PAD, top + 24, "title", box.title)
    for at, note in enumerate(box.notes[:2]):
        write(parts, x + PAD, top + 41 + at * 14, "note", note)
    if box.rows:
        rule = top + HEAD - 5
        parts.append(f'<line class="rule" x1="{x}" y1="{rule}" x2="{x + WIDTH}" y2="{rule}"/>')
    at = top + HEAD + 11
    for row in box.rows:
        parts.append(f'<circle class="{row.kind}" cx="{x + PAD + 3}" cy="{at - 4}" r="3.5"/>')
        write(parts, x + PAD + 14, at, "row", row.text, INNER - 14, row.title)
        at += LINE
    if box.more:
        write(parts, x + PAD + 14, at, "note", f"and {box.more} more")
        at += LINE
    if box.shared or box.apart:
        write(parts, x + PAD, at + 4, "note", f"shared with the host: {', '.join(box.shared) or 'nothing'}")
        write(parts, x + PAD, at + 4 + LINE, "note", f"of its own: {', '.join(box.apart) or 'nothing'}")
    parts.append("</g>")
    inner = sum(extent(child)[0] for child in box.children) + GAP_Y * max(0, len(box.children) - 1)
    down = y + (height - inner) // 2
    for child in box.children:
        tall = extent(child)[0]
        target = place(child, x + WIDTH + GAP_X, down, tall, parts)
        arrow(x + WIDTH, middle, x + WIDTH + GAP_X, target, child, parts)
        down += tall + GAP_Y
    return middle


def arrow(x1: int, y1: int, x2: int, y2: int, child: Box, parts: list[str]) -> None:
    """Draw what a child gets from above."""
    bend = (x1 + x2) // 2
    parts.append(f'<path class="line" d="M{x1} {y1} C{bend} {y1} {bend} {y2} {x2 - 8} {y2}"/>')
    parts.append(f'<path class="tip" d="M{x2} {y2} l-10 -4.5 v9 z"/>')
    if child.inherited:
        said = f"{child.inherited} inherited"
        aside = 16 if y1 < y2 else -8  # the side that the line does not come from
        write(parts, x2 - 14 - int(len(said) * 5.6), y2 + aside, "note", said)


def write(
    parts: list[str], x: int, y: int, css: str, text: str, most: float = INNER, title: str = ""
) -> None:
    """Write a line that takes at most `most` units; the middle of a longer one is left out."""
    full = "".join(c if c.isprintable() else "\ufffd" for c in text)
    shown = shortened(full, css, most)
    if shown != full:
        title = title or full
    told = "".join(c if c.isprintable() else "\ufffd" for c in title)
    inner = f"<title>{escape(told)}</title>" if told else ""
    parts.append(f'<text class="{css}" x="{x}" y="{y}">{inner}{escape(shown)}</text>')


def shortened(text: str, css: str, most: float) -> str:
    """Return a text that takes at most `most` units, its beginning and its end."""
    shown, keep = text, len(text)
    while wide(shown, css) > most and keep > 1:
        keep -= 1
        head = keep * 2 // 5  # the end of a path tells more
        shown = f"{text[:head]}…{text[head - keep :]}"
    return shown


def wide(text: str, css: str) -> float:
    """Return how much room a text takes: rather too much, since the font is the reader's."""
    ems = 0.0
    for c in text:
        if css == "row":
            ems += 0.61 if ord(c) < 0x1100 else 1.0
        elif c in "ilj.,:;'| /":
            ems += 0.4
        elif c in "mwMW@%…" or ord(c) >= 0x1100:
            ems += 1.1
        else:
            ems += 0.74 if c.isupper() or css == "title" else 0.64
    return ems * SIZES[css]


def legend(x: int, y: int, parts: list[str]) -> None:
    """Explain the colours."""
    meanings = (
        "read-only, for itself and all beneath it",
        "writable, for itself and all beneath it",
        "for its own programs only",
        "of each sandbox alone (proc, dev, tmp, links)",
    )
    for kind, meaning in zip(KINDS, meanings, strict=True):
        parts.append(f'<circle class="{kind}" cx="{x + 4}" cy="{y - 4}" r="4"/>')
        write(parts, x + 14, y, "note", meaning, 60 * 11)
        x += 34 + int(len(meaning) * 5.7)
