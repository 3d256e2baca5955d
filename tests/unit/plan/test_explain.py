"""Every question about a plan has an answer that says who asked for what."""

from __future__ import annotations

import json

import pytest

from redpak.errors import NotFound, Usage
from redpak.origin import DEFAULT, Origin
from redpak.plan import answer
from redpak.plan.answer import Explanation, Located
from redpak.plan.explain import explain
from redpak.plan.model import (
    Capability,
    Choice,
    Limit,
    Member,
    Namespace,
    Plan,
    Rival,
    Rlimit,
    SetVar,
    UnsetVar,
)
from redpak.plan.ops import Bind, Dev, Dir, File, Lock, Symlink, Tmpfs
from redpak.plan.tidy import tidy
from redpak.text import Run, text


def at(line: int, file: str = "/n/etc/redpak.yaml") -> Origin:
    return Origin(file=file, line=line)


PLAN = tidy(
    Plan(
        node="/n/m",
        profile="sealed",
        family=(Member(alias="n", name="", path="/n"), Member(alias="m", name="", path="/n/m")),
        mounts=(
            Bind(dst="/usr", src=text("/usr"), mode="Restricted", because=at(1)),
            Bind(dst="/usr/share/app", src=text("/n/share"), readonly=False, beneath="/n", because=at(2)),
            Bind(dst="/etc/hosts", src=text("/etc/hosts"), kind="file", because=at(3)),
            Symlink(dst="/bin", target="usr/bin", because=at(4)),
            Symlink(dst="/loop", target="/loop/x", because=at(5)),
            Symlink(dst="/a", target="b", because=at(5)),
            Symlink(dst="/b", target="a", because=at(5)),
            Dir(dst="/var", because=at(6)),
            Dir(dst="/var/lib/x", because=at(7)),
            Dev(dst="/dev", because=at(8)),
            File(dst="/etc/passwd", content=text(Run(command="getent passwd me")), because=at(9)),
            Lock(dst="/etc/hosts", because=at(10)),
            Tmpfs(dst="/srv/made/tmp", because=at(11)),
            Bind(dst="/computed", src=text("/x-", Run(command="date")), because=at(12)),
        ),
        environ=(
            SetVar(key="PATH", value=text("/bin:/opt/bin:rel"), because=at(20)),
            SetVar(key="LANG", value=text(), inherited=True, because=at(21)),
            UnsetVar(key="GONE", because=at(22)),
            SetVar(key="NOW", value=text(Run(command="date")), because=at(23)),
        ),
        namespaces=(
            Namespace(kind="net", mode="host", because=at(30)),
            Namespace(kind="ipc", mode="join", path="/run/ipc", because=at(31)),
        ),
        capabilities=(Capability(name="CAP_NET_ADMIN", because=at(40)),),
        rlimits=(Rlimit(name="nofile", soft=64, hard=-1, because=at(50)),),
        limits=(
            Limit(node="/n", key="memory.max", value="1G", because=at(51)),
            Limit(node="/n/m", key="memory.max", value="512M", because=at(52)),
            Limit(node="/n", key="pids.max", value="50", because=at(53)),
        ),
        choices=(
            Choice(name="hostname", value="h", because=at(60)),
            Choice(name="umask", value=0o27, because=at(61)),
        ),
        uid=1,
        gid=1,
        rivals=(
            Rival(thing="mount /usr", kind="seals", asked="Restricted", because=at(1)),
            Rival(thing="mount /usr", kind="lost", asked="Public /m", why="n is older", because=at(70)),
            Rival(thing="variable PATH", kind="lost", asked="/x", because=at(71)),
            Rival(thing="variable WANTED", kind="lost", asked="Remove", because=at(72)),
            Rival(thing="namespace net", kind="lost", asked="disabled", because=at(73)),
            Rival(thing="capability sys_time", kind="seals", asked="add: 0", because=at(74)),
            Rival(thing="limit mem.max", kind="lost", asked="2G", because=at(75)),
            Rival(thing="limit nofile", kind="lost", asked="99", because=at(76)),
            Rival(thing="setting hostname", kind="lost", asked="other", because=at(77)),
            Rival(thing="setting set-user", kind="lost", asked="root", because=at(78)),
        ),
    )
)


def ask(thing: str, located: Located | None = None) -> Explanation:
    return explain(
        PLAN, thing, located, known={"capability": ("CAP_CHOWN", "CAP_SYS_TIME"), "limit": ("io.max",)}
    )


