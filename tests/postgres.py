"""A real PostgreSQL for the tests: a server of its own in a folder of its own, on a free port, which nobody else can reach.

It refuses to run as root, so there it runs as the user `postgres` that Debian's package makes. Nothing is flushed: what a power cut does to
PostgreSQL is not ours to test.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from tests.harness import clean_environment, free_port, needs
from tests.waiting import ENOUGH_SECONDS

ROLE = "chatkit"
PASSWORD = "not-in-any-log-7Qx"

_QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "autovacuum": "on",
}


class Postgres:
    """One server. Databases belong to a role that may do nothing else."""

    def __init__(self, **configuration: str) -> None:
        self._programs = Path(needs("postgres")).resolve().parent  # what is on PATH may be a link
        self._configuration = _QUICK | configuration
        self._names = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        # pytest's own folders are closed to all but their owner.
        self.folder = Path(tempfile.mkdtemp(prefix="chatkit-postgres-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self._as_user = [needs("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._run("initdb", "-D", "data", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync")
        (self.folder / "data" / "pg_hba.conf").write_text(
            "local all all trust\nhost all all all scram-sha-256\n"
        )

    def start(self) -> "Postgres":
        """Start it, and wait until it takes connections."""
        options = [f"-c{name}={value}" for name, value in self._configuration.items()]
        address = ["-p", str(self.port), "-k", str(self.folder), "-h", "127.0.0.1"]
        with (self.folder / "server.log").open("ab") as told:
            self._process = subprocess.Popen(
                [*self._as_user, str(self._programs / "postgres"), "-D", "data", *address, *options],
                cwd=self.folder,
                env=clean_environment(),
                stdout=told,
                stderr=told,
                start_new_session=True,
            )
        deadline = time.monotonic() + ENOUGH_SECONDS
        while not self._answers():
            if self._process.poll() is not None and not self._is_in_use():
                raise AssertionError((self.folder / "server.log").read_text())
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.02)
        if not self.psql(f"SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}'"):
            self.psql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        return self

    def _answers(self) -> bool:
        asked = [str(self._programs / "pg_isready"), "-q", "-h", str(self.folder), "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def _is_in_use(self) -> bool:
        """Whether the start only failed because processes of a killed server are still there; then it is tried again."""
        if b"is still in use" not in (self.folder / "server.log").read_bytes()[-400:]:
            return False
        time.sleep(0.2)
        self.start()
        return True

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it: at once, but in order. SIGQUIT stops it without any order, SIGKILL without its own doing."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(ENOUGH_SECONDS)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to every process of it: SIGSTOP makes it hang, SIGCONT go on, SIGKILL end."""
        assert self._process is not None
        os.killpg(self._process.pid, number)
        for backend in self._backends():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(backend, number)
        if number is signal.SIGKILL:
            self._process.wait(ENOUGH_SECONDS)

    def _backends(self) -> list[int]:
        """Its other processes: each has a process group of its own."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [int(child) for child in children.split()]

    def close(self) -> None:
        """Stop it and leave nothing."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def psql(self, sql: str, database: str = "postgres") -> str:
        """What `psql` prints for `sql`, as the superuser."""
        return self._run(
            *(
                "psql",
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                str(self.folder),
                "-p",
                str(self.port),
            ),
            *("-U", "postgres", "-d", database, "-c", sql),
        )

    def database(self, template: str = "template1") -> str:
        """The name of a new database that `ROLE` owns, a copy of `template`."""
        name = f"test_{next(self._names)}"
        self.psql(f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {template}")
        # What every database has from PostgreSQL 15 on only its owner's schema lacks.
        self.psql(f"ALTER SCHEMA public OWNER TO {ROLE}", name)
        return name

    def drop(self, name: str) -> None:
        """Forget the database, whoever uses it."""
        self.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url(self, name: str, port: int | None = None) -> str:
        """Where the database is, by way of `port` if that is another's, such as a proxy's."""
        return f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{port or self.port}/{name}"

    def superuser(self) -> dict[str, str]:
        """What makes PostgreSQL's own commands ask this server as its superuser."""
        return {"PGHOST": str(self.folder), "PGPORT": str(self.port), "PGUSER": "postgres"}

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [*self._as_user, str(self._programs / program), *arguments],
            cwd=self.folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=ENOUGH_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"{program} ended with {done.returncode}: {done.stderr}")
        return done.stdout.strip()
