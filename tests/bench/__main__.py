"""All measurements, as tables for people and as `var/bench.json` for programs.

make bench        or        python -m tests.bench [startup] [question] [meaning] [emit] [stack] [windows] [trace] [limits] [visits]
"""

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench import emit, limits, meaning, question, stack, startup, trace, visits, windows

REPORT = Path("var/bench.json")
BENCHES = {
    "startup": startup,
    "question": question,
    "meaning": meaning,
    "emit": emit,
    "stack": stack,
    "windows": windows,
    "trace": trace,
    "limits": limits,
    "visits": visits,
}


def main() -> int:
    """Run the named benches, or all."""
    wanted = sys.argv[1:] or list(BENCHES)
    if unknown := set(wanted) - set(BENCHES):
        sys.exit(f"There is no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}.")
    figures: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    for name in wanted:
        bench = BENCHES[name]
        print(f"\n{(bench.__doc__ or name).splitlines()[0]}\n", flush=True)
        figures[name] = bench.main()
        # After each, so that one that breaks leaves the figures of those before.
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\nReport: {REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
