"""Requests a second and their p99, the whole stack with everything on beside bare aiohttp and the usual ways to build one.

    python -m tests.bench.stack

Every contender answers the same small JSON; its server has one core, the load generator (wrk, 32 connections that are kept
alive) the other. Before the load the answer is compared, after it none may have failed. What others do on that core must not
decide, so servers are compared by requests in a second of its time: what they answer in a second when they have it alone.
Two workers share both cores with wrk, and so does the one worker that they are compared with; since wrk then takes from them what it
leaves to the one, they too are compared by what they would answer with a core each. Were they in each other's way, they and wrk
would leave some of the two cores idle: what each had is in the table.
"""

import http.client
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.contest import Figures, Promise, interleaved, medians, ratio, report, table, told
from tests.bench.servers import ANSWER, PATH
from tests.harness import ROOT, clean_environment, free_port
from tests.system import apt_install, can_install, which

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 32
START_SECONDS = 30
# Name → the module that serves it.
ALONE = {
    "bare aiohttp": "bare",
    "ChatKit": "chatkit",
    "aiohttp, access log": "access_logged",
    "Starlette, structlog, prometheus": "lean_starlette",
    "FastAPI, the usual recipe": "usual_fastapi",
}
Cores = frozenset[int]


class Serving(NamedTuple):
    """A server that runs."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """What it and its workers have spent so far."""
        workers = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(map(_cpu_seconds, [self.pid, *map(int, workers)]))


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process; see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(module: str, folder: Path, cores: Cores, *arguments: str) -> Iterator[Serving]:
    """A server that answers on `cores`."""
    port = free_port()
    folder.mkdir(parents=True)
    given = list(arguments) if module == "chatkit" else [str(port), str(folder)]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [*_on(cores), sys.executable, "-m", f"tests.bench.servers.{module}", *given],
            cwd=folder,
            env=clean_environment(PORT=str(port)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait(port, process, folder / "output.txt")
        yield Serving(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _on(cores: Cores) -> list[str]:
    return ["taskset", "--cpu-list", ",".join(map(str, sorted(cores)))]


def _wait(port: int, process: "subprocess.Popen[bytes]", output: Path) -> None:
    """Until it gives the right answer."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", PATH)
            response = connection.getresponse()
            body = response.read()
        except OSError:
            time.sleep(0.05)
            continue
        finally:
            connection.close()
        assert (response.status, json.loads(body)) == (200, ANSWER), body
        return
    raise AssertionError(f"no server came up: {output.read_text()[-2_000:]}")


def loaded(server: Serving, cores: Cores, seconds: int = SECONDS) -> Figures:
    """Requests a second, the milliseconds that 99 of 100 stayed below, and what the server had of its core. All must succeed."""
    url = f"http://127.0.0.1:{server.port}{PATH}"
    began, before = server.cpu_seconds(), _children_seconds()
    done = subprocess.run(
        [*_on(cores), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Non-2xx" not in done.stdout, done.stdout
    assert "Socket errors" not in done.stdout, done.stdout
    figures = read(done.stdout)
    spent = server.cpu_seconds() - began
    return figures | {
        "core_requests_s": figures["requests"] / spent,
        "core_percent": spent / seconds * 100,
        "wrk_percent": (_children_seconds() - before) / seconds * 100,
    }


def _children_seconds() -> float:
    """What those processes that have ended have spent."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def read(printed: str) -> Figures:
    """What wrk printed, as figures."""
    count = re.search(r"(\d+) requests in", printed)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", printed)
    assert count is not None, printed
    assert rate is not None, printed
    assert p99 is not None, printed
    return {
        "requests": float(count[1]),
        "requests_s": float(rate[1]),
        "p99_ms": float(p99[1]) * _UNITS[p99[2]],
    }


def _check(folder: Path, requests: float) -> None:
    """A server that has a log has told of every request in it."""
    logged = 0
    for file in (path for path in folder.rglob("*") if path.suffix in {".jsonl", ".log"}):
        with file.open("rb") as lines:
            logged += sum(PATH.encode() in line for line in lines)
    assert logged >= requests, f"{folder.name} logged {logged} of {requests:.0f} requests"


def workers_are_built() -> bool:
    """Whether `python -m server` knows more than one worker."""
    done = subprocess.run(
        [sys.executable, "-m", "server", "--help"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        check=True,
    )
    return b"--workers" in done.stdout


def alone(folder: Path) -> tuple[dict[str, Figures], list[Promise]]:
    """Everyone with one core for the server and one for the load."""
    server, load = (frozenset({core}) for core in sorted(os.sched_getaffinity(0))[:2])
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(serving(module, folder / module, server))
            for name, module in ALONE.items()
        }
        rounds = interleaved(
            {name: partial(loaded, running, load) for name, running in servers.items()}, ROUNDS
        )
    for name, module in ALONE.items():
        _check(folder / module, 0 if module == "bare" else sum(row["requests"] for row in rounds[name]))
    rows = medians(rounds)
    for name, figures in rows.items():
        figures["bares"] = ratio(rounds, "core_requests_s", name, "bare aiohttp")
    rate = partial(ratio, rounds, "core_requests_s", "ChatKit")
    return rows, [
        Promise("requests/s / bare aiohttp", rate("bare aiohttp"), 0.72, at_least=True),
        Promise("p99 / bare aiohttp", ratio(rounds, "p99_ms", "ChatKit", "bare aiohttp"), 1.5),
        Promise("requests/s / aiohttp with access log", rate("aiohttp, access log"), 1.6, at_least=True),
        Promise("requests/s / Starlette", rate("Starlette, structlog, prometheus"), 1.25, at_least=True),
        Promise("requests/s / FastAPI", rate("FastAPI, the usual recipe"), 10, at_least=True),
    ]


def together(folder: Path) -> tuple[dict[str, Figures], list[Promise]]:
    """One worker and two, both with all cores, which they share with the load."""
    cores = frozenset(os.sched_getaffinity(0))
    contenders: Mapping[str, tuple[str, ...]] = {
        "ChatKit, one worker": (),
        "ChatKit, two workers": ("--workers", "2"),
    }
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(serving("chatkit", folder / str(len(given)), cores, *given))
            for name, given in contenders.items()
        }
        rounds = interleaved(
            {name: partial(loaded, running, cores) for name, running in servers.items()}, ROUNDS
        )
    for name, given in contenders.items():
        _check(folder / str(len(given)), sum(row["requests"] for row in rounds[name]))
    one, two = contenders
    beside = ratio(rounds, "requests_s", two, one)
    with_cores = 2 * ratio(rounds, "core_requests_s", two, one)
    rows = medians(rounds)
    print(f"Two workers that share both cores with wrk answer {beside:.2f} times what one does.\n")
    return rows, [Promise("requests/s, two workers / one", with_cores, 1.5, at_least=True)]


def main() -> dict[str, Any]:
    """Measure and print."""
    if which("wrk") is None:
        if not can_install():
            sys.exit("This bench needs wrk: sudo apt-get install wrk")
        apt_install(["wrk"])
    with tempfile.TemporaryDirectory() as temporary:
        rows, promises = alone(Path(temporary))
        if workers_are_built():
            more, also = together(Path(temporary) / "workers")
            rows, promises = rows | more, promises + also
    columns = {
        "requests_s": "requests/s",
        "core_percent": "had of core, %",
        "wrk_percent": "wrk had, %",
        "core_requests_s": "with all of it",
        "bares": "of bare",
        "p99_ms": "p99, ms",
    }
    print(table(rows, columns), told(promises), sep="\n\n")
    return report(rows, promises)


if __name__ == "__main__":
    main()
