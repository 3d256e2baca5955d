"""Mounts inside a read-only directory that a node supplies: the way into them never leads through the node's links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("userns", "bwrap")

CONFIG = """\
headers: {alias: image}
exports:
  - {mode: Restricted, mount: /, path: $NODE_PATH/root}
  - {mode: Restricted, mount: /usr, path: /usr}
  - {mode: Procfs, mount: /proc}
  - {mode: Devfs, mount: /dev}
  - {mode: Tmpfs, mount: /tmp}
  - {mode: Anonymous, mount: /run/lock}
  - {mode: Public, mount: /data/deep/er, path: $NODE_PATH/er}
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A node that holds a root file system, with links where the sandbox mounts its own."""
    node = tmp_path / "image"
    root = node / "root"
    for folder in ("etc", "data/deep/er", "usr"):
        (root / folder).mkdir(parents=True)
    (node / "er").mkdir()
    (node / "etc").mkdir()
    (root / "etc/motd").write_text("hello\n")
    (root / "data/deep/file").write_text("beside\n")
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    victim = tmp_path / "victim"
    victim.mkdir()
    (root / "proc").symlink_to(victim)
    (root / "dev").symlink_to(f"../oldroot{victim}")
    (node / ".rednode.yaml").write_text(f"realpath: {node}\ntimestamp: 1\nstate: Enable\n")
    (node / "etc/redpak.yaml").write_text(CONFIG)
    return node


def test_a_root_file_system_shows_its_files_and_the_sandboxs_mounts(
    image: Path, redpak: Any, bwrap: str, helper: dict[str, str]
) -> None:
    script = (
        "cat /etc/motd /data/deep/file; test -d /proc/1 && test -c /dev/null && echo mine > /data/deep/er/new"
    )
    done = redpak("run", "--bwrap", bwrap, str(image), "--", "sh", "-c", script, env=helper)
    assert (done.code, done.out) == (0, "hello\nbeside\n")
    assert (image / "er/new").read_text() == "mine\n"
    assert not list((image.parent / "victim").iterdir())


def test_it_stays_read_only_where_nothing_else_is_mounted(image: Path, redpak: Any, bwrap: str) -> None:
    script = "for f in /x /etc/x /data/x /data/deep/x; do ( : > $f ) 2>/dev/null && echo wrote $f; done; "
    script += ": > /run/lock/x && : > /tmp/x"
    done = redpak("run", "--bwrap", bwrap, str(image), "--", "sh", "-c", script)
    assert (done.code, done.out) == (0, "")
    assert not (image / "root/etc/x").exists()


def test_a_new_entry_is_seen_by_the_next_launch(image: Path, redpak: Any) -> None:
    assert redpak("run", str(image), "--", "true").code == 0
    (image / "root/added").write_text("later\n")
    assert redpak("run", str(image), "--", "cat", "/added").out == "later\n"


def test_a_mount_beneath_a_link_of_the_node_is_refused(image: Path, redpak: Any) -> None:
    (image / "root/data/deep/link").symlink_to("../../../victim")
    config = image / "etc/redpak.yaml"
    config.write_text(CONFIG + "  - {mode: Public, mount: /data/deep/link/x, path: $NODE_PATH/er}\n")
    done = redpak("run", str(image), "--", "true")
    assert done.code == 3
    assert "beneath the symbolic link '/data/deep/link'" in done.err
    assert not list((image.parent / "victim").iterdir())


def test_a_writable_directory_of_a_node_is_not_taken_apart(image: Path, redpak: Any) -> None:
    config = image / "etc/redpak.yaml"
    config.write_text(CONFIG.replace("Restricted, mount: /, path", "Public, mount: /, path"))
    done = redpak("run", str(image), "--", "true")
    assert done.code == 3
    assert "would lie in files of the node" in done.err
