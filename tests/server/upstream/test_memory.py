"""What a language model has answered before: found by who asks the very same, bounded, and forgotten in time."""

from server.upstream.completions import Message
from server.upstream.memory import ENTRY_BYTES, Memory


def _told(question: str) -> list[Message]:
    return [{"role": "system", "content": "Answer."}, {"role": "user", "content": question}]


def test_the_very_same_is_found_and_anything_else_is_not() -> None:
    memory = Memory(10_000, 60)
    memory.keep(_told("a"), "Yes.")
    assert memory.recall(_told("a")) == "Yes."
    assert memory.recall(_told("b")) is None
    assert memory.recall(_told("a")[1:]) is None
    assert (memory.hits, memory.misses) == (1, 2)


def test_an_answer_is_forgotten_in_time() -> None:
    now = 0.0
    memory = Memory(10_000, 60, clock=lambda: now)
    memory.keep(_told("a"), "Yes.")
    now = 59.0
    assert memory.recall(_told("a")) == "Yes."
    now = 60.0
    assert memory.recall(_told("a")) is None


def test_it_never_grows_beyond_its_size_and_keeps_what_was_asked_for_last() -> None:
    memory = Memory(3 * (ENTRY_BYTES + 100), 60)
    for question in "abc":
        memory.keep(_told(question), "x" * 100)
    memory.recall(_told("a"))
    memory.keep(_told("d"), "x" * 100)
    assert [question for question in "abcd" if memory.recall(_told(question))] == ["a", "c", "d"]
    memory.keep(_told("e"), "x" * 10_000)  # larger than all of it
    assert [question for question in "abcde" if memory.recall(_told(question))] == ["a", "c", "d"]


def test_without_room_or_time_it_remembers_nothing_and_counts_nothing() -> None:
    for memory in (Memory(0, 60), Memory(10_000, 0)):
        memory.keep(_told("a"), "Yes.")
        assert memory.recall(_told("a")) is None
        assert (memory.hits, memory.misses) == (0, 0)
