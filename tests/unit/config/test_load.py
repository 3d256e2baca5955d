"""Loading: every setting decoded, every fault found, both ways of reading."""

# ruff: noqa: E501 - tables of faults
from __future__ import annotations

import os
from pathlib import Path

import pytest

from redpak import paths
from redpak.config.load import load, load_bytes, said
from redpak.config.model import NodeDoc
from redpak.config.settings import EXPORT_MODES
from redpak.errors import Fault

SEED = """\
headers:
  alias: demo
config:
  share_all: Unset
  share_user: Unset
  cgroups:
    cpuset:
      cpus: 0-2
      mems: 0
      cpus_partition: member
    mem:
      min: 10M
      low: 10M
      high: 521M
      max: 512M
      oom_group: 10
      swap_high: 1024M
      swap_max: 512M
    cpu:
      max: 1000 1000
      weight: 200
      weight_nice: 10
    io:
      weight: 200
      max: 8:0 rbps=2097152 wiops=120
    pids:
      max: 50
"""


def read(text: str, *, lenient: bool = False, defaults: bool = False) -> tuple[NodeDoc | None, list[str]]:
    faults: list[Fault] = []
    doc = load_bytes(text.encode(), "f.yaml", lenient=lenient, defaults=defaults, faults=faults)
    assert (doc is None) == bool(faults)
    return doc, [str(fault) for fault in faults]


def config(text: str, *, lenient: bool = False) -> tuple[dict[str, object], list[str]]:
    lines = "".join(f"  {line}\n" for line in text.splitlines())
    doc, faults = read(f"headers: {{alias: x}}\nconfig:\n{lines}", lenient=lenient)
    return ({key: value.value for key, value in doc.tags.items()} if doc else {}), faults


def entries(section: str, *lines: str, lenient: bool = False) -> list[str]:
    items = "".join(f"- {line}\n" for line in lines)
    return read(f"headers: {{alias: x}}\n{section}:\n{items}", lenient=lenient)[1]


def good(text: str, *, lenient: bool = False) -> NodeDoc:
    doc, faults = read(text, lenient=lenient)
    assert doc is not None, faults
    return doc


@pytest.mark.parametrize("lenient", [False, True])
def test_the_seeds_example_of_limits_loads_as_written(lenient: bool) -> None:
    doc = good(SEED, lenient=lenient)
    assert len(doc.cgroups) == 16
    values = {(value.group, value.key): value.value for value in doc.cgroups}
    assert values["mem", "high"] == "521M"
    assert values["mem", "oom_group"] == ("10" if lenient else "1")
    assert values["io", "max"] == "8:0 rbps=2097152 wiops=120"
    assert doc.tags["share_all"].value == "unset"


def test_every_value_knows_where_it_stands() -> None:
    doc = good(SEED)
    assert doc.alias_origin.full() == "f.yaml:2:10"
    assert doc.tags["share_user"].origin.full() == "f.yaml:5:15"
    assert {value.key: value.origin.line for value in doc.cgroups}["cpus"] == 8


def test_keys_and_words_are_taken_in_any_case() -> None:
    doc = good(
        "Headers: {ALIAS: x}\nEXPORTS:\n- {Mode: EXECFD, Mount: /x, Path: date}\n- {mode: ExecFd, mount: /y, path: id}\n"
    )
    assert [export.mode for export in doc.exports] == ["Execfd", "Execfd"]


def test_expanded_is_another_word_for_default() -> None:
    doc = good(
        "headers: {alias: x}\nenviron:\n- {mode: Expanded, key: A, value: $UID}\n- {key: B, value: no}\n"
    )
    assert [(one.mode, one.value) for one in doc.environ] == [("Default", "$UID"), ("Default", "no")]


