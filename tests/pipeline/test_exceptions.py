"""An exception as fields, and which bug it is."""

import asyncio
import json

import pytest

from pipeline.exceptions import MAX_CAUSES, MAX_FRAMES, describe, fingerprint
from pipeline.record import encode


def caught(function: object, *arguments: object) -> Exception:
    with pytest.raises(Exception) as info:  # noqa: PT011
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


def two(first: Exception, second: Exception) -> Exception:
    """A group of these, raised; `first` has failed before."""
    members = []
    for error in (first, second):
        try:
            raise error  # noqa: TRY301 - that it is raised here is the point
        except Exception as raised:
            members.append(raised)

    def groups() -> None:
        raise ExceptionGroup("two", members)

    return caught(groups)


def types(error: BaseException) -> list[str]:
    return [cause["exception_type"] for cause in describe(error)["causes"]]


def test_what_a_group_holds_is_told_each_before_its_own_causes() -> None:
    group = two(caught(wraps, "x"), ExceptionGroup("inner", [OSError("a"), ValueError("b")]))
    assert types(group) == ["RuntimeError", "KeyError", "ExceptionGroup", "OSError", "ValueError"]
    assert types(ExceptionGroup("two", [KeyError(), OSError()])) == ["KeyError", "OSError"]


async def test_what_a_task_group_holds_is_told() -> None:
    async def task() -> None:
        fails("x")

    with pytest.raises(ExceptionGroup) as info:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(task())
    (cause,) = describe(info.value)["causes"]
    assert (cause["exception_type"], cause["function"]) == ("KeyError", "fails")


def test_the_order_and_the_number_of_what_failed_together_do_not_make_another_group() -> None:
    one = fingerprint(two(caught(wraps, "x"), caught(recurses, 2)))
    assert one == fingerprint(two(caught(recurses, 2), caught(wraps, "y")))
    assert one != fingerprint(two(caught(wraps, "x"), caught(wraps, "y")))
    assert fingerprint(two(KeyError(1), KeyError(2))) == fingerprint(two(KeyError(3), KeyError(3)))


def test_a_cause_tells_where_in_our_code_it_came_from() -> None:
    (cause,) = describe(caught(wraps, "x"))["causes"]
    assert (cause["module"], cause["function"]) == (fails.__module__, "fails")
    assert cause["line"] == fails.__code__.co_firstlineno + 1


def parses(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise RuntimeError from error


def test_a_cause_from_a_library_tells_where_we_called_it() -> None:
    (cause,) = describe(caught(parses, "{"))["causes"]
    assert cause["function"] == "parses"


def test_a_cause_that_was_never_raised_came_from_nowhere() -> None:
    group = ExceptionGroup("one", [KeyError("x")])
    assert describe(group)["causes"] == [{"exception_type": "KeyError", "exception_message": "'x'"}]


def test_what_has_no_file_is_not_ours() -> None:
    space: dict[str, object] = {"__name__": "somewhere"}
    exec(compile("def f():\n    raise ValueError\n", "<frozen somewhere>", "exec"), space)
    assert [frame["ours"] for frame in describe(caught(space["f"]))["frames"]] == [True, False]


@pytest.mark.parametrize("before", [0, 100, 1_480, 1_990, 2_990, 15_980])
def test_a_secret_where_a_message_is_cut_does_not_survive_by_half(before: int) -> None:
    text = "x" * before + " postgresql://user:hunter2hunter2hunter2@db/chat is gone"
    for told in (describe(ValueError(text)), describe(two(ValueError(text), OSError(text)))):
        assert "hunter2" not in str(told)


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


@pytest.mark.parametrize("unit", ["long ", "é ", "\U0001f600 "])
@pytest.mark.parametrize("members", [0, 1, 2, 100])
def test_long_messages_of_many_causes_leave_room_for_the_frames(unit: str, members: int) -> None:
    def falls(depth: int) -> None:
        if depth == 0:
            errors = [caught(wraps, unit * 5_000) for _ in range(members)]
            raise ExceptionGroup(unit * 5_000, errors) if errors else ValueError(unit * 5_000)
        falls(depth - 1)

    told = describe(caught(falls, 100))
    assert len(told["causes"]) == min(MAX_CAUSES, 2 * members)
    assert len(told["frames"]) == MAX_FRAMES
    assert b"truncated" not in encode({"event": "e", **told})


def test_a_group_of_many_is_told_in_bounded_time() -> None:
    group = ExceptionGroup("many", [ExceptionGroup("more", [KeyError(n) for n in range(1_000)])] * 1_000)
    assert len(describe(group)["causes"]) == MAX_CAUSES


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_without_words_is_still_told() -> None:
    assert "cannot be shown" in describe(Mute())["exception_message"]
