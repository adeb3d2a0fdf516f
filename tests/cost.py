"""What a call costs, for tests that compare two costs and never a cost with a clock."""

import time
from collections.abc import Callable


def least(work: Callable[[], object]) -> float:
    """Seconds of processor time: the least of three, which is the one that others disturbed least."""
    costs = []
    for _ in range(3):
        started = time.process_time()
        work()
        costs.append(time.process_time() - started)
    return min(costs)
