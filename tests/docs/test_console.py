"""The harness itself: it goes red when it should."""

import os
from pathlib import Path

import pytest

from tests.docs.console import SECONDS, Stale, check, matches, steps

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def run(text: str, folder: Path) -> None:
    check(text, folder, ENVIRONMENT, address="http://127.0.0.1:4711")


def test_output_that_is_as_said_passes(tmp_path: Path) -> None:
    run("$ echo one; echo two\none\ntwo\n$ printf three\nthree\n$ true\n", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "$ echo one\ntwo\n",
        "$ echo one\n",
        "$ true\none\n",
        "$ echo one; echo two\none\n",
        "$ echo one; echo two\n...\none\n",
        "$ false\n",
        "$ echo one; false\none\n",
        "$ exit 0\n$ echo one\none\n",
        "$ no-such-program\n...\n",
        "one\n",
    ],
)
def test_output_that_is_not_as_said_and_commands_that_fail_are_stale(text: str, tmp_path: Path) -> None:
    with pytest.raises(Stale):
        run(text, tmp_path)


def test_a_command_that_does_not_end_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SECONDS > 1
    monkeypatch.setattr("tests.docs.console.SECONDS", 1)
    with pytest.raises(Stale, match="did not end"):
        run("$ sleep 30\n", tmp_path)


def test_a_variable_of_one_command_is_known_to_the_next(tmp_path: Path) -> None:
    run("$ ID=$(echo seven)\n$ echo $ID\nseven\n", tmp_path)


def test_a_backslash_continues_a_command() -> None:
    assert steps("$ echo a \\\n    b\na b\n$ true") == [("echo a \\\n    b", ["a b"]), ("true", [])]


def test_commands_see_a_terminal_without_colours(tmp_path: Path) -> None:
    run("$ test -t 1 && printf '\\033[1mbold\\033[0m\\n'\nbold\n", tmp_path)


def test_the_written_address_is_the_real_one_in_commands_and_the_other_way_round_in_output(
    tmp_path: Path,
) -> None:
    run("$ echo http://localhost:8000/x | tee seen\nhttp://localhost:8000/x\n", tmp_path)
    assert (tmp_path / "seen").read_text() == "http://127.0.0.1:4711/x\n"


@pytest.mark.parametrize(
    ("expected", "output"),
    [
        ("a...c", "abc\n"),
        ("...", ""),
        ("...", "a\nb\n"),
        ("a\n...\nd", "a\nb\nc\nd\n"),
        ("a\n...", "a\n"),
        ("a  ", "a\n"),
        ("{...}", "{1}   \n"),
        ("a\n", "a\n\n"),
        ("a\n\nb", "a\n\nb\n"),
    ],
)
def test_three_dots_stand_for_anything(expected: str, output: str) -> None:
    assert matches(expected, output)


@pytest.mark.parametrize(
    ("expected", "output"), [("a...c", "a\nc\n"), ("a.c", "abc\n"), ("a\n...\nd", "a\nd\ne\n"), ("", "a\n")]
)
def test_three_dots_stand_for_nothing_else(expected: str, output: str) -> None:
    assert not matches(expected, output)
