"""Send visitors to a running server and leave a report.

    python -m tests.load --url http://127.0.0.1:8000 --users 20 --seconds 30

All visitors ask from one address, so the server must not limit them: start it with RATE_LIMITS=false.
Ends with locust's table, what the server itself says of the same minutes, and the report as a page with charts.
Exits with 1 when a request failed.
"""

import argparse
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

REPORTS = Path("var/load")
SCENARIO = Path(__file__).with_name("visitors.py")


def figures(url: str) -> dict[str, Any]:
    """What `/metrics` says. Exits with the next step when there is no server."""
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as response:
            told: dict[str, Any] = json.load(response)
            return told
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        sys.exit(f"No server answers at {url} ({error}). Start one in another terminal: make run")


def is_limited(url: str) -> bool:
    """Whether it says how often one may ask; a question that is none is enough to hear that."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/chat", data=b"{}", timeout=5) as answer:
            return "RateLimit-Limit" in answer.headers
    except urllib.error.HTTPError as refused:
        with refused:
            return "RateLimit-Limit" in refused.headers


def main() -> int:
    """Run the scenario; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
    parser.add_argument(
        "--users", type=int, default=20, help="how many visitors at once (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=int, default=30, help="for how long (default: %(default)s)")
    options = parser.parse_args()
    figures(options.url)
    if is_limited(options.url):
        sys.exit(
            "The server limits how often one address may ask. Start it for this: RATE_LIMITS=false make run"
        )
    before = figures(options.url)
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / "report.html"
    locust = [sys.executable, "-m", "locust", "-f", str(SCENARIO), "--headless", "--host", options.url]
    locust += ["--users", str(options.users), "--spawn-rate", str(max(1, options.users // 2))]
    locust += ["--run-time", f"{options.seconds}s", "--stop-timeout", "5", "--only-summary"]
    locust += ["--html", str(report), "--json-file", str(REPORTS / "load")]
    done = subprocess.run(locust, check=False)
    after = figures(options.url)
    counted = {
        name: after[name] - before[name] for name in ("total_requests", "error_count", "rate_limit_hits")
    }
    window = after["windows"]["1m"]
    print(
        f"\nThe server counted {counted['total_requests']} requests, {counted['error_count']} errors,",
        end=" ",
    )
    print(f"{counted['rate_limit_hits']} rate-limit hits.")
    print(
        f"Its last minute: p50 {window['p50_ms']} ms, p95 {window['p95_ms']} ms, p99 {window['p99_ms']} ms."
    )
    print(f"Report: {report}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