def test_text_is_never_taken_for_something_else() -> None:
    doc = good("headers: {alias: no, name: 0755, info: ~}\nconfig: {hostname: on, set-user: 007}\n")
    assert (doc.alias, doc.name, doc.info) == ("no", "0755", "~")
    assert (doc.tags["hostname"].value, doc.tags["set-user"].value) == ("on", "007")


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("gpgcheck: true", True, True),
        ("gpgcheck: YES", True, True),
        ("gpgcheck: enable", True, True),
        ("gpgcheck: off", False, False),
        ("gpgcheck: 0", False, False),
        ("gpgcheck: Disabled", False, True),
        ("gpgcheck: n", None, True),
        ("gpgcheck: banana", None, True),
        ("gpgcheck: ''", None, True),
        ("verbose: 12", 12, 12),
        ("verbose: 0x1F", 31, 31),
        ("verbose: 0o17", 15, 0),
        ("verbose: 027", None, 23),
        ("verbose: 7up", None, 7),
        ("verbose: up", None, None),
        ("verbose: 99999999999", None, None),
        ("map-root-user: 1", 1, 1),
        ("map-root-user: true", 1, None),
        ("map-root-user: 2", None, 2),
        ("die-with-parent: ENABLED", "Enabled", "Enabled"),
        ("die-with-parent: 2", None, "Enabled"),
        ("die-with-parent: 1", None, "Disabled"),
        ("die-with-parent: 3", None, None),
        ("new-session: yes", None, None),
        ("share_net: Disabled", "disabled", "disabled"),
        ("share_net: /proc/7/ns/net", "/proc/7/ns/net", "/proc/7/ns/net"),
        ("share_net: proc/7/ns/net", None, "proc/7/ns/net"),
        ("share_net: /proc/../ns", None, "/proc/../ns"),
        ("share_net: true", None, "true"),
        ("umask: 027", "027", "027"),
        ("umask: 22", "022", "22"),
        ("umask: '0o77'", "077", "0o77"),
        ("umask: 8", None, "8"),
        ("umask: 1777", None, "1777"),
        ("hostname: a_b.c-d", "a_b.c-d", "a_b.c-d"),
        ("hostname: $LEAF_ALIAS", "$LEAF_ALIAS", "$LEAF_ALIAS"),
        ("hostname: a/b", None, "a/b"),
        (f"hostname: {'x' * 65}", None, "x" * 65),
        ("hostname:", None, ""),
        ("chdir: home", None, "home"),
        ("path: $NODE_PATH/bin::/bin", "$NODE_PATH/bin::/bin", "$NODE_PATH/bin::/bin"),
        ("path: /bin:.", None, "/bin:."),
        ("set-user: root;reboot", None, "root;reboot"),
        ("smack: App:Nav", "App:Nav", "App:Nav"),
        ("smack: -x", None, "-x"),
        ('rpmdir: "/a\\nb"', None, "/a\nb"),
        ("profile: Upstream-2.5", "upstream-2.5", "upstream-2.5"),
        ("seccomp: none", "none", None),
    ],
)  # fmt: skip
def test_settings_are_typed_strictly_and_as_red_pak_does(text: str, strict: object, lenient: object) -> None:
    key = text.partition(":")[0]
    for way, wanted in ((False, strict), (True, lenient)):
        values, faults = config(text, lenient=way)
        assert values.get(key) == wanted, faults
        assert type(values.get(key)) is type(wanted)
        assert bool(faults) == (wanted is None)


@pytest.mark.parametrize(
    ("group", "good_ones", "bad_ones"),
    [
        ("cpuset: {cpus: %s}", ["0", "'0-2,4'", "'0, 2-3'"], ["a", "2-0", "'0-'", "'1,,2'"]),
        ("cpuset: {cpus_partition: %s}", ["member", "Root", "isolated"], ["x"]),
        ("mem: {max: %s}", ["max", "0", "512M", "1g", "1024"], ["10X", "-1", "1.5G", "50%"]),
        ("cpu: {max: %s}", ["max", "1000", "1000 1000", "max 100000"], ["999 1000", "1000 1", "1000 2000000", "x"]),
        ("cpu: {weight: %s}", ["1", "10000"], ["0", "10001", "x"]),
        ("cpu: {weight_nice: %s}", ["-20", "19"], ["-21", "20"]),
        ("io: {weight: %s}", ["100", "default 100", "8:0 200", "['default 100', '8:0 50']"], ["0", "8:0", "[]"]),
        ("io: {max: %s}", ["8:0 rbps=max", "['8:0 rbps=1 wbps=2', '8:16 wiops=9']"], ["8:0", "rbps=1", "8:0 foo=1", "8:0 rbps=0"]),
        ("io: {cost_qos: %s}", ["8:0 enable=1 rpct=95.00 rlat=75000"], ["enable=1"]),
        ("io: {cost_model: %s}", ["8:0 ctrl=user model=linear rbps=1"], ["x"]),
        ("pids: {max: %s}", ["max", "50", "0"], ["-1", "5M"]),
        ("mem: {oom_group: %s}", ["0", "1", "10", "true"], ["-1", "x"]),
    ],
)  # fmt: skip
def test_limits_are_checked(group: str, good_ones: list[str], bad_ones: list[str]) -> None:
    for text in good_ones:
        assert config(f"cgroups: {{{group % text}}}")[1] == []
    for text in bad_ones:
        assert len(config(f"cgroups: {{{group % text}}}")[1]) == 1, text
        if not text.startswith("["):
            assert config(f"cgroups: {{{group % text}}}", lenient=True)[1] == []


