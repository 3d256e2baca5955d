"""Repositories between users: one who may not write to a node can ask its repositories all the same."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from redpak.errors import RedpakError
from redpak.packages import download, keystore
from redpak.packages.keys import Key
from redpak.packages.metadata import RepoFailed, directory_of, sync
from redpak.packages.model import Layer, Site
from redpak.packages.repoconfig import RepoConfig
from tests.rpms import Maker

pytestmark = pytest.mark.needs("rpm", "root")
NOBODY = 65533


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can read."""
    folder = Path(tempfile.mkdtemp(prefix="redpak-repositories."))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(act: Callable[[], None]) -> None:
    """Call a function in a child that is an ordinary user; fails with its traceback."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(read)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            act()
            code = 0
        except BaseException:  # noqa: BLE001 - told to the parent, whatever it is
            os.write(write, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, errors="replace") as said:
        told = said.read()
    assert os.waitpid(child, 0)[1] == 0, told


def yes(_key: Key, _url: str) -> bool:
    return True


def test_an_ordinary_user_can_ask_the_repositories_of_roots_node(place: Path) -> None:
    maker = Maker(place / "made")
    folder = maker.repo("pool", [maker.rpm("a")])
    node = place / "node"
    node.mkdir()
    layer = Layer(name="node", kind="node", path=str(node), database="none", locked=False)
    site = Site(path=str(node), is_node=True, layers=(layer,), arch="x86_64", cachedir=str(place / "cache"))
    theirs = site.but(cachedir=str(place / "theirs"))
    Path(theirs.cachedir).mkdir()
    os.chown(theirs.cachedir, NOBODY, NOBODY)
    config = RepoConfig(
        id="pool", baseurl=(f"file://{folder}",), repo_gpgcheck=True, gpgkey=(f"file://{maker.key_file}",)
    )
    kept = f"{node}/.redpak/repos/{Path(directory_of(config, '')).name}.keys"
    (mine,) = sync([config], site=site, confirm=yes)
    text = Path(mine.file("primary")).read_text()

    def ask() -> None:
        (found,) = sync([config], site=theirs)  # root's consent, and what root saw, count for everybody
        assert Path(found.file("primary")).read_text() == text
        with pytest.raises(RedpakError):
            keystore.import_key(theirs, keystore.read_directory(kept).keys[0])

    as_nobody(ask)
    maker.repo("pool", [], timestamp=1600000000)

    def ask_again() -> None:
        with pytest.raises(RepoFailed, match="older than what was seen"):
            sync([config], site=theirs, refresh=True)

    as_nobody(ask_again)


def test_packages_that_another_user_could_change_are_copied_before_they_are_checked(place: Path) -> None:
    maker = Maker(place / "made")
    folder = maker.repo("pool", [maker.rpm("a")])
    package = folder / "Packages/a-1-1.x86_64.rpm"
    os.chown(package, NOBODY, NOBODY)
    layer = Layer(name="node", kind="node", path=str(place / "node"), database="none", locked=False)
    site = Site(path=layer.path, is_node=True, layers=(layer,), arch="x86_64", cachedir=str(place / "cache"))
    found = sync([RepoConfig(id="pool", baseurl=(f"file://{folder}",))], site=site)
    from tests.unit.packages.test_download import items

    (path,) = download.packages(items(found, "a"), found, site=site).values()
    before = package.read_bytes()
    as_nobody(lambda: _spoil(package))
    assert Path(path).read_bytes() == before
    assert os.stat(path).st_uid == 0


def _spoil(path: Path) -> None:
    path.write_bytes(b"something else")
