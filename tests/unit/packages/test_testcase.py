from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from redpak.cli import solve
from redpak.cli.options import parse as parse_words
from redpak.cli.options import verb_of
from redpak.packages import testcase
from redpak.packages.goal import Policy
from redpak.packages.testresult import Answer, BadCase
from tests.universes import Worlds

BASE = """\
# a comment
repo system 0 testtags <inline>
#>=Pkg: A 1 1 noarch
#>=Pkg: B 1 1 noarch
#>=Req: A = 1-1
repo available 0.5 testtags <inline>
#>=Pkg: A 2 1 noarch
#>=Pkg: B 2 1 noarch
#>+Req:
#>A = 2-1
#>/usr/bin/tool
#>-Req:
#>=Pkg: T 1:1 - noarch
#>=Fls: /usr/bin/tool
system i686 rpm system
"""


def write(folder: Path, text: str, name: str = "case.t") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def answers(folder: Path, text: str) -> list[Answer]:
    return testcase.replay(write(folder, text))


def test_an_upgrade_is_replayed(tmp_path: Path) -> None:
    text = BASE + "job update all packages\nresult transaction,problems <inline>\n"
    text += "#>upgrade B-1-1.noarch@system B-2-1.noarch@available\n#>install T-1:1.noarch@available\n"
    text += "#>upgrade A-1-1.noarch@system A-2-1.noarch@available\n"
    (answer,) = answers(tmp_path, text)
    assert answer.difference == ()


def test_problems_are_told_with_the_librarys_own_numbers_of_them(tmp_path: Path) -> None:
    text = BASE + "job install name nosuch\njob erase name A\njob lock name B\nresult problems <inline>\n"
    (answer,) = answers(tmp_path, text)
    kinds = {line.split()[2] for line in answer.result}
    assert kinds == {"info", "solution"}
    assert any(line.endswith("deljob lock name B") for line in answer.result)
    assert answer.difference == tuple(f"+{line}" for line in answer.result)


def test_what_differs_is_shown_with_its_sign(tmp_path: Path) -> None:
    text = BASE + "job erase name B\nresult transaction <inline>\n#>erase A-1-1.noarch@system\n"
    (answer,) = answers(tmp_path, text)
    assert answer.difference == ("-erase A-1-1.noarch@system", "+erase B-1-1.noarch@system")


def test_every_kind_of_job_is_read(tmp_path: Path) -> None:
    jobs = [
        "job install pkg T-1:1.noarch@available [weak,forcebest]", "job update name A = 2-1",
        "job erase provides B [cleandeps]", "job lock oneof A-1-1.noarch@system B-1-1.noarch@system",
        "job distupgrade repo available", "job verify all packages", "job favor name A . noarch",
        "job noop name A & B", "job userinstalled name (A . noarch) = 1-1", "job blacklist provides x <IF> y",
    ]  # fmt: skip
    (answer,) = answers(tmp_path, BASE + "\n".join(jobs) + "\nresult jobs <inline>\n")
    assert sorted(answer.result) == sorted(jobs)


def test_selections_add_to_and_take_from_each_other(tmp_path: Path) -> None:
    text = BASE + "job install selection [AB] name,glob\njob erase selection B name,subtract\n"
    text += "result jobs <inline>\n#>job erase name A [noautoset]\n"
    (answer,) = answers(tmp_path, text)
    assert [line.split(" [")[0] for line in answer.result] == ["job erase name A"]
    text = (
        BASE
        + "job install selection_matchdeps solvable:requires /usr/bin/* glob,flat\nresult jobs <inline>\n"
    )
    assert answers(tmp_path, text)[0].result == ("job install pkg B-2-1.noarch@available [noautoset]",)


def test_each_next_job_is_a_question_of_its_own(tmp_path: Path) -> None:
    text = BASE + "job erase name B\nresult transaction <inline>\n#>erase B-1-1.noarch@system\nnextjob\n"
    text += "job erase name A\nsolverflags allowuninstall\nresult transaction <inline>\n"
    text += "#>erase A-1-1.noarch@system\n#>erase B-1-1.noarch@system\n"
    text += "nextjob reusesolver\nresult transaction <inline>\n"
    assert [answer.difference for answer in answers(tmp_path, text)] == [(), (), ()]