def facts(told: Explanation, label: str) -> list[str]:
    return [f"{fact.value} [{fact.because}]" for fact in told.facts if fact.label == label]


def test_a_path_beneath_a_mount_says_which_host_file_it_is_and_who_asked() -> None:
    told = ask("/usr/lib/x.so")
    assert told.answer == "the host's '/usr/lib/x.so', read-only"
    assert told.because == at(1)
    assert told.host == "/usr/lib/x.so"
    assert [rival.asked for rival in told.lost] == ["Public /m"]
    assert [rival.asked for rival in told.seals] == ["Restricted"]


def test_the_innermost_mount_counts_and_says_what_it_hides() -> None:
    told = ask("/usr/share/app/data")
    assert told.answer == "the host's '/n/share/data', writable"
    assert told.because == at(2)
    assert facts(told, "hides") == ["'/usr/share/app' of mount '/usr', if it is there [/n/etc/redpak.yaml:1]"]
    assert facts(told, "in node") == ["/n [None]"]


def test_symlinks_of_the_plan_are_followed() -> None:
    told = ask("/bin/ls")
    assert told.answer == "the host's '/usr/bin/ls', read-only"
    assert facts(told, "through") == ["symlink '/bin' to 'usr/bin' [/n/etc/redpak.yaml:4]"]
    assert ask("/bin").answer == "a symlink to 'usr/bin'"


@pytest.mark.parametrize("path", ["/a/x", "/loop/x/y"])
def test_symlinks_in_a_circle_end(path: str) -> None:
    assert ask(path).answer == "not there: too many levels of symbolic links"


def test_what_nothing_shows_names_the_nearest_mounts() -> None:
    told = ask("/etc/shadow")
    assert told.answer == "not there: no mount shows it"
    assert told.because is None
    assert [line.partition(":")[0] for line in facts(told, "nearest mount")] == [
        "/etc/hosts",
        "/etc/hosts",
        "/etc/passwd",
    ]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/etc", "a directory of the sandbox itself, made for the mount points below it"),
        ("/", "a directory of the sandbox itself, made for the mount points below it"),
        ("/var", "an empty directory of this sandbox alone"),
        ("/var/lib", "a directory made for the mount points below it, in the directory '/var'"),
        ("/var/log", "not there when the program starts: the directory '/var' is empty"),
        ("/etc/hosts/x", "not there: it lies beneath the file '/etc/hosts'"),
        ("/etc/passwd/x", "not there: it lies beneath the file '/etc/passwd'"),
        ("/etc/passwd", "a new file; its content: will run: getent passwd me"),
        ("/dev/null", "what the kernel has there, in the device directory '/dev'"),
        ("/computed/y", "the host's '/x-$(date)/y', read-only"),
        ("path:/etc/../usr//lib/", "the host's '/usr/lib', read-only"),
        ("//usr", "the host's '/usr', read-only"),
    ],
)
def test_every_place_has_an_answer(path: str, says: str) -> None:
    assert ask(path).answer == says


def test_a_lock_is_mentioned() -> None:
    assert facts(ask("/etc/hosts"), "locked") == ["/etc/hosts [/n/etc/redpak.yaml:10]"]


def test_what_the_caller_saw_on_the_host_is_told() -> None:
    told = ask("/usr/bin/python3", Located(real="/usr/share/app/py", host="/n/share/py", what="a file"))
    assert told.answer == "the host's '/n/share/py', writable"
    assert facts(told, "leads to") == ["/usr/share/app/py, following symlinks [None]"]
    assert facts(told, "on the host") == ["'/n/share/py' is a file [None]"]


def test_asking_for_a_symlink_itself_names_it_and_what_it_leads_to() -> None:
    told = ask("/bin", Located(real="/usr/bin", host="/usr/bin", what="a directory"))
    assert told.answer == "the host's '/usr/bin', read-only"
    assert facts(told, "through") == ["symlink '/bin' to 'usr/bin' [/n/etc/redpak.yaml:4]"]


def test_a_path_list_is_taken_apart() -> None:
    told = ask("$PATH")
    assert told.answer == "'/bin:/opt/bin:rel'"
    assert facts(told, "element") == [
        "/bin: a symlink to 'usr/bin' [/n/etc/redpak.yaml:4]",
        "/opt/bin: not there: no mount shows it [None]",
        "'rel': no absolute path [None]",
    ]
    assert [rival.asked for rival in told.lost] == ["/x"]


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        ("LANG", "the caller's value at start, empty where the caller has none"),
        ("${GONE}", "removed"),
        ("variable:NOW", "will run: date"),
        ("WANTED", "not set: nobody asks for it, and the caller's environment is not passed on"),
        ("$NOBODY", "not set: nobody asks for it, and the caller's environment is not passed on"),
    ],
)
def test_every_variable_has_an_answer(thing: str, says: str) -> None:
    assert ask(thing).answer == says