def test_resource_limits_are_numbers_or_pairs_or_unlimited() -> None:
    doc = good(
        "headers: {alias: x}\nconfig: {rlimits: {nofile: '64:1K', core: 0, stack: unlimited, as: '1:unlimited'}}"
    )
    assert {one.name: (one.soft, one.hard) for one in doc.rlimits} == {
        "nofile": (64, 1024), "core": (0, 0), "stack": (-1, -1), "as": (1, -1),
    }  # fmt: skip
    for bad in ("2:1", "x", "1:2:3", "unlimited:1", "-5"):
        assert len(config(f"rlimits: {{nofile: '{bad}'}}")[1]) == 1, bad


def test_capabilities_are_known_names_with_or_without_prefix() -> None:
    doc = good(
        "headers: {alias: x}\nconfig:\n  capabilities:\n  - {cap: chown, add: 1}\n  - {cap: cap_BPF, add: no}\n  - {cap: ALL, add: 0}\n"
    )
    assert [(ask.cap, ask.add) for ask in doc.capabilities] == [("chown", 1), ("cap_BPF", 0), ("ALL", 0)]
    _, faults = config("capabilities: [{cap: cap_chwn, add: 1}]")
    assert faults == ["f.yaml:3:24: there is no capability 'cap_chwn' (Did you mean 'CAP_CHOWN'?)"]
    assert config("capabilities: [{cap: cap_chwn, add: 7}]", lenient=True)[1] == []


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{mode: Public, mount: x}", "'mount' must be an absolute path"),
        ("{mode: Public, mount: /a/../b}", "'mount' has '..'"),
        ("{mode: Public, mount: /$(id)}", "'mount' runs a command"),
        ('{mode: Public, mount: "/a\\x1b[2J"}', "'mount' contains the control character U+001B"),
        ('{mode: Public, mount: /a, path: "/a\\u202eb"}', "'path' contains the control character U+202E"),
        ('{mode: Public, mount: /a, path: "/a\\nb"}', "'path' contains a line end"),
        ("{mode: Public, mount: /a, path: b}", "'path' must be an absolute path"),
        ("{mode: Public, mount: /a, path: ''}", "'path' must be an absolute path"),
        ("{mode: Symlink, mount: /a}", "mode Symlink needs 'path'"),
        ("{mode: Execfd, mount: /a}", "mode Execfd needs 'path'"),
        ("{mode: Internal, mount: /a, path: /b}", "mode Internal needs the number"),
        ("{mode: Internal, mount: /a, path: 2}", "mode Internal needs the number"),
        ("{mode: Tmpfs, mount: /a, path: /b}", "mode Tmpfs has no source"),
        ("{mode: Publik, mount: /a}", "'mode' cannot be 'Publik' (Did you mean 'Public'?"),
        ("{mount: /a}", "an entry of 'exports' has no 'mode'"),
        ("{mode: Public}", "an entry of 'exports' has no 'mount'"),
        (
            "{mode: Public, mount: /a, mont: /b}",
            "there is no key 'mont' in 'exports' (Did you mean 'mount'?)",
        ),
        ("{mode: Public, mount: [/a]}", "'mount' must be a single value"),
        ("/a", "an entry of 'exports' must be a mapping"),
    ],
)
def test_exports_that_make_no_sense_are_refused(entry: str, fault: str) -> None:
    faults = entries("exports", entry)
    assert len(faults) == 1
    assert fault in faults[0]
    assert faults[0].startswith("f.yaml:3:")


