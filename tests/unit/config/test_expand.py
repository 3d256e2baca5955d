"""Expansion of $NAME and $(command): the grammar, the tags, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redpak.config.expand import MOST_SIZE, Notes, Scope, expand, expand_again
from redpak.config.model import Context, Family, Node, NodeDoc
from redpak.origin import Origin
from redpak.text import Ask, Run, text

HERE = Origin(file="/pool/a/etc/redpak.yaml", line=7, column=3)


def doc(alias: str, name: str = "", info: str = "") -> NodeDoc:
    return NodeDoc(file=f"/{alias}.yaml", alias=alias, alias_origin=HERE, tags={}, name=name, info=info)


def scope(environ: dict[str, str] | None = None, **fields: object) -> Scope:
    base = Node(path="/pool/a/", real="/real/a", normal=doc("base", name="n-1", info="the base"))
    leaf = Node(path="/pool/a/b", real="/real/a/b", normal=doc("leaf"))
    given_fields: dict[str, object] = {
        "family": Family(nodes=(base, leaf), defaults=doc("core")),
        "owner": 0,
        "context": Context(environ=environ or {}, uid=1000, gid=100),
        "notes": Notes(),
        **fields,
    }
    return Scope(**given_fields)  # type: ignore[arg-type]


def literal(raw: str, where: Scope) -> str | None:
    return expand(raw, where, origin=HERE).literal


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        (r"\$HOME costs 5\$", "$HOME costs 5$"),
        ("a$-b$", "a-b"),
        ("$NODE_ALIAS-$LEAF_ALIAS", "base-leaf"),
        ("$NODE_ALIASX", ""),
        ("$NODE_PATH/usr", "/real/a/usr"),
        ("$LEAF_PATH:$NODE_NAME:$NODE_INFO", "/real/a/b:n-1:the base"),
        ("$REDNODE_CONF $REDNODE_STATUS", "/real/a/etc/redpak.yaml /real/a/.rednode.yaml"),
        ("$REDNODE_ADMIN|$REDNODE_VARDIR", "/real/a/etc/redpak-admin.yaml|/real/a/var/rpm/lib"),
        ("$REDNODE_REPODIR|$REDNODE_LOCK", "/real/a/etc/yum.repos.d|/real/a/.rpm.lock"),
        ("$UID:$GID", "1000:100"),
        ("$USER@$HOSTNAME", "Unknown@localhost"),
        ("$redpak_MAIN", "/etc/redpak/main.yaml"),
        ("$REDPESK_VERSION", "agl-redpesk9"),
        ("$node_alias", ""),
    ],
)
def test_the_grammar_and_the_tags(raw: str, value: str) -> None:
    assert literal(raw, scope()) == value


def test_the_environment_comes_after_the_tags_and_is_noted() -> None:
    where = scope({"LANG": "C", "UID": "0", "USER": "ann"})
    assert literal("$LANG $UID $USER $NO_SUCH", where) == "C 1000 ann "
    assert where.notes.sorted_reads() == (("LANG", "C"), ("NO_SUCH", None), ("USER", "ann"))
    assert [str(w) for w in where.notes.warnings] == [
        "/pool/a/etc/redpak.yaml:7:3: '$NO_SUCH' is neither a tag nor a variable, taking nothing "
        "(Write \\$ for a dollar.)"
    ]


def test_found_values_are_expanded_again_but_not_their_commands() -> None:
    where = scope({"A": "<$B>", "B": "$NODE_ALIAS", "C": "x$(id)y"})
    assert literal("$A", where) == "<base>"
    assert literal("$C", where) == "x(id)y"
    assert where.notes.faults == []


def test_names_of_nodes_are_data_when_sealed() -> None:
    where = scope({"EVIL": "boom"})
    odd = Node(path="/p/$EVIL", real="/p/$EVIL", normal=doc("odd", info="$EVIL"))
    where = where.but(family=Family(nodes=(odd,)))
    assert literal("$NODE_PATH $NODE_INFO", where) == "/p/$EVIL $EVIL"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"FOO": "$FOO"}, "'$FOO' refers to itself"),
        ({"FOO": "$BAR", "BAR": "$FOO"}, "'$FOO' refers to itself"),
        ({"FOO": "$B0", **{f"B{n}": f"$B{n + 1}" for n in range(40)}}, "nested more than 16 deep"),
        (
            {"FOO": "$B0$B0", **{f"B{n}": f"$B{n + 1}$B{n + 1}$B{n + 1}" for n in range(13)}},
            "refers to more than 4096 values",
        ),
        ({"FOO": "x" * (MOST_SIZE + 1)}, "expands to more than 65536 characters"),
    ],
    ids=["itself", "each other", "too deep", "too many", "too long"],
)
def test_values_without_end_are_a_fault(environ: dict[str, str], told: str) -> None:
    where = scope(environ)
    expand("$FOO", where, origin=HERE)
    assert [(fault.origin, told in fault.message) for fault in where.notes.faults] == [(HERE, True)]


def test_what_is_known_at_start_only_stays_a_part() -> None:
    parts = expand("a-$(date +%s)-$PID-$UUID-$TODAY", scope()).parts
    assert parts == (
        "a-", Run(command="date +%s"), "-", Ask(name="PID"), "-", Ask(name="UUID"), "-", Ask(name="TODAY"),
    )  # fmt: skip


def test_tags_in_a_command_are_expanded_first() -> None:
    assert expand(r"$(echo ($NODE_ALIAS) \$HOME)", scope()).parts == (Run(command="echo (base) $HOME"),)


@pytest.mark.parametrize(
    ("raw", "commands", "told"),
    [
        ("$(date", True, "no closing parenthesis"),
        ("$(echo $(date))", True, "inside a command"),
        ("$(date)", False, "cannot stand here"),
        ("$(kill $PID)", True, "only known at the start"),
    ],
)
def test_commands_that_cannot_stand_are_faults_when_sealed(raw: str, commands: bool, told: str) -> None:
    where = scope()
    expand(raw, where, commands=commands, origin=HERE)
    assert [told in fault.message for fault in where.notes.faults] == [True]


def test_upstream_lets_the_dollar_vanish_and_shows_paths_as_spelled() -> None:
    where = scope(upstream=True)
    assert expand("$(date)", where, commands=False).literal == "(date)"
    assert literal("$NODE_PATH/usr $NO_SUCH $LEAF_NAME", where) == "/pool/a//usr  #undef:LEAF_NAME"
    assert where.notes.faults == where.notes.warnings == []


def test_upstream_may_evaluate_at_once() -> None:
    where = scope(upstream=True, run=lambda command: f"[{command}]", ask=lambda name: name.lower())
    assert literal("$(echo $PID $NODE_ALIAS) $UUID", where) == "[echo pid base] uuid"


def test_the_core_os_has_no_path_and_the_defaults_alias() -> None:
    assert literal("$NODE_PATH/usr $NODE_ALIAS $LEAF_ALIAS", scope(owner=-1)) == "/usr core leaf"


def test_a_final_user_replaces_the_callers() -> None:
    assert literal("$UID/$GID", scope(uid="33", gid="34")) == "33/34"


def test_expanding_twice_leaves_commands_alone() -> None:
    where = scope()
    once = expand(r"\$NODE_ALIAS $(echo \$NODE_ALIAS)", where)
    assert expand_again(once, where) == text("base ", Run(command="echo $NODE_ALIAS"))


@settings(max_examples=300, deadline=None)
@given(
    raw=st.text(alphabet="$(){}\\AB_ /é", max_size=40),
    environ=st.dictionaries(st.sampled_from("AB_"), st.text(alphabet="$()\\AB_ ", max_size=20)),
    upstream=st.booleans(),
    commands=st.booleans(),
)
def test_nothing_crashes_expansion(raw: str, environ: dict[str, str], upstream: bool, commands: bool) -> None:
    where = scope(environ, upstream=upstream)
    done = expand(raw, where, commands=commands)
    assert commands or not any(isinstance(part, Run) for part in done.parts)