def test_a_variable_passes_where_the_environment_is_inherited() -> None:
    plan = PLAN.but(choices=(Choice(name="inherit-env", value=True, because=at(9)),))
    told = explain(plan, "$TERM")
    assert "the caller's value passes" in told.answer
    assert told.because == at(9)


def test_a_namespace_says_what_is_shared_and_who_lost() -> None:
    told = ask("net")
    assert told.answer.startswith("the host's: network interfaces")
    assert (told.because, [rival.asked for rival in told.lost]) == (at(30), ["disabled"])
    assert ask("share_net") == told
    assert ask("ipc").answer.startswith("the one at '/run/ipc'")
    assert ask("uts").answer == "its own: the host name is not the host's"
    assert ask("pid").because == DEFAULT


def test_a_capability_is_kept_or_dropped_and_may_be_sealed() -> None:
    assert (ask("cap_net_admin").answer, ask("NET_ADMIN").because) == ("kept", at(40))
    told = ask("CAP_SYS_TIME")
    assert told.answer == "dropped: nobody in the family keeps it"
    assert [rival.because for rival in told.seals] == [at(74)]
    everything = PLAN.but(capabilities=(Capability(name="ALL", because=at(41)),))
    assert explain(everything, "CAP_X", known={"capability": ("CAP_X",)}).because == at(41)


def test_limits_of_both_kinds_are_explained() -> None:
    told = ask("memory.max")
    assert told.answer == "a control group limit of 2 nodes, one group in the other: the tightest binds"
    assert facts(told, "/n/m") == ["512M [/n/etc/redpak.yaml:52]"]
    assert [rival.asked for rival in told.lost] == ["2G"]
    assert ask("mem.max") == told
    assert ask("pids.max").answer == "a control group limit: 50 for '/n' and all beneath it"
    assert ask("io.max").answer == "not limited: nobody in the family limits it"
    told = ask("nofile")
    assert told.answer == "a resource limit of each process: 64 (soft), unlimited (hard)"
    assert [rival.asked for rival in told.lost] == ["99"]


def test_settings_are_explained_by_either_name() -> None:
    told = ask("hostname")
    assert (told.answer, told.because, [r.asked for r in told.lost]) == ("h", at(60), ["other"])
    assert ask("umask").answer == "0027"
    told = ask("set-user")
    assert (told.answer, told.because, [r.asked for r in told.lost]) == ("not set", DEFAULT, ["root"])


def test_a_name_that_may_mean_two_things_is_asked_back() -> None:
    with pytest.raises(Usage) as caught:
        ask("user")
    assert caught.value.hint == "Write 'namespace:user' or 'setting:user'."
    assert ask("namespace:user").thing == "namespace user"
    assert ask("setting:user").thing == "setting user"


@pytest.mark.parametrize(
    ("thing", "hint"),
    [
        ("PAHT", "Did you mean 'PATH'?"),
        ("hostnam", "Did you mean 'hostname'?"),
        ("namespace:ned", "Did you mean 'net'?"),
        ("etcpasswdfile", "Write '/etcpasswdfile' for a path, '$etcpasswdfile' for a variable"),
    ],
)
def test_an_unknown_thing_is_not_found_with_a_hint(thing: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        ask(thing)
    assert hint in caught.value.hint


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(Usage):
        ask("path:etc")


def test_an_answer_reads_well_and_is_data() -> None:
    told = ask("hostname")
    assert answer.lines(told) == [
        "setting hostname: h   [/n/etc/redpak.yaml:60]",
        "  meaning  host name inside",
        "  lost     other   [/n/etc/redpak.yaml:77]",
    ]
    shown = json.loads(json.dumps(answer.document(told)))
    assert shown["origin"] == {"file": "/n/etc/redpak.yaml", "line": 60}
    assert shown["lost"][0]["asked"] == "other"


def test_every_name_in_the_plan_can_be_explained() -> None:
    things = [op.dst for op in PLAN.mounts]
    things += [f"variable:{entry.key}" for entry in PLAN.environ]
    things += [f"namespace:{namespace.kind}" for namespace in PLAN.namespaces]
    things += [f"setting:{choice.name}" for choice in PLAN.choices]
    for thing in things:
        assert answer.lines(ask(thing))
