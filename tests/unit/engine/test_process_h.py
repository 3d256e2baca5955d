"""process.h reads the file of `exec --process` as Python does, or leaves it to Python."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpak.engine import build_helper
from redpak.errors import RedpakError
from redpak.kernel.caps import NAMES
from redpak.oci import process, quick
from redpak.paths import shipped
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.needs("cc")
# Prints, for every file that is named, the letters that it replaces and the orders, or "python", each with a NUL.
HARNESS = r"""
#define main quick_main
#include "quick.c"
#undef main
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (!pid) {
            static char *none[] = {"", "/nowhere", ""};
            words = none, count = 3;
            const char *replaced = document(argv[i]);
            fwrite(replaced, strlen(replaced) + 1, 1, stdout);
            fwrite(run.orders, run.used, 1, stdout);
            putchar(0);
            fflush(stdout);
            _exit(0);
        }
        int status;
        waitpid(pid, &status, 0);
        if (status) fwrite("python\0\0", 8, 1, stdout);
        if (WIFSIGNALED(status)) return 1;
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("harness")
    source, folder = at / "harness.c", os.path.dirname(shipped("engine", "quick.c"))
    source.write_text(HARNESS.replace('"quick.c"', f'"{folder}/quick.c"'))
    assert build_helper.build(str(source), str(at / "harness")) == ""
    return at / "harness"


def told(harness: Path, *documents: bytes) -> list[list[str] | None]:
    """Return what process.h makes of documents: the letters and then the orders; None where it leaves one alone."""
    paths = []
    for number, text in enumerate(documents):
        paths.append(harness.parent / f"{os.getpid()}-{number}")
        paths[-1].write_bytes(text)
    done = subprocess.run(
        [harness, *paths], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=PATIENCE_S
    )
    groups = done.stdout.split(b"\0\0")[:-1]
    assert len(groups) == len(documents)
    found = [[os.fsdecode(one) for one in group.split(b"\0")] for group in groups]
    return [None if one == ["python"] else one for one in found]


def wanted(text: bytes) -> list[str]:
    """Return the orders that Python would give."""
    data = json.loads(text)
    found, warnings = process.parse(data, text=text)
    assert warnings == []
    lines = [f"a{one}" for one in found.args] + quick.fields(found)
    if data.get("capabilities") is None:
        lines = [line for line in lines if line[0] != "b"]
    return sorted(line for line in lines if line[0] not in "ks")


def agrees(text: bytes, got: list[str] | None) -> bool:
    """Tell whether it is left to Python, or says what Python would."""
    if got is None:
        return True
    replaced, *orders = got
    asked = json.loads(text)
    kept = [
        letter
        for letter, key in (("b", "capabilities"), ("r", "rlimits"), ("o", "oomScoreAdj"))
        if key not in asked
    ]
    assert sorted(replaced) == sorted(set("ceighmnbro") - set(kept))
    return sorted(orders) == wanted(text)


USUAL: dict[str, Any] = {
    "terminal": False,
    "user": {"uid": 1000, "gid": 100, "umask": 18, "additionalGids": [1, 4294967294]},
    "args": ["sh", "-c", "a \"b\" \\ \t\n/ <&> \u0001"],
    "env": ["PATH=/bin", "HOME=/root", "X="],
    "cwd": "/",
    "capabilities": {"bounding": list(NAMES), "permitted": ["CAP_BPF"], "effective": [], "inheritable": ["CAP_KILL"]},
    "rlimits": [{"type": f"RLIMIT_{one}", "hard": 1 << 63, "soft": 7} for one in process.RLIMITS],
    "noNewPrivileges": True,
    "oomScoreAdj": -998,
    "apparmorProfile": "",
}  # fmt: skip


def test_what_is_usual_is_read(harness: Path) -> None:
    go = (
        json.dumps(USUAL).replace("<", "\\u003c").replace("&", "\\u0026").replace("/", "\\/")
    )  # as Go writes it
    texts = [json.dumps(USUAL).encode(), go.encode(), json.dumps(USUAL, indent="\t").encode() + b"\n"]
    for text, got in zip(texts, told(harness, *texts), strict=True):
        assert got is not None
        assert agrees(text, got)


