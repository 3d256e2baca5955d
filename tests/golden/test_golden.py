"""YAML families in, plans out: every change of behaviour shows as a difference in a checked-in plan.

A case is a directory with `family.yaml` (node path → its file's text, as a block scalar) and the expected
`plan.json`. `REDPAK_GOLDEN=write` rewrites the expectations; read the difference before you commit it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from redpak.node.plan import plan_of
from redpak.plan import wire

HERE = Path(__file__).parent
CASES = sorted(path.parent.name for path in HERE.glob("*/family.yaml"))
STATUS = "realpath: {path}\ntimestamp: 1700000000000\nstate: Enable\n"


def build(case: str, pool: Path) -> tuple[Path, dict[str, object]]:
    """Lay the case's files out under `pool`; return the leaf and the case's options."""
    wanted = yaml.safe_load((HERE / case / "family.yaml").read_text())
    leaf = pool
    for name, files in wanted["nodes"].items():
        node = pool / name
        (node / "etc").mkdir(parents=True)
        (node / ".rednode.yaml").write_text(STATUS.format(path=node))
        for file, content in files.items():
            (node / "etc" / file).write_text(content)
        leaf = node
    (pool / "main.yaml").write_text(wanted.get("main", "config: {}\n"))
    return leaf, wanted


@pytest.mark.parametrize("case", CASES)
def test_a_family_gives_the_plan_that_was_reviewed(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf, wanted = build(case, tmp_path)
    monkeypatch.setenv("redpak_MAIN", str(tmp_path / "main.yaml"))
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "getgid", lambda: 1000)
    made = plan_of(
        str(leaf),
        admin=bool(wanted.get("admin")),
        command=("true",),
        environ=dict(wanted.get("environ", {})),  # type: ignore[call-overload]
        profile=wanted.get("profile"),  # type: ignore[arg-type]
    )
    got = wire.canonical(made).decode().replace(str(tmp_path), "/pool")
    shown = json.loads(got)
    shown["files"] = [
        # the machine's own directories above the pool, and digests, are not what a case is about
        {**entry, "sha256": "…" if entry.get("sha256") else entry.get("sha256", "")}
        for entry in shown["files"]
        if entry["path"].startswith("/pool/")
    ]
    pretty = json.dumps(shown, indent=1, ensure_ascii=False) + "\n"
    expected = HERE / case / "plan.json"
    if os.environ.get("REDPAK_GOLDEN") == "write":
        expected.write_text(pretty)
    assert pretty == expected.read_text()


def test_there_are_cases() -> None:
    assert len(CASES) >= 8
