from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpak import quickjson
from redpak.errors import BadConfig

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
BROKEN = [
    "", " ", "{", "[", "[1,]", "[1 2]", '{"a":1,}', '{"a" 1}', "{1:2}", "{'a':1}", "tru", "01", "1.", "-", "+1", ".5",
    '"', '"\x01"', '"\\x"', '"\\u12"', "[1] 2", "nul", "NaN", "[Infinity]", "-Infinity", "\ufeff{}", "/* */ 1", "1e",
]  # fmt: skip


def refused(text: str | bytes) -> str:
    with pytest.raises(BadConfig) as error:
        quickjson.loads(text)
    (fault,) = error.value.faults
    return fault.message


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_what_json_writes_is_read_as_json_reads_it(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=2), json.dumps(value, ensure_ascii=False)):
        assert quickjson.loads(text) == json.loads(text)
        assert quickjson.locate(text)[0] == json.loads(text)


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_it_is_written_as_json_writes_it(value: object) -> None:
    assert quickjson.dumps(value) == json.dumps(value, separators=(",", ":"))
    assert quickjson.dumps(value, indent="\t") == json.dumps(value, indent="\t")
    assert quickjson.dumps(value, ascii_only=False) == json.dumps(
        value, separators=(",", ":"), ensure_ascii=False
    )
    assert quickjson.dumps(value, indent=" ", sort_keys=True) == json.dumps(value, indent=" ", sort_keys=True)


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn\\u \n', max_size=40))
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_as_json_does_or_refused_by_both_readers_alike(text: str) -> None:
    try:
        expected = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except ValueError:
        expected = None
    try:
        value = quickjson.loads(text)
    except BadConfig:
        value = None
    else:
        assert value == json.loads(text)
    try:
        located = quickjson.locate(text)[0]
    except BadConfig:
        located = None
    assert located == value
    if expected is None:
        assert value is None


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_json_is_refused_with_its_place(text: str) -> None:
    assert "(line 1, column " in refused(text)


def test_the_place_is_that_of_the_fault_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{\n  "a": 1,\n  "b": tru\n}\n')
    with pytest.raises(BadConfig) as error:
        quickjson.load(str(path))
    assert str(error.value.faults[0]).startswith(f"{path}:3:8: ")


def test_a_key_that_is_there_twice_is_refused_because_readers_disagree() -> None:
    assert "'user' is there twice (line 2, column 1)" in refused('{"a": {"user": 1,\n"user": 2}}')


def test_deep_nesting_is_refused_and_breaks_nothing() -> None:
    assert "nested deeper" in refused("[" * 100_000)
    assert "nested deeper" in refused("[" * 300 + "]" * 300)
    assert "nested deeper" in refused('{"a":' * 300 + "1" + "}" * 300)
    assert quickjson.loads("[" * 100 + "]" * 100)


def test_bytes_have_to_be_utf_8() -> None:
    assert quickjson.loads('"ä"'.encode()) == "ä"
    assert "not UTF-8 (line 2, column 1)" in refused(b'[\n\xff"x"]')


def test_a_number_that_nobody_can_mean_is_refused() -> None:
    assert "line 1, column 2" in refused("[" + "9" * 5000 + "]")


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("[" + "1," * 1000 + "1]")
    with pytest.raises(BadConfig, match="fault"):
        quickjson.load(str(tmp_path / "x"), size_bytes=100)


def test_every_value_has_its_line_and_column() -> None:
    value, where = quickjson.locate('{\n "a": [1,\n  {"b": null}],\n "c": "x"}')
    assert value == {"a": [1, {"b": None}], "c": "x"}
    assert where == {"": (1, 1), "a": (2, 7), "a[0]": (2, 8), "a[1]": (3, 3), "a[1].b": (3, 9), "c": (4, 7)}


def test_what_json_has_no_form_for_is_an_error() -> None:
    with pytest.raises(TypeError):
        quickjson.dumps({"a": b"bytes"})
    with pytest.raises(TypeError):
        quickjson.dumps({1: 2}, indent=" ")
    with pytest.raises(ValueError):
        quickjson.dumps(float("nan"))


PROGRAM = """
import sys
if {without}:
    sys.modules["_json"] = None
from redpak import quickjson
from redpak.errors import BadConfig
text = '{{"a": [1, 2.5, null, true, "x\\\\u00e4"], "b": {{}}}}'
print(ascii([quickjson.loads(text), quickjson.dumps(quickjson.loads(text)), quickjson.locate(text)]))
for bad in ('{{"a": 1, "a": 2}}', "[NaN]", "[1,", '["x'):
    try:
        quickjson.loads(bad)
    except BadConfig as error:
        print(error.faults[0].message.split(":")[0])
print("json" in sys.modules)
"""


def test_without_the_fast_half_the_slow_one_does_the_same() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM.format(without=without)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for without in (False, True)
    ]
    assert told[0][:-1] == told[1][:-1]
    assert told[1][-1] == "True"


def test_reading_and_writing_imports_neither_json_nor_re() -> None:
    program = (
        "import sys\nfrom redpak import quickjson\n"
        "quickjson.dumps(quickjson.loads('{\"a\": [1, \"x\"]}'), indent=' ')\n"
        "print([name for name in ('json', 're', 'typing', 'enum') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0]={sys.path!r}\n{program}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "[]\n"
