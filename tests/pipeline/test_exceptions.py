"""An exception as fields, and which bug it is."""

import json

import pytest

from pipeline.exceptions import MAX_FRAMES, describe, fingerprint
from pipeline.record import encode


def caught(function: object, *arguments: object) -> BaseException:
    with pytest.raises(BaseException) as info:  # noqa: PT011
        function(*arguments)  # type: ignore[operator]
    return info.value


def fails(value: str) -> None:
    raise KeyError(value)


def wraps(value: str) -> None:
    try:
        fails(value)
    except KeyError as error:
        raise RuntimeError(f"around {value}") from error


def handles(value: str) -> None:
    try:
        fails(value)
    except KeyError:
        raise RuntimeError(value)  # noqa: B904


def suppresses(value: str) -> None:
    try:
        fails(value)
    except KeyError:
        raise RuntimeError(value) from None


def recurses(depth: int) -> None:
    if depth == 0:
        raise ValueError("deep")
    recurses(depth - 1)


def test_the_same_bug_with_other_data_is_one_group() -> None:
    assert fingerprint(caught(fails, "ann")) == fingerprint(caught(fails, "bob"))
    assert fingerprint(caught(wraps, "ann")) == fingerprint(caught(wraps, "bob"))


def test_another_type_another_path_or_another_cause_is_another_group() -> None:
    bugs = [
        caught(fails, "x"),
        caught(wraps, "x"),
        caught(suppresses, "x"),
        caught(int, "x"),
        caught(recurses, 3),
    ]
    assert len({fingerprint(bug) for bug in bugs}) == len(bugs)


def test_the_group_does_not_depend_on_the_line() -> None:
    source = "def f():\n{}    raise ValueError\n"
    prints = set()
    for blank in ("", "\n" * 40):
        space: dict[str, object] = {"__name__": "somewhere"}
        exec(compile(source.format(blank), "/srv/app/somewhere.py", "exec"), space)
        prints.add(fingerprint(caught(space["f"])))
    assert len(prints) == 1


def test_causes_are_told_nearest_first() -> None:
    assert [cause["exception_type"] for cause in describe(caught(wraps, "x"))["causes"]] == ["KeyError"]
    assert [cause["exception_type"] for cause in describe(caught(handles, "x"))["causes"]] == ["KeyError"]
    assert describe(caught(suppresses, "x"))["causes"] == []


def test_a_cycle_of_causes_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert len(describe(first)["causes"]) == 1


def test_frames_are_named_and_ours_are_told_from_the_libraries() -> None:
    frames = describe(caught(wraps, "x"))["frames"]
    assert frames[-1]["function"] == "wraps"
    assert frames[-1]["ours"]
    library = describe(caught(json.loads, "{"))["frames"]
    assert [frame["ours"] for frame in library][1:] == [False] * (len(library) - 1)


def test_a_recursion_is_told_by_its_ends_and_fits_a_line() -> None:
    told = describe(caught(recurses, 500))
    assert len(told["frames"]) == MAX_FRAMES
    assert told["frames"][-1]["function"] == "recurses"
    assert b"truncated" not in encode({"event": "e", **told})


@pytest.mark.parametrize("before", [0, 100, 1_480, 1_990, 2_990, 15_980])
def test_a_secret_where_a_message_is_cut_does_not_survive_by_half(before: int) -> None:
    text = "x" * before + " postgresql://user:hunter2hunter2hunter2@db/chat is gone"
    assert "hunter2" not in str(describe(ValueError(text)))


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_without_words_is_still_told() -> None:
    assert "cannot be shown" in describe(Mute())["exception_message"]
