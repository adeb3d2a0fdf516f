"""Which numbers were seen, kept as runs of consecutive ones: however many there are, it stays small."""

from bisect import bisect_right


class Seen:
    """Numbers that were seen; `runs` are the first and the last of each run, ascending."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []

    def add(self, number: int) -> bool:
        """Note `number`; False when it was seen before."""
        runs = self.runs
        at = bisect_right(runs, number, key=_first)
        if at and number <= runs[at - 1][1]:
            return False
        last = number
        if at < len(runs) and runs[at][0] == number + 1:
            last = runs.pop(at)[1]
        if at and runs[at - 1][1] == number - 1:
            runs[at - 1][1] = last
        else:
            runs.insert(at, [number, last])
        return True

    def holds(self, number: int) -> bool:
        """Whether `number` was seen."""
        at = bisect_right(self.runs, number, key=_first)
        return at > 0 and number <= self.runs[at - 1][1]


def _first(run: list[int]) -> int:
    return run[0]
