"""`redpak node` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Program


def test_a_nodes_life(redpak: Program, pool: Path) -> None:
    made = redpak("node", "create", "pool/plat", "--alias", "nav", "--json")
    assert made.code == 0, made
    assert json.loads(made.out)["system"]["path"] == str(pool)
    assert (
        redpak("node", "create", pool / "plat/app").out == f"created node '{pool}/plat/app' (alias 'app')\n"
    )
    assert redpak("node", "tree", pool).out.splitlines() == [
        f"{pool} (system)",
        "└── plat (nav)",
        "    └── app",
    ]
    rows = json.loads(redpak("node", "list", "--json").out)
    assert [(row["alias"], row["state"]) for row in rows] == [
        ("system", "Enable"),
        ("nav", "Enable"),
        ("app", "Enable"),
    ]
    shown = json.loads(redpak("node", "show", "--json", cwd=pool / "plat/app").out)
    assert shown["path"] == str(pool / "plat/app")
    assert redpak("node", "disable", pool / "plat").code == 0
    assert redpak("plan", pool / "plat/app").code == 3
    assert redpak("node", "enable", pool / "plat").code == 0
    assert redpak("node", "move", pool / "plat", pool / "moved").code == 0
    assert redpak("node", "delete", pool / "moved").code == 3
    gone = redpak("node", "delete", "-r", pool / "moved")
    assert gone.code == 0
    assert gone.out.count("deleted node") == 2
    assert redpak("node", "tree", pool).out == f"{pool} (system)\n"


def test_exit_codes_say_what_went_wrong(redpak: Program, pool: Path, tmp_path: Path) -> None:
    assert redpak("node", "create", pool / "n").code == 0
    assert redpak("node", "create", pool / "n").code == 3
    assert redpak("node", "show", pool / "m").code == 4
    assert redpak("node", "tree", pool, "--json", "--svg").code == 2
    bad = tmp_path / "bad.yaml"
    bad.write_text("headers:\n  alias: x\nexports:\n- mode: Pubic\n  mount: /x\nnonsense: 1\n")
    failed = redpak("node", "create", pool / "m", "--config", bad)
    assert failed.code == 2
    assert f"{bad}:4:" in failed.err
    assert f"{bad}:6:" in failed.err
    assert not (pool / "m").exists()


def test_the_picture_goes_to_standard_output(redpak: Program, pool: Path) -> None:
    redpak("node", "create", pool / "n")
    drawn = redpak("node", "tree", pool, "--svg")
    assert drawn.code == 0
    assert drawn.out.startswith("<svg ")
    assert drawn.err == ""
