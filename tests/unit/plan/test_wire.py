"""Plans survive the way to JSON and back; the digest depends on what a launch does and on nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpak.errors import BadConfig
from redpak.origin import COMMAND_LINE, DEFAULT, Origin
from redpak.plan import model, ops, wire
from redpak.record import Record
from redpak.text import Ask, Run, Text, text

WORD = st.text(max_size=8)
ORIGIN = st.one_of(
    st.just(DEFAULT),
    st.just(COMMAND_LINE),
    st.builds(Origin, file=WORD, line=st.integers(0, 999), column=st.integers(0, 99), note=WORD),
)
PART = st.one_of(WORD, st.builds(Run, command=WORD), st.sampled_from([Ask(name="PID"), Ask(name="UUID")]))
TEXT = st.lists(PART, max_size=4).map(lambda parts: text(*parts))
ANNOTATED = {
    "str": WORD,
    "int": st.integers(-1, 2**40),
    "bool": st.booleans(),
    "Text": TEXT,
    "Origin": ORIGIN,
    "str | None": st.none() | WORD,
    "str | int | bool | Text": st.one_of(WORD, st.integers(), st.booleans(), TEXT),
    **{kind: st.sampled_from(words) for kind, words in wire.WORDS.items() if words},
}


def records(cls: type[Record]) -> st.SearchStrategy[Record]:
    return st.builds(cls, **{name: strategy(kind) for name, kind, _ in wire.fields(cls)})


def strategy(kind: str) -> st.SearchStrategy[object]:
    if kind.startswith("tuple["):
        return st.lists(strategy(kind[6:-1].removesuffix(", ...")), max_size=3).map(tuple)
    if kind in wire.UNIONS:
        return st.one_of([records(cls) for cls in wire.UNIONS[kind].values()])
    if kind in wire.ITEMS:
        return records(wire.ITEMS[kind])
    return ANNOTATED[kind]


HERE = Origin(file="/n/etc/redpak.yaml", line=3, column=5)


def small(**changed: object) -> model.Plan:
    plan = model.Plan(
        node="/n",
        profile="sealed",
        family=(model.Member(alias="n", name="", path="/n"),),
        mounts=(ops.Bind(dst="/usr", src=text("/usr"), because=HERE),),
        environ=(model.SetVar(key="A", value=text("x", Run(command="date")), because=DEFAULT),),
        namespaces=(model.Namespace(kind="net", mode="new", because=DEFAULT),),
        files=(model.FileInput(path="/n/etc/redpak.yaml", sha256="ab", stamp="1.2.3"),),
        uid=1,
        gid=1,
    )
    return plan.but(**changed)


@given(records(model.Plan))
@settings(max_examples=60, deadline=None)
def test_a_plan_survives_the_way_to_json_and_back(plan: model.Plan) -> None:
    assert wire.read(wire.canonical(plan)) == plan
    assert wire.read(json.dumps(wire.document(plan), indent=2)) == plan


def test_every_field_of_every_item_is_in_the_json_but_the_stamps() -> None:
    every: list[type[Record]] = [
        model.Plan, *wire.ITEMS.values(), *wire.MOUNTS.values(), *wire.VARIABLES.values()
    ]  # fmt: skip
    for cls in every:
        names = {name for name, _, _ in wire.fields(cls)}
        assert names | {name for of, name in wire.ABSENT if of == cls.__name__} == set(cls.__fields__)


def test_every_operation_of_the_model_has_a_word() -> None:
    made = {value for value in vars(ops).values() if isinstance(value, type) and issubclass(value, Record)}
    made -= {Record, Origin, Text}
    assert made == set(wire.MOUNTS.values())


def test_the_json_says_where_each_thing_comes_from() -> None:
    shown = wire.document(small())
    assert shown["redpak-plan"] == 1
    assert shown["mounts"][0]["origin"] == {"file": "/n/etc/redpak.yaml", "line": 3, "column": 5}
    assert shown["environ"] == [
        {"op": "set", "key": "A", "value": ["x", {"run": "date"}], "inherited": False, "origin": "default"}
    ]


def test_the_canonical_form_is_ascii_and_sorted() -> None:
    data = wire.canonical(small(node="/é\udcff"))
    assert data.isascii()
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()


def test_the_digest_ignores_warnings_and_stamps() -> None:
    plan = small()
    assert wire.digest(plan) == wire.digest(plan.but(warnings=("beware",)))
    assert wire.digest(plan) == wire.digest(plan.but(files=(plan.files[0].but(stamp="9.9"),)))


@pytest.mark.parametrize(
    "changed",
    [
        {"node": "/m"},
        {"uid": 2},
        {"command": ("sh",)},
        {"mounts": ()},
        {"files": (model.FileInput(path="/n/etc/redpak.yaml", sha256="cd"),)},
    ],
    ids=str,
)
def test_the_digest_changes_with_the_plan(changed: dict[str, object]) -> None:
    assert wire.digest(small()) != wire.digest(small(**changed))


def test_a_text_setting_differs_from_a_string_setting() -> None:
    one = small(choices=(model.Choice(name="hostname", value="x", because=DEFAULT),))
    two = small(choices=(model.Choice(name="hostname", value=text("x"), because=DEFAULT),))
    assert wire.canonical(one) != wire.canonical(two)
    assert wire.read(wire.canonical(two)).choices == two.choices


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "is no JSON"),
        ("[" * 200_000, "is no JSON"),
        ("[]", "'redpak-plan' is missing"),
        ('{"redpak-plan": 2}', "version 2"),
        ('{"redpak-plan": true}', "version True"),
        ('{"redpak-plan": 1}', "'node' is missing"),
    ],
    ids=lambda value: value[:12],
)
def test_what_is_no_plan_is_refused_with_a_reason(data: str, says: str) -> None:
    with pytest.raises(BadConfig) as caught:
        wire.read(data, file="a.json")
    assert says in str(caught.value.faults[0])
    assert str(caught.value.faults[0]).startswith("a.json")


def test_a_document_whose_digest_is_wrong_is_refused() -> None:
    shown = wire.document(small())
    shown["uid"] = 0
    with pytest.raises(BadConfig) as caught:
        wire.read(json.dumps(shown))
    assert "was changed" in str(caught.value.faults[0])


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("mounts", 0, "op"), "mount", "plan.mounts[0]: 'op' must be one of"),
        (("mounts", 0, "readonly"), 1, "plan.mounts[0].readonly: true or false"),
        (("mounts", 0, "kind"), "x", "plan.mounts[0].kind: 'x' is none of any, file"),
        (("mounts", 0, "extra"), 1, "unknown key 'extra'"),
        (("mounts", 0, "src"), [{"run": "a", "b": 1}], "a part is a string"),
        (("mounts", 0, "origin"), {"file": "x"}, "a word or an object"),
        (("mounts",), {}, "a list was expected"),
        (("family", 0), "n", "an object was expected"),
        (("uid",), True, "a number was expected"),
        (("node",), None, "a string was expected"),
    ],
    ids=str,
)
def test_a_broken_plan_names_the_place(path: tuple[str | int, ...], value: object, says: str) -> None:
    shown = wire.document(small())
    spot: Any = shown
    del shown["digest"]
    for step in path[:-1]:
        spot = spot[step]
    spot[path[-1]] = value
    with pytest.raises(BadConfig) as caught:
        wire.read(json.dumps(shown))
    assert says in str(caught.value.faults[0])