def test_namespaces_are_provided_by_the_system_or_by_packages(tmp_path: Path) -> None:
    text = (
        "repo r 0 testtags <inline>\n#>=Pkg: A 1 1 noarch\n#>=Req: namespace:lang(de)\n#>=Pkg: D 1 1 noarch\n"
    )
    text += "system i686 rpm\n"
    job = "job install name A\nresult transaction <inline>\n#>install A-1-1.noarch@r\n"
    assert answers(tmp_path, text + "namespace namespace:lang(de) @SYSTEM\n" + job)[0].difference == ()
    both = answers(tmp_path, text + "namespace namespace:lang(de) D-1-1.noarch@r\n" + job)
    assert both[0].result == ("install A-1-1.noarch@r", "install D-1-1.noarch@r")
    assert answers(tmp_path, text + job)[0].result == ()
    once = text + "namespace namespace:lang(de) @SYSTEM\n" + job + "nextjob\n" + job
    assert [answer.result for answer in answers(tmp_path, once)] == [("install A-1-1.noarch@r",), ()]


def test_disabled_packages_are_not_chosen(tmp_path: Path) -> None:
    text = BASE + "disable pkg T-1:1.noarch@available\njob update all packages\n"
    assert answers(tmp_path, text)[0].result == ()


def test_vendors_of_a_class_may_replace_each_other(tmp_path: Path) -> None:
    text = "repo system 0 testtags <inline>\n#>=Pkg: A 1 1 noarch\n#>=Vnd: one\n"
    text += "repo r 0 testtags <inline>\n#>=Pkg: A 2 1 noarch\n#>=Vnd: two\nsystem i686 rpm system\n"
    job = "job update all packages\n"
    assert answers(tmp_path, text + job)[0].result == ()
    assert len(answers(tmp_path, text + "vendorclass one two\n" + job)[0].result) == 1


def test_repositories_and_results_lie_beside_the_case(tmp_path: Path) -> None:
    (tmp_path / "r.repo.gz").write_bytes(
        gzip.compress(b"=Ver: 3.0\n=Pkg: A 1 1 noarch\n=Prv: odd\\20name = 1\n")
    )
    (tmp_path / "want").write_text("install A-1-1.noarch@r\n")
    text = (
        "repo r 0 testtags r.repo.gz\nrepo none -1 empty\nsystem i686 * \njob install provides odd\\20name\n"
    )
    (answer,) = answers(tmp_path, text + "result transaction want\n")
    assert answer.difference == ()


def test_versions_are_compared(tmp_path: Path) -> None:
    text = BASE + "evrcmp 1.0~rc1 1.0\nresult jobs <inline>\n#>job noop provides 1.0~rc1 < 1.0\n"
    assert answers(tmp_path, text)[0].difference == ()


def test_what_the_library_does_not_tell_is_named(tmp_path: Path) -> None:
    text = (
        BASE
        + "job erase name B\nresult transaction,rules <inline>\n#>erase B-1-1.noarch@system\n#>rule pkg x y\n"
    )
    (answer,) = answers(tmp_path, text)
    assert (answer.unknown, answer.difference) == (("rules",), ())


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = (
        BASE
        + "dance\njob swim name A\njob install pkg nosuch-1-1.noarch@system\nsolverflags fly\nsystem x deb\n"
    )
    with pytest.raises(BadCase) as error:
        answers(tmp_path, text)
    said = error.value.faults
    assert len(said) == 5
    assert "unknown command 'dance'" in said[0] and "line 16" in said[0]


