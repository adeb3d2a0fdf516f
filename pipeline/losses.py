"""What the ring could not take, counted where a killed process leaves it behind: in words of the ring's file."""

from typing import Any

from .catalogue import LEVELS, Event, Field, declare
from .log import DURABLE, OWN

declare(
    [
        Event(
            "events_dropped",
            "WARNING",
            "There was no room for some events. They are missing from the log; figures count them all the same.",
            {
                "from_seq": Field("the first that was dropped"),
                "to_seq": Field("the last that was dropped; those between that are in the log were not"),
                "count": Field("how many were dropped"),
                "by_level": Field("how many of each level"),
                "of_boot": Field(
                    "the start whose events they were, when that was killed before it could say so"
                ),
            },
            always=True,
        )
    ]
)

RANKS = (*LEVELS.values(), DURABLE, OWN)
_NAMES = (*LEVELS, "INFO", "WARNING")
_FROM, _TO, _FIRST = range(3)


class Losses:
    """Losses since they were last told. The record of them may itself find no room: only `forget` what was taken.

    Calls come one at a time, under the log's lock.
    """

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._told = words.tolist()

    def add(self, rank: int, seq: int) -> None:
        """One more, of that rank."""
        words = self._words
        words[_FROM] = min(words[_FROM] or seq, seq)
        words[_TO] = max(words[_TO], seq)
        words[_FIRST + RANKS.index(rank)] += 1

    def told(self) -> dict[str, Any]:
        """The fields of `events_dropped`; none when nothing was lost."""
        words = self._told = self._words.tolist()
        by_level: dict[str, int] = {}
        for name, count in zip(_NAMES, words[_FIRST:], strict=False):
            if count:
                by_level[name] = by_level.get(name, 0) + count
        if not by_level:
            return {}
        count = sum(by_level.values())
        return {"from_seq": words[_FROM], "to_seq": words[_TO], "count": count, "by_level": by_level}

    def forget(self) -> None:
        """What `told` said last is told; what was lost since then, while that was written, is still to be."""
        words = self._words
        for place in range(_FIRST, len(words)):
            words[place] -= self._told[place]
        if not any(words[_FIRST:]):
            words[_FROM] = words[_TO] = 0