@pytest.mark.parametrize(
    "changes",
    [
        {"terminal": True},
        {"args": []},
        {"args": [""]},
        {"args": ["\0"]},
        {"args": ["ä"]},
        {"args": None},
        {"more": 1},
        {"env": ["X"]},
        {"env": ["=1"]},
        {"cwd": "bin"},
        {"cwd": ""},
        {"user": {"uid": -1}},
        {"user": {"uid": 4294967295}},
        {"user": {"umask": 512}},
        {"user": {"uid": 1.0}},
        {"user": {"uid": "1"}},
        {"user": []},
        {"oomScoreAdj": 1001},
        {"oomScoreAdj": -1001},
        {"capabilities": {"effective": ["CAP_KILL"]}},
        {"capabilities": {"bounding": ["KILL"]}},
        {"capabilities": {"bounding": ["CAP_NO"]}},
        {"capabilities": None},
        {"capabilities": {"ambient": ["CAP_KILL"]}},
        {"rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]},
        {"rlimits": [{"type": "CPU", "soft": 1, "hard": 1}]},
        {"rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2},
        {"rlimits": [{"type": "RLIMIT_CPU", "soft": 1}]},
        {"rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1 << 64}]},
        {"apparmorProfile": "x"},
        {"selinuxLabel": "x"},
        {"scheduler": {"policy": "SCHED_OTHER"}},
        {"ioPriority": {}},
        {"execCPUAffinity": {}},
        {"consoleSize": {}},
        {"noNewPrivileges": 1},
        {"noNewPrivileges": None},
        {"args": ["x" * 70_000]},
    ],
    ids=lambda changes: json.dumps(changes)[:60],
)
def test_what_is_unusual_or_wrong_is_left_alone(harness: Path, changes: dict[str, Any]) -> None:
    assert told(harness, json.dumps({**USUAL, **changes}).encode()) == [None]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"{",
        b"null",
        b'{"args":["a"]}',
        b'{"cwd":"/"}',
        b'{"args":["a"],"cwd":"/"} x',
        b'{"args":["a"],"cwd":"/",}',
        b'{"args":["a",],"cwd":"/"}',
        b'{"args":["a"] "cwd":"/"}',
        b'{,"args":["a"],"cwd":"/"}',
        b'{"args":["a"],"args":["b"],"cwd":"/"}',
        b'{"args":["a"],"cwd":"/","oomScoreAdj":01}',
        b'{"args":["a\n"],"cwd":"/"}',
        b'{"args":["a"],"cwd":"/","oomScoreAdj":1e2}',
        b'{"args":["\\x"],"cwd":"/"}',
        b'{"args":["\\u00"],"cwd":"/"}',
        b'{"args":["\\ud83d\\ude00"],"cwd":"/"}',
        b'{"args":["a"],"cwd":"/"}\0',
        b"\xef\xbb\xbf" + b'{"args":["a"],"cwd":"/"}',
        b'{"args":["a"],"cwd":"/","noNewPrivileges":truefalse}',
        b'{"args":["\\u0000"],"cwd":"/"}',
        b'{"args":["a',
        b'{"args":["a\\',
        b'{"args":["a\\u0',
        b'{"args":["a"],"cwd":"/","oomScoreAdj":--1}',
        b'{"args" ["a"],"cwd":"/"}',
    ],
)
def test_what_is_no_document_is_left_alone(harness: Path, text: bytes) -> None:
    assert told(harness, text) == [None]


words = st.text(st.characters(max_codepoint=0x2FF, exclude_characters="\0"), max_size=6)
sets = st.lists(st.sampled_from(NAMES), max_size=3)
documents = st.fixed_dictionaries(
    {"args": st.lists(words, min_size=1, max_size=3), "cwd": words.map(lambda text: f"/{text}")},
    optional={
        "env": st.lists(words.map(lambda text: f"A{text}=1") | st.just("HOME=/x") | words, max_size=3),
        "user": st.fixed_dictionaries(
            {},
            optional={
                "uid": st.integers(0, 1 << 32), "gid": st.integers(0, 9), "umask": st.integers(0, 1023),
                "additionalGids": st.lists(st.integers(0, 9), max_size=3),
            },
        ),
        "capabilities": st.dictionaries(st.sampled_from(process.SETS), sets),
        "rlimits": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(process.RLIMITS).map("RLIMIT_{}".format), "soft": st.integers(0, 1 << 64),
                 "hard": st.integers(0, (1 << 64) - 1)},
            ),
            max_size=2,
        ),
        "noNewPrivileges": st.booleans(), "terminal": st.booleans(), "oomScoreAdj": st.integers(-1100, 1100),
    },
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(documents, st.integers(0, 400), st.integers(0, 255)), min_size=20, max_size=20))
def test_any_document_is_read_as_python_reads_it_or_left_alone(harness: Path, some: Any) -> None:
    texts = []
    for said, place, byte in some:
        whole = json.dumps(said).encode()
        texts.append(whole)
        if place < len(whole):
            texts.append(whole[:place] + bytes([byte]) + whole[place + 1 :])
    for text, got in zip(texts, told(harness, *texts), strict=True):
        if got is None:
            continue
        try:
            assert agrees(text, got), (text, got)
        except RedpakError as error:
            raise AssertionError(f"process.h reads what Python refuses: {text!r}: {error}") from error