def test_the_command_exits_with_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(
        tmp_path,
        BASE + "job erase name B\nresult transaction <inline>\n#>erase B-1-1.noarch@system\n",
        "good.t",
    )
    other = write(tmp_path, BASE + "job erase name B\nresult transaction <inline>\n", "other.t")
    bad = write(tmp_path, "dance\n", "bad.t")
    verb = verb_of("solve", solve)

    def run(*words: str) -> tuple[int, str]:
        code = solve.main(parse_words(verb, words))
        return code, capsys.readouterr().out

    assert run(good) == (0, "")
    assert run(other) == (1, "+erase B-1-1.noarch@system\n")
    assert run(good, other) == (1, f"{other}:\n+erase B-1-1.noarch@system\n")
    assert run("--print", good) == (0, "erase B-1-1.noarch@system\n")
    assert run(bad, other)[0] == 2
    assert run(str(tmp_path / "nosuch.t"))[0] == 2
    assert not [name for name in os.listdir(tmp_path) if name.startswith("redpak-solve")]


def test_a_question_that_goal_asked_can_be_replayed(tmp_path: Path) -> None:
    worlds = Worlds(tmp_path)
    worlds.repo("main", worlds.rpm("app", requires=["lib", "(docs if other)"]), worlds.rpm("lib"))
    goal = worlds.goal(worlds.rpm("old"), policy=Policy(debug_solver=str(tmp_path / "debug")))
    goal.install("app")
    goal.resolve()
    (answer,) = testcase.replay(str(tmp_path / "debug/testcase.t"))
    assert answer.difference == ()
    assert answer.result == ("install app-1-1.x86_64@main", "install lib-1-1.x86_64@main")


def test_what_is_disabled_after_the_flags_is_not_there_and_what_is_not_there_need_not_be(
    tmp_path: Path,
) -> None:
    text = (
        BASE
        + "solverflags allowuninstall\ndisable pkg B-2-1.noarch@available\ndisable pkg nosuch-1-1.noarch\n"
    )
    (answer,) = answers(tmp_path, text + "job update name B\nresult transaction <inline>\n")
    assert answer.difference == ()
    (answer,) = answers(tmp_path, BASE + "job update name B\nresult transaction <inline>\n")
    assert "+upgrade B-1-1.noarch@system B-2-1.noarch@available" in answer.difference


def test_each_question_begins_with_the_formats_own_flags(tmp_path: Path) -> None:
    text = BASE.replace("#>=Pkg: A 2 1 noarch\n", "#>=Pkg: A 2 1 noarch\n#>=Obs: B\n")
    question = "job multiversion name A\njob install name A = 2\nresult transaction <inline>\n"
    kept, explicit = answers(
        tmp_path, f"{text}{question}#>install A-2-1.noarch@available\n"
        f"nextjob\nsolverflags keepexplicitobsoletes\n{question}#>erase B-1-1.noarch@system\n"
        "#>install A-2-1.noarch@available\n"
    )  # fmt: skip
    assert kept.difference == explicit.difference == ()


def test_a_package_that_provides_a_language_comes_when_it_is_wanted(tmp_path: Path) -> None:
    text = """\
repo system 0 testtags <inline>
#>=Ver: 2
#>=Pkg: app 1 1 noarch
repo more 0 testtags <inline>
#>=Ver: 2
#>=Pkg: app-de 1 1 noarch
#>=Prv: locale(app:de;at)
#>=Pkg: app-fr 1 1 noarch
#>=Prv: locale(app:fr)
#>=Pkg: other-de 1 1 noarch
#>=Prv: locale(other:de)
#>=Pkg: words-de 1 1 noarch
#>=Prv: locale(de)
#>=Pkg: too few words
system i686 rpm system
namespace namespace:language(de) @SYSTEM
solverflags addalreadyrecommended
result transaction <inline>
#>install app-de-1-1.noarch@more
#>install words-de-1-1.noarch@more
"""
    text = text.replace("too few words", "three words only")
    (answer,) = answers(tmp_path, text)
    assert answer.difference == ()
    asked = text.replace(
        "solverflags addalreadyrecommended", "job install provides namespace:language(<NULL>)"
    )
    (answer,) = answers(tmp_path, asked)
    assert answer.difference == ()
