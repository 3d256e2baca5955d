"""What a launch helper was told is read back from its command line."""

from __future__ import annotations

from redpak.state.found import told

HELPER = ["/p/redpak-launch", "-f", "1.2.3", "/etc/x", "-i", "0:0"]
EXPLAIN = ["-x", "python", "-x", "run", "-x", "--why-failed", "-x", "--", "-x", "/nodes/app"]


def test_options_are_read_by_how_many_words_they_take() -> None:
    line = [
        *HELPER, *EXPLAIN, "-o", "/usr", "-r", "/filter", "-d", "a", "-c", "b", "-m", "rp_2", "-n", "-s", "-l",
        "7:1:2", "-g", "/gen/8", "-a", "--setenv", "-a", "GIVEN", "-v", "rp_1", "--", "/usr/bin/bwrap", "4",
        "--setenv", "A", "-- odd", "--dir", "prog", "--", "-n",
    ]  # fmt: skip
    said = told(line, ["rp_1=hidden = value", "PATH=/bin"])
    assert said is not None
    assert said.words == ("--setenv", "A", "-- odd", "--dir", "--setenv", "GIVEN", "hidden = value")
    assert said.program == ("prog", "--", "-n")
    assert said.reads == (("o", "/usr"), ("r", "/filter"), ("d", "a"))
    assert (said.node, said.leases, said.rlimits) == ("/nodes/app", ("/gen/8",), ("7:1:2",))
    assert (said.scope, said.pidns, said.explained) == (True, True, True)


def test_redwraps_way_of_naming_the_node_is_known() -> None:
    line = ["h", "-x", "python", "-x", "--redpath", "-x", "/n", "-x", "--", "--", "bwrap", "0", "true"]
    said = told(line, [])
    assert said is not None
    assert said.node == "/n"


def test_what_is_no_command_line_of_the_helper_is_nothing() -> None:
    for line in ([], ["h"], ["h", "x", "--"], ["h", "-o"], ["h", "--", "bwrap"], ["h", "--", "b", "9", "x"]):
        assert told(line, []) is None


def test_a_command_of_a_configuration_is_no_launch_of_the_users() -> None:
    said = told(["h", "-r", "/f", "-n", "--", "bwrap", "1", "--die-with-parent", "/bin/bash", "-r"], [])
    assert said is not None
    assert not said.explained