def test_every_mode_of_exports_can_be_written() -> None:
    doc = good(
        "headers: {alias: x}\nexports:\n"
        + "".join(f"- {{mode: {mode}, mount: /{mode}}}\n" for mode in EXPORT_MODES[:13])
        + "- {mode: Symlink, mount: /s, path: ../t}\n- {mode: Execfd, mount: /e, path: 'a\n\n  b'}\n"
        "- {mode: Internal, mount: /i, path: 9}\n- {mode: Tmpfs, mount: /t, path: /t/}\n"
        r"- {mode: Public, mount: /\$(x), path: $(cat /x)}"
    )
    assert len(doc.exports) == 18


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{key: A}", "variable 'A' has no value"),
        ("{mode: Static, key: A}", "variable 'A' has no value"),
        ("{mode: Execfd, key: A, value: ''}", "mode Execfd needs a command"),
        ("{mode: Remove, key: A, value: x}", "mode Remove takes no value"),
        ("{mode: inherit, key: A, value: ''}", "mode Inherit takes no value"),
        ("{key: A=B, value: x}", "'A=B' is not the name of a variable"),
        ("{key: '', value: x}", "'key' has no value"),
        ("{key: A, value: x, mode: Dynamic}", "'mode' cannot be 'Dynamic'"),
        ("{value: x}", "an entry of 'environ' has no 'key'"),
    ],
)
def test_variables_that_make_no_sense_are_refused(entry: str, fault: str) -> None:
    faults = entries("environ", entry)
    assert len(faults) == 1, faults
    assert fault in faults[0]


def test_a_value_may_hold_what_programs_want_but_no_nul() -> None:
    doc = good(
        'headers: {alias: x}\nenviron:\n- {mode: Static, key: PS1, value: "\\e[32m$ \\t"}\n- {key: E, value: ""}\n'
    )
    assert [one.value for one in doc.environ] == ["\x1b[32m$ \t", ""]
    assert len(entries("environ", '{key: A, value: "a\\0b"}')) == 1


