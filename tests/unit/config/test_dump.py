"""Writing documents: red-pak's manner, and that what is written reads as what was meant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from redpak.config.dump import dump
from redpak.config.load import load_bytes
from redpak.config.model import NodeDoc, Value
from redpak.errors import Fault
from redpak.origin import DEFAULT
from redpak.record import Record
from tests.unit.config.documents import documents


def read(text: str, *, lenient: bool = False) -> NodeDoc:
    faults: list[Fault] = []
    doc = load_bytes(text.encode(), "f.yaml", lenient=lenient, faults=faults)
    assert doc is not None, (text, [str(fault) for fault in faults])
    return doc


def placeless(value: Any) -> Any:
    """Return a document without the places of its parts."""
    if isinstance(value, Record):
        kept = {
            name: placeless(field)
            for name, field in zip(value.__fields__, value.values(), strict=True)
            if name not in ("origin", "alias_origin", "file")
        }
        return type(value).__name__, kept
    if isinstance(value, tuple):
        return [placeless(item) for item in value]
    if isinstance(value, dict):
        return {key: placeless(item) for key, item in value.items()}
    return value


WRITTEN = """\
headers:
  alias: demo
  name: no
exports:
- mode: Restricted
  mount: /nodes/$NODE_ALIAS/usr
  path: $NODE_PATH/usr
- mode: Execfd
  mount: /etc/passwd
  path: |-
    getent passwd 0
    getent passwd $UID
environ:
- mode: Static
  key: EMPTY
  value: ''
- mode: Default
  key: PS1
  value: '$NODE_ALIAS($LEAF_ALIAS)> '
config:
  umask: 027
  map-root-user: 1
  gpgcheck: true
  die-with-parent: Enabled
  share_net: disabled
  cgroups:
    mem:
      max: 512M
    cpu:
      max: 1000 1000
    io:
      max: |-
        8:0 rbps=1
        8:16 rbps=2
  hostname: $LEAF_ALIAS
  capabilities:
  - cap: CAP_CHOWN
    add: 1
    warn: 'careful: here'
  seccomp: none
  rlimits:
    nofile: 64:128
    stack: unlimited
"""


def test_what_was_written_is_written_again() -> None:
    assert dump(read(WRITTEN)) == WRITTEN


def test_a_long_line_is_not_folded() -> None:
    text = f"headers:\n  alias: x\n  info: {'word ' * 100}end\n"
    assert dump(read(text)) == text


def test_red_pak_also_writes_what_nobody_said() -> None:
    doc = read("headers: {alias: x}\nconfig: {gpgcheck: yes, new-session: disabled}", lenient=True)
    assert dump(doc, upstream=True) == (
        "headers:\n  alias: x\nconfig:\n  verbose: 0\n  map-root-user: 0\n  gpgcheck: true\n  unsafe: false\n"
        "  inherit-env: false\n  die-with-parent: Unset\n  new-session: Disabled\n"
    )
    assert dump(doc) == "headers:\n  alias: x\nconfig:\n  gpgcheck: true\n  new-session: Disabled\n"


def test_the_core_oss_defaults_are_written_without_headers() -> None:
    doc = NodeDoc(
        file="", alias="", alias_origin=DEFAULT, tags={"gpgcheck": Value(value=True, origin=DEFAULT)}
    )
    assert dump(doc) == "config:\n  gpgcheck: true\n"


def test_bytes_that_are_no_text_do_not_stop_it() -> None:
    doc = read("headers: {alias: x}")
    assert "info: a\ufffdb\n" in dump(doc.but(info="a\udcffb"))


@settings(max_examples=150)
@given(documents())
def test_reading_what_was_written_gives_an_equal_document(doc: NodeDoc) -> None:
    assert placeless(read(dump(doc))) == placeless(doc)


@settings(max_examples=50)
@given(documents())
def test_red_paks_way_of_writing_says_the_same(doc: NodeDoc) -> None:
    doc = doc.but(rlimits=(), tags={key: value for key, value in doc.tags.items() if key != "seccomp"})
    again = read(dump(doc, upstream=True), lenient=True)
    unsaid = {key: value for key, value in again.tags.items() if key not in doc.tags}
    assert all(str(value.value) in ("0", "False", "Unset") for value in unsaid.values())
    assert placeless(again.but(tags={key: again.tags[key] for key in doc.tags})) == placeless(doc)


@pytest.mark.parametrize(
    "text",
    [
        " a", "a ", "a\n", "\n", "\n a", "a\n\n", "a\n  b", "a\tb", "\t", "- a", "a: b", "#", "~", "'", "!", "&a",
        "---", "\ue000\n", "\U0001f600",
    ],
)  # fmt: skip
def test_awkward_text_survives(text: str) -> None:
    doc = read("headers: {alias: x}").but(info=text)
    for upstream in (False, True):
        assert read(dump(doc, upstream=upstream)).info == text
