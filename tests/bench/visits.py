"""What visitors do: asking, showing a session, signing up; requests a second and their p99, on both databases, one worker and two.

    python -m tests.bench.visits

Every contender is `python -m server` with the project's own documents, everything on but the limits, which would end the bench after ten
questions. A question is answered by extraction and kept as a turn of an anonymous visitor; a session check looks its token up; a sign-up
writes a verification and a letter, which goes into a folder meanwhile. Servers, wrk and PostgreSQL share all cores, so the columns are to
be compared, and not to be taken for what a machine of one's own would do.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.contest import Figures, interleaved, medians, report, table
from tests.bench.stack import read
from tests.harness import ServerProcess
from tests.postgres import Postgres
from tests.system import apt_install, can_install, which
from tests.visitors import Visitor

ROUNDS = 3
SECONDS = 3
CONNECTIONS = 16

# `wrk.init` and `request` are wrk's: https://github.com/wg/wrk/blob/master/SCRIPTING
_SCRIPT = """
local number = 0
function init()
  math.randomseed(tonumber({seed}))
end
function request()
  number = number + 1
  local headers = {{ ["Content-Type"] = "application/json", ["Authorization"] = {session} }}
  return wrk.format("{method}", "{path}", headers, {body})
end
"""


class Visit(NamedTuple):
    """One kind of request; `body` is a Lua expression, in which `number` counts and `math.random` is seeded anew each round."""

    method: str
    path: str
    body: str
    status: str = "2xx"


VISITS = {
    "question": Visit(
        "POST", "/api/v1/chat", json.dumps(json.dumps({"message": "How do I trace a request?"}))
    ),
    "session check": Visit("GET", "/api/v1/auth/session-check", "nil"),
    "sign-up": Visit(
        "POST",
        "/api/v1/auth/signup",
        '\'{"consent":true,"email":"v\' .. number .. "-" .. math.random(1, 1e9) .. \'@example.org"}\'',
    ),
}
DATABASES = ("SQLite", "PostgreSQL")


@contextmanager
def serving(folder: Path, url: str, workers: int) -> Iterator[tuple[ServerProcess, str]]:
    """A server with documents on the database at `url`, or SQLite for none; and the token of somebody signed in."""
    settings = {"WORKERS": str(workers)} | ({"DATABASE_URL": url} if url else {})
    server = ServerProcess(folder, **settings)
    folder.mkdir(parents=True)
    shutil.copytree(Path(__file__).parents[2] / "docs", folder / "docs")
    done = server.command("server", "ingest", "docs")
    assert done.returncode == 0, done.stderr.decode()
    server.start()
    try:
        yield server, Visitor(server).sign_in("bench@example.org")["token"]
    finally:
        server.stop()


def loaded(server: ServerProcess, token: str, visit: Visit, folder: Path) -> Figures:
    """Requests a second and the milliseconds that 99 of 100 stayed below. All must succeed."""
    script = folder / "visit.lua"
    signed_in = visit.path.endswith("session-check")
    script.write_text(
        _SCRIPT.format(
            seed=int.from_bytes(os.urandom(3)),
            session=json.dumps(f"Bearer {token}") if signed_in else "nil",
            method=visit.method,
            path=visit.path,
            body=visit.body,
        )
    )
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{SECONDS}s",
        "--timeout",
        "10s",
        "--latency",
        "-s",
        str(script),
        server.url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Non-2xx" not in done.stdout, done.stdout
    assert "Socket errors" not in done.stdout, done.stdout
    return read(done.stdout)


def main() -> dict[str, Any]:
    """Measure and print."""
    if which("wrk") is None:
        if not can_install():
            sys.exit("This bench needs wrk: sudo apt-get install wrk")
        apt_install(["wrk"])
    rows: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        database = Postgres().start()
        stack.callback(database.close)
        for workers in (1, 2):
            # Those with one worker, then those with two: more at a time would only be in each other's way.
            with ExitStack() as running:
                servers = {
                    f"{name}, {workers} worker{'s' if workers > 1 else ''}": running.enter_context(
                        serving(
                            folder / f"{name}-{workers}",
                            database.url(database.database()) if name == "PostgreSQL" else "",
                            workers,
                        )
                    )
                    for name in DATABASES
                }
                contenders = {
                    f"{kind}: {name}": partial(loaded, server, token, visit, folder)
                    for kind, visit in VISITS.items()
                    for name, (server, token) in servers.items()
                }
                rows |= medians(interleaved(contenders, ROUNDS))
    rows = {
        name: rows[name] for name in sorted(rows, key=lambda name: list(VISITS).index(name.split(":")[0]))
    }
    print(table(rows, {"requests_s": "requests/s", "p99_ms": "p99, ms"}))
    return report(rows, [])


if __name__ == "__main__":
    main()
