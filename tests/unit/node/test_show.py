"""Showing nodes: text, JSON and the picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from redpak.errors import NotFound
from redpak.node import picture, show, tree
from redpak.node.change import set_state
from redpak.node.create import create


@pytest.fixture
def nodes(pool: Path) -> Path:
    """Return a pool with system, plat, plat/app and plat/<more>."""
    create(str(pool / "plat"))
    create(str(pool / "plat/app"))
    create(str(pool / "plat/second"), alias="more")
    return pool


def test_the_tree_is_drawn_with_aliases_and_states(nodes: Path) -> None:
    set_state(str(nodes / "plat/app"), "Disable")
    assert show.tree_lines(tree.beneath(str(nodes))) == [
        f"{nodes} (system)",
        "└── plat",
        "    ├── app [Disable]",
        "    └── second (more)",
    ]


def test_every_merged_value_has_its_node_and_line(nodes: Path) -> None:
    data = show.as_data(show.show(str(nodes / "plat/app"), environ={}))
    assert json.loads(json.dumps(data)) == data
    exports = {row["what"]: row for row in data["merged"]["exports"]}
    assert exports["/nodes/plat/usr"]["from"].startswith(f"{nodes}/plat/etc/redpak.yaml:")
    assert exports["/nodes/plat/usr"]["note"] == "plat"
    assert exports["/proc"]["note"] == "system"
    assert [member["alias"] for member in data["family"]] == ["system", "plat", "app"]
    own = {row["what"] for row in data["own"]["exports"]}
    assert "/nodes/$NODE_ALIAS/usr" in own
    assert "/proc" not in own


def test_the_text_names_file_and_line(nodes: Path) -> None:
    text = show.as_text(show.show(str(nodes / "plat/app"), environ={}))
    assert "core OS → system → plat → app" in text
    assert any(
        line.split()[:2] == ["/proc", "Procfs"] and f"{nodes}/etc/redpak.yaml:" in line
        for line in text.splitlines()
    )


def test_admin_mode_shows_what_it_adds(nodes: Path) -> None:
    app = str(nodes / "plat/app")
    rows = {row["what"] for row in show.as_data(show.show(app, admin=True, environ={}))["merged"]["exports"]}
    assert app in rows
    rows = {row["what"] for row in show.as_data(show.show(app, environ={}))["merged"]["exports"]}
    assert app not in rows


def test_a_disabled_node_can_be_shown(nodes: Path) -> None:
    set_state(str(nodes / "plat"), "Disable")
    assert show.show(str(nodes / "plat/app"), environ={}).merged.family.nodes[1].state == "Disable"
    with pytest.raises(NotFound):
        show.show(str(nodes / "nothing"), environ={})


def texts(drawn: str) -> list[str]:
    """Return every text of a picture."""
    root = ET.fromstring(drawn)
    return [
        element.text or (element[0].tail or "") for element in root.iter("{http://www.w3.org/2000/svg}text")
    ]


def test_the_picture_shows_nodes_and_what_they_share(nodes: Path) -> None:
    drawn = picture.draw(str(nodes / "plat"))
    said = texts(drawn)
    for word in ("core OS", "system", "plat", "app", "more"):
        assert word in said
    assert any("shared with the host: net, time" in one for one in said)
    assert any("inherited" in one for one in said)
    assert "<script" not in drawn


def test_names_are_data_in_the_picture(nodes: Path, tmp_path: Path) -> None:
    config = tmp_path / "odd.yaml"
    config.write_text(
        "headers:\n  alias: x\nexports:\n- mode: Symlink\n  mount: /a\n"
        "  path: '\"/><script>alert(1)</script>&'\n"
    )
    create(str(nodes / "plat/odd"), config=str(config))
    drawn = picture.draw(str(nodes))
    assert "<script" not in drawn
    assert any("<script>" in one for one in texts(drawn))


def test_a_broken_node_is_in_the_picture_too(nodes: Path) -> None:
    (nodes / "plat/app/etc/redpak.yaml").write_text("headers: [")
    said = texts(picture.draw(str(nodes)))
    assert any(one.startswith("1 fault: ") for one in said)
    assert "more" in said


def test_no_box_lies_on_another(nodes: Path) -> None:
    root = ET.fromstring(picture.draw(str(nodes)))
    boxes = [
        tuple(int(rect.attrib[key]) for key in ("x", "y", "width", "height"))
        for rect in root.iter("{http://www.w3.org/2000/svg}rect")
        if rect.attrib["class"].startswith("box")
    ]
    assert len(boxes) == 5
    for at, (x, y, w, h) in enumerate(boxes):
        for other in boxes[at + 1 :]:
            ox, oy, ow, oh = other
            assert x + w <= ox or ox + ow <= x or y + h <= oy or oy + oh <= y


def test_no_text_leaves_its_box(nodes: Path) -> None:
    deep = nodes / "plat" / ("m" * 60) / "leaf"
    create(str(deep), alias="W" * 80)
    root = ET.fromstring(picture.draw(str(nodes)))
    space = "{http://www.w3.org/2000/svg}"
    checked = 0
    for group in root.iter(f"{space}g"):
        box = group.find(f"{space}rect")
        assert box is not None
        right = float(box.attrib["x"]) + float(box.attrib["width"])
        for line in group.findall(f"{space}text"):
            words = "".join(text for text in line.itertext())
            told = line.find(f"{space}title")
            shown = words.removeprefix(told.text or "") if told is not None else words
            size = {"title": 15, "note": 11}.get(line.attrib["class"], 11)
            wide = sum(advance(c, mono=line.attrib["class"] == "row") for c in shown) * size
            assert float(line.attrib["x"]) + wide <= right, shown
            checked += 1
    assert checked > 30


def advance(c: str, *, mono: bool) -> float:
    """Return the width of a character in ems, as in DejaVu Sans (the widest of the usual fonts), a little less."""
    if mono:
        return 0.6
    if c in "ilj.,:;'| /":
        return 0.27
    return 0.97 if c in "mwMW…" else 0.6


def test_paths_beneath_the_top_are_written_from_there(nodes: Path) -> None:
    said = texts(picture.draw(str(nodes)))
    assert "…/plat/app" in said
