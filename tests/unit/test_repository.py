"""Promises that the repository makes about itself: scripts, locked dependencies, pages made from the code, imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from redpak import errors

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROGRAMS = ("redpak", "redwrap", "redconf", "redwrap-dnf")
# What costs more to import than a sandbox costs to start.
SLOW = {
    "argparse", "ctypes", "dataclasses", "enum", "hashlib", "inspect", "json", "pathlib", "re", "subprocess",
    "tempfile", "typing", "yaml",
}  # fmt: skip


def files() -> list[Path]:
    """Return the project's files: what git has, or would have after 'git add'."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    skipped = {".venv", "__pycache__", "out"}  # a copy without its history
    return [at for at in ROOT.rglob("*") if at.is_file() and not skipped & set(at.relative_to(ROOT).parts)
            and not at.relative_to(ROOT).parts[0].endswith("_cache")]  # fmt: skip


def python(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(module: str) -> set[str]:
    """Return the modules that importing one brings in, beyond a bare interpreter."""
    code = f"import sys; import {module}; print(*sys.modules)"
    return set(python("-S", "-c", code).split())


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_only_hands_over(name: str) -> None:
    lines = (ROOT / "scripts" / name).read_text().splitlines()
    assert lines[0] == "#!python"
    assert len([line for line in lines if line]) == 3, "pip's own wrapper was avoided for its imports"
    assert all("import" not in line or line.startswith("from redpak.cli.") for line in lines)
    assert os.access(ROOT / "scripts" / name, os.X_OK)
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-scripts"][f"scripts/{name}"] == name


@pytest.mark.parametrize("module", ["redpak.cli.main", "redpak.cli.run"])
def test_the_launch_path_imports_nothing_slow(module: str) -> None:
    assert not loaded_by(module) & SLOW


def test_the_kernel_room_is_the_only_one_with_ctypes() -> None:
    found = {
        str(at.relative_to(ROOT))
        for at in (ROOT / "redpak").rglob("*.py")
        if re.search(r"^\s*(import|from) ctypes", at.read_text(), re.M)
    }
    assert found
    assert all(name.startswith("redpak/kernel/") for name in found)


def test_every_locked_dependency_has_a_hash_and_none_names_a_server() -> None:
    text = (ROOT / "requirements-dev.lock").read_text()
    entries = text.replace("\\\n", " ").strip().splitlines()
    assert all(
        re.match(r"[a-z0-9-]+==\S+ ( *; .*?)? +--hash=sha256:[0-9a-f]{64}", entry) for entry in entries
    )
    assert "://" not in text
    locked = {entry.split("==")[0] for entry in entries}
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["packages"],
        *PROJECT["dependency-groups"]["dev"],
    ]
    assert {re.split(r"[\[><=;\s]", name)[0].lower() for name in wanted} <= locked


def test_no_file_names_a_registry_or_a_private_path() -> None:
    servers = ["deb.debian" + ".org", "py" + "pi.org", "pythonhosted" + ".org", "registry.npm" + "js"]
    places = ["/" + "work/", "/home/" + "runner", "/root/" + ".pyenv"]
    for at in files():
        text = at.read_bytes().decode(errors="replace")
        for word in (*servers, *places):  # a place of ours may end like one of them: .redpak/…
            found = re.search(rf"(?<!\w){re.escape(word)}", text)
            assert not found, f"{at.relative_to(ROOT)} names '{word}'"


def test_no_file_holds_two_ideas() -> None:
    for at in files():
        if at.suffix == ".py" and "tests" not in at.relative_to(ROOT).parts:
            count = len(at.read_text().splitlines())
            assert count <= 600, f"{at.relative_to(ROOT)} has {count} lines"


def test_the_launch_helper_can_be_read_in_one_sitting() -> None:
    assert len((ROOT / "redpak/engine/launch.c").read_text().splitlines()) <= 200


@pytest.mark.parametrize("name", ["dev", ".ci/run"])
def test_shell_scripts_parse_and_can_be_executed(name: str) -> None:
    shell = (ROOT / name).read_text().splitlines()[0].removeprefix("#!").split()[-1].rpartition("/")[2]
    assert os.access(ROOT / name, os.X_OK)
    assert subprocess.run([shell, "-n", str(ROOT / name)], capture_output=True, check=False).returncode == 0


def test_every_verb_of_dev_is_in_its_help() -> None:
    done = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True)
    cases = (ROOT / "dev").read_text().split("\ncase $verb in\n")[1]
    verbs = set(re.findall(r"^([a-z]+)(?: \|.*)?\)", cases, re.M)) - {"help"}
    assert {"setup", "demo", "test", "check", "bench", "docs"} <= verbs
    for verb in verbs:
        assert re.search(rf"^  {verb}\b", done.stdout, re.M), verb


def test_an_unknown_verb_of_dev_is_a_usage_error() -> None:
    done = subprocess.run([ROOT / "dev", "frobnicate"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: ./dev" in done.stderr


@pytest.mark.parametrize(
    ("page", "module"),
    [("docs/configuration.md", "redpak.config.reference"), ("docs/man/redpak.1", "redpak.cli.manpage")],
)
def test_a_page_that_is_made_from_the_code_is_up_to_date(page: str, module: str) -> None:
    assert (ROOT / page).read_text() == python("-m", module), "run ./dev docs"


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs/exit-codes.md").read_text()
    family: list[type[errors.RedpakError]] = [errors.RedpakError, *errors.RedpakError.__subclasses__()]
    assert len(family) >= 9
    for error in family:
        if error.__module__ == "redpak.errors":
            assert re.search(rf"^\| {error.code} \|.*`{error.__name__}`", text, re.M), error.__name__


def test_links_between_documents_lead_somewhere() -> None:
    for at in files():
        if at.suffix == ".md":
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", at.read_text()):
                assert (at.parent / target).exists(), f"{at.relative_to(ROOT)} links to {target}"


def test_the_readme_names_what_a_newcomer_types_first() -> None:
    text = (ROOT / "README.md").read_text()
    for words in ("./dev setup", "./dev demo", "./dev test", "docs/flow.svg"):
        assert words in text


def test_every_kind_of_finding_is_documented() -> None:
    from redpak.packages.finding import KINDS

    page = (ROOT / "docs/packages.md").read_text()
    assert dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", page, re.MULTILINE)) == KINDS