@pytest.mark.parametrize(
    ("section", "one", "other"),
    [
        ("exports", "{mode: Public, mount: /a}", "{mode: Restricted, mount: /a/}"),
        ("exports", "{mode: Public, mount: /a, path: /x}", "{mode: Public, mount: /./a, path: /y}"),
        ("environ", "{key: A, value: 1}", "{key: A, value: 2}"),
        ("environ", "{key: A, value: 1}", "{key: A, mode: Static, value: 1}"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(section: str, one: str, other: str) -> None:
    assert entries(section, one, one) == []
    (fault,) = entries(section, one, other)
    assert fault.startswith("f.yaml:4:3: ")
    assert "line 3 has it already" in fault
    assert entries(section, one, other, lenient=True) == []


def test_a_capability_cannot_be_kept_and_dropped_in_one_file() -> None:
    (fault,) = config("capabilities:\n- {cap: chown, add: 1}\n- {cap: CAP_CHOWN, add: 0}")[1]
    assert fault.startswith("f.yaml:5:5: capability 'CAP_CHOWN' stands here again, differently; line 4")


def test_names_of_variables_differ_by_case() -> None:
    assert entries("environ", "{key: Path, value: 1}", "{key: PATH, value: 2}") == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        ("headers:\n  name: x\n", "f.yaml:2:3: 'headers' has no 'alias' (Add 'alias: navigation'.)"),
        ("config: {}\n", "f.yaml:1:1: the file has no 'headers'"),
        ("headers: {alias: a b}", "f.yaml:1:18: 'a b' is not an alias"),
        ("headers: {alias: ''}", "f.yaml:1:18: 'alias' has no value"),
        ("headers: x", "f.yaml:1:10: 'headers' must be a mapping"),
        ("- x", "f.yaml:1:1: the file must be a mapping"),
        ("headers: {alias: x}\nexports: {a: b}", "f.yaml:2:10: 'exports' must be a list"),
        ("headers: {alias: x}\nconfig: {hostnme: x}", "f.yaml:2:10: there is no key 'hostnme' in 'config' (Did you mean 'hostname'?)"),
        ("headers: {alias: x}\nmount: x", "f.yaml:2:1: there is no key 'mount' (It belongs in exports.)"),
        ("headers: {alias: x}\nconfig: {rlimits: {nofiles: 1}}", "f.yaml:2:20: there is no key 'nofiles' in 'config.rlimits' (Did you mean 'nofile'?)"),
        ("headers: {alias: x}\nconfig: {cgroups: {memory: {max: 1}}}", "f.yaml:2:20: there is no key 'memory' in 'config.cgroups' (Did you mean 'mem'?)"),
    ],
)  # fmt: skip
def test_faults_of_structure_say_what_to_do(text: str, fault: str) -> None:
    _, faults = read(text)
    assert len(faults) == 1, faults
    assert faults[0].startswith(fault)


def test_all_faults_are_reported_at_once_in_the_order_of_the_file() -> None:
    _, faults = read(
        "headers: {alias: a b, nam: x}\n"
        "exports:\n- {mode: Publik, mount: x}\n- {mode: Symlink, mount: /l}\n"
        "environ:\n- {key: A}\n- {key: 1B, value: x}\n"
        "config:\n  gpgcheck: banana\n  umask: 9\n  capabilities: [{cap: x, add: 1}]\n  cgroups: {mem: {max: x}}\n"
        "  seccomp: some\nexports: []\n"
    )
    assert [int(fault.split(":")[1]) for fault in faults] == [1, 1, 3, 3, 4, 6, 7, 9, 10, 11, 12, 13, 14]


def test_empty_sections_say_nothing() -> None:
    text = "headers: {alias: x}\nexports:\nenviron:\nconfig:\n"
    assert good(text).tags == {}
    assert len(read(text, lenient=True)[1]) == 3


def test_old_keys_are_accepted_and_dropped() -> None:
    assert config("maxage: 0\ninherit: [x]\ngpgcheck: true") == ({"gpgcheck": True}, [])


def test_red_pak_does_not_have_redpaks_own_keys() -> None:
    for text in ("seccomp: none", "rlimits: {nofile: 1}"):
        (fault,) = config(text, lenient=True)[1]
        assert "red-pak 2.5 does not have it" in fault


def test_lenient_reading_takes_what_makes_no_sense() -> None:
    assert (
        entries(
            "exports",
            "{mode: Internal, mount: a, path: /b}",
            "{mode: tmpfs, mount: /../x, path: y}",
            lenient=True,
        )
        == []
    )
    assert entries("environ", "{key: A=B}", "{mode: Remove, key: A, value: x}", lenient=True) == []
    assert len(entries("exports", "{mode: 1, mount: /a}", lenient=True)) == 1


def test_aliases_are_followed_only_leniently() -> None:
    text = "headers: {alias: &a x}\nconfig: {hostname: *a}\n"
    assert good(text, lenient=True).tags["hostname"].value == "x"
    assert len(read(text)[1]) == 2


def test_the_core_oss_defaults_need_no_headers() -> None:
    doc, faults = read("config: {gpgcheck: true}", defaults=True)
    assert doc is not None, faults
    assert doc.alias == ""
    assert read("# nothing\n", defaults=True)[0] is not None
    assert len(read("# nothing\n")[1]) == 1


def test_the_shipped_defaults_load_and_loosen_nothing() -> None:
    faults: list[Fault] = []
    doc = load(paths.shipped("config", "main.yaml"), defaults=True, faults=faults)
    assert doc is not None, faults
    assert doc.exports == doc.environ == doc.capabilities == ()
    said_values = {key: value.value for key, value in doc.tags.items()}
    assert said_values["profile"] == "sealed"
    assert said_values["seccomp"] == "default"
    assert all(value == "unset" for key, value in said_values.items() if key.startswith("share_"))


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, why in (("absent", "no such file"), (".", "a directory"), ("fifo", "not a regular file")):
        faults: list[Fault] = []
        assert load(str(tmp_path / name), faults=faults) is None
        assert why in faults[0].message


def test_a_hostile_file_has_a_bounded_number_of_faults() -> None:
    text = "headers: {alias: x}\nenviron:\n" + "- {key: 1}\n" * 5000
    _, faults = read(text)
    assert len(faults) == 201
    assert faults[-1] == "f.yaml: more faults follow (Repair these first.)"


def test_the_profile_can_be_had_from_a_file_with_faults(tmp_path: Path) -> None:
    file = tmp_path / "redpak.yaml"
    file.write_text("headers: {alias: &a x}\nconfig:\n  gpgcheck: banana\n  Profile: UPSTREAM-2.5\n")
    value = said(str(file), "profile")
    assert value is not None
    assert (value.value, value.origin.line) == ("upstream-2.5", 4)
    assert said(str(file), "hostname") is None
    assert said(str(tmp_path / "absent"), "profile") is None
    file.write_text("[")
    assert said(str(file), "profile") is None
